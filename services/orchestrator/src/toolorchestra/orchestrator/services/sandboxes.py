"""What probing leaves open for tools that run in a sandbox: whether a sandbox worker lives, and how strongly it isolates."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace

import structlog
from typing_extensions import override

from toolorchestra.core.errors import ToolOrchestraError
from toolorchestra.core.registry import Catalog, Observation
from toolorchestra.core.sandbox import SandboxReport, SandboxVerdict, verdict
from toolorchestra.executors.probe import ObservationKey
from toolorchestra.orchestrator.services.discovery import Prober

logger = structlog.get_logger(__name__)


class SandboxProber(Prober):
    """A prober that adds to what another one sees. Without the reports of workers nothing is added."""

    def __init__(self, prober: Prober, living: Callable[[], Awaitable[Sequence[SandboxReport]]]) -> None:
        self._prober = prober
        self._living = living

    @override
    async def probe_all(
        self, catalog: Catalog, *, known: Mapping[ObservationKey, Mapping[str, str]] | None = None
    ) -> dict[ObservationKey, Observation]:
        seen = await self._prober.probe_all(catalog, known=known)
        sandboxed = {("Tool", *key): tool for key, tool in catalog.tools.items() if tool.spec.execution == "sandbox"}
        if not sandboxed:
            return seen
        try:
            reports = await self._living()
        except ToolOrchestraError as error:
            logger.warning("sandboxes_unknown", reason=str(error))
            return seen
        return seen | {key: _with(seen[key], verdict(tool.spec, reports)) for key, tool in sandboxed.items()}


def _with(seen: Observation, found: SandboxVerdict) -> Observation:
    """What is wrong with the tool itself is told first."""
    details = {**seen.details, "sandbox": found.rung} if found.rung else seen.details
    if found.reason and seen.ready:
        return replace(seen, ready=False, reason=found.reason, message=found.message, details=details)
    return replace(seen, details=details)
