"""Editing a policy: at once, under the tenant's lock, and never a way to get money back."""

import pytest

from tests.integration.ledger.shorthand import Ledger
from toolorchestra.core.loop.journal import DeniedError
from toolorchestra.core.resources.budget import BudgetPolicySpec
from toolorchestra.ledger import money, policies
from toolorchestra.ledger.money import Unit
from toolorchestra.ledger.reaper import reap


def spec(**values) -> BudgetPolicySpec:
    return BudgetPolicySpec.model_validate(values)


async def budget_of(ledger: Ledger, kind: str, unit: Unit = Unit.MONEY, tenant: str = "acme"):
    async with ledger.database.tenant(tenant) as connection:
        rows = await policies.budget(connection, tenant)
    return next((row for row in rows if row.kind == kind and row.unit == unit), None)


async def test_a_new_window_opens_with_what_was_spent_and_is_held_since_its_start(ledger: Ledger):
    await ledger.policy()
    run = await ledger.open()
    await run.settle(await run.take(500, "1/0/1"), 400)
    held = await run.take(300, "2/0/1")
    await ledger.policy(limits={"day": "0.000001"})
    found = await budget_of(ledger, "day")
    assert (found.limit, found.spent, found.held, found.remaining) == (1000, 400, 300, 300)
    await ledger.check()
    await run.settle(held, 250)
    assert (await ledger.windows("t:acme"))["day"] == (650, 0, 0)
    with pytest.raises(DeniedError):
        await run.take(351, "3/0/1")
    await run.take(350, "3/0/1")
    await ledger.check()


async def test_a_new_window_does_not_count_what_was_before_its_start(ledger: Ledger, ledger_admin):
    await ledger.policy()
    run = await ledger.open()
    await run.settle(await run.take(500, "1/0/1"), 400)
    held = await run.take(30, "2/0/1")
    for table in ("holds", "entries"):
        ledger_admin.execute(f"UPDATE {table} SET at = at - interval '25 hours'")
    await run.settle(await run.take(9, "3/0/1"), 7)
    await ledger.policy(limits={"day": "0.000001"})
    assert (await ledger.windows("t:acme"))["day"] == (7, 0, 0)
    await run.settle(held, 30)
    assert (await ledger.windows("t:acme"))["day"] == (7, 0, 0)
    await ledger.check()


async def test_taking_a_limit_away_and_putting_it_back_gives_no_money_back(ledger: Ledger):
    await ledger.policy(limits={"day": "0.000001"})
    run = await ledger.open()
    await run.settle(await run.take(400, "1/0/1"), 400)
    await ledger.policy()
    await run.settle(await run.take(500, "2/0/1"), 500)
    await ledger.policy(limits={"day": "0.000001"})
    assert (await ledger.windows("t:acme"))["day"] == (900, 0, 0)
    await ledger.check()


async def test_another_time_zone_gives_no_money_back(ledger: Ledger):
    await ledger.policy(limits={"day": "0.000001"})
    run = await ledger.open()
    hold = await run.take(700)
    for zone in ("Pacific/Kiritimati", "Pacific/Niue", "Asia/Kathmandu", "UTC"):
        await ledger.policy(timeZone=zone, limits={"day": "0.000001"})
        assert (await budget_of(ledger, "day")).held == 700
    await run.settle(hold, 650)
    for zone in ("Pacific/Kiritimati", "Pacific/Niue", "Asia/Kathmandu", "UTC"):
        await ledger.policy(timeZone=zone, limits={"day": "0.000001"})
        assert (await budget_of(ledger, "day")).spent == 650
    await ledger.check()


async def test_a_late_truth_corrects_windows_that_were_opened_after_the_estimate(ledger: Ledger, database):
    await ledger.policy()
    run = await ledger.open()
    estimated = await run.take(1000, "1/0/1", ttl_ms=0)
    released = await run.take(50, "1/1/1", ttl_ms=0, sent=False)
    await reap(database)
    await ledger.policy(limits={"month": "1"})
    assert (await ledger.windows("t:acme"))["month"] == (1000, 0, 0)
    await run.settle(estimated, 200)
    await run.settle(released, 20)
    assert (await ledger.windows("t:acme"))["month"] == (220, 0, 20)
    await ledger.check()


