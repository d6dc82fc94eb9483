"""Holds and settlements: what fits is granted, exactly; the truth is always booked."""

import asyncio

import pytest

from tests.integration.ledger.shorthand import Ledger, all_or_errors
from toolorchestra.core.errors import InvalidRequestError, NotFoundError
from toolorchestra.core.loop.journal import DeniedError, Settle, Take
from toolorchestra.core.money import NANO_PER_USD
from toolorchestra.ledger import keys, money
from toolorchestra.ledger.checks import invariants
from toolorchestra.ledger.database import Database
from toolorchestra.ledger.errors import LedgerError
from toolorchestra.ledger.reaper import reap


async def test_64_clients_against_a_limit_of_100_holds_get_exactly_100(ledger_url, ledger_admin):
    async with await Database.open(ledger_url, min_size=64, max_size=65) as database:
        ledger = Ledger(database)
        await ledger.policy(limits={"total": "0.0000001"})  # 100 nano-USD
        key = (await ledger.key()).record.id
        runs = [await ledger.open(key=key) for _ in range(64)]

        async def client(run):
            granted = 0
            for n in range(4):
                try:
                    await run.take(1, f"1/{n}/1")
                    granted += 1
                except DeniedError:
                    pass
            return granted

        async with asyncio.TaskGroup() as group, database.system() as connection:
            await connection.run([money.lock(["t:acme"])])  # all of them queue behind this lock, then go at once
            clients = [group.create_task(client(run)) for run in runs]
            await waiting_for_locks(ledger_admin, 64)
        assert sum(task.result() for task in clients) == 100
        assert await ledger.windows("t:acme") == {"total": (0, 100, 0)}
        await ledger.check()


