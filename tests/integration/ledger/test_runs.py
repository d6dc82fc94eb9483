"""Runs: pages, leases, take-over, contents, feedback, revisions."""

import asyncio

import pytest

from tests.integration.ledger.shorthand import Ledger, asked
from toolorchestra.core.calls import Outcome, Status
from toolorchestra.core.errors import ConflictError, NotFoundError
from toolorchestra.core.loop.facts import Parked
from toolorchestra.core.loop.journal import CallEnd, CallStart, Take
from toolorchestra.ledger import calls, runs
from toolorchestra.ledger.runs import Feedback, RunState


async def test_pages_walk_through_all_runs_newest_first(ledger: Ledger, database):
    await ledger.policy()
    key = (await ledger.key()).record.id
    opened = [await ledger.open(key=key) for _ in range(5)]
    await opened[2].close()
    seen, after = [], None
    async with database.tenant("acme") as connection:
        while page := await runs.page(connection, "acme", after=after, count=2):
            seen += [run.id for run in page]
            after = seen[-1]
        ended = await runs.page(connection, "acme", state=RunState.ENDED)
        others = await runs.page(connection, "acme", key="another")
    assert seen == [run.id for run in reversed(opened)]
    assert [run.id for run in ended] == [opened[2].id]
    assert others == []


async def test_an_unknown_run_is_named_in_the_error(database):
    async with database.tenant("acme") as connection:
        with pytest.raises(NotFoundError, match="'nope'"):
            await runs.get(connection, "nope")


async def test_only_runs_whose_lease_ended_and_whose_facts_are_known_are_taken_over(ledger: Ledger, database):
    await ledger.policy()
    key = (await ledger.key()).record.id
    late = [await ledger.open(key=key, lease_ms=0) for _ in range(3)]
    await ledger.open(key=key)
    async with database.system() as connection:
        assert await runs.take_over(connection, owner="old", version=0) == []
        first = await runs.take_over(connection, owner="you", count=2)
        rest = await runs.take_over(connection, owner="you", count=2)
        assert await runs.take_over(connection, owner="you") == []
    assert {run.id for run in (*first, *rest)} == {run.id for run in late}
    assert all(run.owner == "you" and run.seq == 2 for run in first)


async def test_racing_replicas_take_every_run_over_once(ledger: Ledger, database):
    await ledger.policy()
    key = (await ledger.key()).record.id
    for _ in range(12):
        await ledger.open(key=key, lease_ms=0)

    async def replica(name):
        taken = []
        for _ in range(3):
            async with database.system() as connection:
                taken += [run.id for run in await runs.take_over(connection, owner=name)]
        return taken

    taken = await asyncio.gather(*(replica(f"replica{n}") for n in range(4)))
    ids = [run_id for one in taken for run_id in one]
    assert len(ids) == len(set(ids)) == 12
    rows = await ledger.ask("SELECT run, count(*) AS n FROM events WHERE type = 'resumed' GROUP BY run")
    assert {row["n"] for row in rows} == {1}


async def test_a_take_over_does_not_wait_for_an_owner_that_is_just_writing(ledger: Ledger, database):
    await ledger.policy()
    run = await ledger.open(lease_ms=0)
    async with database.system() as writing:
        await writing.execute("SELECT 1 FROM runs WHERE id = %s FOR NO KEY UPDATE", (run.id,))
        async with asyncio.timeout(2), database.system() as connection:
            assert await runs.take_over(connection, owner="you") == []


async def test_renewed_leases_are_not_taken_over_and_returned_ones_are(ledger: Ledger, database):
    await ledger.policy()
    run = await ledger.open(lease_ms=0)
    async with database.system() as connection:
        assert await runs.renew_leases(connection, owner="me") == {run.id: None}
        assert await runs.take_over(connection, owner="you") == []
        assert await runs.give_back(connection, owner="me") == [run.id]
        assert [one.id for one in await runs.take_over(connection, owner="you")] == [run.id]


async def test_single_runs_are_given_back_and_the_others_kept(ledger: Ledger, database):
    await ledger.policy()
    given, kept = await ledger.open(), await ledger.open()
    async with database.system() as connection:
        assert await runs.give_back(connection, owner="me", runs=[given.id]) == [given.id]
        assert [one.id for one in await runs.take_over(connection, owner="you")] == [given.id]
        assert list(await runs.renew_leases(connection, owner="me")) == [kept.id]


async def test_a_page_after_an_unknown_run_names_the_field(ledger: Ledger, database):
    await ledger.policy()
    last = await ledger.open()
    async with database.tenant("acme") as connection:
        assert await runs.page(connection, "acme", after=last.id) == []
        with pytest.raises(NotFoundError, match="run-x") as caught:
            await runs.page(connection, "acme", after="run-x")
    assert caught.value.param == "after"


