"""Publishing call ids to the workers' queues. A message is a call id; everything else stands in the database."""

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol

from celery import Celery
from kombu.exceptions import KombuError
from typing_extensions import override

from toolorchestra.core.errors import UnavailableError
from toolorchestra.core.tasks import RUN_CALL, queue_of

SOCKET_S: Final = 5


class CallQueue(Protocol):
    """Announces calls to workers; announcing twice is harmless."""

    async def publish(self, calls: Sequence[tuple[str, str]], headers: Mapping[str, str]) -> None:
        """``calls`` are (call id, execution). Raises UnavailableError when the broker does not take them."""
        ...

    def close(self) -> None:
        """Give the connections back."""
        ...


@dataclass(slots=True)
class _Announcement:
    """Calls to publish, as (call id, execution). ``left``: whether they were sent, or why not."""

    calls: tuple[tuple[str, str], ...]
    headers: Mapping[str, str]
    left: bool | UnavailableError = False


class CeleryQueue(CallQueue):
    """The broker, by messages of Celery's protocol. One thread sends, and what came meanwhile leaves together."""

    def __init__(self, broker_url: str) -> None:
        self._sender = _Sender(broker_url)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="publisher")
        self._turn = asyncio.Lock()
        self._waiting: list[_Announcement] = []

    @override
    async def publish(self, calls: Sequence[tuple[str, str]], headers: Mapping[str, str]) -> None:
        mine = _Announcement(tuple(calls), dict(headers))
        self._waiting.append(mine)
        async with self._turn:
            if mine.left is False:  # it waits, or was with one who was cancelled: then it is announced twice
                others = [announcement for announcement in self._waiting if announcement is not mine]
                self._waiting = []
                await asyncio.get_running_loop().run_in_executor(self._thread, self._sender.send, [mine, *others])
        if isinstance(mine.left, UnavailableError):
            raise mine.left

    @override
    def close(self) -> None:
        self._thread.submit(self._sender.close)
        self._thread.shutdown()


class _Sender:
    """Keeps a connection between messages."""

    def __init__(self, broker_url: str) -> None:
        self._app = Celery("toolorchestra", broker=broker_url, set_as_current=False)
        self._app.conf.broker_transport_options = {"socket_timeout": SOCKET_S, "socket_connect_timeout": SOCKET_S}
        self._line: _Line | None = None

    def send(self, announcements: Sequence[_Announcement]) -> None:
        """Send all, once more over a new connection if a kept one fails, and note how it went."""
        kept = self._line is not None
        left = self._try(announcements)
        if kept and left is not True:
            left = self._try(announcements)
        for announcement in announcements:
            announcement.left = left

    def close(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            with suppress(*line.errors):  # the server may be gone
                line.close()

    def _try(self, announcements: Sequence[_Announcement]) -> bool | UnavailableError:
        line = self._line = self._line or _Line(self._app)
        try:
            line.send(announcements)
        except line.errors as error:
            self.close()
            failure = UnavailableError("the broker does not take calls", hint="check TOOLORCHESTRA_BROKER_URL")
            failure.__cause__ = error
            return failure
        return True


class _Line:
    """One connection to the broker. Messages gather and leave in one round trip where the transport can do that."""

    def __init__(self, app: Celery) -> None:
        self._stack = ExitStack()
        self._connection = self._stack.enter_context(app.connection_for_write())
        self.errors = (KombuError, OSError, *self._connection.connection_errors, *self._connection.channel_errors)
        self._amqp = app.amqp
        self._declared: set[str] = set()
        self._batch: Any = None
        self._producer: Any = None

    def send(self, announcements: Sequence[_Announcement]) -> None:
        """Raises one of ``errors``."""
        if self._batch is None:
            self._connection.connect()
            self._producer = self._amqp.Producer(self._stack.enter_context(self._connection.channel()), serializer="json")
            self._batch = self._stack.enter_context(self._producer.batch())
        for announcement in announcements:
            for call_id, execution in announcement.calls:
                self._add(queue_of(execution), call_id, announcement.headers)
        self._batch.flush()

    def close(self) -> None:
        """Raises one of ``errors``."""
        self._stack.close()

    def _add(self, queue: str, call_id: str, headers: Mapping[str, str]) -> None:
        """A message of Celery's protocol 2, with what that demands and nothing else."""
        if queue not in self._declared:
            self._amqp.queues[queue](self._producer.channel).declare()  # as the workers declare it
            self._declared.add(queue)
        required = {"lang": "py", "task": RUN_CALL, "id": call_id, "root_id": call_id, "parent_id": None, "group": None}
        body: tuple[Any, ...] = ((call_id,), {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None})
        self._producer.publish(body, exchange="", routing_key=queue, headers={**headers, **required}, correlation_id=call_id)
