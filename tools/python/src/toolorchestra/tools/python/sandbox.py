"""The platform's side of the sandbox: starts the launcher, collects what it says, ends it whatever happens."""

import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from typing_extensions import override

from toolorchestra.core.errors import UnavailableError

_SOURCE_ROOT: Final = Path(__file__).parents[3]
_BOOT: Final = (
    "import sys; sys.path.insert(0, sys.argv[1]); from toolorchestra.tools.python.jail.main import main; "
    "sys.path.remove(sys.argv[1]); main()"
)
_MAX_REPORTS: Final = 256_000
_VALUE_CHARACTERS: Final = 16_000
_FLOOD_FACTOR: Final = 128
_CHUNK: Final = 65_536


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one call, in bytes: address space, files, output kept."""

    memory_bytes: int = 512 << 20
    disk_bytes: int = 32 << 20
    output_bytes: int = 32 << 10


@dataclass(frozen=True, slots=True)
class Report:
    """What became of the code.

    ``status`` is the exit status of its process (negative: the signal that killed it), None if it had to be ended from
    outside. ``stopped`` says why: ``time``, ``output``, ``disk``, or None. ``layers`` is what was found to isolate it.
    """

    output: str
    truncated: bool
    value: str | None = None
    error: str | None = None
    kind: str | None = None
    finished: bool = False
    status: int | None = None
    stopped: str | None = None
    layers: Mapping[str, Any] = field(default_factory=dict)


class CodeRunner(Protocol):
    """What runs the code of a call."""

    async def run(self, code: str, *, timeout_ms: int) -> Report:
        """Run ``code`` for at most ``timeout_ms``. Raises UnavailableError if it cannot be isolated."""
        ...


class Sandbox(CodeRunner):
    """Runs Python code in a process of its own, without network, files, secrets or the means to start others."""

    def __init__(self, limits: Limits, *, interpreter: Path | None = None) -> None:
        self._limits = limits
        self._interpreter = interpreter or Path(sys.executable).resolve()

    @override
    async def run(self, code: str, *, timeout_ms: int) -> Report:
        """Run ``code`` to its end or for at most ``timeout_ms``.

        Raises UnavailableError if the machine grants too little isolation; then nothing was run.
        """
        work = await asyncio.to_thread(tempfile.mkdtemp, prefix="toolorchestra-code-")
        try:
            return await self._run_in(work, code, timeout_ms)
        finally:
            await asyncio.to_thread(shutil.rmtree, work, ignore_errors=True)

    async def _run_in(self, work: str, code: str, timeout_ms: int) -> Report:
        job = {
            "code": code,
            "work": work,
            "memory_bytes": self._limits.memory_bytes,
            "disk_bytes": self._limits.disk_bytes,
            "time_ms": timeout_ms,
            "value_characters": min(_VALUE_CHARACTERS, self._limits.output_bytes),
        }
        call = _Call(await self._start(), self._limits.output_bytes)
        try:
            async with asyncio.timeout(timeout_ms / 1_000):
                await call.converse(json.dumps(job).encode() + b"\n")
        except TimeoutError:
            call.stopped = "time"
        finally:
            await call.end()
        return call.report()

    async def _start(self) -> asyncio.subprocess.Process:
        try:
            return await asyncio.create_subprocess_exec(
                str(self._interpreter),
                *("-I", "-S", "-X", "utf8", "-c", _BOOT, str(_SOURCE_ROOT)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env={},
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            raise UnavailableError(f"the sandbox cannot start {self._interpreter}: {error}") from error


class _Call:
    """One running launcher and what it has said so far."""

    def __init__(self, process: asyncio.subprocess.Process, output_bytes: int) -> None:
        self.stopped: str | None = None
        self._process = process
        self._output = bytearray()
        self._reports = bytearray()
        self._limit = output_bytes
        self._written = 0
        self._readers = [asyncio.create_task(self._read_output()), asyncio.create_task(self._read_reports())]

    async def converse(self, job: bytes) -> None:
        """Hand over the job and listen until everything is said. The input stays open: its end would end the launcher."""
        if self._process.stdin is not None:
            with suppress(ConnectionError):  # a launcher that has ended already says why in its reports
                self._process.stdin.write(job)
                await self._process.stdin.drain()
        await asyncio.shield(asyncio.gather(*self._readers))

    async def end(self) -> None:
        """Kill what is left of the whole process group and wait until it is gone."""
        self._kill()
        if self._process.stdin is not None:
            self._process.stdin.close()
        await asyncio.gather(*self._readers)
        await self._process.wait()

    def report(self) -> Report:
        """The call as a value. Raises UnavailableError if the code was never started."""
        said = _Reports(self._reports)
        layers = said.first("layers")
        if not layers:
            raise UnavailableError(f"the sandbox could not be set up: {said.failure()}")
        weak = [name for name in ("network", "files") if layers.get(name) == "open"]
        if weak:
            raise UnavailableError(
                f"this machine cannot isolate code: nothing closes off its {' and '.join(weak)}",
                hint="allow seccomp, and either Landlock (Linux 5.13 or newer) or user namespaces",
            )
        result, end = said.last("result"), said.last("end")
        return Report(
            output=self._output.decode(errors="replace"),
            truncated=self._written > self._limit,
            value=result.get("value"),
            error=result.get("error"),
            kind=result.get("kind"),
            finished=bool(result),
            status=end.get("status"),
            stopped=self.stopped or end.get("reason"),
            layers=layers,
        )

    def _kill(self) -> None:
        if self._process.returncode is None:
            with suppress(ProcessLookupError):  # it ended this very moment
                os.killpg(self._process.pid, signal.SIGKILL)

    async def _read_output(self) -> None:
        while self._process.stdout is not None and (part := await self._process.stdout.read(_CHUNK)):
            self._written += len(part)
            self._output += part[: self._limit - len(self._output)]
            if self._written > self._limit * _FLOOD_FACTOR and self.stopped is None:
                self.stopped = "output"
                self._kill()

    async def _read_reports(self) -> None:
        while self._process.stderr is not None and (part := await self._process.stderr.read(_CHUNK)):
            self._reports += part[: _MAX_REPORTS - len(self._reports)]


class _Reports:
    """The launcher's lines. The code could write here too: only the first ``layers``, said before it ran, is believed."""

    def __init__(self, text: bytes | bytearray) -> None:
        self._lines = text.decode(errors="replace").splitlines()
        self._said = [item for item in map(_parse, self._lines) if item]

    def first(self, name: str) -> dict[str, Any]:
        return next((item[name] for item in self._said if isinstance(item.get(name), dict)), {})

    def last(self, name: str) -> dict[str, Any]:
        return next((item[name] for item in reversed(self._said) if isinstance(item.get(name), dict)), {})

    def failure(self) -> str:
        stated = self.first("failure").get("message")
        return str(stated or (self._lines[-1] if self._lines else "the launcher ended without a word"))


def _parse(line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
