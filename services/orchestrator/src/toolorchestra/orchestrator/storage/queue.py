"""Publishing call ids to the workers' queues. A message is a call id; everything else stands in the database."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Protocol

from celery import Celery
from kombu.exceptions import OperationalError
from typing_extensions import override

from toolorchestra.core.errors import UnavailableError
from toolorchestra.core.tasks import RUN_CALL, queue_of


class CallQueue(Protocol):
    """Announces calls to workers; announcing twice is harmless."""

    async def publish(self, calls: Sequence[tuple[str, str]], headers: Mapping[str, str]) -> None:
        """``calls`` are (call id, execution). Raises UnavailableError when the broker does not take them."""
        ...

    def close(self) -> None:
        """Give the connections back."""
        ...


class CeleryQueue(CallQueue):
    """The broker, through Celery. Publishing is synchronous network traffic, so it leaves the event loop."""

    def __init__(self, broker_url: str) -> None:
        self._app = Celery("toolorchestra", broker=broker_url, set_as_current=False)
        self._app.conf.update(task_ignore_result=True, broker_connection_retry_on_startup=True)
        self._app.conf.broker_transport_options = {"socket_timeout": 5, "socket_connect_timeout": 5}

    @override
    async def publish(self, calls: Sequence[tuple[str, str]], headers: Mapping[str, str]) -> None:
        await asyncio.to_thread(self._publish, calls, dict(headers))

    @override
    def close(self) -> None:
        self._app.close()

    def _publish(self, calls: Sequence[tuple[str, str]], headers: dict[str, str]) -> None:
        try:
            for call_id, execution in calls:
                self._app.send_task(RUN_CALL, args=(call_id,), queue=queue_of(execution), headers=headers, retry=False)
        except OperationalError as error:
            raise UnavailableError("the broker does not take calls", hint="check TOOLORCHESTRA_BROKER_URL") from error
