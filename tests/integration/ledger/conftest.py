"""One migrated database, emptied before each test."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator

import psycopg
import pytest

from tests.integration.ledger.shorthand import Ledger
from toolorchestra.ledger.database import Database
from toolorchestra.ledger.schema import migrate

TABLES = (
    "accounts, limits, windows, holds, entries, policies, keys, revisions, runs, events, calls, attempts, feedback, alerts, "
    "sandboxes"
)


@pytest.fixture(scope="session")
def ledger_admin(new_database: Callable[[str], str]) -> Iterator[psycopg.Connection]:
    """The superuser in a migrated database of the ledger tests' own. Its replica role passes the append-only trigger."""
    url = new_database("template0")
    asyncio.run(migrate(url))
    with psycopg.connect(
        url, autocommit=True, options="-c search_path=toolorchestra -c session_replication_role=replica"
    ) as admin:
        yield admin


@pytest.fixture
def ledger_url(ledger_admin: psycopg.Connection) -> str:
    """The DSN of a migrated, empty database."""
    ledger_admin.execute(f"TRUNCATE {TABLES} RESTART IDENTITY")
    parts = ledger_admin.info.get_parameters()
    return f"postgresql://{parts['user']}@/{parts['dbname']}?host={parts['host']}"


@pytest.fixture
async def database(ledger_url: str) -> AsyncIterator[Database]:
    async with await Database.open(ledger_url, min_size=1, max_size=20) as opened:
        yield opened


@pytest.fixture
async def ledger(database: Database) -> Ledger:
    return Ledger(database)
