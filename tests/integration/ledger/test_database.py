"""The edge: foreign errors end here, transactions are whole, and a lost connection is replaced."""

import asyncio

import psycopg
import pytest

from tests.integration.ledger.shorthand import PEPPER, Ledger
from toolorchestra.core.errors import ConflictError, InvalidRequestError, UnavailableError
from toolorchestra.ledger import keys, runs
from toolorchestra.ledger.database import Database
from toolorchestra.ledger.errors import LedgerError
from toolorchestra.ledger.schema import migrate
from toolorchestra.ledger.statements import Step


async def test_a_database_that_is_not_there_is_unavailable_and_retryable():
    with pytest.raises(UnavailableError) as refused:
        await Database.open("postgresql://nobody@/none?host=/nowhere", timeout_ms=300)
    assert refused.value.retryable


async def test_a_failed_step_undoes_the_steps_before_it_and_stops_those_after(ledger: Ledger, database):
    put = "INSERT INTO accounts (id, tenant, rank) VALUES (%(id)s, 'acme', 0)"
    steps = [Step(put, {"id": "t:a"}), Step(put, {"id": "t:a"}), Step(put, {"id": "t:b"})]
    with pytest.raises(ConflictError, match="accounts_pkey"):
        await database.execute(steps)
    assert await ledger.ask("SELECT id FROM accounts") == []
    await database.execute(steps[:1])
    assert await ledger.ask("SELECT id FROM accounts") == [{"id": "t:a"}]


async def test_an_error_in_a_block_undoes_the_block(ledger: Ledger, database):
    async def work():
        async with database.system() as connection:
            await connection.execute("INSERT INTO accounts (id, tenant, rank) VALUES ('t:a', 'a', 0)")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await work()
    assert await ledger.ask("SELECT id FROM accounts") == []


async def test_an_ignored_failure_does_not_pass_for_a_commit(ledger: Ledger, database):
    async def work():
        async with database.system() as connection:
            await connection.execute("INSERT INTO accounts (id, tenant, rank) VALUES ('t:a', 'a', 0)")
            with pytest.raises(psycopg.Error):
                await connection.execute("SELECT 1/0")

    with pytest.raises(LedgerError, match="ignored"):
        await work()
    assert await ledger.ask("SELECT id FROM accounts") == []


async def test_a_value_that_cannot_be_stored_is_the_callers_fault(database):
    with pytest.raises(InvalidRequestError, match="cannot be stored"):
        await database.execute([Step("SELECT %(a)s::text", {"a": "nul \0"})])
    with pytest.raises(InvalidRequestError, match="cannot be stored"):
        await database.execute([Step("SELECT %(a)s::int", {"a": "x"})])
    assert await database.execute([Step("SELECT %(a)s::text AS a", {"a": "fine"})]) == [[{"a": "fine"}]]


async def test_a_missing_parameter_leaves_the_connection_usable(ledger_url):
    async with await Database.open(ledger_url, max_size=1) as database:
        with pytest.raises(KeyError):
            await database.execute([Step("SELECT 1"), Step("SELECT %(a)s::text")])
        assert await database.execute([Step("SELECT 1 AS one")]) == [[{"one": 1}]]


async def test_idle_connections_that_the_server_closed_are_replaced_before_use(ledger_url):
    url = f"{ledger_url}&application_name=doomed"
    async with await Database.open(url, min_size=3, max_size=3) as database:
        with psycopg.connect(ledger_url, autocommit=True) as admin:
            query = "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE application_name = 'doomed'"
            assert admin.execute(query).fetchone() == (3,)
        results = await asyncio.gather(*(database.execute([Step("SELECT 1 AS one")]) for _ in range(6)))
        assert results == [[[{"one": 1}]]] * 6


async def test_a_connection_that_breaks_under_way_is_unavailable_and_the_next_one_works(ledger_url):
    async with await Database.open(f"{ledger_url}&application_name=doomed", max_size=1) as database:
        for work in (database.execute([Step("SELECT pg_sleep(20)"), Step("SELECT 1")]), sleep_in_block(database)):
            task = asyncio.create_task(work)
            await asyncio.sleep(0.2)
            with psycopg.connect(ledger_url, autocommit=True) as admin:
                admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'doomed'")
            with pytest.raises(UnavailableError):
                await task
        assert await database.execute([Step("SELECT 1 AS one")]) == [[{"one": 1}]]


