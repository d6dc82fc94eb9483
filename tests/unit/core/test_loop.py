"""The loop, case by case: limits, money, interruptions, cancellation, client tools."""

import pytest

from toolorchestra.core.calls import Status
from toolorchestra.core.errors import ConflictError
from toolorchestra.core.loop import facts as f
from toolorchestra.core.loop import machine
from toolorchestra.core.loop.engine import drive
from toolorchestra.core.loop.journal import FencedError, Stamped, Take, Transition
from toolorchestra.core.loop.memory import Purse, open_episode
from toolorchestra.core.loop.state import CallPhase, State, fold
from toolorchestra.core.pricing import Price, Usage, cost
from toolorchestra.core.testing import (
    EPOCH,
    Die,
    DiedError,
    Fail,
    Hang,
    MemoryJournal,
    MortalJournal,
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
LOOKUP = ("lookup", '{"query": "x"}')
BOOK = ("book", '{"query": "x"}')
SAGE = ("sage", '{"question": "y"}')
BOOKS = a_tool("book", sideEffects="destructive")
TOOLS = (a_tool("lookup"), BOOKS, an_expert("sage"))
CLIENT_TOOL = {"type": "function", "function": {"name": "ask_user", "parameters": {"type": "object"}}}


def peers_of(models=(), tools=(), *, journal=None, resources=TOOLS, boss=None, **fields):
    revision = a_revision(an_expert("boss", **(boss or {})), *resources, manager="boss")
    return Peers(
        revision,
        ScriptedModels(models, price=PRICE, **fields),
        ScriptedExecutor(tools),
        journal or MemoryJournal(clock=StepClock()),
    )


async def play(peers, **opening):
    await open_episode(peers.journal, peers.revision, an_opening(**opening))
    return await take_over(peers)


def log_of(peers, kind):
    return [stamped.fact for stamped in peers.journal.log["run"] if isinstance(stamped.fact, kind)]


def reserve_of(peers):
    return log_of(peers, f.Opened)[0].reserve.nano_usd


async def test_a_run_asks_calls_and_answers():
    peers = peers_of([Use((LOOKUP, SAGE)), Say("It is 42.")])
    state = await play(peers)
    assert (state.ended.answer, state.ended.status, state.ended.finish_reason) == ("It is 42.", "completed", "stop")
    assert [call.outcome.content for call in state.turns[0].calls] == ["42", "42"]
    assert [r.function.name for r in peers.executor.requests] == ["lookup", "sage"]


async def test_a_turn_costs_two_transactions():
    peers = peers_of([Use((LOOKUP,)), Use((LOOKUP,)), Say("done")])
    await play(peers)
    # The opening, then for each turn: ask, and decide + start; the last decision and the end are one.
    assert [[fact.type for fact in t.facts] for t in peers.journal.transitions] == [
        ["opened"],
        ["asked"],
        ["decided", "calls_started"],
        ["call_finished", "asked"],
        ["decided", "calls_started"],
        ["call_finished", "asked"],
        ["decided", "ended"],
    ]


async def test_nothing_is_sent_before_its_announcement_is_stored():
    for place in range(2, 6):
        peers = peers_of([Use((LOOKUP,)), Say("done")], journal=MortalJournal(before=[place]))
        await open_episode(peers.journal, peers.revision, an_opening())
        with pytest.raises(DiedError):
            await drive(peers.context(), fold("run", peers.journal.log["run"]))
        asked = len(log_of(peers, f.Asked))
        started = sum(len(fact.calls) for fact in log_of(peers, f.CallsStarted))
        assert len(peers.models.chats) == asked
        assert len(peers.executor.requests) == started


async def test_read_only_calls_of_a_turn_start_together_others_one_after_the_other():
    peers = peers_of([Use((LOOKUP, SAGE, LOOKUP)), Use((LOOKUP, BOOK, LOOKUP)), Say("done")])
    await play(peers)
    assert [[c.ordinal for c in fact.calls] for fact in log_of(peers, f.CallsStarted)] == [[1, 2, 3], [1], [2], [3]]


async def test_calls_beyond_the_most_of_a_turn_are_left_out():
    peers = peers_of([Use((LOOKUP,) * 40), Say("done")])
    state = await play(peers)
    assert len(state.turns[0].calls) == len(peers.executor.requests) == 16


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        (("nothing", "{}"), "there is no function 'nothing'; there are: book, lookup, boss, sage"),
        (("lookup", "{}"), "arguments: 'query' is a required property"),
        (("lookup", '{"query": 1}'), "query: 1 is not of type 'string'"),
        (("lookup", "{"), "the arguments are not valid JSON"),
        (("lookup", "[]"), "the arguments must be a JSON object"),
        (("lookup", '{"query": ' + "[" * 99 + "]" * 99 + "}"), "the arguments are nested more than 64 deep"),
        (("answer_from", '{"call": "1/1"}'), "there is no good result of a call with this id"),
    ],
)
async def test_a_bad_call_is_an_observation_and_costs_nothing(call, problem):
    peers = peers_of([Use((call,)), Say("done")])
    state = await play(peers)
    outcome = state.turns[0].calls[0].outcome
    assert (outcome.status, outcome.content, outcome.cost_nano_usd) == (Status.ERROR, problem, 0)
    assert peers.executor.requests == []
    assert problem in peers.models.chats[1].messages[-1]["content"]