async def waiting_for_locks(admin, count: int) -> None:
    """Returns when so many sessions wait for a lock."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    async with asyncio.timeout(20):
        while admin.execute(query).fetchone()[0] < count:
            await asyncio.sleep(0.02)


async def test_a_settlement_puts_the_truth_in_the_place_of_the_hold(ledger: Ledger):
    await ledger.policy(limits={"day": "1", "total": "2"})
    run = await ledger.open()
    hold = await run.take(1000)
    assert await ledger.windows("t:acme") == {"day": (0, 1000, 0), "total": (0, 1000, 0)}
    await run.settle(hold, 600)
    assert await ledger.windows("t:acme") == {"day": (600, 0, 0), "total": (600, 0, 0)}
    assert await ledger.windows(f"r:{run.id}") == {"total": (600, 0, 0)}
    assert await ledger.windows(money.key_account("acme", run.context.key)) == {"total": (600, 0, 0)}
    await ledger.check()


async def test_a_second_settlement_changes_nothing(ledger: Ledger):
    await ledger.policy()
    run = await ledger.open()
    hold = await run.take(1000)
    await run.settle(hold, 600)
    await run.settle(hold, 900)
    await run.settle(hold, 0, estimate=True)
    assert await ledger.windows("t:acme") == {"total": (600, 0, 0)}


async def test_a_settlement_above_the_hold_is_counted_as_over_and_the_next_hold_is_denied(ledger: Ledger):
    await ledger.policy(limits={"total": "0.000001"})  # 1000 nano-USD
    run = await ledger.open()
    hold = await run.take(900)
    await run.settle(hold, 1500)
    assert await ledger.windows("t:acme") == {"total": (1500, 0, 600)}
    with pytest.raises(DeniedError) as refused:
        await run.take(1, "2/0/1")
    assert refused.value.denial.left_nano_usd == 0
    await ledger.check()


async def test_an_estimate_is_replaced_by_the_truth_once(ledger: Ledger):
    await ledger.policy()
    run = await ledger.open()
    hold = await run.take(1000)
    await run.settle(hold, 1000, estimate=True)
    await run.settle(hold, 300)
    await run.settle(hold, 700)
    assert await ledger.windows("t:acme") == {"total": (300, 0, 0)}
    entries = await ledger.ask("SELECT kind, amount FROM entries WHERE hold = %s ORDER BY id", hold)
    assert entries == [{"kind": "estimate", "amount": 1000}, {"kind": "adjust", "amount": -700}]
    await ledger.check()


async def test_a_released_hold_leaves_no_entry_and_its_name_may_be_taken_again(ledger: Ledger):
    await ledger.policy()
    run = await ledger.open()
    hold = await run.take(1000, "final", sent=False)
    await run.settle(hold, 0)
    assert await ledger.ask("SELECT * FROM entries WHERE hold = %s", hold) == []
    await run.take(500, "final")
    assert await ledger.windows("t:acme") == {"total": (0, 500, 0)}
    await ledger.check()


async def test_a_hold_that_is_open_or_paid_cannot_be_taken_again(ledger: Ledger):
    await ledger.policy()
    run = await ledger.open()
    hold = await run.take(1000)
    with pytest.raises(LedgerError, match="was taken before"):
        await run.take(1)
    await run.settle(hold, 10)
    with pytest.raises(LedgerError, match="was taken before"):
        await run.take(1)
    assert await ledger.windows("t:acme") == {"total": (10, 0, 0)}


async def test_a_denial_names_the_account_and_the_window_with_least_left(ledger: Ledger):
    await ledger.policy(limits={"hour": "0.00001", "total": "1"})
    key = (await ledger.key(limits={"day": "0.000005"})).record.id
    run = await ledger.open(key=key, cap_nano_usd=8000)
    with pytest.raises(DeniedError) as by_key:
        await run.take(20_000)
    denial = by_key.value.denial
    assert (denial.account, denial.window, denial.limit_nano_usd, denial.left_nano_usd) == (f"k:{key}", "day", 5000, 5000)
    assert denial.hold == f"{run.id}/1/0/1"
    hold = await run.take(4000)
    await run.settle(hold, 4000)
    other = await ledger.open(cap_nano_usd=1500)
    with pytest.raises(DeniedError) as by_run:
        await other.take(7000)
    assert (by_run.value.denial.account, by_run.value.denial.window) == (f"r:{other.id}", "total")
    third = await ledger.open()
    with pytest.raises(DeniedError) as by_tenant:
        await third.take(7000)
    denial = by_tenant.value.denial
    assert (denial.account, denial.window, denial.spent_nano_usd, denial.left_nano_usd) == ("t:acme", "hour", 4000, 6000)


async def test_a_denied_hold_stores_nothing_of_its_transition(ledger: Ledger):
    await ledger.policy(limits={"total": "0.000001"})
    run = await ledger.open()
    hold = await run.take(400)
    with pytest.raises(DeniedError):
        await run.commit(settles=(Settle(hold, 1),), takes=(Take(f"{run.id}/2/0/1", 1000, 1000),))
    assert await ledger.windows("t:acme") == {"total": (0, 400, 0)}
    assert (await ledger.ask("SELECT seq FROM runs"))[0]["seq"] == run.seq
    await run.settle(hold, 1)
    await ledger.check()


async def test_a_tenant_without_a_policy_is_denied(ledger: Ledger):
    with pytest.raises(DeniedError) as refused:
        await ledger.open("nobody")
    assert (refused.value.denial.account, refused.value.denial.window) == ("t:nobody", "none")
    assert await ledger.ask("SELECT * FROM runs") == []


async def test_a_foreign_key_is_no_way_round_a_limit(ledger: Ledger):
    await ledger.policy()
    await ledger.policy("other")
    foreign = (await ledger.key("other")).record.id
    with pytest.raises(DeniedError) as refused:
        await ledger.open("acme", key=foreign)
    assert refused.value.denial.account == f"k:{foreign}"


async def test_a_revoked_key_gets_no_further_hold_but_its_settlements_arrive(ledger: Ledger, database):
    await ledger.policy()
    run = await ledger.open()
    hold = await run.take(1000)
    async with database.tenant("acme") as connection:
        await keys.revoke(connection, "acme", run.context.key)
    with pytest.raises(DeniedError) as refused:
        await run.take(1, "2/0/1")
    assert refused.value.denial.window == "closed"
    await run.settle(hold, 800)
    assert await ledger.windows("t:acme") == {"total": (800, 0, 0)}
    await ledger.check()


async def test_the_reaper_charges_what_was_sent_and_releases_what_was_not(ledger: Ledger, database):
    await ledger.policy()
    run = await ledger.open()
    sent = await run.take(1000, "1/1/1", ttl_ms=0)
    unsent = await run.take(300, "1/2/1", ttl_ms=0, sent=False)
    await run.take(70, "1/3/1")
    assert await all_or_errors([reap(database), reap(database)]) in ([2, 0], [0, 2], [1, 1])
    assert await ledger.windows("t:acme") == {"total": (1000, 70, 0)}
    await run.settle(sent, 250)
    await run.settle(unsent, 40)
    assert await ledger.windows("t:acme") == {"total": (290, 70, 40)}  # truth after a release counts as over
    kinds = await ledger.ask("SELECT kind, amount FROM entries WHERE unit = 'nano_usd' ORDER BY id")
    assert [(row["kind"], row["amount"]) for row in kinds] == [("estimate", 1000), ("adjust", -750), ("adjust", 40)]
    await ledger.check()


async def test_a_hold_that_nobody_closes_is_a_violation_after_its_grace(ledger: Ledger, database):
    await ledger.policy()
    run = await ledger.open()
    await run.take(1000, ttl_ms=0)
    await asyncio.sleep(0.01)
    await ledger.check()
    async with database.system() as connection:
        assert [v.law for v in await invariants(connection, grace_ms=0)] == ["stale_holds"]


async def test_entries_cannot_be_changed_even_by_the_owner(ledger: Ledger, database):
    await ledger.policy()
    run = await ledger.open()
    await run.settle(await run.take(10), 10)

    async def change(query):
        async with database.login() as connection:
            await connection.execute("SET LOCAL search_path = toolorchestra")
            await connection.execute(query)

    for query in ("UPDATE entries SET amount = 0", "DELETE FROM entries", "TRUNCATE entries"):
        with pytest.raises(LedgerError, match="append-only"):
            await change(query)


async def test_an_adjustment_credits_the_current_windows_with_reason_and_author(ledger: Ledger, database):
    await ledger.policy(limits={"day": "0.000001"})
    run = await ledger.open()
    await run.settle(await run.take(1000), 1000)
    with pytest.raises(DeniedError):
        await run.take(100, "2/0/1")
    async with database.system() as connection:
        await money.adjust(connection, "acme", amount_nano_usd=-500, reason="outage", author="ann")
    await run.take(500, "2/0/1")
    async with database.system() as connection:
        await money.adjust(connection, "acme", amount_nano_usd=3 * NANO_PER_USD, reason="licence", author="ann")
    assert (await ledger.windows("t:acme"))["day"] == (500 + 3 * NANO_PER_USD, 500, 3 * NANO_PER_USD)
    await ledger.check()


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"amount_nano_usd": 0, "reason": "r", "author": "a"}, "amount"),
        ({"amount_nano_usd": 1, "reason": " ", "author": "a"}, "reason"),
        ({"amount_nano_usd": 1, "reason": "r", "author": ""}, "author"),
    ],
)
async def test_an_adjustment_without_amount_reason_or_author_is_refused(ledger: Ledger, database, values, field):
    await ledger.policy()
    async with database.system() as connection:
        with pytest.raises(InvalidRequestError) as refused:
            await money.adjust(connection, "acme", **values)
    assert refused.value.param == field


async def test_a_tenant_without_an_account_cannot_be_adjusted(database):
    async with database.system() as connection:
        with pytest.raises(NotFoundError, match="has no account"):
            await money.adjust(connection, "nobody", amount_nano_usd=1, reason="r", author="a")
