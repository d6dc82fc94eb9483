"""Where the coroutines of calls run: beside each other on one loop per process, or each in a child process of its own.

The tasks know only ``Runtime``; Celery's threads and children only wait.
"""

import asyncio
import os
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any, Final, Protocol, Self, TypeAlias, TypeVar

import structlog
from typing_extensions import override

from toolorchestra.core.errors import UnavailableError
from toolorchestra.kit.telemetry import Telemetry
from toolorchestra.worker.services.execution import CallService, Handling

T = TypeVar("T")
OpenService: TypeAlias = Callable[[], AbstractAsyncContextManager[CallService]]

PING_S: Final = 5.0
AWAY_PAUSE_S: Final = 1.0  # a child that finds no database waits so long before it gives its message back

logger = structlog.get_logger(__name__)


class Runtime(Protocol):
    """Executes calls for threads or processes that wait for them."""

    def run(self, call_id: str, headers: Mapping[str, str]) -> Handling:
        """Execute a call and wait for its end."""
        ...

    def ping(self) -> None:
        """Return only if calls could be executed now. Raises TimeoutError."""
        ...

    def stop_soon(self) -> None:
        """Take nothing more and bring what runs to an end; may be called from a signal handler."""
        ...


class SharedLoop(Runtime):
    """One event loop in a thread of its own, with one service, for all threads of the process.

    A context manager: entering it connects, and raises UnavailableError if that is not possible.
    """

    def __init__(self, open_service: OpenService, *, drain_ms: int) -> None:
        self._open_service = open_service
        self._drain_ms = drain_ms
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="calls", daemon=True)
        self._stack = AsyncExitStack()
        self._service: CallService | None = None
        self._begun: set[asyncio.Task[Handling]] = set()  # a loop alone does not keep its tasks

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self._service = self._wait(self._stack.enter_async_context(self._open_service()))
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._wait(self._stack.aclose())
        self._end()

    @override
    def run(self, call_id: str, headers: Mapping[str, str]) -> Handling:
        return self._wait(self._entered().run(call_id, headers))

    def begin(self, call_id: str, headers: Mapping[str, str], ended: Callable[[Handling], None]) -> None:
        """Execute a call without waiting; ``ended`` is called in the loop's thread."""
        self._loop.call_soon_threadsafe(self._begin, call_id, headers, ended)

    @override
    def ping(self) -> None:
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), self._loop).result(PING_S)

    @override
    def stop_soon(self) -> None:
        self._loop.call_soon_threadsafe(self._entered().drain, self._drain_ms)

    def _begin(self, call_id: str, headers: Mapping[str, str], ended: Callable[[Handling], None]) -> None:
        task = self._loop.create_task(self._entered().run(call_id, headers), name=call_id)
        self._begun.add(task)
        task.add_done_callback(self._begun.discard)
        task.add_done_callback(lambda done: ended(_handling(call_id, done)))

    def _entered(self) -> CallService:
        if self._service is None:
            raise RuntimeError("enter the loop first")
        return self._service

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def _handling(call_id: str, done: asyncio.Task[Handling]) -> Handling:
    """A fault of ours ends a call's message: it must not come back for ever."""
    error = done.exception()
    if error is None:
        return done.result()
    logger.error("call_failed", call=call_id, exc_info=error)
    return Handling.DONE


class StopGate:
    """Tells a parent's children to stop: a pipe that nobody writes to, whose end they see when the parent lets go of it.

    Made before the children are; each of them calls ``in_child`` first, or its own copy would keep the pipe open.
    """

    def __init__(self) -> None:
        self._read, self._write = os.pipe()

    def fileno(self) -> int:
        """Readable once the gate is shut."""
        return self._read

    def in_child(self) -> None:
        """Leave the gate to the parent."""
        os.close(self._write)

    def shut(self) -> None:
        """Tell all children; may be called twice, and from a signal handler."""
        write, self._write = self._write, -1
        if write >= 0:
            os.close(write)


class OwnProcess(Runtime):
    """For a child that executes one call and ends: its loop, its connections and its spans live as long as the call."""

    def __init__(self, open_service: OpenService, *, gate: StopGate, telemetry: Callable[[], Telemetry], drain_ms: int) -> None:
        self._open_service = open_service
        self._gate = gate
        self._telemetry = telemetry
        self._drain_ms = drain_ms

    @override
    def run(self, call_id: str, headers: Mapping[str, str]) -> Handling:
        telemetry = self._telemetry()
        try:
            return asyncio.run(self._run(call_id, headers))
        except UnavailableError as error:
            logger.warning("call_not_begun", call=call_id, reason=str(error))
            time.sleep(AWAY_PAUSE_S)
            return Handling.GIVEN_BACK
        finally:
            telemetry.flush()  # the child ends right after the call, without a chance to do it later

    @override
    def ping(self) -> None:
        """A child that was forked and reached its task is all that a call needs."""

    @override
    def stop_soon(self) -> None:
        self._gate.shut()

    async def _run(self, call_id: str, headers: Mapping[str, str]) -> Handling:
        loop = asyncio.get_running_loop()
        async with self._open_service() as service:
            loop.add_reader(self._gate.fileno(), self._drain, service)
            try:
                return await service.run(call_id, headers)
            finally:
                loop.remove_reader(self._gate.fileno())

    def _drain(self, service: CallService) -> None:
        asyncio.get_running_loop().remove_reader(self._gate.fileno())
        service.drain(self._drain_ms)