@pytest.mark.parametrize(
    ("rules", "problem"),
    [
        ({"deny": ["lookup"]}, "it is in the list of denied functions"),
        ({"allow": ["sage"]}, "it is not in the list of allowed functions"),
    ],
)
async def test_a_hard_rule_holds_even_if_the_manager_calls_what_it_was_not_shown(rules, problem):
    peers = peers_of([Use((LOOKUP,)), Say("done")])
    state = await play(peers, preference=rules)
    assert state.turns[0].calls[0].outcome.content == problem
    assert peers.executor.requests == []


async def test_the_turn_limit_ends_in_a_closing_answer_paid_from_the_reserve():
    peers = peers_of([Use((LOOKUP,)), Use((LOOKUP,)), Say("It is 42.")], otherwise=Use((LOOKUP,)))
    state = await play(peers, limits={"max_turns": 3})
    closing = log_of(peers, f.Asked)[-1]
    assert (closing.turn, closing.forced, closing.hold_nano_usd) == (3, "this is turn 3 of 3", reserve_of(peers))
    assert peers.journal.transitions[-2].takes == ()
    assert peers.models.chats[-1].tools == ()
    assert state.ended.answer == "It is 42."
    assert "Notes from tools" in peers.models.chats[-1].messages[-1]["content"]


async def test_the_token_limit_ends_in_an_answer():
    peers = peers_of([Use((LOOKUP,), usage=Usage(200, 100)), Say("It is 42.")])
    state = await play(peers, limits={"max_total_tokens": 300})
    assert log_of(peers, f.Asked)[-1].forced == "the token limit is reached"
    assert state.ended.answer == "It is 42."


async def test_the_time_limit_ends_in_an_answer_with_time_of_its_own():
    peers = peers_of(otherwise=Use((LOOKUP,)), journal=MemoryJournal(clock=StepClock(2_000)))
    state = await play(peers, limits={"timeout_ms": 20_000})
    closing = log_of(peers, f.Asked)[-1]
    assert closing.forced == "the time is nearly up"
    assert closing.timeout_ms >= 2_000
    assert state.ended.finish_reason == "length"  # the manager called on instead of answering
    assert state.ended.answer == "42"
    assert (state.now - state.opened_at).total_seconds() <= 20 + 2


async def test_calls_that_come_too_late_are_not_made():
    clock = StepClock(10)
    peers = peers_of([Use((BOOK, BOOK)), Say("done")], journal=MemoryJournal(clock=clock))
    execute = peers.executor.execute

    async def slow(call):
        clock.pass_ms(19_000)
        return await execute(call)

    peers.executor.execute = slow
    state = await play(peers, limits={"timeout_ms": 20_000})
    first, second = state.turns[0].calls
    assert first.outcome.status is Status.OK
    assert (second.outcome.status, second.outcome.error_code) == (Status.TIMEOUT, "run_timeout")
    assert len(peers.executor.requests) == 1
    assert state.ended.answer == "done"


