"""The durable journal: one transaction and one round trip per transition, fenced by the log."""

import asyncio

import pytest

from tests.integration.ledger.relay import relayed
from tests.integration.ledger.shorthand import ENDED, Ledger, all_or_errors, asked, opened
from toolorchestra.core.calls import Outcome, Status
from toolorchestra.core.errors import ConflictError
from toolorchestra.core.loop.facts import Continued, Decided, Decision, Intent, Parked
from toolorchestra.core.loop.journal import CallEnd, CallStart, DeniedError, FencedError, Settle, Take, Transition
from toolorchestra.core.loop.state import fold
from toolorchestra.ledger import calls, money, runs
from toolorchestra.ledger.database import Database
from toolorchestra.ledger.journal import Existing, open_run
from toolorchestra.ledger.runs import RunState


async def test_facts_come_back_in_order_with_the_databases_time(ledger: Ledger, database):
    await ledger.policy()
    run = await ledger.open()
    decided = Decided(turn=1, attempt=1, decision=Decision(text="forty-two"))
    stamped = await run.commit(asked(), decided)
    assert [item.seq for item in stamped] == [2, 3]
    assert stamped[0].at <= stamped[1].at
    async with database.tenant("acme") as connection:
        stored = await runs.events(connection, run.id)
        later = await runs.events(connection, run.id, after=2)
    assert stored[1:] == stamped
    assert later == stamped[1:]
    assert fold(run.id, stored).seq == 3


async def test_opening_settling_and_finishing_cost_one_round_trip_each(ledger: Ledger, ledger_url, tmp_path):
    await ledger.policy(limits={"day": "1", "total": "1"}, requests={"day": 10}, concurrency=5)
    key = (await ledger.key()).record.id
    async with relayed(ledger_url, tmp_path) as (relay, url), await Database.open(url, max_size=1) as far:
        there = Ledger(far)

        async def counted(work):
            before = relay.round_trips
            result = await work
            return result, relay.round_trips - before

        run, trips = await counted(there.open(key=key, takes=(Take("run1/final", 10, 1000),)))
        assert trips == 1
        hold, trips = await counted(run.take(100))
        assert trips == 1
        start = CallStart(1, 1, 1, "f", {}, "queued", "readOnly", 1000, f"{run.id}/1/1/1", 7)
        moves = {"settles": (Settle(hold, 60),), "takes": (Take(start.hold, 7, 1000, sent=False),), "starts": (start,)}
        _, trips = await counted(run.commit(**moves))
        assert trips == 1
        steps = calls.finish_steps(f"{run.id}/1/1", 1, Outcome(status=Status.OK, content="x", cost_nano_usd=5))
        _, trips = await counted(far.execute(steps))
        assert trips == 1
        _, trips = await counted(run.close(settles=(Settle("run1/final", 0),)))
        assert trips == 1
    assert await ledger.windows("t:acme") == {"day": (65, 0, 0), "total": (65, 0, 0)}
    await ledger.check()


async def test_a_stale_owner_is_fenced_and_moves_nothing(ledger: Ledger, database):
    await ledger.policy()
    run = await ledger.open(lease_ms=0)
    hold = await run.take(1000)
    async with database.system() as connection:
        (taken,) = await runs.take_over(connection, owner="you")
    assert (taken.id, taken.seq, taken.resumes) == (run.id, run.seq + 1, 1)
    with pytest.raises(FencedError):
        await run.settle(hold, 1)
    assert await ledger.windows("t:acme") == {"total": (0, 1000, 0)}
    heir = ledger.resume(run.context, taken.seq, owner="you")
    await heir.settle(hold, 700)
    async with database.tenant("acme") as connection:
        facts = [item.fact.type for item in await runs.events(connection, run.id)]
    assert facts == ["opened", "asked", "resumed", "asked"]


async def test_of_two_writers_at_the_same_place_one_is_fenced(ledger: Ledger):
    await ledger.policy()
    run = await ledger.open()
    twin = ledger.resume(run.context, run.seq)
    results = await all_or_errors([run.take(10, "1/0/1"), twin.take(10, "1/0/2")])
    assert sorted(type(result).__name__ for result in results) == ["FencedError", "str"]
    assert await ledger.windows("t:acme") == {"total": (0, 10, 0)}


async def test_an_owner_that_gave_its_run_back_is_fenced(ledger: Ledger, database):
    await ledger.policy()
    run = await ledger.open()
    async with database.system() as connection:
        assert await runs.give_back(connection, owner="me") == [run.id]
    with pytest.raises(FencedError):
        await run.take(1)


