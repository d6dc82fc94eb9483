"""Reports of sandbox workers: the newest of each that lives counts, for its time."""

import pytest

from toolorchestra.core.sandbox import SandboxFindings
from toolorchestra.ledger import sandboxes
from toolorchestra.ledger.database import Database
from toolorchestra.ledger.errors import LedgerError

OPEN = SandboxFindings(None, "code can reach: \0database", {"landlock": 7, "seccomp": True}, {"database": "open"})
PROCESS = SandboxFindings("process", "", {"network": "namespace"}, {"outside": "closed"})


async def test_the_newest_report_of_each_worker_counts(database: Database):
    await sandboxes.put(database, "b.1", OPEN, life_ms=60_000)
    await sandboxes.put(database, "a.1", OPEN, life_ms=60_000)
    (first, _) = await sandboxes.living(database)
    await sandboxes.put(database, "a.1", PROCESS, life_ms=60_000)

    a, b = await sandboxes.living(database)

    assert (a.worker, a.findings) == ("a.1", PROCESS)
    assert a.seen_at > first.seen_at
    assert (b.worker, b.findings.rung, b.findings.layers, b.findings.reach) == ("b.1", None, OPEN.layers, OPEN.reach)
    assert b.findings.message == "code can reach: \N{REPLACEMENT CHARACTER}database"


async def test_a_report_expires_unless_it_is_told_again(database: Database, ledger_admin):
    for worker in ("silent", "alive"):
        await sandboxes.put(database, worker, PROCESS, life_ms=60_000)
    ledger_admin.execute("UPDATE sandboxes SET expires_at = expires_at - interval '61 s'")
    assert await sandboxes.living(database) == []
    await sandboxes.put(database, "alive", PROCESS, life_ms=60_000)
    assert [one.worker for one in await sandboxes.living(database)] == ["alive"]


async def test_what_killed_workers_left_is_removed_later(database: Database, ledger_admin):
    await sandboxes.put(database, "killed", PROCESS, life_ms=1)
    ledger_admin.execute("UPDATE sandboxes SET expires_at = expires_at - interval '61 minutes'")
    await sandboxes.put(database, "alive", PROCESS, life_ms=60_000)
    assert ledger_admin.execute("SELECT worker FROM sandboxes").fetchall() == [("alive",)]


async def test_a_worker_that_ends_is_gone_at_once(database: Database):
    await sandboxes.put(database, "a.1", PROCESS, life_ms=60_000)
    await sandboxes.withdraw(database, "a.1")
    assert await sandboxes.living(database) == []


async def test_a_tenant_sees_nothing_of_the_platforms_workers(database: Database):
    with pytest.raises(LedgerError, match="permission denied"):
        async with database.tenant("acme") as connection:
            await connection.execute("SELECT FROM sandboxes")
