"""Migrations: once, in order, by one at a time; and a program that knows which schemas it works with."""

import asyncio
import os
import secrets
import subprocess
import sys

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from tests.integration.ledger.shorthand import Ledger
from toolorchestra.core.errors import UnavailableError
from toolorchestra.ledger.database import Database
from toolorchestra.ledger.errors import LedgerError
from toolorchestra.ledger.schema import MAX_VERSION, check_schema, migrate, migrations

FUTURE = "INSERT INTO toolorchestra.migrations (version, name, hash, needs) VALUES"


async def test_migrating_twice_does_nothing_the_second_time(empty_database_url):
    assert await migrate(empty_database_url) == [one.version for one in migrations()]
    assert await migrate(empty_database_url) == []


async def test_migrating_at_once_applies_every_migration_once(empty_database_url):
    done = await asyncio.gather(*(migrate(empty_database_url) for _ in range(4)))
    assert sorted(done) == [[], [], [], [one.version for one in migrations()]]


async def test_a_changed_history_is_refused(empty_database_url):
    await migrate(empty_database_url)
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute("UPDATE toolorchestra.migrations SET hash = 'x' WHERE version = 2")
    with pytest.raises(LedgerError, match=r"0002_money\.sql differs"):
        await migrate(empty_database_url)


async def test_a_failed_migration_leaves_nothing(empty_database_url):
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA toolorchestra")
        connection.execute("CREATE TABLE toolorchestra.windows (id int)")
    with pytest.raises(LedgerError, match="already exists"):
        await migrate(empty_database_url)
    with psycopg.connect(empty_database_url) as connection:
        names = connection.execute("SELECT relname FROM pg_class WHERE relnamespace = 'toolorchestra'::regnamespace").fetchall()
    assert names == [("windows",)]


async def test_a_schema_within_the_range_is_accepted(database):
    async with database.login() as connection:
        assert await check_schema(connection) == MAX_VERSION
    async with database.tenant("acme") as connection:
        assert await check_schema(connection) == MAX_VERSION


@pytest.mark.parametrize(
    ("to", "change", "words"),
    [
        (None, "DROP SCHEMA toolorchestra CASCADE", "no schema yet"),
        (2, "SELECT 1", "at least"),
        (None, f"{FUTURE} (9999, 'future', '', 9999)", "knows up to"),
    ],
)
async def test_another_schema_is_refused_with_what_to_do(empty_database_url, to, change, words):
    await migrate(empty_database_url, to=to)
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute(change)
    async with await Database.open(empty_database_url) as database, database.login() as connection:
        with pytest.raises(UnavailableError, match=words) as refused:
            await check_schema(connection)
    assert refused.value.hint


async def test_a_program_goes_on_with_a_newer_schema_that_only_expands(empty_database_url):
    await migrate(empty_database_url)
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute(f"{FUTURE} (9998, 'expanded', '', 0), (9999, 'contracted', '', {MAX_VERSION})")
    async with await Database.open(empty_database_url) as database, database.login() as connection:
        assert await check_schema(connection) == 9999


async def test_a_history_from_before_contractions_were_named_is_continued(empty_database_url):
    await migrate(empty_database_url)
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute("ALTER TABLE toolorchestra.migrations DROP COLUMN needs")
    async with await Database.open(empty_database_url) as database, database.login() as connection:
        assert await check_schema(connection) == MAX_VERSION
    assert await migrate(empty_database_url) == []


async def test_an_owner_that_is_not_a_superuser_can_migrate_and_serve(empty_database_url):
    name = psycopg.conninfo.conninfo_to_dict(empty_database_url)["dbname"]
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE owner_{name} LOGIN CREATEROLE")
        connection.execute(f'GRANT CREATE ON DATABASE "{name}" TO owner_{name}')
        connection.execute(f"GRANT toolorchestra_app, toolorchestra_system TO owner_{name}")
    url = empty_database_url.replace("postgresql://postgres@", f"postgresql://owner_{name}@")
    await migrate(url)
    async with await Database.open(url) as database:
        ledger = Ledger(database)
        await ledger.policy(limits={"total": "1"})
        run = await ledger.open()
        await run.settle(await run.take(10), 5)
        await ledger.check()
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute(f"DROP OWNED BY owner_{name} CASCADE")
        connection.execute(f"DROP ROLE owner_{name}")