async def test_a_manager_that_hangs_is_broken_off_and_asked_again():
    peers = peers_of([Hang(), Say("It is 42.")], boss={"timeout": "20ms"})
    state = await play(peers)
    (failed,) = log_of(peers, f.AskFailed)
    assert (failed.error_code, failed.retryable, failed.estimated) == ("upstream_timeout", True, True)
    assert state.ended.answer == "It is 42."


async def test_a_tool_that_hangs_is_broken_off_and_its_price_assumed_spent():
    peers = peers_of([Use((LOOKUP,)), Say("done")], [Hang()], resources=(a_tool("lookup", timeout="10ms"),))
    state = await play(peers)
    outcome = state.turns[0].calls[0].outcome
    assert (outcome.status, outcome.cost_nano_usd, outcome.estimated) == (Status.TIMEOUT, 1_000_000, True)
    assert state.ended.answer == "done"
    assert peers.journal.purse.holds == {}


async def test_a_tools_own_time_limit_holds_even_below_a_second():
    peers = peers_of([Use((LOOKUP,))], resources=(a_tool("lookup", timeout="250ms"),))
    await play(peers)
    assert peers.executor.requests[0].timeout_ms == 250


async def test_money_that_runs_out_ends_in_an_answer_from_the_reserve():
    probe = peers_of()
    await play(probe)
    cap = reserve_of(probe) + 3_000_000
    peers = peers_of(otherwise=Use((LOOKUP,), text="thinking"))
    peers.models = ScriptedModels(price=PRICE, otherwise=Use((LOOKUP, LOOKUP)))
    state = await play(peers, limits={"max_cost_nano_usd": cap})
    assert log_of(peers, f.Asked)[-1].forced is not None
    assert state.ended.answer.strip()
    run = peers.journal.runs["run"]
    assert run.spent_nano_usd - run.over_nano_usd <= cap
    assert run.holds == {}


async def test_a_cap_that_is_used_up_ends_in_an_answer_from_the_reserve():
    probe = peers_of()
    await play(probe)
    peers = peers_of([Use((LOOKUP,), usage=Usage(100, 5_000)), Say("It is 42.")])
    state = await play(peers, limits={"max_cost_nano_usd": reserve_of(probe) + 4_000_000})
    assert log_of(peers, f.Asked)[-1].forced == "the money is nearly spent"
    assert state.ended.answer == "It is 42."


async def test_a_call_that_the_purse_cannot_hold_is_denied_in_words_a_manager_can_act_on():
    dear = a_tool("dear", pricing={"perCall": "1000"})
    peers = peers_of(
        [Use((("dear", '{"query": "x"}'), LOOKUP)), Say("done")],
        resources=(dear, *TOOLS),
        journal=MemoryJournal(purse=Purse(10**9)),
    )
    state = await play(peers)
    denied, made = (call.outcome for call in state.turns[0].calls)
    assert denied.status is Status.DENIED
    assert denied.content.startswith("not enough money: the call may cost $1000.00, $0.9")
    assert denied.content.endswith("use something cheaper or answer now")
    assert made.status is Status.OK


async def test_an_expert_that_the_purse_cannot_hold_in_full_answers_shorter():
    wordy = an_expert("wordy", pricing={"input": "0", "output": "100"}, maxOutputTokens=10_000)
    peers = peers_of([Use((("wordy", '{"question": "y"}'),)), Say("done")], resources=(wordy,))
    state = await play(peers, limits={"max_cost_nano_usd": 100_000_000})
    (request,) = peers.executor.requests
    assert 64 <= request.max_output_tokens < 1_000
    assert state.turns[0].calls[0].outcome.status is Status.OK


