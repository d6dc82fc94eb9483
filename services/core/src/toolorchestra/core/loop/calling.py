"""Making calls: reserve, start, run or wait, and what became of those that were interrupted."""

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from toolorchestra.core.calls import CallRequest, Outcome
from toolorchestra.core.functions import Function
from toolorchestra.core.loop import calls as fit
from toolorchestra.core.loop import machine
from toolorchestra.core.loop.context import HOLD_GRACE_MS, MIN_STEP_MS, Collected, Context, Draft, PendingCall
from toolorchestra.core.loop.facts import CallFinished, CallsStarted, StartedCall
from toolorchestra.core.loop.journal import CallEnd, CallStart, DeniedError, Settle, Take
from toolorchestra.core.loop.state import CallState, State
from toolorchestra.core.money import NanoUsd

CALL_GRACE_MS: Final = 2_000  # beyond its time limit, until an inline call that does not end is broken off
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Begin:
    """A call that is about to start."""

    call: CallState
    function: Function
    started: StartedCall


async def start(context: Context, draft: Draft, calls: Sequence[CallState]) -> Draft:
    """Start planned calls; impossible ones, and those that come too late, are finished at once."""
    begins: list[_Begin] = []
    for call in calls:
        function = context.revision.function(call.intent.function)
        if call.intent.problem is not None or function is None:
            _finish(draft, call, 1, fit.refused(call.intent))
        elif _time_for_calls(draft.state) <= 0:
            _finish(draft, call, 1, fit.late())
        else:
            begins.append(_begin(draft.state, call, function))
    return await _store(context, draft, begins)


async def collect(context: Context, draft: Draft, calls: Sequence[CallState]) -> Draft:
    """Wait for calls that run elsewhere, unless something else is wished; repeat interrupted inline calls, or give them up."""
    lost = [c for c in calls if _was_inline(c)]
    if lost:
        return await _recover(context, draft, lost)
    pending = [_pending(context, draft.state, call) for call in calls]
    with suppress(TimeoutError):  # then nothing was heard, and what is wished comes next
        async with context.cancelled.within(), context.released.within():
            found = await _together([context.runner.collect(one) for one in pending])
            _collected(context, draft, pending, found)
    return draft


async def give_up(context: Context, draft: Draft, calls: Sequence[CallState]) -> None:
    """The run must end: charge what was interrupted, and take back what no worker runs yet."""
    for call in calls:
        if _was_inline(call):
            _abandon(context, draft, call)
    elsewhere = [_pending(context, draft.state, call) for call in calls if not _was_inline(call)]
    _collected(context, draft, elsewhere, await _together([context.runner.abandon(one) for one in elsewhere]))


def _collected(context: Context, draft: Draft, pending: Sequence[PendingCall], found: Sequence[Collected]) -> None:
    for one, collected in zip(pending, found, strict=True):
        _finish(draft, one.state, collected.attempt, collected.outcome)
        if not collected.stored:
            _settle(context, draft, one.state.ordinal, collected.attempt, collected.outcome)


def _was_inline(call: CallState) -> bool:
    return call.started is None or call.started.execution == "inline"


def _time_for_calls(state: State) -> int:
    """Milliseconds until only the closing answer's time is left."""
    return state.left_ms - machine.closing_ms(state.run.limits)


def _begin(state: State, call: CallState, function: Function, *, lost: NanoUsd = 0) -> _Begin:
    timeout = min(function.timeout_ms, max(MIN_STEP_MS, _time_for_calls(state)))
    amount, output = fit.reservation(function, call.intent.arguments, timeout)
    started = StartedCall(
        ordinal=call.ordinal,
        attempt=call.attempt + 1,
        hold_nano_usd=amount,
        timeout_ms=timeout,
        max_output_tokens=output,
        execution=function.execution,
        lost_nano_usd=lost,
    )
    return _Begin(call, function, started)


async def _store(context: Context, draft: Draft, begins: list[_Begin]) -> Draft:
    """Store the start of the calls. One whose hold is refused is made shorter, or finished as denied."""
    while begins:
        number = _number(draft.state)
        fact = CallsStarted(turn=number, calls=tuple(b.started for b in begins))
        takes = [_take(context, number, b) for b in begins]
        rows = [_row(context, number, b) for b in begins]
        try:
            state = await context.commit(draft, fact, takes=takes, starts=rows)
        except DeniedError as error:
            begins = _without(context, draft, begins, error)
        else:
            return await _run(context, context.draft(state), begins)
    return draft


def _without(context: Context, draft: Draft, begins: list[_Begin], error: DeniedError) -> list[_Begin]:
    number = _number(draft.state)
    place = next((i for i, b in enumerate(begins) if _hold(context, number, b.started) == error.denial.hold), None)
    if place is None:
        raise error
    begin = begins[place]
    wanted = begin.started
    fitted = fit.clamped(begin.function, begin.call.intent.arguments, wanted.timeout_ms, error.denial.left_nano_usd)
    if error.denial.unit == "nano_usd" and fitted is not None and fitted[0] < wanted.hold_nano_usd:
        shorter = wanted.model_copy(update={"hold_nano_usd": fitted[0], "max_output_tokens": fitted[1]})
        return [*begins[:place], replace(begin, started=shorter), *begins[place + 1 :]]
    outcome = fit.denied(error.denial, wanted.hold_nano_usd, lost=wanted.lost_nano_usd)
    _finish(draft, begin.call, wanted.attempt, outcome)
    return [*begins[:place], *begins[place + 1 :]]


