"""The in-memory journal and runner: the same loop without services, for evaluation, training and tests.

Money is as strict as in the ledger: nested accounts with limits, holds, and a refusal when they do not fit.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from typing_extensions import override

from toolorchestra.core.calls import CallRequest, Executor, Outcome, Status
from toolorchestra.core.chat import ChatModels, DeltaKind
from toolorchestra.core.errors import ConflictError
from toolorchestra.core.loop.calls import broken_off, interrupted
from toolorchestra.core.loop.context import HOLD_GRACE_MS, CallRunner, Collected, Context, Observer, PendingCall
from toolorchestra.core.loop.engine import drive
from toolorchestra.core.loop.facts import Opened, Reserve
from toolorchestra.core.loop.journal import Denial, DeniedError, FencedError, Journal, Settle, Stamped, Take, Transition
from toolorchestra.core.loop.state import CallPhase, State, fold
from toolorchestra.core.money import MAX_NANO_USD, NanoUsd
from toolorchestra.core.policies.closing import closing_quote, reserve_nano_usd
from toolorchestra.core.policies.factory import policy_for
from toolorchestra.core.revision import Revision, require_inside
from toolorchestra.core.sessions import session_headers

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


@dataclass(slots=True)
class Purse:
    """One account: what may be spent, what is spent, and what is held, in nano-USD."""

    limit_nano_usd: NanoUsd = MAX_NANO_USD
    spent_nano_usd: NanoUsd = 0
    over_nano_usd: NanoUsd = 0
    holds: dict[str, NanoUsd] = field(default_factory=dict)
    account: str = "tenant"

    @property
    def held_nano_usd(self) -> NanoUsd:
        return sum(self.holds.values())

    def take(self, take: Take) -> None:
        """Reserve. Raises DeniedError when it does not fit."""
        if self.spent_nano_usd + self.held_nano_usd + take.amount_nano_usd > self.limit_nano_usd:
            raise DeniedError(
                Denial(take.hold, self.account, "total", self.limit_nano_usd, self.spent_nano_usd, self.held_nano_usd)
            )
        self.holds[take.hold] = take.amount_nano_usd

    def settle(self, settle: Settle) -> None:
        """Replace a hold by the truth, even above it. A hold that is unknown or settled is left alone."""
        held = self.holds.pop(settle.hold, None)
        if held is not None:
            self.spent_nano_usd += settle.actual_nano_usd
            self.over_nano_usd += max(0, settle.actual_nano_usd - held)

    def copy(self) -> "Purse":
        """The same account, to move money on trial."""
        return replace(self, holds=dict(self.holds))

    def become(self, other: "Purse") -> None:
        """Take over what a trial came to."""
        self.spent_nano_usd, self.over_nano_usd, self.holds = other.spent_nano_usd, other.over_nano_usd, other.holds


class MemoryJournal(Journal):
    """Keeps the log of runs in memory. ``log`` is by run id.

    As in the ledger, accounts nest: each run has one with its own cap, inside ``purse``, which all runs share.
    """

    def __init__(self, *, clock: Clock = utc_now, purse: Purse | None = None) -> None:
        self.log: dict[str, list[Stamped]] = {}
        self.purse = purse or Purse()
        self.runs: dict[str, Purse] = {}
        self.transitions: list[Transition] = []
        self._taken: set[str] = set()  # every hold there ever was
        self.clock = clock

    @override
    async def commit(self, transition: Transition) -> tuple[Stamped, ...]:
        log = self.log.get(transition.run_id, [])
        if len(log) != transition.after:
            raise FencedError(f"run {transition.run_id} went on elsewhere")
        self._move(transition)
        now = self.clock()
        stamped = tuple(Stamped(transition.after + n, now, fact) for n, fact in enumerate(transition.facts, start=1))
        self.log[transition.run_id] = [*log, *stamped]
        self.transitions.append(transition)
        return stamped

    def _move(self, transition: Transition) -> None:
        """All moves or none, in the run's account and in the shared one."""
        again = self._taken.intersection(take.hold for take in transition.takes)
        if again:
            raise ConflictError(f"taken before: {', '.join(sorted(again))}")
        run = self.runs.get(transition.run_id) or Purse(_cap(transition), account="run")
        trials = (run.copy(), self.purse.copy())
        for settle in transition.settles:
            for trial in trials:
                trial.settle(settle)
        for take in transition.takes:
            for trial in trials:
                trial.take(take)
        self.runs[transition.run_id] = trials[0]
        self.purse.become(trials[1])
        self._taken.update(take.hold for take in transition.takes)


