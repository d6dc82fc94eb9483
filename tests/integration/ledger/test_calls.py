"""Queued calls: one claims, one finishes, one gives up; money follows the attempts."""

import asyncio

import pytest

from tests.integration.ledger.shorthand import Ledger, Run
from toolorchestra.core.calls import Outcome, Status
from toolorchestra.core.errors import NotFoundError
from toolorchestra.core.loop.journal import CallEnd, CallStart, Settle, Take
from toolorchestra.ledger import calls
from toolorchestra.ledger.calls import CallState, Claim, StoredCall
from toolorchestra.ledger.reaper import reap

DONE = Outcome(status=Status.OK, content="done", cost_nano_usd=60)


async def start(run: Run, *, side_effects: str = "readOnly", timeout_ms: int = 60_000, hold: int = 100) -> str:
    name = f"{run.id}/1/1/1"
    row = CallStart(1, 1, 1, "f", {"b": 1, "a": 2}, "queued", side_effects, timeout_ms, name, hold, max_output_tokens=9)
    await run.commit(takes=(Take(name, hold, timeout_ms + 30_000, sent=False),), starts=(row,))
    return f"{run.id}/1/1"


async def claim(ledger: Ledger, call: str, *, lease_ms: int = 60_000) -> Claim | StoredCall:
    return await calls.claim(ledger.database, call, lease_ms=lease_ms)


async def finish(ledger: Ledger, call: str, attempt: int, outcome: Outcome = DONE) -> bool:
    async with ledger.database.system() as connection:
        return await calls.finish(connection, call, attempt, outcome)


async def stored(ledger: Ledger, call: str) -> StoredCall:
    async with ledger.database.system() as connection:
        return await calls.stored(connection, call)


async def test_a_claim_has_all_that_a_worker_needs(ledger: Ledger):
    await ledger.policy()
    run = await ledger.open(revision="rev1", session="library:task-1:a")
    call = await start(run)
    before = await stored(ledger, call)
    assert (before.state, before.attempt, before.sent) == (CallState.QUEUED, 1, False)
    found = await claim(ledger, call)
    assert isinstance(found, Claim)
    assert (found.run_id, found.tenant, found.revision, found.function) == (run.id, "acme", "rev1", "f")
    assert found.session == "library:task-1:a"
    assert (dict(found.arguments), list(found.arguments)) == ({"b": 1, "a": 2}, ["b", "a"])
    assert (found.attempt, found.hold, found.hold_nano_usd, found.max_output_tokens) == (1, f"{call}/1", 100, 9)
    assert 55_000 < found.left_ms <= 60_000
    assert (await stored(ledger, call)).sent
    assert await finish(ledger, call, 1)
    after = await stored(ledger, call)
    assert (after.state, after.outcome) == (CallState.DONE, DONE)
    assert await ledger.windows("t:acme") == {"total": (60, 0, 0)}
    await ledger.check()


async def test_of_many_workers_one_claims(ledger: Ledger):
    await ledger.policy()
    call = await start(await ledger.open())
    found = await asyncio.gather(*(claim(ledger, call) for _ in range(8)))
    assert [type(one).__name__ for one in found].count("Claim") == 1


async def test_a_stored_outcome_is_handed_to_whoever_comes_later(ledger: Ledger):
    await ledger.policy()
    call = await start(await ledger.open())
    await claim(ledger, call)
    await finish(ledger, call, 1)
    again = await claim(ledger, call)
    assert isinstance(again, StoredCall)
    assert again.outcome == DONE


async def test_a_silent_workers_call_is_repeated_with_a_hold_of_its_own(ledger: Ledger, database):
    await ledger.policy()
    run = await ledger.open(session="s")
    call = await start(run)
    await claim(ledger, call, lease_ms=0)
    second = await claim(ledger, call)
    assert isinstance(second, Claim)
    assert (second.attempt, second.hold, second.session) == (2, f"{call}/2", "s")
    assert await ledger.windows("t:acme") == {"total": (100, 100, 0)}  # the lost attempt in full, as an estimate
    assert await finish(ledger, call, 2)
    assert not await finish(ledger, call, 1, Outcome(status=Status.OK, content="late", cost_nano_usd=30))
    assert (await stored(ledger, call)).outcome == DONE
    assert await ledger.windows("t:acme") == {"total": (90, 0, 0)}  # 60, and the 30 that the late one really cost
    async with database.tenant("acme") as connection:
        attempts = await calls.attempts_of_run(connection, run.id)
    assert [(a.attempt, a.status, a.cost_nano_usd, a.estimated) for a in attempts] == [
        (1, "ok", 30, False),
        (2, "ok", 60, False),
    ]
    labels = await ledger.ask("SELECT key, kind, function FROM holds WHERE id = %s", second.hold)
    assert labels == [{"key": run.context.key, "kind": "call", "function": "f"}]
    await ledger.check()


async def test_a_destructive_call_is_never_repeated(ledger: Ledger):
    await ledger.policy()
    call = await start(await ledger.open(), side_effects="destructive")
    await claim(ledger, call, lease_ms=0)
    again = await claim(ledger, call)
    assert isinstance(again, StoredCall)
    assert (again.state, again.sent) == (CallState.RUNNING, True)