async def test_a_manager_that_the_purse_cannot_hold_in_full_answers_shorter():
    boss = {"pricing": {"input": "0", "output": "100"}, "maxOutputTokens": 10_000}
    peers = peers_of([Say("done")], boss=boss)
    await play(peers, limits={"max_output_tokens": 10_000, "max_cost_nano_usd": 500_000_000})
    assert peers.models.chats[0].tools != ()
    assert 64 <= peers.models.chats[0].max_tokens < 4_500


async def test_a_purse_too_small_to_ask_at_all_still_gives_the_closing_answer():
    probe = peers_of()
    await play(probe)
    peers = peers_of([Say("briefly: 42")], journal=MemoryJournal(purse=Purse(reserve_of(probe) + 1)))
    state = await play(peers)
    assert (log_of(peers, f.AskFailed)[0].denied, state.ended.answer) == (True, "briefly: 42")
    assert peers.journal.purse.spent_nano_usd == peers.models.bill.heard_nano_usd


async def test_a_model_that_overruns_its_limit_shows_in_over_and_the_next_hold_is_denied():
    probe = peers_of()
    await play(probe)
    purse = Purse(reserve_of(probe) + 4_000_000)
    peers = peers_of([Use((LOOKUP,), usage=Usage(100, 5_000)), Say("done")], journal=MemoryJournal(purse=purse))
    state = await play(peers)
    assert purse.over_nano_usd > 0
    assert state.turns[0].calls[0].outcome.status is Status.DENIED
    assert state.ended.answer == "done"
    assert purse.spent_nano_usd == peers.models.bill.heard_nano_usd
    assert purse.spent_nano_usd - purse.over_nano_usd <= purse.limit_nano_usd


async def test_the_time_of_a_model_that_is_billed_by_the_second_is_held_too():
    peers = peers_of([Say("done")], boss={"pricing": {"input": "0", "output": "0", "perSecond": "0.01"}, "timeout": "10s"})
    await play(peers)
    assert (
        reserve_of(peers) == log_of(peers, f.Asked)[0].hold_nano_usd == cost(Price(per_second=10_000_000), milliseconds=10_000)
    )


@pytest.mark.parametrize(
    ("failures", "asked", "answer"),
    [
        ([Fail()], 2, "done"),
        ([Fail(Usage(50, 5)), Fail()], 3, "done"),
        ([Fail(), Fail(), Fail()], 4, "done"),  # the fourth is the closing answer
        ([Fail(retryable=False)], 2, "done"),
        ([Fail()] * 4, 4, "I could not answer: the model cannot be reached; the model cannot be reached."),
    ],
)
async def test_a_failing_manager_is_asked_again_then_for_a_closing_answer(failures, asked, answer):
    peers = peers_of(failures)
    state = await play(peers)
    assert len(peers.models.chats) == asked
    closing = asked == 4 or not getattr(failures[0], "retryable", True)
    assert (peers.models.chats[-1].tools == ()) is closing
    assert state.ended.answer == answer
    assert state.spent_nano_usd == peers.journal.purse.spent_nano_usd == peers.models.bill.heard_nano_usd


async def test_an_empty_answer_is_followed_by_the_closing_one():
    peers = peers_of([Say("  "), Say("It is 42.")])
    state = await play(peers)
    assert log_of(peers, f.Asked)[-1].forced == "the policy gave no answer"
    assert state.ended.answer == "It is 42."


async def test_when_even_the_closing_answer_fails_the_best_result_is_returned_as_cut_short():
    peers = peers_of([Use((LOOKUP,)), Fail()], [Result("the result")])
    state = await play(peers, limits={"max_turns": 2})
    assert (state.ended.answer, state.ended.finish_reason, state.ended.status) == ("the result", "length", "completed")
    assert state.ended.answer_from == "1/1"


@pytest.mark.parametrize("finish", ["stop", "length"])
async def test_an_answer_cut_by_its_limit_says_so(finish):
    state = await play(peers_of([Say("half an", finish_reason=finish)]))
    assert state.ended.finish_reason == finish


