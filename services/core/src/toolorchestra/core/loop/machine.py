"""What comes next: a pure function of the state.

No state is without an exit; turn, token, time and money limits end in an answer.
"""

from dataclasses import dataclass
from typing import Final, TypeAlias

from toolorchestra.core.calls import Status
from toolorchestra.core.loop import facts as f
from toolorchestra.core.loop.state import CallPhase, CallState, State, Turn

MAX_IDLE_RESUMES: Final = 3
MAX_ASK_ATTEMPTS: Final = 3
CLOSING_SHARE: Final = 8  # the last eighth of a run's time belongs to the closing answer …
CLOSING_MOST_MS: Final = 30_000  # … but never more than this


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask the policy for turn ``turn``. ``forced`` says why it must answer now."""

    turn: int
    attempt: int
    forced: str | None = None


@dataclass(frozen=True, slots=True)
class Lose:
    """The policy was being asked when the process went away; pay for that, and count it as a failed attempt."""


@dataclass(frozen=True, slots=True)
class Start:
    """Start these calls of the current turn, all at once."""

    calls: tuple[CallState, ...]


@dataclass(frozen=True, slots=True)
class Await:
    """Calls run elsewhere, or were interrupted; find out what became of them."""

    calls: tuple[CallState, ...]


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The run must end now; wait for these calls no longer."""

    calls: tuple[CallState, ...]


@dataclass(frozen=True, slots=True)
class Park:
    """Only the client can go on."""


@dataclass(frozen=True, slots=True)
class Finish:
    """End the run with this fact."""

    fact: f.Ended


@dataclass(frozen=True, slots=True)
class Rest:
    """Nothing to do: ended, or parked."""


Step: TypeAlias = Ask | Lose | Start | Await | GiveUp | Park | Finish | Rest


def decide(state: State, *, parallel: frozenset[str] = frozenset()) -> Step:
    """The next step. ``parallel`` names the functions whose calls may run side by side (all readOnly)."""
    turn = state.turn
    if state.ended is not None:
        return Rest()
    if turn is not None and turn.interrupted:
        return Lose()
    stop = _stop(state)
    if stop is not None:
        pending = _pending(turn)
        return GiveUp(pending) if pending else Finish(stop)
    if state.parked_at is not None:
        return Rest()
    if turn is None:
        return _ask(state, 1)
    if turn.decided is None:
        return _ask_again(state, turn)
    if turn.calls and not turn.closing:
        return _calls(state, turn, parallel)
    return _answer(state, turn, turn.decided)


def closing_ms(limits: f.Limits) -> int:
    """The time at the end of a run that is kept for its closing answer, in ms."""
    return min(limits.timeout_ms // CLOSING_SHARE, CLOSING_MOST_MS)


def force_reason(state: State, turn: int) -> str | None:
    """Why the answer is due now; None while the run may go on."""
    limits = state.run.limits
    if turn >= limits.max_turns:
        return f"this is turn {turn} of {limits.max_turns}"
    if state.left_ms <= closing_ms(limits):
        return "the time is nearly up"
    used = state.usage.input + state.usage.output
    if limits.max_total_tokens is not None and used >= limits.max_total_tokens:
        return "the token limit is reached"
    if state.left_nano_usd == 0 and state.spent_nano_usd > 0:  # a cap of nothing still allows what is free
        return "the money is nearly spent"
    return None


def _stop(state: State) -> f.Ended | None:
    """The end of a run that may not go on."""
    if state.cancel is not None:
        return _cancelled(state, state.cancel)
    if state.idle_resumes > MAX_IDLE_RESUMES:
        return _failed(f"no progress after {MAX_IDLE_RESUMES} take-overs")
    return None


def _ask(state: State, number: int) -> Ask:
    return Ask(number, 1, forced=force_reason(state, number))


def _ask_again(state: State, turn: Turn) -> Step:
    failure = turn.failure
    if failure is None:
        raise ValueError("the policy is being asked; there is nothing to decide yet")
    if state.reserve_used:  # the reserve pays one closing answer, not two
        forced = turn.asked.forced if turn.asked else None
        return Finish(_fallback(state, f"{forced}; {failure.message}" if forced else failure.message))
    attempt = (turn.asked.attempt if turn.asked else 0) + 1
    if failure.retryable and attempt <= MAX_ASK_ATTEMPTS:
        return Ask(turn.number, attempt, forced=force_reason(state, turn.number))
    return Ask(turn.number, attempt, forced=failure.message)


def _pending(turn: Turn | None) -> tuple[CallState, ...]:
    calls = turn.calls if turn is not None else ()
    return tuple(c for c in calls if c.phase in (CallPhase.RUNNING, CallPhase.INTERRUPTED))


def _calls(state: State, turn: Turn, parallel: frozenset[str]) -> Step:
    pending = _pending(turn)
    if pending:
        return Await(pending)
    planned = [c for c in turn.calls if c.phase is CallPhase.PLANNED]
    if planned:
        together = all(c.intent.function in parallel or c.intent.problem for c in planned)
        return Start(tuple(planned if together else planned[:1]))
    if any(c.phase is CallPhase.CLIENT for c in turn.calls):
        return Park()
    return _ask(state, turn.number + 1)


def _answer(state: State, turn: Turn, decided: f.Decided) -> Step:
    decision = decided.decision
    handed = state.outcome(decision.answer_from) if decision.answer_from is not None else None
    if handed is not None and handed.status is Status.OK and handed.content.strip():
        return Finish(
            f.Ended(
                status="completed",
                answer=handed.content,
                answer_from=decision.answer_from,
                finish_reason="length" if handed.truncated else "stop",
                reason=decision.reason or "handed on word for word",
            )
        )
    if decision.text and decision.text.strip():
        finish = "length" if decided.finish_reason == "length" else "stop"
        return Finish(
            f.Ended(status="completed", answer=decision.text, reason=decision.reason or "answered", finish_reason=finish)
        )
    nothing = decision.text is None and decision.answer_from is None
    reason = decision.reason if nothing and decision.reason else "the policy gave no answer"
    if state.reserve_used:
        return Finish(_fallback(state, reason))
    return Ask(turn.number + 1, 1, forced=reason)


def _fallback(state: State, reason: str) -> f.Ended:
    """The best that is there, when no answer can be asked for any more."""
    best = state.best_observation()
    if best is None:
        return _failed(reason)
    call_id, outcome = best
    return f.Ended(status="completed", answer=outcome.content, answer_from=call_id, finish_reason="length", reason=reason)


def _failed(reason: str) -> f.Ended:
    return f.Ended(status="failed", answer=f"I could not answer: {reason}.", reason=reason, finish_reason="length")


def _cancelled(state: State, cancel: f.CancelRequested) -> f.Ended:
    reason = f"cancelled by {cancel.by}"
    best = state.best_observation()
    answer = best[1].content if best else f"I could not answer: {reason}."
    return f.Ended(status="cancelled", answer=answer, reason=reason, finish_reason="length")
