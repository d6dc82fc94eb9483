"""Finds out what the sandbox really holds, by trying to get out of it."""

import asyncio
import json
import os
import tempfile
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from toolorchestra.core.errors import UnavailableError
from toolorchestra.tools.python.sandbox import CodeRunner, Report

# An address that is set aside for documentation: no packet to it is ever answered, and none should leave.
_OUTSIDE: Final = ("192.0.2.1", 443)
_TIMEOUT_MS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Findings:
    """``escapes`` names each way out that worked; ``layers`` what was found to be in place."""

    escapes: tuple[str, ...]
    layers: Mapping[str, Any]


async def probe(sandbox: CodeRunner, *, outside: tuple[str, int] = _OUTSIDE) -> Findings:
    """Run the probe inside, beside a real listener and a folder that anybody may write to.

    Raises UnavailableError if the sandbox cannot be set up at all.
    """
    async with AsyncExitStack() as stack:
        door = _Door()
        server = await stack.enter_async_context(await asyncio.start_server(door.opened, "127.0.0.1", 0))
        folder = _public_folder(stack)
        targets = {
            "connect": [("127.0.0.1", server.sockets[0].getsockname()[1]), outside],
            "read": ["/proc/1/environ", f"/proc/{os.getpid()}/environ", "/etc/passwd"],
            "write": [str(folder / "written")],
        }
        report = await sandbox.run(code_for(targets), timeout_ms=_TIMEOUT_MS)
        return Findings(_escapes(report, door, folder), report.layers)


def code_for(targets: Mapping[str, Any]) -> str:
    """The probe's own source, and a call of it."""
    source = files("toolorchestra.tools.python.jail").joinpath("probe.py").read_text()
    return f"{source}\n\nreport({json.dumps(targets)!r})\n"


def _public_folder(stack: AsyncExitStack) -> Path:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="toolorchestra-probe-")))
    folder.chmod(0o777)
    return folder


class _Door:
    """A listener that remembers whether anybody came."""

    def __init__(self) -> None:
        self.visited = False

    def opened(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        del reader
        self.visited = True
        writer.close()


def _escapes(report: Report, door: _Door, folder: Path) -> tuple[str, ...]:
    try:
        found = json.loads(report.output)
    except ValueError as error:
        reason = report.error or report.stopped or "no answer"
        raise UnavailableError(f"the probe of the sandbox gave no findings: {reason}") from error
    escapes = [f"{how} {what}" for how, which in found.items() for what in which]
    if door.visited and not found["connected"]:
        escapes.append("connected to a listener outside")
    if any(folder.iterdir()) and not found["written"]:
        escapes.append("written outside")
    return tuple(escapes)