async def test_a_repetition_that_the_budget_refuses_is_finished_as_denied(ledger: Ledger, database):
    await ledger.policy(limits={"total": "0.00000015"})  # 150 nano-USD
    run = await ledger.open()
    call = await start(run)
    await claim(ledger, call, lease_ms=0)
    refused = await claim(ledger, call)
    assert isinstance(refused, StoredCall)
    assert (refused.state, refused.outcome.status, refused.outcome.error_code) == (
        CallState.DONE,
        Status.DENIED,
        "insufficient_quota",
    )
    assert await ledger.windows("t:acme") == {"total": (100, 0, 0)}
    await ledger.check()


async def test_a_worker_keeps_its_call_while_it_says_so(ledger: Ledger, database):
    await ledger.policy()
    call = await start(await ledger.open())
    await claim(ledger, call, lease_ms=0)
    async with database.system() as connection:
        assert await calls.extend(connection, call, 1, lease_ms=60_000)
        assert not await calls.extend(connection, call, 2, lease_ms=60_000)
    assert isinstance(await claim(ledger, call), StoredCall)


async def test_a_call_past_its_deadline_cannot_be_claimed(ledger: Ledger):
    await ledger.policy()
    call = await start(await ledger.open(), timeout_ms=0)
    await asyncio.sleep(0.01)
    assert isinstance(await claim(ledger, call), StoredCall)


@pytest.mark.parametrize("claimed", [False, True])
async def test_a_call_that_is_given_up_is_settled_by_the_owner_and_corrected_by_a_late_worker(
    ledger: Ledger, database, claimed
):
    await ledger.policy()
    run = await ledger.open()
    call = await start(run)
    if claimed:
        await claim(ledger, call, lease_ms=0)
    async with database.tenant("acme") as connection:
        over = await calls.give_up(connection, call)
    assert (over.state, over.attempt, over.hold, over.sent) == (CallState.OVER, 1, f"{call}/1", claimed)
    cost = over.hold_nano_usd if over.sent else 0
    outcome = Outcome(status=Status.UNKNOWN, content="gone", cost_nano_usd=cost, estimated=cost > 0)
    end = CallEnd(1, 1, over.attempt, outcome)
    await run.commit(settles=(Settle(over.hold, cost, estimate=cost > 0),), ends=(end,))
    assert isinstance(await claim(ledger, call), StoredCall)
    assert (await stored(ledger, call)).outcome == outcome
    assert not await finish(ledger, call, 1, Outcome(status=Status.OK, content="late", cost_nano_usd=70))
    assert (await stored(ledger, call)).outcome == outcome
    assert await ledger.windows("t:acme") == {"total": (70 if claimed else 0, 0, 0)}
    await ledger.check()


async def test_a_call_that_somebody_runs_is_not_given_up(ledger: Ledger, database):
    await ledger.policy()
    call = await start(await ledger.open())
    await claim(ledger, call)
    async with database.tenant("acme") as connection:
        assert (await calls.give_up(connection, call)).state is CallState.RUNNING
    await finish(ledger, call, 1)
    async with database.tenant("acme") as connection:
        assert (await calls.give_up(connection, call)).outcome == DONE


async def test_claiming_and_giving_up_at_once_leave_one_winner(ledger: Ledger, database):
    await ledger.policy()
    run = await ledger.open()
    for turn in range(6):
        name = f"{run.id}/{turn}/1/1"
        row = CallStart(turn, 1, 1, "f", {}, "queued", "readOnly", 60_000, name, 10)
        await run.commit(takes=(Take(name, 10, 90_000, sent=False),), starts=(row,))

        async def give_up(call=f"{run.id}/{turn}/1"):
            async with database.tenant("acme") as connection:
                return await calls.give_up(connection, call)

        claimed, given_up = await asyncio.gather(claim(ledger, f"{run.id}/{turn}/1"), give_up())
        assert isinstance(claimed, Claim) != (given_up.state is CallState.OVER)


async def test_a_reaped_hold_of_a_claimed_call_is_corrected_by_its_outcome(ledger: Ledger, database):
    await ledger.policy()
    call = await start(await ledger.open())
    await claim(ledger, call)
    await ledger.ask("UPDATE holds SET expires_at = now() - interval '1 s' WHERE unit = 'nano_usd' RETURNING id")
    assert await reap(database) == 1
    assert await ledger.windows("t:acme") == {"total": (100, 0, 0)}
    assert await finish(ledger, call, 1)
    assert await ledger.windows("t:acme") == {"total": (60, 0, 0)}
    await ledger.check()


async def test_outcomes_of_several_calls_come_at_once(ledger: Ledger, database):
    await ledger.policy()
    call = await start(await ledger.open())
    async with database.tenant("acme") as connection:
        found = await calls.outcomes(connection, [call, "nope/1/1"])
        assert list(found) == [call]
        with pytest.raises(NotFoundError, match="nope/1/1"):
            await calls.stored(connection, "nope/1/1")


async def test_a_call_under_way_is_given_up_at_once_if_that_is_wished(ledger: Ledger):
    await ledger.policy()
    run = await ledger.open()
    call = await start(run)
    await claim(ledger, call)
    async with ledger.database.system() as connection:
        assert (await calls.give_up(connection, call)).state is CallState.RUNNING
        given_up = await calls.give_up(connection, call, now=True)
        assert (given_up.state, given_up.sent, given_up.outcome) == (CallState.OVER, True, None)
        assert await calls.extend(connection, call, 1, lease_ms=60_000) is False, "its worker finds out"
