"""One call, from its id to its stored outcome: claim → execute → finish → signal.

The claim is a compare-and-set, so a call id that arrives twice is executed once. While the work goes on the lease is renewed;
a worker that dies loses it, and then another may take the call, unless repeating it could do harm.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import structlog

from toolorchestra.core.calls import CallRequest, Executor, Outcome
from toolorchestra.core.errors import NotFoundError, ToolOrchestraError, UnavailableError
from toolorchestra.core.functions import Function
from toolorchestra.core.sessions import session_headers
from toolorchestra.core.tasks import call_channel, over_channel
from toolorchestra.kit.signals import SignalBus
from toolorchestra.kit.telemetry import inject
from toolorchestra.ledger.calls import HOLD_GRACE_MS, Claim, StoredCall
from toolorchestra.worker.services import outcomes
from toolorchestra.worker.services.lease import Interrupted, Interruption, Lease
from toolorchestra.worker.services.pulse import NO_PULSE, Pulse
from toolorchestra.worker.services.retrying import retrying
from toolorchestra.worker.services.tracing import consumer_span, describe
from toolorchestra.worker.settings import WorkerClass
from toolorchestra.worker.storage.calls import CallStore
from toolorchestra.worker.storage.revisions import RevisionStore

MARGIN_MS: Final = 250  # kept of a call's time, so that "it took too long" is stored before its deadline
CANCEL_S: Final = 2.0  # what a backend gets to end after it was cancelled

logger = structlog.get_logger(__name__)


class Handling(StrEnum):
    """What became of a message. Only ``GIVEN_BACK`` is to be delivered again."""

    DONE = "done"
    NOT_OURS = "not_ours"
    GIVEN_BACK = "given_back"


@dataclass(frozen=True, slots=True)
class Abilities:
    """What this worker may execute, and how long it keeps a call without a renewal. ``rung`` is its observed sandbox."""

    worker_class: WorkerClass = WorkerClass.CALLS
    rung: str | None = None
    lease_ms: int = 15_000


class CallService:
    """Executes calls by their ids, many at once, in one event loop."""

    def __init__(
        self,
        store: CallStore,
        revisions: RevisionStore,
        executor: Executor,
        signals: SignalBus,
        abilities: Abilities,
        *,
        pulse: Pulse = NO_PULSE,
    ) -> None:
        self._store = store
        self._revisions = revisions
        self._executor = executor
        self._signals = signals
        self._abilities = abilities
        self._pulse = pulse
        self._running: set[Interrupted] = set()
        self._leases: dict[str, Lease] = {}
        self._draining = False
        self._stop = asyncio.Event()

    async def run(self, call_id: str, headers: Mapping[str, str] | None = None) -> Handling:
        """Execute a call unless somebody else has. ``headers`` of the message carry the trace."""
        if self._draining:
            return Handling.GIVEN_BACK
        began_ns = time.time_ns()
        with structlog.contextvars.bound_contextvars(call=call_id):
            try:
                claim = await self._claim(call_id)
            except UnavailableError:
                return Handling.GIVEN_BACK
            if claim is None:
                return Handling.NOT_OURS
            with consumer_span(claim, self._abilities.worker_class.queue, headers or {}, began_ns=began_ns) as span:
                outcome = await self._work(claim)
                if outcome is None:
                    span.add_event("given back")
                    return Handling.GIVEN_BACK
                describe(span, outcome)
                return Handling.DONE

    def drain(self, drain_ms: int) -> None:
        """Take nothing more. What still runs after ``drain_ms`` is given back, or ended if it must not be repeated."""
        if not self._draining:
            self._draining = True
            asyncio.get_running_loop().call_later(drain_ms / 1_000, self._interrupt_all)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Hear while the block lasts that calls are over. Without signals that is found out when a lease is renewed."""
        hearing = asyncio.create_task(self._hear(), name="calls that are over")
        try:
            yield
        finally:
            hearing.cancel()
            await asyncio.gather(hearing, return_exceptions=True)

    async def _hear(self) -> None:
        async with self._signals.subscribe(over_channel("*")) as signals:
            async for signal in signals:
                for channel, lease in self._leases.items():
                    if signal.gap or channel == signal.channel:
                        lease.doubt()

    def _interrupt_all(self) -> None:
        self._stop.set()
        for interrupted in self._running:
            if not interrupted.done():
                interrupted.set_result(Interruption.STOPPED)

    async def _claim(self, call_id: str) -> Claim | None:
        """None when there is nothing to do: it is done, taken, over, or was never there."""
        lease_ms = self._abilities.lease_ms
        try:
            found = await retrying(
                lambda: self._store.claim(call_id, lease_ms=lease_ms), "claim", patience_ms=lease_ms, stop=self._stop
            )
        except NotFoundError as error:
            logger.warning("call_unknown", reason=str(error))
            return None
        if isinstance(found, StoredCall):
            logger.info("call_not_claimed", state=found.state.value, has_outcome=found.outcome is not None)
            if found.outcome is not None:
                await self._tell(call_id)
            return None
        return found

    async def _work(self, claim: Claim) -> Outcome | None:
        """The outcome of the attempt, stored if that was possible; None if the call was given back."""
        interrupted: Interrupted = asyncio.get_running_loop().create_future()
        self._running.add(interrupted)
        if self._stop.is_set():
            interrupted.set_result(Interruption.STOPPED)
        until = time.monotonic() + (claim.left_ms + HOLD_GRACE_MS) / 1_000
        try:
            lease = Lease(self._store, claim, interrupted, lease_ms=self._abilities.lease_ms, pulse=self._pulse)
            self._leases[over_channel(claim.call_id)] = lease
            async with lease:
                outcome = await self._outcome(claim, interrupted)
                if outcome is None:
                    await self._give_back(claim)
                    return None
                await self._finish(claim, outcome, patience_ms=int((until - time.monotonic()) * 1_000))
        finally:
            self._running.discard(interrupted)
            self._leases.pop(over_channel(claim.call_id), None)
        self._pulse.beat()
        await self._tell(claim.call_id)
        return outcome

    async def _outcome(self, claim: Claim, interrupted: Interrupted) -> Outcome | None:
        try:
            function = await self._function(claim)
        except ToolOrchestraError as error:
            logger.warning("call_not_made", reason=str(error))
            return outcomes.not_made(error)
        refused = outcomes.refusal(function, self._abilities.worker_class, self._abilities.rung)
        if refused is not None:
            logger.error("call_refused", reason=refused.content)
            return refused
        return await self._execute(claim, function, interrupted)

    async def _function(self, claim: Claim) -> Function:
        if claim.revision is None:
            raise NotFoundError(f"run {claim.run_id!r} has no revision")
        tenant, revision_id = claim.tenant, claim.revision
        revision = await retrying(
            lambda: self._revisions.load(tenant, revision_id), "load", patience_ms=claim.left_ms, stop=self._stop
        )
        function = revision.function(claim.function)
        if function is None:
            raise NotFoundError(f"revision {claim.revision!r} has no function {claim.function!r}")
        return function

    async def _execute(self, claim: Claim, function: Function, interrupted: Interrupted) -> Outcome | None:
        execution = asyncio.create_task(self._executor.execute(_request(claim, function)), name=claim.call_id)
        try:
            either: set[asyncio.Future[Any]] = {execution, interrupted}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not execution.done():
                execution.cancel()
                await asyncio.wait({execution}, timeout=CANCEL_S)
        finally:
            execution.cancel()
        if not execution.done() or execution.cancelled():
            return _ended_early(claim, interrupted)
        error = execution.exception()
        if error is None:
            return execution.result()
        if not isinstance(error, Exception):
            raise error
        logger.error("executor_failed", function=function.name, exc_info=error)
        return outcomes.crashed(claim, error)

    async def _give_back(self, claim: Claim) -> None:
        """Let another worker take the call at once, instead of after the lease."""
        try:
            await self._store.extend(claim, lease_ms=0)
        except ToolOrchestraError as error:
            logger.warning("call_not_given_back", reason=str(error))
        else:
            logger.info("call_given_back", attempt=claim.attempt)

    async def _finish(self, claim: Claim, outcome: Outcome, *, patience_ms: int) -> None:
        """Store the outcome. Lost is only what could not be stored until the call's hold has expired."""
        facts = {"function": claim.function, "attempt": claim.attempt, "status": outcome.status.value}
        try:
            counted = await self._stored(claim, outcome, patience_ms)
        except UnavailableError as error:
            logger.critical("outcome_lost", **facts, cost_nano_usd=outcome.cost_nano_usd, reason=str(error))
        except ToolOrchestraError as error:
            logger.exception("outcome_refused", **facts)
            await self._finish_plainly(claim, outcomes.unstorable(outcome, error), patience_ms)
        else:
            logger.info("call_finished", **facts, counted=counted, latency_ms=outcome.latency_ms)

    async def _finish_plainly(self, claim: Claim, outcome: Outcome, patience_ms: int) -> None:
        try:
            await self._stored(claim, outcome, patience_ms)
        except ToolOrchestraError:
            logger.exception("outcome_lost", cost_nano_usd=outcome.cost_nano_usd)

    async def _stored(self, claim: Claim, outcome: Outcome, patience_ms: int) -> bool:
        return await retrying(lambda: self._store.finish(claim, outcome), "finish", patience_ms=patience_ms, stop=self._stop)

    async def _tell(self, call_id: str) -> None:
        run_id = call_id.rsplit("/", 2)[0]
        await self._signals.publish(call_channel(run_id), call_id)


def _request(claim: Claim, function: Function) -> CallRequest:
    return CallRequest(
        call_id=claim.call_id,
        run_id=claim.run_id,
        tenant=claim.tenant,
        function=function,
        arguments=claim.arguments,
        attempt=claim.attempt,
        idempotency_key=claim.call_id,
        timeout_ms=max(1, claim.left_ms - min(MARGIN_MS, claim.left_ms // 10)),
        max_output_tokens=claim.max_output_tokens,
        session=claim.session,
        headers=inject() | session_headers(claim.session),
    )


def _ended_early(claim: Claim, interrupted: Interrupted) -> Outcome | None:
    """A call that was cancelled. Stopping gives it back, unless repeating it could do harm."""
    if interrupted.done() and interrupted.result() is Interruption.STOPPED:
        return outcomes.interrupted(claim) if claim.side_effects == "destructive" else None
    logger.warning("call_lost", attempt=claim.attempt)
    return outcomes.unwanted(claim)
