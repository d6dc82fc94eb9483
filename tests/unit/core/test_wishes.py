"""What is wished from outside while a run is driven: to end it at once, or to leave it to another process."""

import asyncio

import pytest

from toolorchestra.core.calls import Status
from toolorchestra.core.loop import facts as f
from toolorchestra.core.loop.context import Wish
from toolorchestra.core.loop.engine import drive
from toolorchestra.core.loop.memory import open_episode
from toolorchestra.core.loop.state import State, fold
from toolorchestra.core.pricing import Price
from toolorchestra.core.testing import (
    Hang,
    MemoryJournal,
    Peers,
    Result,
    Say,
    ScriptedExecutor,
    ScriptedModels,
    StepClock,
    Use,
    a_revision,
    a_tool,
    an_expert,
    an_opening,
    take_over,
)

PRICE = Price(input=1_000_000_000, output=2_000_000_000)
TOOLS = (
    a_tool("lookup"),
    a_tool("book", sideEffects="destructive"),
    a_tool("fetch", sideEffects="idempotent", execution="queued"),
    an_expert("sage"),
    an_expert("boss"),
)


def use(*names):
    return Use(tuple((name, '{"question": "x"}' if name == "sage" else '{"query": "x"}') for name in names))


async def wished(models, tools=(), *, wish, after=0):
    """A run during which ``wish`` is wished as soon as ``after`` calls are under way (0: the manager is being asked)."""
    journal = MemoryJournal(clock=StepClock())
    peers = Peers(a_revision(*TOOLS, manager="boss"), ScriptedModels(models, price=PRICE), ScriptedExecutor(tools), journal)
    state = await open_episode(journal, peers.revision, an_opening())
    driving = asyncio.create_task(drive(peers.context(), state))
    async with asyncio.timeout(5):
        while len(peers.executor.requests) < after or not peers.models.chats:
            await asyncio.sleep(0)
        getattr(peers, wish).request("somebody")
        return peers, await driving


def facts_of(peers):
    return [stamped.fact for stamped in peers.journal.log["run"]]


def check(peers: Peers, state: State) -> None:
    """The log is a fold, no hold is open, and what the facts say is what was paid."""
    assert state == fold("run", peers.journal.log["run"])
    assert peers.journal.purse.holds == {}
    assert peers.journal.purse.spent_nano_usd == state.spent_nano_usd


async def test_a_question_that_hangs_is_broken_off_and_paid_by_its_meter():
    peers, state = await wished([Hang()], wish="cancelled")
    assert [fact.type for fact in facts_of(peers)] == ["opened", "asked", "ask_failed", "cancel_requested", "ended"]
    failed = facts_of(peers)[2]
    assert (failed.error_code, failed.retryable, failed.estimated) == ("cancelled", False, True)
    assert (state.ended.status, state.ended.reason) == ("cancelled", "cancelled by somebody")
    check(peers, state)


@pytest.mark.parametrize(
    ("name", "status", "cost"),
    [("lookup", Status.ERROR, 1_000_000), ("book", Status.UNKNOWN, 1_000_000), ("sage", Status.ERROR, 0)],
)
async def test_a_call_that_hangs_is_broken_off_and_a_destructive_one_is_unknown(name, status, cost):
    peers, state = await wished([use(name)], [Hang()], wish="cancelled", after=1)
    outcome = state.turns[0].calls[0].outcome
    assert (outcome.status, outcome.error_code, outcome.sent) == (status, "cancelled", True)
    assert (outcome.cost_nano_usd, outcome.estimated) == (cost, cost > 0)
    assert state.ended.status == "cancelled"
    check(peers, state)


async def test_calls_side_by_side_are_all_settled_each_by_what_became_of_it():
    peers, state = await wished([use("lookup", "lookup")], [Result("found"), Hang()], wish="cancelled", after=2)
    assert [call.outcome.status for call in state.turns[0].calls] == [Status.OK, Status.ERROR]
    assert state.ended.answer == "found", "the best that is there"
    check(peers, state)


async def test_a_queued_call_is_abandoned_at_once():
    peers, state = await wished([use("fetch")], [Hang()], wish="cancelled", after=1)
    outcome = state.turns[0].calls[0].outcome
    assert (outcome.status, outcome.cost_nano_usd, outcome.estimated) == (Status.UNKNOWN, 1_000_000, True)
    assert state.ended.status == "cancelled"
    check(peers, state)


async def test_what_was_wished_before_it_began_is_not_begun():
    wish = Wish()
    wish.request("somebody")
    wish.request("another")
    with pytest.raises(TimeoutError):
        async with wish.within():
            pytest.fail("it began")
    assert wish.by == "somebody"


async def test_a_wish_after_the_time_is_up_changes_nothing():
    wish = Wish()

    async def slow():
        async with wish.within(1):
            try:
                await asyncio.sleep(5)
            finally:
                wish.request("too late")

    with pytest.raises(TimeoutError):
        await slow()


async def test_a_released_run_is_stored_up_to_what_is_known_and_goes_on_elsewhere():
    peers, state = await wished([use("lookup"), Say("done")], [Result("42")], wish="released", after=1)
    assert state.ended is None
    assert [fact.type for fact in facts_of(peers)] == ["opened", "asked", "decided", "calls_started", "call_finished"]
    assert len(peers.models.chats) == 1, "nothing new was begun"
    again = Peers(peers.revision, peers.models, peers.executor, peers.journal)
    end = await take_over(again)
    assert end.ended.answer == "done"
    assert len(peers.executor.requests) == 1, "what was stored is not asked for again"
    check(again, end)


async def test_a_released_run_whose_last_step_is_under_way_ends_here():
    peers, state = await wished([Say("done")], wish="released")
    assert state.ended.answer == "done"
    check(peers, state)


async def test_a_released_run_does_not_wait_for_calls_that_others_make():
    peers, state = await wished([use("fetch")], [Hang()], wish="released", after=1)
    assert facts_of(peers)[-1].type == "calls_started"
    assert state.ended is None


async def test_a_released_run_that_is_cancelled_ends_here():
    peers, state = await wished([use("lookup")], [Hang()], wish="cancelled", after=1)
    peers.released.request("the end of this process")
    assert isinstance(facts_of(peers)[-1], f.Ended)
    check(peers, state)