def test_calls_of_a_policy_that_was_told_to_answer_are_not_made():
    decision = f.Decision(calls=(f.Intent(function="lookup", arguments={}),), text="It is 42.")
    asked = f.Asked(turn=1, attempt=1, max_tokens=1, hold_nano_usd=0, timeout_ms=1, forced="now")
    facts = [an_opening(), asked, f.Decided(turn=1, attempt=1, decision=decision)]
    step = machine.decide(fold("run", [Stamped(n, EPOCH, fact) for n, fact in enumerate(facts, start=1)]))
    assert isinstance(step, machine.Finish)
    assert step.fact.answer == "It is 42."


async def test_calls_in_a_closing_answer_are_not_made():
    peers = peers_of([Use((LOOKUP,), text="It is 42."), Say("never")])
    state = await play(peers, limits={"max_turns": 1})
    assert peers.executor.requests == []
    assert state.ended.answer == "It is 42."


async def test_a_destructive_call_that_was_interrupted_is_never_repeated():
    peers = peers_of([Use((BOOK,)), Say("done")], [Die()])
    state = await play(peers)
    (call,) = state.turns[0].calls
    assert len(peers.executor.requests) == 1
    assert (call.outcome.status, call.outcome.error_code, call.attempt) == (Status.UNKNOWN, "interrupted", 1)
    assert (call.outcome.cost_nano_usd, call.outcome.estimated) == (1_000_000, True)
    assert "it is not repeated" in peers.models.chats[1].messages[-1]["content"]


@pytest.mark.parametrize("effects", ["readOnly", "idempotent"])
async def test_another_call_that_was_interrupted_is_repeated_with_the_same_key(effects):
    peers = peers_of([Use((LOOKUP,)), Say("done")], [Die()], resources=(a_tool("lookup", sideEffects=effects),))
    state = await play(peers)
    first, second = peers.executor.requests
    assert (first.attempt, second.attempt) == (1, 2)
    assert first.idempotency_key == second.idempotency_key == "run/1/1"
    (call,) = state.turns[0].calls
    assert (call.outcome.status, call.started.lost_nano_usd, state.turns[0].cost_nano_usd - 140_000) == (
        Status.OK,
        1_000_000,
        2_000_000,
    )
    takes = [take.hold for t in peers.journal.transitions for take in t.takes]
    assert "run/1/1/1" in takes
    assert "run/1/1/2" in takes


async def test_an_interrupted_question_is_charged_and_asked_again():
    peers = peers_of([Die(), Say("done")])
    state = await play(peers)
    first, second = log_of(peers, f.Asked)
    (lost,) = log_of(peers, f.AskFailed)
    assert (first.attempt, second.attempt) == (1, 2)
    assert (lost.error_code, lost.cost_nano_usd, lost.estimated) == ("interrupted", first.hold_nano_usd, True)
    assert state.spent_nano_usd == first.hold_nano_usd + peers.models.bill.heard_nano_usd


async def test_an_interrupted_closing_answer_is_charged_and_not_asked_again():
    peers = peers_of([Use((LOOKUP,)), Die()])
    state = await play(peers, limits={"max_turns": 2})
    assert len(peers.models.chats) == 2
    assert state.ended.answer == "42"
    assert log_of(peers, f.AskFailed)[0].cost_nano_usd == reserve_of(peers)
    assert peers.journal.purse.holds == {}


async def test_after_too_many_take_overs_without_progress_a_run_fails():
    peers = peers_of([Use((LOOKUP,))], otherwise=Say("never"))
    peers.executor = ScriptedExecutor(otherwise=Die())
    state = await play(peers)
    assert (state.ended.status, state.ended.reason) == ("failed", "no progress after 3 take-overs")
    assert len(peers.executor.requests) == machine.MAX_IDLE_RESUMES + 1
    assert peers.journal.purse.holds == {}
    assert peers.journal.purse.spent_nano_usd == state.spent_nano_usd