def _cap(transition: Transition) -> NanoUsd:
    caps = [fact.limits.max_cost_nano_usd for fact in transition.facts if isinstance(fact, Opened)]
    return next((cap for cap in caps if cap is not None), MAX_NANO_USD)


class InlineRunner(CallRunner):
    """Runs every call here and now, whatever its execution says."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._begun: dict[str, CallRequest] = {}

    @override
    async def run(self, request: CallRequest) -> Outcome:
        return await self._executor.execute(request)

    @override
    async def collect(self, call: PendingCall) -> Collected:
        started = call.state.started
        if call.state.phase is CallPhase.INTERRUPTED:  # nobody else can say what became of it
            return Collected(interrupted(started.hold_nano_usd if started else 0), call.state.attempt, stored=False)
        if call.left_ms <= 0:
            outcome = Outcome(status=Status.TIMEOUT, content="the time of the call is up", sent=False)
            return Collected(outcome, call.state.attempt, stored=False)
        request = CallRequest(
            call_id=call.call_id,
            run_id=call.call_id.partition("/")[0],
            tenant=call.tenant,
            function=call.function,
            arguments=call.state.intent.arguments,
            attempt=call.state.attempt,
            idempotency_key=call.call_id,
            timeout_ms=call.left_ms,
            max_output_tokens=started.max_output_tokens if started else 0,
            session=call.session,
            headers=self.headers() | session_headers(call.session),
        )
        self._begun[call.call_id] = request
        return Collected(await self._executor.execute(request), call.state.attempt, stored=False)

    @override
    async def abandon(self, call: PendingCall) -> Collected:
        request = self._begun.get(call.call_id)
        if request is None:
            return await self.collect(replace(call, left_ms=0))
        return Collected(broken_off(request, request.timeout_ms - call.left_ms), call.state.attempt, stored=False)

    @override
    async def dispatch(self, calls: Sequence[tuple[str, str]]) -> None:
        """Nothing to announce: ``collect`` runs them."""

    @override
    def headers(self) -> dict[str, str]:
        return {}


class SilentObserver(Observer):
    """Tells nobody."""

    @override
    async def stored(self, facts: Sequence[Stamped]) -> None:
        """Nothing to tell."""

    @override
    async def delta(self, kind: DeltaKind, text: str) -> None:
        """Nothing to tell."""


async def open_episode(journal: Journal, revision: Revision, opened: Opened, *, run_id: str = "run") -> State:
    """Store the opening of a run and take its closing reserve, as the service does.

    Raises DeniedError when there is not even the money for a closing answer, ForbiddenError when a hard rule forbids the run.
    """
    require_inside(revision, opened.preference)
    quote = closing_quote(revision.closing, opened)
    reserve = Reserve(nano_usd=reserve_nano_usd(quote), max_tokens=quote.max_output_tokens)
    take = Take(f"{run_id}/{reserve.hold}", reserve.nano_usd, opened.limits.timeout_ms + HOLD_GRACE_MS, sent=False)
    first = opened.model_copy(update={"reserve": reserve})
    return fold(run_id, await journal.commit(Transition(run_id, 0, (first,), takes=(take,))))


async def run_episode(
    opened: Opened,
    revision: Revision,
    *,
    models: ChatModels,
    executor: Executor,
    journal: MemoryJournal | None = None,
    run_id: str = "run",
) -> State:
    """One run from its opening to its end, in memory."""
    book = journal or MemoryJournal()
    state = await open_episode(book, revision, opened, run_id=run_id)
    context = Context(
        run_id=run_id,
        revision=revision,
        journal=book,
        policy=policy_for(revision, models),
        runner=InlineRunner(executor),
        observer=SilentObserver(),
    )
    return await drive(context, state)
