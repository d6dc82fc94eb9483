"""Holding on to a claimed call: the lease is renewed as long as the work goes on, and its loss ends the work."""

import asyncio
from enum import StrEnum
from types import TracebackType
from typing import Final, Self, TypeAlias

import structlog

from toolorchestra.core.errors import ToolOrchestraError
from toolorchestra.ledger.calls import Claim
from toolorchestra.worker.services.pulse import Pulse
from toolorchestra.worker.storage.calls import CallStore

RENEWALS: Final = 3  # per lease, so that two may fail

logger = structlog.get_logger(__name__)


class Interruption(StrEnum):
    """Why a call is ended before its time. ``LOST``: nobody waits for this attempt; ``STOPPED``: the worker stops."""

    LOST = "lost"
    STOPPED = "stopped"


Interrupted: TypeAlias = asyncio.Future[Interruption]


class Lease:
    """Renews the lease of a claim while entered; says ``LOST`` to ``interrupted`` when the call is this attempt's no more."""

    def __init__(self, store: CallStore, claim: Claim, interrupted: Interrupted, *, lease_ms: int, pulse: Pulse) -> None:
        self._store = store
        self._claim = claim
        self._interrupted = interrupted
        self._lease_ms = lease_ms
        self._pulse = pulse
        self._keeper: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._keeper = asyncio.create_task(self._keep(), name=f"lease {self._claim.call_id}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)

    async def _keep(self) -> None:
        while await self._renewed():
            self._pulse.beat()
        if not self._interrupted.done():
            self._interrupted.set_result(Interruption.LOST)

    async def _renewed(self) -> bool:
        """Wait for the next renewal. While the database cannot be asked, the call counts as ours."""
        await asyncio.sleep(self._lease_ms / RENEWALS / 1_000)
        try:
            return await self._store.extend(self._claim, lease_ms=self._lease_ms)
        except ToolOrchestraError as error:
            logger.warning("lease_not_renewed", call=self._claim.call_id, reason=str(error))
            return True
