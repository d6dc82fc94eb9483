"""Calls go from Celery's consumer straight to the event loop, and back with an acknowledgement.

Celery's own way, a thread per task and its tracer, costs more than a short call. What it gives, results, retries, time limits
and events, is not used here: the outcome stands in the database, and the lease decides who may try again. So the task has a
strategy of its own, as Celery calls what receives a task's messages. The prefetch limit bounds how many calls run at once.
"""

import threading
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import structlog
from celery.exceptions import InvalidTaskError
from kombu.transport import virtual

from toolorchestra.worker.services.execution import Handling

logger = structlog.get_logger(__name__)


class Beginner(Protocol):
    """Executes calls without anybody waiting."""

    def begin(self, call_id: str, headers: Mapping[str, str], ended: Callable[[Handling], None]) -> None:
        """Execute a call, and tell of its end from whatever thread."""
        ...


class Direct:
    """The strategy of the task that executes calls."""

    def __init__(self, runtime: Beginner) -> None:
        self._runtime = runtime
        self._under_way = 0
        self._changed = threading.Condition()

    def __call__(self, task: Any, app: Any, consumer: Any) -> Callable[..., None]:
        """What Celery calls for each message of the task."""
        del task, app
        errors, most = consumer.connection_errors, consumer.initial_prefetch_count

        def receive(message: Any, body: Any, ack: Any, reject: Any, _: Any) -> None:
            call_id = call_id_of(message, body)

            def ended(handling: Handling) -> None:
                if handling is Handling.GIVEN_BACK:
                    reject(logger, errors, requeue=True)
                elif type(message.channel.qos) is virtual.QoS and 2 * self._under_way < most:
                    message.ack_log_error(logger, errors)  # a note in memory; the consumer need not be woken to take more
                else:
                    ack(logger, errors)
                self._count(-1)

            self._count(1)
            self._runtime.begin(call_id, carried_headers(message.headers), ended)

        return receive

    def hold_up(self, pool: Any) -> None:
        """Let Celery's pool, before it stops, wait for the calls under way as it does for its own tasks."""
        stop = pool.on_stop

        def wait_and_stop() -> None:
            with self._changed:
                self._changed.wait_for(lambda: self._under_way == 0)
            stop()

        pool.on_stop = wait_and_stop

    def _count(self, change: int) -> None:
        with self._changed:
            self._under_way += change
            self._changed.notify_all()


def call_id_of(message: Any, body: Any) -> str:
    """The only argument of a task message. Celery drops a message for which this raises InvalidTaskError."""
    if body is not None:
        raise InvalidTaskError("a message of protocol 1 is not for this task")
    match message.payload:
        case [[str(call_id)], _, _]:
            return call_id
        case _:
            raise InvalidTaskError("the only argument of this task is a call id")


def carried_headers(headers: object) -> dict[str, str]:
    """The texts among a message's headers; whoever sent it may have written anything."""
    if not isinstance(headers, Mapping):
        return {}
    return {str(name): value for name, value in headers.items() if isinstance(value, str)}
