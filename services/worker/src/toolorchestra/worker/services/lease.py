"""Holding on to a claimed call: the lease is renewed as long as the work goes on, and its loss ends the work."""

import asyncio
from contextlib import suppress
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
    """Renews the lease of a claim while entered; says ``LOST`` to ``interrupted`` when the call is this attempt's no more.

    Most calls end before the first renewal, so until then there is only a timer.
    """

    def __init__(self, store: CallStore, claim: Claim, interrupted: Interrupted, *, lease_ms: int, pulse: Pulse) -> None:
        self._store = store
        self._claim = claim
        self._interrupted = interrupted
        self._lease_ms = lease_ms
        self._pulse = pulse
        self._timer: asyncio.TimerHandle | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._doubted = asyncio.Event()

    def doubt(self) -> None:
        """Ask at once whether the call is still ours: somebody says that it is over."""
        self._doubted.set()
        if self._timer is not None and self._keeper is None:
            self._timer.cancel()
            self._begin()

    async def __aenter__(self) -> Self:
        self._timer = asyncio.get_running_loop().call_later(self._pause_s, self._begin)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)

    @property
    def _pause_s(self) -> float:
        return self._lease_ms / RENEWALS / 1_000

    def _begin(self) -> None:
        self._keeper = asyncio.create_task(self._keep(), name=f"lease {self._claim.call_id}")

    async def _keep(self) -> None:
        while await self._renewed():
            self._pulse.beat()
            await self._pause()
        if not self._interrupted.done():
            self._interrupted.set_result(Interruption.LOST)

    async def _pause(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._pause_s):
                await self._doubted.wait()
        self._doubted.clear()

    async def _renewed(self) -> bool:
        """Renew once. While the database cannot be asked, the call counts as ours."""
        try:
            return await self._store.extend(self._claim, lease_ms=self._lease_ms)
        except ToolOrchestraError as error:
            logger.warning("lease_not_renewed", call=self._claim.call_id, reason=str(error))
            return True
