"""A run, explained: each decision with its candidates, price and reason; the cost of every turn and call. Built from facts."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from toolorchestra.core.loop.facts import Ended, Opened
from toolorchestra.core.loop.journal import Stamped
from toolorchestra.core.loop.state import CallState, State, Turn, fold
from toolorchestra.core.money import NanoUsd, format_usd
from toolorchestra.core.openai import usage_body

STATUS_RUNNING = "running"
STATUS_WAITING = "waiting"


def explain(
    run_id: str, log: Sequence[Stamped], charged: Mapping[str, NanoUsd] | None = None, *, content: bool = True
) -> dict[str, Any]:
    """The run as JSON. ``content=False`` leaves out what the user and the tools said.

    ``charged`` is what the ledger says of each call, by ``turn/ordinal``: it knows of attempts that workers lost.
    """
    state = fold(run_id, list(log))
    run = state.run
    untold = _untold(state, charged or {})
    spent = state.spent_nano_usd + sum(untold.values())
    return {
        "id": run_id,
        "object": "toolorchestra.run",
        "status": status_of(state),
        "model": run.model,
        "policy": run.policy,
        "tenant": run.tenant,
        "revision": run.revision,
        "created_at": state.opened_at.isoformat(),
        "ended_at": state.now.isoformat() if state.ended else None,
        "duration_ms": _duration_ms(state),
        "cost_usd": format_usd(spent),
        "cost_nano_usd": spent,
        "usage": usage_body(state.usage),
        "trace_id": trace_id(run),
        "limits": run.limits.model_dump(),
        "preference": run.preference.model_dump(by_alias=True, exclude_defaults=True),
        "metadata": run.metadata,
        "session": run.session,
        "messages": list(run.messages) if content else None,
        "turns": list(_turns(state, untold, content=content)),
        "answer": _answer(state.ended, content=content),
    }


def status_of(state: State) -> str:
    """One word: running, waiting, completed, cancelled or failed."""
    if state.ended is not None:
        return state.ended.status
    return STATUS_WAITING if state.parked_at is not None else STATUS_RUNNING


def summary(state: State) -> dict[str, Any]:
    """The extension of a completion: what the answer cost and where to look."""
    return {
        "run_id": state.run_id,
        "status": status_of(state),
        "cost_usd": format_usd(state.spent_nano_usd),
        "cost_nano_usd": state.spent_nano_usd,
        "turns": len(state.turns),
        "tools": [call.intent.function for turn in state.turns for call in turn.calls],
        "trace_id": trace_id(state.run),
        "reason": state.ended.reason if state.ended else None,
    }


def trace_id(run: Opened) -> str | None:
    """The W3C trace id of the run."""
    parts = (run.traceparent or "").split("-")
    return parts[1] if len(parts) > 1 else None


def _untold(state: State, charged: Mapping[str, NanoUsd]) -> dict[str, NanoUsd]:
    """By how much the ledger's truth about a finished call differs from what the facts tell."""
    finished = {_id(turn, call): call for turn in state.turns for call in turn.calls if call.outcome is not None}
    return {name: charged[name] - call.cost_nano_usd for name, call in finished.items() if name in charged}


def _turns(state: State, untold: Mapping[str, NanoUsd], *, content: bool) -> Iterator[dict[str, Any]]:
    """All turns. One that names no candidates had those of the turn before, unless only an answer counted in it."""
    named: list[dict[str, Any]] = []
    for turn in state.turns:
        own = turn.decided.candidates if turn.decided else ()
        named = [c.model_dump(exclude_none=True) for c in own] if own else named
        could = named if own or (turn.decided and not turn.closing) else []
        yield _turn(turn, untold, content=content) | {"candidates": could}


def _turn(turn: Turn, untold: Mapping[str, NanoUsd], *, content: bool) -> dict[str, Any]:
    decided = turn.decided
    more = sum(untold.get(_id(turn, call), 0) for call in turn.calls)
    return {
        "turn": turn.number,
        "forced": turn.asked.forced if turn.asked else None,
        "reason": decided.decision.reason if decided else None,
        "reasoning": decided.decision.reasoning if decided and content else None,
        "text": decided.decision.text if decided and content else None,
        "answer_from": decided.decision.answer_from if decided else None,
        "decision_cost_usd": format_usd(decided.cost_nano_usd if decided else 0),
        "decision_latency_ms": decided.latency_ms if decided else None,
        "decision_usage": usage_body(decided.usage) if decided and decided.usage else None,
        "estimated": decided.estimated if decided else False,
        "error": turn.failure.message if turn.failure else None,
        "cost_usd": format_usd(turn.cost_nano_usd + more),
        "calls": [_call(turn, call, untold, content=content) for call in turn.calls],
    }


def _call(turn: Turn, call: CallState, untold: Mapping[str, NanoUsd], *, content: bool) -> dict[str, Any]:
    outcome, more = call.outcome, untold.get(_id(turn, call), 0)
    return {
        "id": _id(turn, call),
        "function": call.intent.function,
        "arguments": call.intent.arguments if content else None,
        "reason": call.intent.reason or None,
        "phase": call.phase,
        "attempt": call.attempt,
        "execution": call.started.execution if call.started else None,
        "status": outcome.status if outcome else None,
        "sent": outcome.sent if outcome else None,
        "result": outcome.content if outcome and content else None,
        "error_code": outcome.error_code if outcome else None,
        "cost_usd": format_usd(call.cost_nano_usd + more),
        "estimated": more > 0 or call.lost_nano_usd > 0 or (outcome.estimated if outcome else False),
        "latency_ms": outcome.latency_ms if outcome else None,
        "usage": usage_body(outcome.usage) if outcome and outcome.usage else None,
        "details": outcome.details if outcome else {},
    }


def _id(turn: Turn, call: CallState) -> str:
    return f"{turn.number}/{call.ordinal}"


def _answer(ended: Ended | None, *, content: bool) -> dict[str, Any] | None:
    if ended is None:
        return None
    body = ended.model_dump(exclude={"type", "v"})
    return body if content else body | {"answer": None}


def _duration_ms(state: State) -> int:
    return int((state.now - state.opened_at).total_seconds() * 1000)
