"""The state of a run: a fold of its facts. Pure; the same for live runs, replays and take-overs."""

import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

from toolorchestra.core.calls import INTERRUPTED, Outcome, Status
from toolorchestra.core.loop import facts as f
from toolorchestra.core.loop.journal import Stamped
from toolorchestra.core.money import NanoUsd
from toolorchestra.core.pricing import Usage

NEVER: Final = datetime.min.replace(tzinfo=UTC)
_CALL_ID: Final = re.compile(r"([0-9]{1,3})/([0-9]{1,3})")


class CallPhase(StrEnum):
    PLANNED = "planned"
    RUNNING = "running"
    INTERRUPTED = "interrupted"  # was running when its process went away
    CLIENT = "client"  # the client's own function; its answer is awaited
    DONE = "done"


@dataclass(frozen=True, slots=True)
class CallState:
    """One call of a turn. ``deadline`` is set while it runs; ``lost_nano_usd`` was charged for earlier, lost attempts."""

    ordinal: int
    intent: f.Intent
    phase: CallPhase = CallPhase.PLANNED
    attempt: int = 0
    started: f.StartedCall | None = None
    deadline: datetime | None = None
    outcome: Outcome | None = None
    lost_nano_usd: NanoUsd = 0

    @property
    def cost_nano_usd(self) -> NanoUsd:
        """The call with its lost attempts, as far as the facts tell."""
        return self.lost_nano_usd + (self.outcome.cost_nano_usd if self.outcome else 0)


@dataclass(frozen=True, slots=True)
class Turn:
    """One decision of the policy with its calls. ``asked`` without ``decided``: the policy is thinking."""

    number: int
    asked: f.Asked | None = None
    decided: f.Decided | None = None
    failure: f.AskFailed | None = None
    interrupted: bool = False
    calls: tuple[CallState, ...] = ()
    left_ms: int = 0  # what was left of the run when the turn's last call had finished
    left_nano_usd: NanoUsd | None = None
    cost_nano_usd: NanoUsd = 0  # the decision and the calls, with all their failed and lost attempts

    @property
    def closing(self) -> bool:
        """Whether only an answer counts in this turn."""
        return self.asked is not None and self.asked.forced is not None

    def call(self, ordinal: int) -> CallState:
        return self.calls[ordinal - 1]


@dataclass(frozen=True, slots=True)
class State:
    """Everything the loop decides on. ``now`` is the time of the newest fact, ``seq`` its place in the log."""

    run_id: str
    seq: int = 0
    now: datetime = NEVER
    opened: f.Opened | None = None
    opened_at: datetime = NEVER
    reserve: f.Reserve = field(default_factory=f.Reserve)
    reserve_used: bool = False
    turns: tuple[Turn, ...] = ()
    spent_nano_usd: NanoUsd = 0
    usage: Usage = field(default_factory=Usage)
    idle_resumes: int = 0  # take-overs since the last progress
    waited_ms: int = 0  # time parked, which no limit counts
    parked_at: datetime | None = None
    cancel: f.CancelRequested | None = None
    ended: f.Ended | None = None

    @property
    def run(self) -> f.Opened:
        """The opening fact. Every stored run begins with one."""
        if self.opened is None:
            raise ValueError(f"run {self.run_id} has no opening fact")
        return self.opened

    @property
    def turn(self) -> Turn | None:
        return self.turns[-1] if self.turns else None

    @property
    def deadline(self) -> datetime:
        return self.opened_at + timedelta(milliseconds=self.run.limits.timeout_ms + self.waited_ms)

    @property
    def left_ms(self) -> int:
        return max(0, int((self.deadline - self.now).total_seconds() * 1000))

    @property
    def left_nano_usd(self) -> NanoUsd | None:
        """Money left under the run's own cap, the closing reserve set aside; None without a cap."""
        cap = self.run.limits.max_cost_nano_usd
        aside = 0 if self.reserve_used else self.reserve.nano_usd
        return None if cap is None else max(0, cap - self.spent_nano_usd - aside)

    def outcome(self, call_id: str) -> Outcome | None:
        """The outcome of call ``turn/ordinal``; None if there is no such finished call."""
        found = _CALL_ID.fullmatch(call_id)
        if found is None:
            return None
        number, ordinal = int(found[1]), int(found[2])
        turn = next((t for t in self.turns if t.number == number and 0 < ordinal <= len(t.calls)), None)
        return turn.call(ordinal).outcome if turn is not None else None

    def best_observation(self) -> tuple[str, Outcome] | None:
        """The newest good result, experts' and tools' alike, for a run that must end without an answer."""
        for turn in reversed(self.turns):
            for call in reversed(turn.calls):
                if call.outcome is not None and call.outcome.status is Status.OK and call.outcome.content.strip():
                    return f"{turn.number}/{call.ordinal}", call.outcome
        return None


def fold(run_id: str, log: tuple[Stamped, ...] | list[Stamped]) -> State:
    """The state after all of ``log``."""
    state = State(run_id)
    for stamped in log:
        state = apply(state, stamped)
    return state


