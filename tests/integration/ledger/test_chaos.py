"""Everything at once: no limit is passed, nothing is lost, and the bill is right to the nano-dollar."""

import asyncio
import random
import time
from dataclasses import dataclass, field

from tests.integration.ledger.shorthand import Ledger, Run
from toolorchestra.core.loop.journal import DeniedError, Settle, Take
from toolorchestra.core.resources.budget import BudgetPolicySpec
from toolorchestra.ledger import policies
from toolorchestra.ledger.checks import invariants
from toolorchestra.ledger.database import Database
from toolorchestra.ledger.reaper import reap
from toolorchestra.ledger.schema import migrate

TENANTS = ("red", "green", "blue")
SECONDS = 6
CLIENTS = 24
# Windows of an hour are windows of a second here, so that many begin and end under way.
FAST_HOURS = """
CREATE OR REPLACE FUNCTION toolorchestra.wstart(kind text, tz text, t timestamptz) RETURNS timestamptz LANGUAGE sql STABLE AS $$
  SELECT CASE kind WHEN 'total' THEN timestamptz '-infinity' WHEN 'hour' THEN date_trunc('second', t, tz)
                   ELSE date_trunc(kind, t, tz) END
$$
"""


@dataclass
class Bill:
    """What the providers charged, by tenant, kept apart from the ledger."""

    total: dict[str, int] = field(default_factory=lambda: dict.fromkeys(TENANTS, 0))
    granted: int = 0
    denied: int = 0


class Client:
    """One client that behaves in all the ways there are."""

    def __init__(self, ledger: Ledger, tenant: str, key: str, bill: Bill, seed: int) -> None:
        self._ledger, self._tenant, self._key, self._bill = ledger, tenant, key, bill
        self._random = random.Random(seed)
        self._number = 0

    async def work(self, until: float) -> None:
        while time.monotonic() < until:
            try:
                run = await self._ledger.open(self._tenant, key=self._key, cap_nano_usd=self._random.choice([None, 400]))
            except DeniedError:
                self._bill.denied += 1
                await asyncio.sleep(0.02)
                continue
            for _ in range(self._random.randint(1, 6)):
                await self._step(run)
            await run.close()

    async def _step(self, run: Run) -> None:
        self._number += 1
        amount, hold = self._random.randint(1, 120), f"{run.id}/{self._number}/0/1"
        sent = self._random.random() < 0.8
        abandoned = self._random.random() < 0.3
        ttl_ms = self._random.choice([0, 5, 40]) if abandoned else 60_000
        try:
            await run.commit(takes=(Take(hold, amount, ttl_ms, sent),))
        except DeniedError:
            self._bill.denied += 1
            return
        self._bill.granted += 1
        if abandoned:
            await self._late(run, hold, amount, sent=sent)
        else:
            await self._settled(run, hold, amount)

    async def _settled(self, run: Run, hold: str, amount: int) -> None:
        """On time: exact, less, released, above the hold; estimated first; twice."""
        actual = self._random.choice([amount, amount // 2, 0, amount + 30])
        if self._random.random() < 0.2:
            await run.settle(hold, amount, estimate=True)
        await run.commit(settles=(Settle(hold, actual), Settle(hold, 999_999)))
        self._bill.total[self._tenant] += actual

    async def _late(self, run: Run, hold: str, amount: int, *, sent: bool) -> None:
        """Never, or perhaps after the reaper."""
        if self._random.random() < 0.5:
            self._bill.total[self._tenant] += amount if sent else 0
            return
        await asyncio.sleep(self._random.random() * 0.05)
        actual = self._random.randint(0, amount + 20)
        await run.settle(hold, actual)
        self._bill.total[self._tenant] += actual


async def edit(ledger: Ledger, until: float) -> None:
    """The platform team cannot make up its mind."""
    choices = random.Random(7)
    while time.monotonic() < until:
        await ledger.policy(choices.choice(TENANTS), **policy(choices))
        await asyncio.sleep(0.15)


def policy(choices: random.Random) -> dict[str, object]:
    limits = {"total": choices.choice(["1", "0.00002", "0.0001"])}
    for kind, amounts in (("hour", ["0.000001", "0.000002"]), ("day", ["0.00005", "0.0003"])):
        if choices.random() < 0.7:
            limits[kind] = choices.choice(amounts)
    return {
        "limits": limits,
        "timeZone": choices.choice(["UTC", "Asia/Kathmandu"]),
        "concurrency": choices.choice([4, 30, None]),
    }


async def reap_all(database: Database, until: float) -> None:
    while time.monotonic() < until:
        await reap(database)
        await asyncio.sleep(0.02)


async def watch(database: Database, until: float) -> list[str]:
    """The laws hold all the time, not only at the end."""
    found: list[str] = []
    while time.monotonic() < until:
        async with database.system() as connection:
            found += [str(one) for one in await invariants(connection)]
        await asyncio.sleep(0.3)
    return found


async def test_chaos_breaks_no_law_and_the_bill_is_right(empty_database_url):
    await migrate(empty_database_url)
    async with await Database.open(empty_database_url, min_size=CLIENTS, max_size=CLIENTS + 8) as database:
        async with database.login() as connection:
            await connection.execute(FAST_HOURS)
        ledger, bill = Ledger(database), Bill()
        for tenant in TENANTS:
            await ledger.policy(tenant, limits={"hour": "0.000001", "day": "0.0003"}, concurrency=30)
        keys = {tenant: (await ledger.key(tenant, limits={"hour": "0.0000015"})).record.id for tenant in TENANTS}
        until = time.monotonic() + SECONDS
        clients = [
            Client(ledger, tenant, keys[tenant], bill, seed) for seed in range(CLIENTS) for tenant in [TENANTS[seed % 3]]
        ]
        async with asyncio.TaskGroup() as group:
            for client in clients:
                group.create_task(client.work(until))
            for _ in range(2):
                group.create_task(reap_all(database, until))
            group.create_task(edit(ledger, until))
            watching = group.create_task(watch(database, until))
        assert watching.result() == []
        while await reap(database):
            pass
        await ledger.check()
        for tenant in TENANTS:
            windows = await ledger.windows(f"t:{tenant}")
            assert windows["total"][:2] == (bill.total[tenant], 0), tenant
        open_holds = await ledger.ask("SELECT unit, count(*) AS n FROM holds WHERE state = 'open' GROUP BY unit")
        assert open_holds == []
        assert bill.granted > 100
        assert bill.denied > 0
        await database_still_serves(database)


async def database_still_serves(database: Database) -> None:
    async with database.system() as connection:
        await policies.apply_policy(connection, "red", BudgetPolicySpec())
