"""Starts the parts of a platform, watches them, and stops them; one platform per folder.

The supervisor restarts nothing: a part that ends is reported with the end of its log. Parts run in sessions of their own,
so Ctrl-C reaches the supervisor alone and it can stop them in order; if it is killed, the kernel ends them (see ``leash``).
"""

import asyncio
import math
import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import psutil

from toolorchestra.cli.embedded.leash import leashed
from toolorchestra.cli.embedded.parts import Part, port_is_free, private_folder
from toolorchestra.cli.embedded.state import STATE_FILE, PlatformState, ProcessState, end_leftovers, hold_platform
from toolorchestra.core.errors import UnavailableError

POLL_S: Final = 0.02
LOG_TAIL_LINES: Final = 15
MAX_LOG_BYTES: Final = 5_000_000


class PartFailedError(UnavailableError):
    """A part ended by itself or did not become ready; the message ends with the last lines of its log."""

    code = "part_failed"


@dataclass(slots=True, eq=False)
class _Running:
    part: Part
    process: asyncio.subprocess.Process
    started: float
    log: Path
    spawned_s: float = field(default_factory=time.monotonic)
    ready_s: float = math.inf  # on the same clock

    def may_serve(self, other: "_Running") -> bool:
        """Whether ``other`` may need this part: it was started when this one was ready."""
        return other.spawned_s >= self.ready_s

    def failure(self, what: str) -> PartFailedError:
        lines = self.log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
        tail = "\n".join(f"  {line}" for line in lines) or "  (it wrote nothing)"
        return PartFailedError(f"{self.part.name} {what}; the end of {self.log}:\n{tail}", hint=self._hint())

    def _hint(self) -> str | None:
        port = self.part.port
        return f"port {port} is taken; choose another with --port" if port and not port_is_free(port) else None


class Supervisor:
    """The parts of one platform, as an async context manager: whatever was started is stopped at its end."""

    def __init__(self, folder: Path, *, startup_ms: int = 60_000) -> None:
        self._folder = folder
        self._startup_ms = startup_ms
        self._running: list[_Running] = []
        self._urls: dict[str, str] = {}
        self._lock: int | None = None

    async def __aenter__(self) -> Self:
        self._lock = hold_platform(self._folder)
        await asyncio.to_thread(end_leftovers, self._folder)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self, *parts: Part) -> None:
        """Start parts side by side and wait until all are ready; call it again for parts that need these.

        Raises PartFailedError for a part that ends or is not ready within ``startup_ms``.
        """
        started = [await self._spawn(part) for part in parts]
        self._save()
        try:
            async with asyncio.TaskGroup() as group:
                for running in started:
                    group.create_task(self._until_ready(running))
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None

    def announce(self, name: str, url: str) -> None:
        """Add a URL to the state file, for the commands that come later."""
        self._urls[name] = url
        self._save()

    async def wait(self) -> signal.Signals:
        """Wait for SIGINT or SIGTERM and return it. Raises PartFailedError as soon as a part ends."""
        received: asyncio.Future[signal.Signals] = asyncio.get_running_loop().create_future()
        with _Signals(received):
            ends = [asyncio.create_task(running.process.wait()) for running in self._running]
            watched: list[asyncio.Future[Any]] = [received, *ends]
            try:
                await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for end in ends:
                    end.cancel()
        if received.done():
            return received.result()
        raise self._first_failure()

    async def stop(self) -> None:
        """Stop the parts, each once all that may need it have ended, and forget the platform."""
        while self._running:
            last = [one for one in self._running if not any(one.may_serve(other) for other in self._running)]
            await asyncio.gather(*map(_stop, last))
            self._running = [one for one in self._running if one not in last]
        (self._folder / STATE_FILE).unlink(missing_ok=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    async def _spawn(self, part: Part) -> _Running:
        log = _open_log(private_folder(self._folder / "logs") / f"{part.name}.log")
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *leashed(part.argv, end=part.stop),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **part.env},
                start_new_session=True,
            )
        running = _Running(part=part, process=process, started=_start_time(process.pid), log=log)
        self._running.append(running)
        return running

    async def _until_ready(self, running: _Running) -> None:
        ready = asyncio.create_task(_poll(running))
        ended = asyncio.create_task(running.process.wait())
        try:
            await asyncio.wait([ready, ended], timeout=self._startup_ms / 1000, return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                raise running.failure(f"ended with status {ended.result()} before it was ready")
            if not ready.done():
                raise running.failure(f"was not ready after {self._startup_ms / 1000:g} s")
            await ready
            running.ready_s = time.monotonic()
        finally:
            ready.cancel()
            ended.cancel()

    def _first_failure(self) -> PartFailedError:
        for running in self._running:
            if (status := running.process.returncode) is not None:
                return running.failure(f"ended with status {status}")
        raise AssertionError("no part has ended")

    def _save(self) -> None:
        parts = {
            running.part.name: ProcessState(
                pid=running.process.pid, started=running.started, url=running.part.url, log=str(running.log)
            )
            for running in self._running
        }
        PlatformState(pid=os.getpid(), urls=self._urls, parts=parts).save(self._folder)


class _Signals:
    """While entered, the first SIGINT or SIGTERM becomes the result of a future."""

    def __init__(self, received: asyncio.Future[signal.Signals]) -> None:
        self._received = received
        self._signals: Sequence[signal.Signals] = (signal.SIGINT, signal.SIGTERM)

    def __enter__(self) -> None:
        for number in self._signals:
            asyncio.get_running_loop().add_signal_handler(number, self._receive, number)

    def __exit__(self, *_: object) -> None:
        for number in self._signals:
            asyncio.get_running_loop().remove_signal_handler(number)

    def _receive(self, number: signal.Signals) -> None:
        if not self._received.done():
            self._received.set_result(number)


async def _poll(running: _Running) -> None:
    while not (await running.part.ready() and _listens(running)):
        await asyncio.sleep(POLL_S)


def _listens(running: _Running) -> bool:
    """Whether it is the part itself that listens on its port, not another server that came first."""
    if (port := running.part.port) is None:
        return True
    try:
        process = psutil.Process(running.process.pid)
        family = [process, *process.children(recursive=True)]
        sockets = [found for member in family for found in _connections(member)]
    except psutil.NoSuchProcess:
        return False
    return any(found.status == psutil.CONN_LISTEN and found.laddr.port == port for found in sockets)


def _connections(process: psutil.Process) -> list[Any]:
    """Its TCP sockets; the method has another name before psutil 6."""
    method = "net_connections" if hasattr(process, "net_connections") else "connections"
    found: list[Any] = getattr(process, method)(kind="tcp")
    return found


async def _stop(running: _Running) -> None:
    process, part = running.process, running.part
    with suppress(ProcessLookupError):
        process.send_signal(part.stop)
    try:
        await asyncio.wait_for(process.wait(), timeout=part.grace_ms / 1000)
    except TimeoutError:
        process.kill()
        await process.wait()
    with suppress(ProcessLookupError):  # the part led a session of its own: children that it left behind end with it
        os.killpg(process.pid, signal.SIGKILL)


def _start_time(pid: int) -> float:
    try:
        return psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return time.time()


def _open_log(path: Path) -> Path:
    """Start a new log when the old one has grown large; the last one is kept."""
    if path.exists() and path.stat().st_size > MAX_LOG_BYTES:
        path.replace(path.with_suffix(".log.1"))
    return path