def apply(state: State, stamped: Stamped) -> State:
    """The state after one more fact."""
    moved = replace(state, seq=stamped.seq, now=stamped.at)
    match stamped.fact:
        case f.Opened() as fact:
            return replace(moved, opened=fact, opened_at=stamped.at, reserve=fact.reserve)
        case f.Asked() as fact:
            return _asked(moved, fact)
        case f.Decided() as fact:
            return _decided(moved, fact)
        case f.AskFailed() as fact:
            return _ask_failed(moved, fact)
        case f.CallsStarted() as fact:
            return _calls_started(moved, fact)
        case f.CallFinished() as fact:
            return _call_finished(moved, fact)
        case f.Parked():
            return replace(moved, parked_at=stamped.at, reserve_used=True)
        case f.Continued() as fact:
            return _continued(moved, fact)
        case f.Resumed():
            return _resumed(moved)
        case f.CancelRequested() as fact:
            return replace(moved, cancel=moved.cancel or fact)
        case f.Ended() as fact:
            return replace(moved, ended=fact)


def _asked(state: State, fact: f.Asked) -> State:
    used = state.reserve_used or fact.forced is not None
    last = state.turn
    if last is not None and last.number == fact.turn:
        again = replace(last, asked=fact, failure=None, interrupted=False)
        return replace(state, turns=(*state.turns[:-1], again), reserve_used=used)
    return replace(state, turns=(*state.turns, Turn(fact.turn, asked=fact)), reserve_used=used)


def _decided(state: State, fact: f.Decided) -> State:
    calls = tuple(
        CallState(n, intent, CallPhase.CLIENT if intent.client and intent.problem is None else CallPhase.PLANNED)
        for n, intent in enumerate(fact.decision.calls, start=1)
    )
    last = _current(state)
    cost = last.cost_nano_usd + fact.cost_nano_usd
    turn = replace(last, decided=fact, interrupted=False, calls=calls, cost_nano_usd=cost)
    return _paid(state, turn, fact.cost_nano_usd, fact.usage, idle_resumes=0)


def _ask_failed(state: State, fact: f.AskFailed) -> State:
    last = state.turn
    if last is None or last.number != fact.turn:  # refused before it was asked
        return replace(state, turns=(*state.turns, Turn(fact.turn, failure=fact)))
    turn = replace(last, failure=fact, interrupted=False, cost_nano_usd=last.cost_nano_usd + fact.cost_nano_usd)
    return _paid(state, turn, fact.cost_nano_usd, fact.usage)


def _calls_started(state: State, fact: f.CallsStarted) -> State:
    turn, lost = _current(state), sum(started.lost_nano_usd for started in fact.calls)
    calls = {call.ordinal: call for call in turn.calls}
    for started in fact.calls:
        before = calls[started.ordinal]
        calls[started.ordinal] = replace(
            before,
            phase=CallPhase.RUNNING,
            attempt=started.attempt,
            started=started,
            deadline=state.now + timedelta(milliseconds=started.timeout_ms),
            lost_nano_usd=before.lost_nano_usd + started.lost_nano_usd,
        )
    turn = replace(turn, calls=tuple(calls.values()), cost_nano_usd=turn.cost_nano_usd + lost)
    return _paid(state, turn, lost, None)


def _call_finished(state: State, fact: f.CallFinished) -> State:
    turn, outcome = _current(state), fact.outcome
    call = replace(turn.call(fact.ordinal), phase=CallPhase.DONE, attempt=fact.attempt, outcome=outcome)
    turn = replace(_with(turn, call), cost_nano_usd=turn.cost_nano_usd + outcome.cost_nano_usd)
    idle = state.idle_resumes if outcome.error_code == INTERRUPTED else 0
    return _left(_paid(state, turn, outcome.cost_nano_usd, outcome.usage, idle_resumes=idle))


def _continued(state: State, fact: f.Continued) -> State:
    turn = _current(state)
    for ordinal, content in fact.results.items():
        outcome = Outcome(status=Status.OK, content=content, sent=False)
        turn = _with(turn, replace(turn.call(ordinal), phase=CallPhase.DONE, outcome=outcome))
    waited = state.now - (state.parked_at or state.now)
    return _left(
        replace(
            _last(state, turn),
            parked_at=None,
            waited_ms=state.waited_ms + int(waited.total_seconds() * 1000),
            reserve=fact.reserve,
            reserve_used=False,
            idle_resumes=0,
        )
    )


def _resumed(state: State) -> State:
    state = replace(state, idle_resumes=state.idle_resumes + 1)
    turn = state.turn
    if turn is None:
        return state
    for call in turn.calls:
        if call.phase is CallPhase.RUNNING:
            turn = _with(turn, replace(call, phase=CallPhase.INTERRUPTED))
    thinking = turn.asked is not None and turn.decided is None and turn.failure is None
    return _last(state, replace(turn, interrupted=thinking))


def _current(state: State) -> Turn:
    if state.turn is None:
        raise ValueError(f"run {state.run_id}: a fact of a turn before the first question")
    return state.turn


def _last(state: State, turn: Turn) -> State:
    return replace(state, turns=(*state.turns[:-1], turn))


def _left(state: State) -> State:
    return _last(state, replace(_current(state), left_ms=state.left_ms, left_nano_usd=state.left_nano_usd))


def _with(turn: Turn, call: CallState) -> Turn:
    calls = tuple(call if c.ordinal == call.ordinal else c for c in turn.calls)
    return replace(turn, calls=calls)


def _paid(state: State, turn: Turn, cost_nano_usd: NanoUsd, usage: Usage | None, *, idle_resumes: int | None = None) -> State:
    """The state with ``turn`` for its last one, which already counts what is paid here."""
    return replace(
        state,
        turns=(*state.turns[:-1], turn),
        spent_nano_usd=state.spent_nano_usd + cost_nano_usd,
        usage=state.usage + usage if usage is not None else state.usage,
        idle_resumes=state.idle_resumes if idle_resumes is None else idle_resumes,
    )