async def test_a_retried_open_finds_the_run_of_its_idempotency_key(ledger: Ledger, database):
    await ledger.policy()
    key = (await ledger.key()).record.id

    async def post(body="a"):
        new = ledger.new_run("acme", key, idempotency_key="once", body_hash=body)
        return await open_run(database, new, Transition(new.context.run_id, 0, (opened("acme", key),)))

    results = await asyncio.gather(*(post() for _ in range(8)))
    existing = [result for result in results if isinstance(result, Existing)]
    assert len(existing) == 7
    (row,) = await ledger.ask("SELECT id FROM runs")
    assert {(one.run_id, one.state) for one in existing} == {(row["id"], "running")}
    assert await ledger.windows("t:acme", "slots") == {"total": (0, 1, 0)}
    assert await ledger.windows("t:acme", "requests") == {"total": (1, 0, 0)}
    with pytest.raises(ConflictError, match="another request"):
        await post("b")
    async with database.tenant("acme") as connection:
        found = await runs.find_idempotent(connection, "acme", key=key, idempotency_key="once")
    assert found == existing[0]


async def test_another_key_may_use_the_same_idempotency_key(ledger: Ledger):
    await ledger.policy()
    first = await ledger.open(idempotency_key="once")
    second = await ledger.open(idempotency_key="once")
    assert first.id != second.id


async def test_a_run_that_cannot_take_its_closing_reserve_is_refused_at_the_door(ledger: Ledger):
    await ledger.policy(limits={"total": "0.000001"})
    with pytest.raises(DeniedError) as refused:
        await ledger.open(takes=(Take("run1/final", 1001, 1000),))
    assert refused.value.denial.hold == "run1/final"
    assert await ledger.ask("SELECT id FROM runs") == []
    assert await ledger.windows("t:acme", "requests") == {"total": (0, 0, 0)}
    await ledger.check()


async def test_the_end_of_a_run_gives_back_slot_account_and_lease(ledger: Ledger, database):
    await ledger.policy(concurrency=1)
    run = await ledger.open(takes=(Take("run1/final", 100, 1000),))
    await run.close(settles=(Settle("run1/final", 0),))
    assert await ledger.windows("t:acme", "slots") == {"total": (0, 0, 0)}
    async with database.tenant("acme") as connection:
        stored = await runs.get(connection, run.id)
    assert (stored.state, stored.status, stored.owner) == (RunState.ENDED, "completed", None)
    assert stored.ended_at is not None
    with pytest.raises(FencedError):
        await run.take(1, "9/0/1")
    await ledger.check()


async def test_a_parked_run_holds_nothing_and_the_first_continuation_wins(ledger: Ledger, database):
    await ledger.policy(concurrency=1)
    key = (await ledger.key()).record.id
    run = await ledger.open(key=key, takes=(Take("run1/final", 100, 1000),))
    call = Intent(function="theirs", arguments={}, client=True)
    decided = Decided(turn=1, attempt=1, decision=Decision(calls=(call,)))
    await run.commit(asked(), decided, Parked(turn=1), parks=True, settles=(Settle("run1/final", 0),))
    assert await ledger.windows("t:acme", "slots") == {"total": (0, 0, 0)}
    async with database.system() as connection:
        assert await runs.take_over(connection, owner="you") == []
        assert await runs.renew_leases(connection, owner="me") == {}
        parked = await runs.get(connection, run.id)
    assert (parked.state, parked.owner) == (RunState.WAITING, None)
    rivals = [ledger.resume(run.context, run.seq, owner=f"rival{n}") for n in range(3)]
    fact = Continued(turn=1, results={1: "done"})
    takes = (Take("run1/final-2", 100, 1000),)
    results = await all_or_errors([rival.commit(fact, takes=takes) for rival in rivals])
    assert sorted(type(result).__name__ for result in results) == ["FencedError", "FencedError", "tuple"]
    winner = next(rival for rival, result in zip(rivals, results, strict=True) if isinstance(result, tuple))
    assert await ledger.windows("t:acme", "slots") == {"total": (0, 1, 0)}
    assert await ledger.windows("t:acme") == {"total": (0, 100, 0)}
    async with database.tenant("acme") as connection:
        stored = await runs.get(connection, run.id)
    assert (stored.state, stored.owner) == (RunState.RUNNING, winner.context.owner)
    assert stored.deadline_at > parked.deadline_at
    await winner.close(settles=(Settle("run1/final-2", 0),))
    assert await ledger.windows("t:acme", "slots") == {"total": (0, 0, 0)}
    await ledger.check()


async def test_a_continuation_without_a_free_slot_leaves_the_run_waiting(ledger: Ledger, database):
    await ledger.policy(concurrency=1)
    run = await ledger.open()
    await run.commit(asked(), Parked(turn=1), parks=True)
    await ledger.open()
    with pytest.raises(DeniedError) as refused:
        await run.commit(Continued(turn=1, results={}))
    assert refused.value.denial.unit == "slots"
    async with database.tenant("acme") as connection:
        assert (await runs.get(connection, run.id)).state is RunState.WAITING


async def test_a_waiting_run_can_be_ended_by_whoever_comes(ledger: Ledger, database):
    await ledger.policy()
    run = await ledger.open()
    await run.commit(asked(), Parked(turn=1), parks=True)
    async with database.system() as connection:
        assert [one.id for one in await runs.waiting_too_long(connection, older_ms=0)] == [run.id]
        assert await runs.waiting_too_long(connection) == []
    await ledger.resume(run.context, run.seq, owner="janitor").close()
    async with database.tenant("acme") as connection:
        assert (await runs.get(connection, run.id)).state is RunState.ENDED
    await ledger.check()