async def test_take_overs_with_progress_between_them_are_not_counted():
    peers = peers_of(
        [Die(), Use((LOOKUP,)), Die(), Use((LOOKUP,)), Die(), Use((LOOKUP,)), Die(), Use((LOOKUP,)), Die(), Say("done")]
    )
    assert (await play(peers)).ended.answer == "done"


async def test_a_stored_outcome_is_never_asked_for_again():
    for place in range(2, 8):
        peers = peers_of([Use((LOOKUP,)), Use((BOOK,)), Say("done"), Say("done")], journal=MortalJournal(after=[place]))
        state = await play(peers)
        keys = [(r.call_id, r.attempt) for r in peers.executor.requests]
        assert len(keys) == len(set(keys))
        assert sum(r.function.name == "book" for r in peers.executor.requests) <= 1
        assert state.ended.answer == "done"


async def test_a_wish_to_cancel_is_honoured_at_the_next_transition():
    peers = peers_of(otherwise=Use((LOOKUP,)))
    execute = peers.executor.execute

    async def impatient(call):
        peers.cancelled.request("the client")
        return await execute(call)

    peers.executor.execute = impatient
    state = await play(peers)
    assert (state.ended.status, state.ended.reason, state.ended.answer) == ("cancelled", "cancelled by the client", "42")
    assert len(peers.models.chats) == 1
    assert state == fold("run", peers.journal.log["run"])
    assert peers.journal.purse.holds == {}


async def test_a_run_that_was_cancelled_while_calls_were_interrupted_settles_them():
    for call in (LOOKUP, BOOK, ("fetch", '{"query": "x"}')):
        peers = peers_of([Use((call,))], [Die()], resources=(*TOOLS, a_tool("fetch", execution="queued")))
        await open_episode(peers.journal, peers.revision, an_opening())
        with pytest.raises(BaseExceptionGroup):
            await drive(peers.context(), fold("run", peers.journal.log["run"]))
        peers.cancelled.request("the user")
        seq = len(peers.journal.log["run"])
        await peers.journal.commit(Transition("run", seq, (f.Resumed(owner="another"),)))
        state = await take_over(peers)
        assert state.ended.status == "cancelled"
        assert len(peers.executor.requests) == 1
        assert log_of(peers, f.CallFinished)[0].outcome.status is Status.UNKNOWN
        assert peers.journal.purse.holds == {}


async def test_queued_calls_that_nobody_took_are_taken_back_when_the_run_is_cancelled():
    peers = peers_of([Use((("fetch", '{"query": "x"}'),))], resources=(a_tool("fetch", execution="queued"),))
    commit = peers.journal.commit

    async def notice(transition):
        if any(isinstance(fact, f.CallsStarted) for fact in transition.facts):
            peers.cancelled.request("the user")
        return await commit(transition)

    peers.journal.commit = notice
    state = await play(peers)
    assert state.ended.status == "cancelled"
    assert peers.executor.requests == []
    assert peers.journal.purse.holds == {}


async def test_an_interrupted_queued_call_is_not_run_twice_in_memory():
    peers = peers_of(
        [Use((("fetch", '{"query": "x"}'),)), Say("done")], [Die()], resources=(a_tool("fetch", execution="queued"),)
    )
    state = await play(peers)
    assert len(peers.executor.requests) == 1
    assert state.turns[0].calls[0].outcome.status is Status.UNKNOWN
    assert state.ended.answer == "done"


async def park(**more):
    peers = peers_of(
        [Use((LOOKUP, ("ask_user", '{"text": "Which?"}'))), Say("done")], journal=MemoryJournal(clock=StepClock(1_000))
    )
    state = await play(peers, client_tools=(CLIENT_TOOL,), **more)
    return peers, state


async def test_a_call_of_the_clients_own_function_parks_the_run_without_any_hold():
    peers, state = await park()
    assert state.parked_at is not None
    assert [call.phase for call in state.turns[0].calls] == [CallPhase.DONE, CallPhase.CLIENT]
    assert peers.journal.purse.holds == {}
    assert peers.journal.transitions[-1].parks
    assert await drive(peers.context(), state) == state