async def test_a_repeated_body_means_the_unfinished_or_just_ended_run(ledger: Ledger, database):
    await ledger.policy()
    key = (await ledger.key()).record.id
    run = await ledger.open(key=key, body_hash="b")
    async with database.tenant("acme") as connection:
        assert (await runs.find_retry(connection, "acme", key=key, body_hash="b")).run_id == run.id
        assert await runs.find_retry(connection, "acme", key="another", body_hash="b") is None
        assert await runs.find_retry(connection, "acme", key=key, body_hash="c") is None
    await run.close()
    async with database.tenant("acme") as connection:
        assert (await runs.find_retry(connection, "acme", key=key, body_hash="b")).state == "ended"
        assert await runs.find_retry(connection, "acme", key=key, body_hash="b", within_ms=0) is None


async def test_deleting_contents_keeps_the_money(ledger: Ledger, database):
    await ledger.policy()
    run = await ledger.open()
    start = CallStart(1, 1, 1, "search", {"q": "secret"}, "inline", "readOnly", 5000, f"{run.id}/1/1/1", 100)
    await run.commit(takes=(Take(start.hold, 100, 1000),), starts=(start,))
    outcome = Outcome(status=Status.OK, content="secret too", cost_nano_usd=60)
    await run.commit(ends=(CallEnd(1, 1, 1, outcome),))
    await run.settle(start.hold, 60)
    async with database.tenant("acme") as connection:
        await runs.add_feedback(connection, run.id, Feedback("ann", score=1.0, comment="secret as well"))
        with pytest.raises(ConflictError, match="cancel it first"):
            await runs.delete_content(connection, run.id)
    await run.close()
    async with database.tenant("acme") as connection:
        await runs.delete_content(connection, run.id)
        assert await runs.events(connection, run.id) == ()
        (call,) = await calls.of_run(connection, run.id)
        (feedback,) = await runs.list_feedback(connection, run.id)
        stored = await runs.get(connection, run.id)
    assert (call.arguments, call.outcome["content"], call.outcome["status"], call.cost_nano_usd) == (None, "", "ok", 60)
    assert (feedback.score, feedback.comment) == (1.0, None)
    assert (stored.spent_nano_usd, stored.content_deleted_at is None) == (60, False)
    for table in ("runs", "events", "calls", "attempts", "feedback"):
        assert not await ledger.ask(f"SELECT 1 AS found FROM {table} x WHERE x::text LIKE '%%secret%%'"), table
    await ledger.check()


async def test_contents_expire_as_the_tenants_policy_says(ledger: Ledger, database):
    await ledger.policy("brief", retention="1d")
    await ledger.policy("usual")
    brief, usual, fresh = [await ledger.open(tenant) for tenant in ("brief", "usual", "brief")]
    for run in (brief, usual, fresh):
        await run.close()
    await ledger.ask(
        "UPDATE runs SET ended_at = ended_at - interval '2 days' WHERE id = ANY(%s) RETURNING id", [brief.id, usual.id]
    )
    async with database.system() as connection:
        assert await runs.expire_content(connection) == [brief.id]
        assert await runs.expire_content(connection) == []


async def test_feedback_belongs_to_a_run(ledger: Ledger, database):
    await ledger.policy()
    run = await ledger.open()
    async with database.tenant("acme") as connection:
        await runs.add_feedback(connection, run.id, Feedback("ann", label="good"))
        await runs.add_feedback(connection, run.id, Feedback("ben", score=0.25, comment="slow"))
        found = await runs.list_feedback(connection, run.id)
        with pytest.raises(NotFoundError):
            await runs.add_feedback(connection, "nope", Feedback("ann"))
    assert [(one.author, one.score, one.label, one.comment) for one in found] == [
        ("ann", None, "good", None),
        ("ben", 0.25, None, "slow"),
    ]


async def test_a_revision_is_kept_once_and_in_its_order(database):
    body = {"zebra": 1, "apple": [1, {"y": None, "b": 2}]}
    async with database.tenant("acme") as connection:
        await runs.put_revision(connection, "acme", revision="abc", body=body)
        await runs.put_revision(connection, "acme", revision="abc", body={"ignored": True})
        found = await runs.get_revision(connection, "acme", revision="abc")
        assert (found, list(found)) == (body, ["zebra", "apple"])
        with pytest.raises(NotFoundError, match="'def'"):
            await runs.get_revision(connection, "acme", revision="def")


async def test_a_waiting_run_is_nobodys_to_take_over(ledger: Ledger, database):
    await ledger.policy()
    run = await ledger.open(lease_ms=0)
    await run.commit(asked(), Parked(turn=1), parks=True)
    async with database.system() as connection:
        assert await runs.take_over(connection, owner="you") == []