async def test_adjustments_count_in_a_window_opened_after_them(ledger: Ledger, database):
    await ledger.policy()
    async with database.system() as connection:
        await money.adjust(connection, "acme", amount_nano_usd=-300, reason="credit", author="ann")
    await ledger.policy(limits={"day": "0.000001"})
    assert (await budget_of(ledger, "day")).remaining == 1300
    await ledger.check()


async def test_lowering_a_limit_below_what_is_used_only_denies_what_comes_next(ledger: Ledger):
    await ledger.policy(limits={"total": "1"})
    run = await ledger.open()
    hold = await run.take(5000)
    await ledger.policy(limits={"total": "0.000001"})
    with pytest.raises(DeniedError):
        await run.take(1, "2/0/1")
    await run.settle(hold, 4000)
    assert await ledger.windows("t:acme") == {"total": (4000, 0, 0)}
    assert (await budget_of(ledger, "total")).remaining == 0
    await ledger.check()
    await ledger.policy(limits={"total": "0.000005"})
    await run.take(1000, "2/0/1")
    await ledger.check()


async def test_deleting_a_policy_returns_to_the_default_and_spending_stays(ledger: Ledger, database):
    await ledger.policy(limits={"total": "1"})
    run = await ledger.open()
    await run.settle(await run.take(900), 900)
    async with database.system() as connection:
        found = await policies.delete_policy(connection, "acme", default=spec(limits={"total": "0.000001"}))
    assert found.source == "default"
    assert (await budget_of(ledger, "total")).remaining == 100
    with pytest.raises(DeniedError):
        await run.take(101, "2/0/1")


async def test_a_tenant_without_a_policy_gets_the_default_and_follows_its_changes(ledger: Ledger, database):
    async with database.system() as connection:
        first = await policies.ensure_tenant(connection, "acme", default=spec(limits={"total": "1"}))
        again = await policies.ensure_tenant(connection, "acme", default=spec(limits={"total": "1"}))
        assert again.enforced_at == first.enforced_at
        changed = await policies.ensure_tenant(connection, "acme", default=spec(limits={"total": "0"}))
    assert (changed.source, changed.spec.limits.total) == ("default", "0")
    run = await ledger.open()
    with pytest.raises(DeniedError):
        await run.take(1)


async def test_a_policy_of_its_own_wins_over_the_default(ledger: Ledger, database):
    await ledger.policy(limits={"total": "3"}, retention="7d")
    async with database.system() as connection:
        found = await policies.ensure_tenant(connection, "acme", default=spec(limits={"total": "0"}))
    assert (found.source, found.spec.limits.total, found.spec.retention) == ("policy", "3", "7d")


async def test_requests_and_slots_are_limited_too(ledger: Ledger):
    await ledger.policy(requests={"day": 3}, concurrency=2)
    key = (await ledger.key()).record.id
    first = await ledger.open(key=key)
    await ledger.open(key=key)
    with pytest.raises(DeniedError) as refused:
        await ledger.open(key=key)
    assert (refused.value.denial.unit, refused.value.denial.limit_nano_usd) == ("slots", 2)
    await first.close()
    await ledger.open(key=key)
    with pytest.raises(DeniedError) as refused:
        await ledger.open(key=key)
    assert refused.value.denial.unit == "requests"
    assert (await budget_of(ledger, "day", Unit.REQUESTS)).remaining == 0
    assert (await budget_of(ledger, "total", Unit.SLOTS)).held == 2
    await ledger.check()


async def test_a_budget_shows_limit_use_and_bounds_of_every_window(ledger: Ledger):
    await ledger.policy(timeZone="Europe/Berlin", limits={"hour": "1", "month": "5"})
    async with ledger.database.tenant("acme") as connection:
        rows = await policies.budget(connection, "acme")
    assert [(row.unit.value, row.kind, row.limit) for row in rows] == [
        ("nano_usd", "hour", 1_000_000_000),
        ("nano_usd", "month", 5_000_000_000),
        ("nano_usd", "total", None),
        ("requests", "total", None),
        ("slots", "total", None),
    ]
    hour, month, total, *_ = rows
    assert (hour.end - hour.start).total_seconds() == 3600
    assert 28 <= (month.end - month.start).days <= 31
    assert (total.start, total.end, total.remaining) == (None, None, None)