async def test_a_parked_run_goes_on_with_the_clients_answer_and_its_wait_does_not_count():
    peers, state = await park(limits={"timeout_ms": 60_000})
    peers.journal.clock.pass_ms(3_600_000)
    reserve = state.run.reserve.model_copy(update={"hold": "final-1"})
    fact = f.Continued(turn=1, results={2: "the red one"}, reserve=reserve)
    await peers.journal.commit(Transition("run", state.seq, (fact,), takes=(Take("run/final-1", reserve.nano_usd, 1),)))
    state = await take_over(peers)
    assert state.ended.answer == "done"
    assert state.waited_ms >= 3_600_000
    assert "the red one" in peers.models.chats[-1].messages[-1]["content"]
    assert peers.models.chats[-1].tools != ()
    assert peers.journal.purse.holds == {}


async def test_a_parked_run_can_be_cancelled():
    peers, _ = await park()
    peers.cancelled.request("the user")
    state = await take_over(peers)
    assert state.ended.status == "cancelled"
    assert state == fold("run", peers.journal.log["run"])


async def test_a_call_of_the_clients_function_with_bad_arguments_is_an_observation():
    peers = peers_of([Use((("ask_user", "{"),)), Say("done")])
    state = await play(peers, client_tools=(CLIENT_TOOL,))
    assert state.turns[0].calls[0].outcome.content == "the arguments are not valid JSON"
    assert state.ended.answer == "done"


async def test_a_stale_owner_is_fenced_and_touches_nothing():
    peers = peers_of([Use((LOOKUP,)), Say("done")])
    first = await open_episode(peers.journal, peers.revision, an_opening())
    await drive(peers.context(), first)
    length, spent = len(peers.journal.log["run"]), peers.journal.purse.spent_nano_usd
    with pytest.raises(FencedError):
        await drive(peers.context(), first)
    assert (len(peers.journal.log["run"]), peers.journal.purse.spent_nano_usd) == (length, spent)


async def test_a_hold_is_never_taken_twice_under_one_name():
    journal = MemoryJournal()
    peers = peers_of(journal=journal)
    await open_episode(journal, peers.revision, an_opening())
    again = Transition("run", 1, (f.Resumed(owner="x"),), takes=(Take("run/final", 1, 1),))
    with pytest.raises(ConflictError, match="run/final"):
        await journal.commit(again)
    assert len(journal.log["run"]) == 1


async def test_runs_share_a_purse_and_keep_caps_of_their_own():
    probe = peers_of()
    await play(probe)
    purse = Purse(2 * reserve_of(probe))
    peers = peers_of([Say("one"), Say("two")], journal=MemoryJournal(purse=purse))
    for run_id in ("a", "b"):
        await open_episode(
            peers.journal, peers.revision, an_opening(limits={"max_cost_nano_usd": reserve_of(probe)}), run_id=run_id
        )
    assert purse.held_nano_usd == purse.limit_nano_usd
    for run_id in ("a", "b"):
        await take_over(peers, run_id)
    assert {run_id: account.holds for run_id, account in peers.journal.runs.items()} == {"a": {}, "b": {}}
    assert purse.spent_nano_usd == sum(account.spent_nano_usd for account in peers.journal.runs.values()) > 0


def test_a_log_without_an_opening_says_so():
    with pytest.raises(ValueError, match="has no opening fact"):
        _ = State("run").run
    with pytest.raises(ValueError, match="before the first question"):
        fold("run", [Stamped(1, EPOCH, f.CallsStarted(turn=1, calls=()))])


async def test_a_question_under_way_leaves_nothing_to_decide():
    peers = peers_of([Die()])
    await open_episode(peers.journal, peers.revision, an_opening())
    with pytest.raises(DiedError):
        await drive(peers.context(), fold("run", peers.journal.log["run"]))
    with pytest.raises(ValueError, match="nothing to decide yet"):
        machine.decide(fold("run", peers.journal.log["run"]))
