"""How strongly sandbox workers isolate code: what each observed of itself, and what that means for a tool that runs there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from toolorchestra.core.resources import ToolSpec

RUNGS: Final = ("process", "pod", "gvisor", "kata")  # from the weakest isolation to the strongest
NO_RUNG: Final = "none"  # how the lack of any is told

NO_SANDBOX_WORKER: Final = "NoSandboxWorker"
SANDBOX_TOO_WEAK: Final = "SandboxTooWeak"


@dataclass(frozen=True, slots=True)
class SandboxFindings:
    """The rung that code gets (None: it cannot be run there), why, and what it could reach (``open|silent|closed``)."""

    rung: str | None
    message: str = ""
    layers: Mapping[str, Any] = field(default_factory=dict)
    reach: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SandboxReport:
    """What a living sandbox worker found, and when it last said so."""

    worker: str
    findings: SandboxFindings
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class SandboxVerdict:
    """What the living workers mean for a tool. ``rung``: the weakest that it may get, None without workers; ``reason``: "" if
    that is enough.
    """

    rung: str | None
    reason: str = ""
    message: str = ""


def is_weaker(rung: str | None, wanted: str | None) -> bool:
    """Whether ``rung`` is less than what is wanted. An unknown rung counts as none; nothing is less than no demand."""
    return wanted is not None and _strength(rung) < _strength(wanted)


def verdict(spec: ToolSpec, reports: Sequence[SandboxReport]) -> SandboxVerdict:
    """Whether a tool with ``execution: sandbox`` gets what it demands from whichever worker takes its call."""
    if not reports:
        text = (
            "no sandbox worker is there for spec.execution 'sandbox', so calls wait for one; start one (in the chart: "
            "sandbox.enabled, sandbox.replicas), or see in its log why it does not report"
        )
        return SandboxVerdict(None, NO_SANDBOX_WORKER, text)
    weakest = min(reports, key=lambda one: (_strength(one.findings.rung), one.worker))
    rung, worker = weakest.findings.rung, weakest.worker
    if is_weaker(rung, RUNGS[0]):
        text = f"the sandbox worker {worker} cannot isolate code for spec.execution 'sandbox': {weakest.findings.message}"
        return SandboxVerdict(NO_RUNG, SANDBOX_TOO_WEAK, text)
    wanted = spec.minimum_sandbox
    if is_weaker(rung, wanted):
        text = (
            f"spec.minimumSandbox demands {wanted!r}, the sandbox worker {worker} observed {rung!r}, so it refuses the calls; "
            "lower spec.minimumSandbox, or isolate all sandbox workers more strongly (in the chart: sandbox.runtimeClassName)"
        )
        return SandboxVerdict(rung, SANDBOX_TOO_WEAK, text)
    return SandboxVerdict(rung)


def _strength(rung: str | None) -> int:
    return RUNGS.index(rung) if rung in RUNGS else -1
