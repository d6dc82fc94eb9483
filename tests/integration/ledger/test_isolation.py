"""Tenants cannot see each other, raise their own limits, or act as the system."""

import pytest

from tests.integration.ledger.shorthand import Ledger, asked
from toolorchestra.core.errors import NotFoundError
from toolorchestra.core.loop.journal import CallStart, FencedError, Take
from toolorchestra.ledger import calls, keys, policies, runs
from toolorchestra.ledger.errors import LedgerError

TABLES = (
    "accounts", "limits", "windows", "holds", "entries", "policies", "keys", "revisions", "runs", "events", "calls", "attempts",
    "feedback",
)  # fmt: skip


async def busy_tenant(ledger: Ledger, tenant: str):
    await ledger.policy(tenant)
    run = await ledger.open(tenant)
    call = f"{run.id}/1/1/1"
    row = CallStart(1, 1, 1, "f", {}, "inline", "readOnly", 1000, call, 5)
    await run.commit(asked(), takes=(Take(call, 5, 1000),), starts=(row,))
    await run.settle(call, 5)
    async with ledger.database.tenant(tenant) as connection:
        await runs.add_feedback(connection, run.id, runs.Feedback("ann", score=1))
        await runs.put_revision(connection, tenant, revision="r", body={})
    return run


async def test_no_row_of_another_tenant_is_visible_in_any_table(ledger: Ledger, database):
    for tenant in ("acme", "other"):
        await busy_tenant(ledger, tenant)
    for table in TABLES:
        async with database.tenant("acme") as connection:
            rows = await (await connection.execute(f"SELECT DISTINCT tenant FROM {table}")).fetchall()
        assert rows == [{"tenant": "acme"}], table


async def test_without_a_tenant_the_app_role_sees_nothing(ledger: Ledger, database):
    await busy_tenant(ledger, "acme")
    for table in TABLES:
        async with database.login() as connection:
            await connection.execute("SET LOCAL ROLE toolorchestra_app")
            await connection.execute("SET LOCAL search_path = toolorchestra")
            assert await (await connection.execute(f"SELECT 1 FROM {table}")).fetchall() == [], table


async def test_every_table_has_row_level_security(ledger: Ledger, database):
    async with database.login() as connection:
        cursor = await connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'toolorchestra'::regnamespace AND relkind = 'r'"
            " AND NOT relrowsecurity"
        )
        assert await cursor.fetchall() == [{"relname": "migrations"}]


async def test_reading_writing_and_cancelling_anothers_run_fails(ledger: Ledger, database):
    run = await busy_tenant(ledger, "acme")
    async with database.tenant("other") as connection:
        for attempt in (
            runs.get(connection, run.id),
            runs.request_cancel(connection, run.id, by="x"),
            runs.delete_content(connection, run.id),
            runs.add_feedback(connection, run.id, runs.Feedback("x")),
            calls.stored(connection, f"{run.id}/1/1"),
            runs.get_revision(connection, "other", revision="r"),
        ):
            with pytest.raises(NotFoundError):
                await attempt
        assert await runs.events(connection, run.id) == ()
        assert await runs.page(connection, "acme") == []
        assert await policies.budget(connection, "acme") == []
        assert await keys.list_keys(connection, "acme") == []
    thief = ledger.resume(run.context, run.seq, tenant="other")
    with pytest.raises(FencedError):
        await thief.take(1)


async def test_a_tenant_cannot_write_rows_of_another(database):
    with pytest.raises(LedgerError, match="row-level security"):
        async with database.tenant("acme") as connection:
            await keys.create(connection, "other", name="stolen", pepper=b"x" * 32)


@pytest.mark.parametrize(
    "query",
    [
        "UPDATE limits SET amount = NULL",
        "DELETE FROM limits",
        "INSERT INTO limits (account, tenant, unit, kind) VALUES ('t:acme', 'acme', 'nano_usd', 'hour')",
        "INSERT INTO accounts (id, tenant, rank) VALUES ('t:acme2', 'acme', 0)",
        "UPDATE policies SET spec = '{}'",
        "DELETE FROM runs",
        "UPDATE entries SET amount = 0",
    ],
)
async def test_the_app_role_cannot_touch_limits_or_history(ledger: Ledger, database, query):
    await busy_tenant(ledger, "acme")
    with pytest.raises(LedgerError):
        async with database.tenant("acme") as connection:
            await connection.execute(query)


async def test_role_and_tenant_end_with_the_transaction(ledger: Ledger, database):
    await busy_tenant(ledger, "acme")
    async with database.tenant("acme"):
        pass
    async with database.login() as connection:
        cursor = await connection.execute(
            "SELECT current_user AS who, current_setting('toolorchestra.tenant', true) AS tenant,"
            " current_setting('search_path') AS path"
        )
        (row,) = await cursor.fetchall()
    assert (row["who"], row["tenant"] or "", "toolorchestra" in row["path"]) == ("postgres", "", False)
