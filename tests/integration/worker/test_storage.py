"""Revisions are read once, for the tenant they belong to."""

from collections.abc import AsyncIterator

import pytest

from toolorchestra.core.errors import NotFoundError, UnavailableError
from toolorchestra.core.revision import Revision
from toolorchestra.ledger import runs
from toolorchestra.ledger.database import Database
from toolorchestra.worker.storage.revisions import LedgerRevisions


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with await Database.open(database_url) as opened:
        yield opened


async def save(database: Database, number: int, **changes: object) -> str:
    revision = Revision(
        id=f"revision{number}", tenant="acme", model="m", orchestrator=None, policy=None, manager=None, closing=None,
        functions=(),
    )  # fmt: skip
    async with database.tenant("acme") as connection:
        body = revision.model_dump(mode="json") | changes
        await runs.put_revision(connection, "acme", revision=revision.id, body=body)
    return revision.id


async def forget_all(database: Database) -> None:
    async with database.system() as connection:
        await connection.execute("DELETE FROM revisions")


async def test_a_revision_is_read_once(database: Database):
    revisions = LedgerRevisions(database)
    name = await save(database, 1)
    first = await revisions.load("acme", name)

    await forget_all(database)

    assert await revisions.load("acme", name) is first


async def test_only_the_latest_used_revisions_are_kept(database: Database):
    revisions = LedgerRevisions(database, kept=2)
    one, two, three = [await save(database, number) for number in (1, 2, 3)]
    for name in (one, two, one, three):
        await revisions.load("acme", name)

    await forget_all(database)

    await revisions.load("acme", one)
    with pytest.raises(NotFoundError):
        await revisions.load("acme", two)


async def test_a_revision_is_not_lent_to_another_tenant(database: Database):
    revisions = LedgerRevisions(database)
    name = await save(database, 1)
    await revisions.load("acme", name)

    with pytest.raises(NotFoundError):
        await revisions.load("rival", name)


async def test_a_revision_of_a_newer_version_says_what_to_do(database: Database):
    name = await save(database, 1, invented="by a later version")

    with pytest.raises(UnavailableError, match="update the workers"):
        await LedgerRevisions(database).load("acme", name)
