"""What a tool with ``execution: sandbox`` gets: the weakest isolation of the sandbox workers that live, as they report it."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from toolorchestra.core.errors import ToolOrchestraError
from toolorchestra.core.resources import ToolSpec
from toolorchestra.core.sandbox import SandboxReport, verdict
from toolorchestra.operator.plan import Condition, State

SANDBOXED: Final = "Sandboxed"
KEEP_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class SandboxSeen:
    """The reports of all living workers, or the ``problem`` why there are none; the rung that was ``told`` before."""

    reports: Sequence[SandboxReport]
    problem: ToolOrchestraError | None = None
    told: str | None = None


class SandboxReports:
    """Asks the ledger, at most once in ``keep_s`` for all tools together, also when it is away."""

    def __init__(self, ask: Callable[[], Awaitable[Sequence[SandboxReport]]], *, keep_s: float = KEEP_S) -> None:
        self._ask = ask
        self._keep_s = keep_s
        self._lock = asyncio.Lock()
        self._asked: float | None = None
        self._seen = SandboxSeen(())

    async def look(self, spec: ToolSpec, status: Mapping[str, Any]) -> SandboxSeen | None:
        """What is known now; None for a tool that does not run in a sandbox."""
        if spec.execution != "sandbox":
            return None
        async with self._lock:
            if self._asked is None or time.monotonic() - self._asked >= self._keep_s:
                self._seen = await self._look()
                self._asked = time.monotonic()
            return SandboxSeen(self._seen.reports, self._seen.problem, status.get("sandbox"))

    async def _look(self) -> SandboxSeen:
        try:
            return SandboxSeen(await self._ask())
        except ToolOrchestraError as error:
            return SandboxSeen((), error)


def sandboxed(spec: ToolSpec, seen: SandboxSeen) -> tuple[Condition, str | None]:
    """The condition, and the rung for the status: while nobody can be asked, the one that was told last."""
    if seen.problem is not None:
        text = f"{seen.problem}; until it can be asked, nobody knows which sandbox workers live; calls go on as they can"
        return Condition(SANDBOXED, State.UNKNOWN, "LedgerUnavailable", text), seen.told
    found = verdict(spec, seen.reports)
    if found.reason:
        return Condition(SANDBOXED, State.FALSE, found.reason, found.message), found.rung
    return Condition(SANDBOXED, State.TRUE, "Observed"), found.rung
