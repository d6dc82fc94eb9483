"""Alerts: each percentage of each window is told once, whoever looks and however often."""

import asyncio

from tests.integration.ledger.shorthand import Ledger
from toolorchestra.ledger import alerts, policies
from toolorchestra.ledger.money import Unit

LIMIT = {"day": "0.000001"}  # 1000 nano-USD


async def told(ledger: Ledger) -> list[tuple[str, str, int]]:
    _, found = await alerts.look(ledger.database)
    return [(alert.unit.value, alert.kind, alert.percent) for alert in found]


async def test_each_percentage_is_told_once_when_it_is_reached(ledger: Ledger):
    await ledger.policy(limits=LIMIT, alerts=[50, 90])
    run = await ledger.open()
    assert await told(ledger) == []
    hold = await run.take(499, "1/0/1")
    assert await told(ledger) == []
    await run.settle(hold, 499)
    await run.settle(await run.take(1, "2/0/1"), 1)
    assert await told(ledger) == [("nano_usd", "day", 50)]
    assert await told(ledger) == []
    await run.take(450, "3/0/1")
    assert await told(ledger) == [("nano_usd", "day", 90)]
    assert await told(ledger) == []
    await ledger.check()


async def test_of_many_processes_one_tells(ledger: Ledger):
    await ledger.policy(limits=LIMIT, alerts=[10, 20])
    run = await ledger.open()
    await run.settle(await run.take(300), 300)

    found = await asyncio.gather(*(told(ledger) for _ in range(5)))

    assert sorted(one for each in found for one in each) == [("nano_usd", "day", 10), ("nano_usd", "day", 20)]


async def test_a_new_window_tells_anew_and_what_was_ever_spent_tells_once(ledger: Ledger, ledger_admin):
    await ledger.policy(limits={**LIMIT, "total": "0.000001"}, alerts=[50])
    run = await ledger.open()
    await run.settle(await run.take(600), 600)
    assert await told(ledger) == [("nano_usd", "day", 50), ("nano_usd", "total", 50)]
    ledger_admin.execute("UPDATE alerts SET start = start - interval '1 day' WHERE kind = 'day'")
    assert await told(ledger) == [("nano_usd", "day", 50)]


async def test_long_gone_windows_are_forgotten(ledger: Ledger, ledger_admin):
    await ledger.policy(limits={**LIMIT, "total": "0.000001"}, alerts=[50])
    run = await ledger.open()
    await run.settle(await run.take(600), 600)
    await told(ledger)
    ledger_admin.execute("UPDATE alerts SET start = start - interval '91 days' WHERE kind = 'day'")
    await told(ledger)
    assert len(ledger_admin.execute("SELECT FROM alerts").fetchall()) == 2


async def test_the_fullest_windows_come_first_with_their_tenants(ledger: Ledger):
    for tenant, spent in (("acme", 100), ("other", 700)):
        await ledger.policy(tenant, limits=LIMIT, requests={"day": 10_000})
        run = await ledger.open(tenant)
        await run.settle(await run.take(spent), spent)

    windows, found = await alerts.look(ledger.database)

    money = [(one.tenant, policies.used_percent(one.window)) for one in windows if one.window.unit is Unit.MONEY]
    assert money == [("other", 70), ("acme", 10)]
    assert found == []