def command(*arguments: str, dsn: str = "") -> subprocess.CompletedProcess[str]:
    environment = os.environ | ({"TOOLORCHESTRA_DATABASE_URL": dsn} if dsn else {})
    return subprocess.run(
        [sys.executable, "-m", "toolorchestra.ledger", *arguments], capture_output=True, text=True, env=environment, check=False
    )


async def test_the_command_migrates_checks_and_reaps(empty_database_url):
    assert "no schema yet" in command("check", dsn=empty_database_url).stderr
    assert command("migrate", "--dsn", empty_database_url).stdout.startswith("applied 1")
    assert command("migrate", dsn=empty_database_url).stdout == "nothing to do\n"
    assert command("check", dsn=empty_database_url).stdout == f"schema {MAX_VERSION}: ok\n"
    async with await Database.open(empty_database_url) as database:
        ledger = Ledger(database)
        await ledger.policy()
        run = await ledger.open()
        await run.take(100, ttl_ms=0)
        assert command("reap", dsn=empty_database_url).stdout == "closed 1 expired holds\n"
        sound = command("invariants", dsn=empty_database_url)
        assert (sound.stdout, sound.returncode) == ("0 violations\n", 0)
        await ledger.ask("UPDATE windows SET spent = spent + 1 WHERE account = 't:acme' RETURNING id")
        broken = command("invariants", dsn=empty_database_url)
    assert "entries_differ: t:acme nano_usd per total" in broken.stdout
    assert broken.returncode == 1


def test_the_command_says_what_is_missing():
    refused = subprocess.run(
        [sys.executable, "-m", "toolorchestra.ledger", "check"], capture_output=True, text=True, check=False,
        env={k: v for k, v in os.environ.items() if k != "TOOLORCHESTRA_DATABASE_URL"},
    )  # fmt: skip
    assert (refused.returncode, "TOOLORCHESTRA_DATABASE_URL" in refused.stderr) == (2, True)
    refused = command("check", "--dsn", "postgresql://nobody@/none?host=/nowhere&connect_timeout=1")
    assert (refused.returncode, refused.stderr.startswith("the database is not available")) == (2, True)


def test_a_migration_by_the_owner_admits_the_login_of_the_services(empty_database_url):
    login = f"service_{secrets.token_hex(4)}"
    server = conninfo_to_dict(empty_database_url)
    url = f"postgresql://{login}:secret@/{server['dbname']}?host={server['host']}"
    environment = os.environ | {"TOOLORCHESTRA_OWNER_URL": empty_database_url, "TOOLORCHESTRA_DATABASE_URL": url}

    def ledger(*arguments: str) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-m", "toolorchestra.ledger", *arguments]
        return subprocess.run(words, capture_output=True, text=True, env=environment, check=False)

    try:
        assert ledger("migrate").stdout.endswith("admitted the services' login\n")
        assert ledger("migrate").stdout == "nothing to do\n"
        assert ledger("check").stdout == f"schema {MAX_VERSION}: ok\n"
        with psycopg.connect(url) as connection:
            connection.execute("SET ROLE toolorchestra_system")
            assert connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = session_user").fetchone() == (False,)
    finally:
        with psycopg.connect(empty_database_url, autocommit=True) as connection:
            connection.execute(f"DROP ROLE {login}")


def test_a_check_waits_for_the_schema(empty_database_url):
    words = [sys.executable, "-m", "toolorchestra.ledger", "check", "--wait", "60"]
    environment = os.environ | {"TOOLORCHESTRA_DATABASE_URL": empty_database_url}
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as waiting:
        try:
            assert "no schema yet" in waiting.stderr.readline()
            command("migrate", dsn=empty_database_url)
            assert waiting.communicate(timeout=60)[0] == f"schema {MAX_VERSION}: ok\n"
        finally:
            waiting.kill()