async def sleep_in_block(database: Database) -> None:
    async with database.login() as connection:
        await connection.rows(Step("SELECT pg_sleep(20)"))


async def test_a_cancelled_batch_frees_its_connection_and_undoes_its_work(ledger: Ledger, ledger_url):
    async with await Database.open(ledger_url, max_size=1) as database:
        put = Step("INSERT INTO accounts (id, tenant, rank) VALUES ('t:a', 'a', 0)")
        task = asyncio.create_task(database.execute([put, Step("SELECT pg_sleep(20)")]))
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(5):
            assert await database.execute([Step("SELECT id FROM accounts")]) == [[]]


async def test_statements_need_no_preparation_behind_a_pooler(ledger_url):
    async with await Database.open(ledger_url, max_size=1, prepare=False) as database:
        ledger = Ledger(database)
        await ledger.policy(limits={"total": "1"})
        run = await ledger.open()
        await run.settle(await run.take(100), 60)
        assert await ledger.windows("t:acme") == {"total": (60, 0, 0)}
        async with database.login() as connection:
            assert await connection.rows(Step("SELECT name FROM pg_prepared_statements")) == []


async def test_each_statement_is_prepared_once_per_connection_whatever_its_numbers(ledger_url):
    async with await Database.open(ledger_url, max_size=1) as database:
        one = "SELECT %(n)s + 1 AS n"
        for n in (1, 70_000, 3_000_000_000):
            assert await database.execute([Step(one, {"n": n})]) == [[{"n": n + 1}]]
        async with database.login() as connection:
            rows = await connection.rows(Step("SELECT statement FROM pg_prepared_statements WHERE statement LIKE '%%+ 1 AS n'"))
        assert len(rows) == 1


async def test_a_statement_that_failed_to_prepare_is_prepared_again(ledger_url):
    async with await Database.open(ledger_url, max_size=1) as database:
        for _ in range(2):
            with pytest.raises(LedgerError, match="does not exist"):
                await database.execute([Step("SELECT * FROM nowhere")])


async def test_a_statement_that_the_server_forgot_is_prepared_again(ledger_url):
    one = Step("SELECT 1 AS one")

    async def forget(database):
        query = Step("SELECT name FROM pg_prepared_statements WHERE statement = 'SELECT 1 AS one'")
        async with database.login() as connection:
            (row,) = await connection.rows(query)
            await connection.execute(f'DEALLOCATE "{row["name"]}"')

    async def read(database):
        async with database.login() as connection:
            return await connection.row(one)

    async with await Database.open(ledger_url, max_size=1) as database:
        assert await database.execute([one]) == [[{"one": 1}]]
        await forget(database)
        assert await database.execute([one]) == [[{"one": 1}]]
        await forget(database)
        with pytest.raises(UnavailableError):
            await read(database)
        assert await read(database) == {"one": 1}


async def test_statements_go_on_after_a_migration_added_a_column(empty_database_url):
    await migrate(empty_database_url)
    async with await Database.open(empty_database_url, max_size=1) as database:
        ledger = Ledger(database)
        await ledger.policy()
        key = await ledger.key()
        run = await ledger.open(key=key.record.id, lease_ms=0)

        async def use():
            async with database.tenant("acme") as connection:
                await runs.get(connection, run.id)
                await runs.page(connection, "acme")
                await keys.list_keys(connection, "acme")
                await runs.events(connection, run.id)
            async with database.system() as connection:
                await keys.authenticate(connection, key.text, pepper=PEPPER)
            run.seq = (await take_over())[0].seq
            await run.take(1, f"{run.seq}/0/1")

        async def take_over():
            async with database.system() as connection:
                return await runs.take_over(connection, owner="me", lease_ms=0)

        await use()
        with psycopg.connect(empty_database_url, autocommit=True) as admin:
            for table in ("runs", "keys", "events", "calls", "holds", "windows", "accounts", "limits", "entries"):
                admin.execute(f"ALTER TABLE toolorchestra.{table} ADD COLUMN later text")
        await use()


async def test_a_full_pool_says_so(ledger_url):
    async with await Database.open(ledger_url, max_size=1, timeout_ms=200) as database, database.login():
        with pytest.raises(UnavailableError):
            await database.execute([Step("SELECT 1")])
