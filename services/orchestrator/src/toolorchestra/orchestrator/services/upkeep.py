"""What must happen now and then in every replica: leases, take-overs, the reaper, contents past their time."""

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic

import structlog

from toolorchestra.core.errors import ToolOrchestraError
from toolorchestra.core.loop.machine import MAX_IDLE_RESUMES
from toolorchestra.core.loop.state import fold
from toolorchestra.core.tasks import RELEASED_CHANNEL, control_channel
from toolorchestra.kit.signals import SignalBus
from toolorchestra.ledger.runs import RunRecord
from toolorchestra.orchestrator.services.entry import Entry
from toolorchestra.orchestrator.services.manager import PASSED_ON, RunManager
from toolorchestra.orchestrator.services.waiting import Waiting
from toolorchestra.orchestrator.storage.accounts import AccountStore
from toolorchestra.orchestrator.storage.runs import RunStore

logger = structlog.get_logger(__name__)

REAP_S = 5.0
CONTENT_S = 60.0
TAKE_OVER_AT_ONCE = 4
LEASE_PARTS = 3  # a lease is renewed this often in its time


class Upkeep:
    """One per process."""

    def __init__(
        self,
        *,
        runs: RunStore,
        accounts: AccountStore,
        entry: Entry,
        manager: RunManager,
        waiting: Waiting,
        signals: SignalBus,
        lease_ms: int,
    ) -> None:
        self._runs = runs
        self._accounts = accounts
        self._entry = entry
        self._manager = manager
        self._waiting = waiting
        self._signals = signals
        self._lease_s = lease_ms / 1_000
        self._patient_until = 0.0

    async def run_forever(self) -> None:
        """All chores, each at its own pace, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(_every(self._lease_s / LEASE_PARTS, self.keep))
            group.create_task(_every(REAP_S, self.reap))
            group.create_task(_every(CONTENT_S, self.tidy))
            group.create_task(self.hear())

    async def keep(self) -> None:
        """Renew first: a process that was late does not take its own runs over.

        When the database was away, nobody could renew. So others get a lease's time to do it before their runs are taken over.
        """
        began, renewed = monotonic(), False
        try:
            await self.renew()
            renewed = monotonic() - began < self._lease_s / LEASE_PARTS
        finally:
            if not renewed:
                self._patient_until = monotonic() + self._lease_s
        if renewed and self._may_take_over:
            await self.take_over()

    @property
    def _may_take_over(self) -> bool:
        return monotonic() >= self._patient_until and not self._manager.draining

    async def hear(self) -> None:
        """Hear at once of wishes that other replicas took, and of runs that they gave back.

        What gets lost is heard of with the next renewal.
        """
        async with self._signals.subscribe(control_channel("*"), RELEASED_CHANNEL) as signals:
            async for signal in signals:
                if signal.gap:
                    await _try(self.renew)
                elif signal.channel == RELEASED_CHANNEL:
                    await _try(self.take_over_all)
                else:
                    self._manager.heard_cancel(signal.channel.rpartition(":")[2], signal.payload.decode(errors="replace"))

    async def renew(self) -> None:
        """Keep the leases of what is driven here, and hear who wishes its end. A run that nobody drives is taken over."""
        for run_id, by in (await self._runs.renew_leases(self._manager.driven)).items():
            if by is not None:
                self._manager.heard_cancel(run_id, by)

    async def take_over_all(self) -> None:
        """Renew, then go on with all runs that have no owner, a few at a time, so that other replicas get their share."""
        await self.keep()
        taken = TAKE_OVER_AT_ONCE
        while taken == TAKE_OVER_AT_ONCE and self._may_take_over:
            taken = await self.take_over()

    async def take_over(self) -> int:
        """Go on with runs whose process went silent; returns how many there were.

        One that cannot be read holds nobody up, and is ended at last.
        """
        records = await self._runs.take_over(TAKE_OVER_AT_ONCE)
        for record in records:
            try:
                await self._go_on(record)
            except (ToolOrchestraError, ValueError) as error:
                logger.warning("run_not_taken_over", run=record.id, resumes=record.resumes, error=str(error))
                if record.resumes > MAX_IDLE_RESUMES:
                    await self._waiting.give_up(record, reason="it could not be taken up again")
            else:
                logger.info("run_taken_over", run=record.id, resumes=record.resumes)
        return len(records)

    async def reap(self) -> None:
        """Close holds whose time is over."""
        closed = await self._accounts.reap()
        if closed:
            logger.info("holds_reaped", count=closed)

    async def tidy(self) -> None:
        """End runs whose client never came back; remove contents past their time."""
        for record in await self._runs.waiting_too_long():
            try:
                await self._waiting.end(record, by="the time limit for waiting")
            except (ToolOrchestraError, ValueError) as error:  # it holds up neither the others nor what follows
                logger.warning("waiting_run_not_ended", run=record.id, error=str(error))
        await self._runs.expire_content()

    async def _go_on(self, record: RunRecord) -> None:
        log = await self._runs.log(record.tenant, record.id)
        state = fold(record.id, log)
        opened = state.run
        if state.idle_resumes > MAX_IDLE_RESUMES + 1:
            raise ValueError("whoever drove it failed before it could end")
        context, revision = await self._entry.resume(record.id, opened)
        self._manager.launch(context, revision, log)
        if opened.policy.startswith(PASSED_ON):  # its client's connection is gone with the process
            self._manager.heard_cancel(record.id, "the loss of the connection")


async def _every(seconds: float, chore: Callable[[], Awaitable[None]]) -> None:
    """Repeat a chore. An error of ours is logged and the chore tried again; after anything else all chores begin anew."""
    while True:
        await _try(chore)
        await asyncio.sleep(seconds)


async def _try(chore: Callable[[], Awaitable[None]]) -> None:
    try:
        await chore()
    except ToolOrchestraError as error:
        logger.warning("chore_failed", chore=chore.__name__, error=str(error))
