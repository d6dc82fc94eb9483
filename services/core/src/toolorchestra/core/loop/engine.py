"""The loop: asks the machine what comes next, does it, and stores what came of it. Every episode is driven by this.

Two transactions a turn: one stores the decision and starts its calls, one stores their outcomes and asks again. Nothing is
sent before the transition that announces it is stored; a refused hold stores nothing and is decided anew. What a vanished
process left behind is settled first: when a run ends, no hold of it is open.
"""

from toolorchestra.core.loop import asking, calling, machine
from toolorchestra.core.loop.calls import parallel_names
from toolorchestra.core.loop.context import Context, Draft
from toolorchestra.core.loop.facts import CancelRequested, Ended, Parked
from toolorchestra.core.loop.journal import Settle
from toolorchestra.core.loop.state import State


async def drive(context: Context, state: State) -> State:
    """Go on from ``state`` until the run ends or parks, or until it is released; the state then.

    Raises FencedError when another process took the run over: stop, and touch nothing.
    """
    parallel = parallel_names(context.revision.functions)
    draft = context.draft(state)
    while True:
        if context.cancelled.by is not None and draft.state.cancel is None and draft.state.ended is None:
            draft.add(CancelRequested(by=context.cancelled.by))
        step = machine.decide(draft.state, parallel=parallel)
        if context.released.by is not None and isinstance(step, machine.Ask | machine.Start | machine.Await):
            return await _release(context, draft)
        match step:
            case machine.Rest():
                return draft.state
            case machine.Finish(fact=fact):
                return await _finish(context, draft, fact)
            case machine.Park():
                return await _park(context, draft)
            case machine.Ask():
                draft = await asking.ask(context, draft, step)
            case machine.Start(calls=calls):
                draft = await calling.start(context, draft, calls)
            case machine.Await(calls=calls):
                draft = await calling.collect(context, draft, calls)
            case machine.Lose():
                asking.lose(context, draft)
            case machine.GiveUp(calls=calls):
                await calling.give_up(context, draft, calls)


async def _release(context: Context, draft: Draft) -> State:
    """Store what is known; another process goes on from there."""
    return await context.commit(draft) if draft.facts else draft.state


async def _finish(context: Context, draft: Draft, fact: Ended) -> State:
    _release_reserve(context, draft)
    return await context.commit(draft, fact, closes=True)


async def _park(context: Context, draft: Draft) -> State:
    turn = draft.state.turn
    _release_reserve(context, draft)
    return await context.commit(draft, Parked(turn=turn.number if turn else 0), parks=True)


def _release_reserve(context: Context, draft: Draft) -> None:
    if not draft.state.reserve_used:
        draft.settles.append(Settle(f"{context.run_id}/{draft.state.reserve.hold}", 0))
