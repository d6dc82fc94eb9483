"""The runs that this process drives: launched, taken over, cancelled, let go of, drained."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from functools import partial
from time import monotonic
from typing import Any, Final, Literal, TypeAlias

import structlog

from toolorchestra.core.calls import Executor
from toolorchestra.core.chat import ChatModels
from toolorchestra.core.errors import ToolOrchestraError
from toolorchestra.core.loop.context import Context, Wish
from toolorchestra.core.loop.engine import drive
from toolorchestra.core.loop.journal import FencedError, Stamped
from toolorchestra.core.loop.state import fold
from toolorchestra.core.policies.factory import policy_for
from toolorchestra.core.policies.protocol import Policy
from toolorchestra.core.revision import Revision
from toolorchestra.core.tasks import RELEASED_CHANNEL, control_channel, run_channel
from toolorchestra.kit.signals import SignalBus
from toolorchestra.kit.telemetry import inject
from toolorchestra.ledger.database import Database
from toolorchestra.ledger.journal import LedgerJournal
from toolorchestra.ledger.runs import RunState
from toolorchestra.ledger.transitions import RunContext
from toolorchestra.orchestrator.services.directpolicy import DIRECT, DirectPolicy
from toolorchestra.orchestrator.services.hub import Hub, Item, passing, rests
from toolorchestra.orchestrator.services.metrics import Measured, Metrics
from toolorchestra.orchestrator.services.observing import HubObserver
from toolorchestra.orchestrator.services.outbox import Outbox
from toolorchestra.orchestrator.services.runner import BLIND_POLL_MS, POLL_MS, DurableRunner
from toolorchestra.orchestrator.services.tracing import TurnSpans, finish_run_span, run_span
from toolorchestra.orchestrator.storage.calls import CallStore
from toolorchestra.orchestrator.storage.queue import CallQueue
from toolorchestra.orchestrator.storage.runs import RunStore

logger = structlog.get_logger(__name__)

PASSED_ON: Final = "passthrough:"
RETURN_GRACE_S: Final = 5.0  # a client that lost its connection may come back: the official SDK retries within this time
REMOTE_POLL_MS: Final = 1_000
STOPPING: Final = "the end of this process"
LISTENING: Final = b'{"listening": true}'


@dataclass(frozen=True, slots=True)
class Wishes:
    """What others may wish of a run that is driven here: its end, or that this process lets go of it."""

    cancelled: Wish = field(default_factory=Wish)
    released: Wish = field(default_factory=Wish)


Work: TypeAlias = Callable[[Wishes], Coroutine[Any, Any, None]]


@dataclass(slots=True)
class _Driven:
    """A run that this process drives."""

    task: asyncio.Task[None]
    wishes: Wishes
    listeners: int = 0
    leaving: asyncio.Task[None] | None = field(default=None)


class RunManager:
    """One per process."""

    def __init__(
        self,
        *,
        database: Database,
        hub: Hub,
        runs: RunStore,
        signals: SignalBus,
        outbox: Outbox,
        queue: CallQueue | None,
        executor: Executor,
        models: ChatModels,
        metrics: Metrics,
        has_signals: bool,
    ) -> None:
        self.models = models
        self._database = database
        self._hub = hub
        self._runs = runs
        self._signals = signals
        self._outbox = outbox
        self._queue = queue
        self._executor = executor
        self._metrics = metrics
        self._poll_ms = POLL_MS if has_signals else BLIND_POLL_MS
        self._driven: dict[str, _Driven] = {}
        self.draining = False

    @property
    def active(self) -> int:
        return len(self._driven)

    @property
    def driven(self) -> set[str]:
        """The runs that this process drives now."""
        return set(self._driven)

    def launch(self, context: RunContext, revision: Revision, facts: Sequence[Stamped]) -> None:
        """Drive a run from its stored facts, in the background."""
        self.drive(context.run_id, facts, partial(self._drive, context, revision, facts))

    def drive(self, run_id: str, facts: Sequence[Stamped], work: Work) -> None:
        """Do ``work``, which drives the run, in the background. From now on its wishes, listeners and lease are minded."""
        wishes = Wishes()
        if self.draining:
            wishes.released.request(STOPPING)
        self._hub.open(run_id, facts)
        task = asyncio.create_task(self._keep(run_id, work(wishes)), name=run_id)
        self._driven[run_id] = _Driven(task, wishes)

    def tell(self, run_id: str, facts: Sequence[Stamped]) -> None:
        """New facts of a run that is driven here, for those who follow it, here and elsewhere."""
        channel = self._hub.get(run_id)
        if channel is not None:
            channel.publish(facts)
        self._outbox.post(run_channel(run_id), json.dumps({"seq": facts[-1].seq}))

    def listen(self, run_id: str) -> None:
        """A client follows the run."""
        driven = self._driven.get(run_id)
        if driven is not None:
            driven.listeners += 1
            if driven.leaving is not None:
                driven.leaving.cancel()
                driven.leaving = None

    def let_go(self, run_id: str, on_disconnect: Literal["cancel", "continue"]) -> None:
        """A client no longer follows the run. The last one to leave an unfinished run cancels it, unless one comes back."""
        driven = self._driven.get(run_id)
        if driven is None:
            return
        driven.listeners -= 1
        if driven.listeners <= 0 and on_disconnect == "cancel" and driven.leaving is None:
            driven.leaving = asyncio.create_task(self._leave(run_id, driven.wishes.cancelled))

    async def cancel(self, tenant: str, run_id: str, by: str) -> None:
        """Wish the end of a run, wherever it is driven."""
        await self._runs.request_cancel(tenant, run_id, by)
        if run_id in self._driven:
            self.heard_cancel(run_id, by)
        else:
            await self._signals.publish(control_channel(run_id), by)

    def heard_cancel(self, run_id: str, by: str) -> None:
        """Somebody wishes the end of a run; it is ended if it is driven here."""
        driven = self._driven.get(run_id)
        if driven is not None:
            driven.wishes.cancelled.request(by)

    async def follow(self, tenant: str, run_id: str, *, after: int, listening: bool = False) -> AsyncGenerator[Item, None]:
        """Facts after ``after`` and passing text until the run rests, whichever process drives it.

        ``listening``: somebody waits for the answer, so the run is not to be cancelled for want of listeners.
        """
        channel = self._hub.get(run_id)
        newest: Stamped | None = None
        if channel is not None:
            async with aclosing(channel.follow(after)) as items:
                async for item in items:
                    newest = item if isinstance(item, Stamped) else newest
                    yield item
        if newest is not None:
            if rests(newest):
                return
            after = newest.seq
        async with aclosing(self._follow_remote(tenant, run_id, after, listening=listening)) as items:
            async for item in items:
                yield item

    async def drain(self, seconds: float) -> None:
        """Let go of each run when what is under way is stored; of what takes longer than ``seconds``, in the middle."""
        self.draining = True
        for driven in self._driven.values():
            driven.wishes.released.request(STOPPING)
        if self._driven:
            await asyncio.wait([driven.task for driven in self._driven.values()], timeout=seconds)
        tasks = [driven.task for driven in self._driven.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._give_back(None)

    async def _keep(self, run_id: str, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except FencedError:
            logger.warning("run_lost", run=run_id)
        except Exception as error:  # whatever it was, its lease runs out, and it is taken over
            logger.exception("run_interrupted", run=run_id, code=getattr(error, "code", None))
        finally:
            self._forget(run_id)

    async def _drive(self, run: RunContext, revision: Revision, facts: Sequence[Stamped], wishes: Wishes) -> None:
        state = fold(run.run_id, list(facts))
        with run_span(run.run_id, state.run.model, run.tenant, state.run.traceparent) as span:
            end = await drive(self._context(run, revision, wishes, state.run.model), state)
            finish_run_span(span, end)
        if end.ended is None and end.parked_at is None:
            await self._give_back([run.run_id])
            logger.info("run_released", run=run.run_id)

    async def _give_back(self, runs: Sequence[str] | None) -> None:
        with suppress(ToolOrchestraError):  # the leases run out by themselves
            await self._runs.give_back(runs)
        await self._signals.publish(RELEASED_CHANNEL)

    def _forget(self, run_id: str) -> None:
        """The current task no longer drives the run. Another of this process may, one that took over what this one lost."""
        driven = self._driven.get(run_id)
        if driven is None or driven.task is not asyncio.current_task():
            return
        del self._driven[run_id]
        if driven.leaving is not None:
            driven.leaving.cancel()
        self._hub.close(run_id)

    def _context(self, run: RunContext, revision: Revision, wishes: Wishes, model: str) -> Context:
        channel = self._hub.get(run.run_id) or self._hub.open(run.run_id)
        return Context(
            run_id=run.run_id,
            revision=revision,
            journal=LedgerJournal(self._database, run, on_cancel=wishes.cancelled.request, traceparent=_traceparent),
            policy=self._policy(run, revision),
            runner=DurableRunner(
                run_id=run.run_id,
                executor=self._executor,
                calls=CallStore(self._database, run.tenant),
                queue=self._queue,
                signals=self._signals,
                poll_ms=self._poll_ms,
            ),
            observer=TurnSpans(Measured(HubObserver(run.run_id, channel, self._outbox), self._metrics, model)),
            cancelled=wishes.cancelled,
            released=wishes.released,
        )

    def _policy(self, run: RunContext, revision: Revision) -> Policy:
        if run.policy.startswith((DIRECT, PASSED_ON)):  # of the latter only the end is driven, and nothing is asked
            return DirectPolicy()
        return policy_for(revision, self.models)

    async def _leave(self, run_id: str, cancelled: Wish) -> None:
        """Cancel the run if nobody comes back in time, here or at another replica, whose followers say that they listen."""
        async with self._signals.subscribe(run_channel(run_id)) as signals:
            until = monotonic() + RETURN_GRACE_S
            while (left_s := until - monotonic()) > 0:
                signal = await signals.next(max(1, int(left_s * 1_000)))
                if signal is not None and signal.payload == LISTENING:
                    until = monotonic() + RETURN_GRACE_S
        cancelled.request("the client, who went away")

    async def _follow_remote(self, tenant: str, run_id: str, after: int, *, listening: bool) -> AsyncGenerator[Item, None]:
        said = 0.0
        async with self._signals.subscribe(run_channel(run_id)) as signals:
            while True:
                if listening and monotonic() - said >= REMOTE_POLL_MS / 1_000:
                    said = monotonic()
                    self._outbox.post(run_channel(run_id), LISTENING.decode())
                state = (await self._runs.get(tenant, run_id)).state  # read first: of a run that rests the log then is whole
                facts = await self._runs.log(tenant, run_id, after=after)
                for stamped in facts:
                    after = stamped.seq
                    yield stamped
                if rests(facts[-1]) if facts else state is not RunState.RUNNING:
                    return
                signal = await signals.next(REMOTE_POLL_MS)
                while signal is not None and (item := passing(signal.payload)) is not None:
                    yield item  # text alone is no reason to look into the database
                    signal = await signals.next(REMOTE_POLL_MS)


def _traceparent() -> str | None:
    return inject().get("traceparent")