async def test_the_owner_hears_of_a_cancellation_with_its_next_write(ledger: Ledger, database):
    await ledger.policy()
    run = await ledger.open()
    async with database.tenant("acme") as connection:
        assert await runs.request_cancel(connection, run.id, by="ann") is RunState.RUNNING
        await runs.request_cancel(connection, run.id, by="ben")
    await run.take(1)
    assert run.cancels == ["ann"]
    async with database.system() as connection:
        assert await runs.renew_leases(connection, owner="me") == {run.id: "ann"}
    await run.close()
    async with database.tenant("acme") as connection:
        assert await runs.request_cancel(connection, run.id, by="ann") is RunState.ENDED


async def test_what_a_database_cannot_store_is_replaced_in_the_live_state_too(ledger: Ledger, database):
    await ledger.policy()
    run = await ledger.open()
    nasty = Decision(text="nul \0 and half \ud800", reasoning="backslash \\u0000 stays")
    (stamped,) = await run.commit(Decided(turn=1, attempt=1, decision=nasty))
    assert stamped.fact.decision.text == "nul \ufffd and half \ufffd"
    async with database.tenant("acme") as connection:
        (stored,) = await runs.events(connection, run.id, after=1)
    assert stored == stamped
    assert stored.fact.decision.reasoning == "backslash \\u0000 stays"


async def test_half_a_surrogate_pair_alone_is_replaced_in_the_live_state_too(ledger: Ledger, database):
    await ledger.policy()
    run = await ledger.open()
    (stamped,) = await run.commit(Decided(turn=1, attempt=1, decision=Decision(text="half \ud800")))
    async with database.tenant("acme") as connection:
        assert await runs.events(connection, run.id, after=1) == (stamped,)


async def test_arguments_come_back_in_the_order_in_which_they_were_written(ledger: Ledger, database):
    await ledger.policy()
    run = await ledger.open()
    call = Intent(function="f", arguments={"zebra": 1, "apple": {"y": 1, "b": 2}})
    await run.commit(Decided(turn=1, attempt=1, decision=Decision(calls=(call,))))
    async with database.tenant("acme") as connection:
        (stored,) = await runs.events(connection, run.id, after=1)
    arguments = stored.fact.decision.calls[0].arguments
    assert (list(arguments), list(arguments["apple"])) == (["zebra", "apple"], ["y", "b"])


async def test_inline_calls_and_their_attempts_have_rows(ledger: Ledger, database):
    await ledger.policy()
    run = await ledger.open()

    def start(attempt):
        return CallStart(1, 1, attempt, "search", {"q": "x"}, "inline", "readOnly", 5000, f"{run.id}/1/1/{attempt}", 100)

    await run.commit(takes=(Take(f"{run.id}/1/1/1", 100, 35_000),), starts=(start(1),))
    lost = Outcome(status=Status.UNKNOWN, content="?", cost_nano_usd=100, estimated=True)
    await run.commit(
        settles=(Settle(f"{run.id}/1/1/1", 100, estimate=True),),
        ends=(CallEnd(1, 1, 1, lost),),
        takes=(Take(f"{run.id}/1/1/2", 100, 35_000),),
        starts=(start(2),),
    )
    done = Outcome(status=Status.OK, content="found", cost_nano_usd=40)
    await run.commit(settles=(Settle(f"{run.id}/1/1/2", 40),), ends=(CallEnd(1, 1, 2, done),))
    async with database.tenant("acme") as connection:
        (record,) = await calls.of_run(connection, run.id)
        attempts = await calls.attempts_of_run(connection, run.id)
        stored = await calls.stored(connection, f"{run.id}/1/1")
    assert (record.state, record.attempt, record.cost_nano_usd, record.arguments) == ("done", 2, 140, {"q": "x"})
    assert [(a.attempt, a.status, a.cost_nano_usd, a.estimated) for a in attempts] == [
        (1, "unknown", 100, True),
        (2, "ok", 40, False),
    ]
    assert stored.outcome == done
    await ledger.check()


async def test_an_ended_run_keeps_its_spending(ledger: Ledger, database):
    await ledger.policy()
    run = await ledger.open(cap_nano_usd=5000, metadata={"team": "blue"})
    hold = await run.take(1000)
    await run.commit(ENDED, closes=True)
    (row,) = await ledger.ask("SELECT closed FROM accounts WHERE id = %s", f"r:{run.id}")
    assert row["closed"]
    await database.execute([money.lock_of_hold(hold), money.settle(hold, 640)], tenant="acme")
    async with database.tenant("acme") as connection:
        stored = await runs.get(connection, run.id)
    assert (stored.spent_nano_usd, stored.held_nano_usd, stored.cap_nano_usd) == (640, 0, 5000)
    assert stored.metadata == {"team": "blue"}
