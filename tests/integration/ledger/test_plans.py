"""What the hot statements look at: rows by their keys, never a whole table or index.

A connection keeps its plans, and the first ones are made while the tables are small, when reading all of one looks cheap; so
does reading all unfinished runs, once statistics say that there are hardly any.
"""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.integration.ledger.shorthand import Ledger
from toolorchestra.core.calls import Outcome, Status
from toolorchestra.core.loop.journal import CallEnd, CallStart, Settle, Take
from toolorchestra.ledger.connection import _positional
from toolorchestra.ledger.database import Database
from toolorchestra.ledger.statements import sql, step

HOT = {
    "runs": ("insert", "append", "advance", "get", "events", "by_idempotency_key"),
    "calls": ("start", "end", "claim", "finish", "of_run"),
    "money": ("open_account", "lock", "lock_of_hold", "take", "settle", "settle_slot", "close_account"),
}
RUNS = 40


def scans(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The places of a plan where rows are read from tables and indexes."""
    if "Relation Name" in node or node["Node Type"] == "Bitmap Index Scan":
        yield node
    for part in node.get("Plans", ()):
        yield from scans(part)


def reads_all(scan: dict[str, Any]) -> bool:
    kind = scan["Node Type"]
    return kind == "Seq Scan" or ("Index" in kind and "Index Cond" not in scan)


@pytest.fixture
async def used(ledger: Ledger) -> None:
    """Some runs with calls, as many as fit a few pages."""
    await ledger.policy()
    key = (await ledger.key()).record.id
    outcome = Outcome(status=Status.OK, content="found")
    for _ in range(RUNS):
        run = await ledger.open(key=key)
        for turn in range(1, 4):
            hold = f"{run.id}/{turn}/1/1"
            start = CallStart(turn, 1, 1, "search", {"q": "x"}, "inline", "readOnly", 5000, hold, 100)
            await run.commit(takes=(Take(hold, 100, 1000),), starts=(start,))
            await run.commit(settles=(Settle(hold, 60),), ends=(CallEnd(turn, 1, 1, outcome),))
        await run.close()


@pytest.mark.parametrize("statistics", [False, True], ids=["no statistics", "statistics"])
async def test_no_hot_statement_reads_a_whole_table_or_index(
    database: Database, ledger_admin: psycopg.Connection, used: None, *, statistics: bool
) -> None:
    if statistics:
        ledger_admin.execute("ANALYZE")
    found = []
    async with database.tenant("acme") as connection:
        await connection.run([step("session", "begin_tenant", tenant="acme", scans="off")])
        for area, name in ((area, name) for area, names in HOT.items() for name in names):
            text, _ = _positional(sql(area, name))
            cursor = await connection.execute(b"EXPLAIN (GENERIC_PLAN, FORMAT JSON) " + text)
            for row in await cursor.fetchall():
                plan = row["QUERY PLAN"][0]["Plan"]
                found += [f"{area}.{name}: {scan}" for scan in scans(plan) if reads_all(scan)]
    assert not found, "\n".join(found)
