"""Pinned revisions: stored once per hash, read by take-overs."""

from typing import Final

from toolorchestra.core.revision import Revision
from toolorchestra.ledger import runs
from toolorchestra.ledger.database import Database

MOST_KNOWN: Final = 1_024


class RevisionStore:
    """Saves each revision once per process, and remembers what it read."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[str, Revision] = {}

    async def save(self, revision: Revision) -> None:
        """Store it unless this process did so before."""
        if revision.id in self._known:
            return
        async with self._database.tenant(revision.tenant) as connection:
            body = revision.model_dump(mode="json")
            await runs.put_revision(connection, revision.tenant, revision=revision.id, body=body)
        self._remember(revision)

    async def load(self, tenant: str, revision_id: str) -> Revision:
        """Raises NotFoundError for an unknown one."""
        known = self._known.get(revision_id)
        if known is not None and known.tenant == tenant:
            return known
        async with self._database.tenant(tenant) as connection:
            body = await runs.get_revision(connection, tenant, revision=revision_id)
        revision = Revision.model_validate(body)
        self._remember(revision)
        return revision

    def _remember(self, revision: Revision) -> None:
        if len(self._known) >= MOST_KNOWN:
            self._known.clear()
        self._known[revision.id] = revision