async def _run(context: Context, draft: Draft, begins: Sequence[_Begin]) -> Draft:
    number = _number(draft.state)
    elsewhere = [b.started for b in begins if b.started.execution != "inline"]
    queued = [(f"{context.run_id}/{number}/{s.ordinal}", s.execution) for s in elsewhere]
    if queued:
        await context.runner.dispatch(queued)
    inline = [b for b in begins if b.started.execution == "inline"]
    outcomes = await _together([_run_inline(context, draft.state, b) for b in inline])
    for begin, outcome in zip(inline, outcomes, strict=True):
        _finish(draft, begin.call, begin.started.attempt, outcome)
        _settle(context, draft, begin.call.ordinal, begin.started.attempt, outcome)
    return draft


async def _run_inline(context: Context, state: State, begin: _Begin) -> Outcome:
    """The call's outcome. Executors keep the deadline themselves; one that does not is broken off before the hold expires."""
    started, request, began = begin.started, _request(context, state, begin), context.clock()
    try:
        async with context.cancelled.within(started.timeout_ms + CALL_GRACE_MS):
            return await context.runner.run(request)
    except TimeoutError:
        if context.cancelled.by is None:
            return fit.overdue(started.hold_nano_usd, started.timeout_ms)
        return fit.broken_off(request, int((context.clock() - began) * 1000))


def _request(context: Context, state: State, begin: _Begin) -> CallRequest:
    call_id = f"{context.run_id}/{_number(state)}/{begin.call.ordinal}"
    return CallRequest(
        call_id=call_id,
        run_id=context.run_id,
        tenant=state.run.tenant,
        function=begin.function,
        arguments=begin.call.intent.arguments,
        attempt=begin.started.attempt,
        idempotency_key=call_id,
        timeout_ms=begin.started.timeout_ms,
        max_output_tokens=begin.started.max_output_tokens,
        session=state.run.session,
        headers=context.headers(state),
    )


def _pending(context: Context, state: State, call: CallState) -> PendingCall:
    function = context.revision.function(call.intent.function)
    if function is None:
        raise ValueError(f"call {call.ordinal} of run {context.run_id} names no pinned function")
    left = int((call.deadline - state.now).total_seconds() * 1000) if call.deadline else 0
    call_id = f"{context.run_id}/{_number(state)}/{call.ordinal}"
    return PendingCall(call_id, function, call, left, tenant=state.run.tenant, session=state.run.session)


async def _recover(context: Context, draft: Draft, lost: Sequence[CallState]) -> Draft:
    """An interrupted inline call may have had its effect: a destructive one is never repeated, its price is assumed spent."""
    again: list[_Begin] = []
    for call in lost:
        function = context.revision.function(call.intent.function)
        if function is None or function.side_effects == "destructive" or _time_for_calls(draft.state) <= 0:
            _abandon(context, draft, call)
        else:
            outcome = _interrupted(call)
            _settle(context, draft, call.ordinal, call.attempt, outcome)
            again.append(_begin(draft.state, call, function, lost=outcome.cost_nano_usd))
    return await _store(context, draft, again)


def _abandon(context: Context, draft: Draft, call: CallState) -> None:
    outcome = _interrupted(call)
    _settle(context, draft, call.ordinal, call.attempt, outcome)
    _finish(draft, call, call.attempt, outcome)


def _interrupted(call: CallState) -> Outcome:
    return fit.interrupted(call.started.hold_nano_usd if call.started else 0)


def _finish(draft: Draft, call: CallState, attempt: int, outcome: Outcome) -> None:
    number = _number(draft.state)
    draft.add(CallFinished(turn=number, ordinal=call.ordinal, attempt=attempt, outcome=outcome))


def _settle(context: Context, draft: Draft, ordinal: int, attempt: int, outcome: Outcome) -> None:
    """The money and the row of an attempt that this process answers for."""
    number = _number(draft.state)
    hold = f"{context.run_id}/{number}/{ordinal}/{attempt}"
    draft.settles.append(Settle(hold, outcome.cost_nano_usd, estimate=outcome.estimated))
    draft.ends.append(CallEnd(number, ordinal, attempt, outcome))


def _hold(context: Context, number: int, started: StartedCall) -> str:
    return f"{context.run_id}/{number}/{started.ordinal}/{started.attempt}"


def _take(context: Context, number: int, begin: _Begin) -> Take:
    inline = begin.started.execution == "inline"  # a queued call is sent by the worker that claims it
    ttl = begin.started.timeout_ms + HOLD_GRACE_MS
    return Take(_hold(context, number, begin.started), begin.started.hold_nano_usd, ttl, sent=inline)


def _row(context: Context, number: int, begin: _Begin) -> CallStart:
    return CallStart(
        turn=number,
        ordinal=begin.call.ordinal,
        attempt=begin.started.attempt,
        function=begin.function.name,
        arguments=begin.call.intent.arguments,
        execution=begin.started.execution,
        side_effects=begin.function.side_effects,
        timeout_ms=begin.started.timeout_ms,
        hold=_hold(context, number, begin.started),
        hold_nano_usd=begin.started.hold_nano_usd,
        max_output_tokens=begin.started.max_output_tokens,
    )


def _number(state: State) -> int:
    return state.turn.number if state.turn else 0


async def _together(work: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """All results, in order. If one fails for a fault of ours, the others are cancelled and it is raised."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one) for one in work]
    return [task.result() for task in tasks]
