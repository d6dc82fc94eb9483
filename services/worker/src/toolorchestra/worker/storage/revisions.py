"""Pinned revisions, each read once."""

from collections import OrderedDict
from typing import Final, Protocol

from pydantic import ValidationError
from typing_extensions import override

from toolorchestra.core.errors import UnavailableError
from toolorchestra.core.revision import Revision
from toolorchestra.ledger import runs
from toolorchestra.ledger.database import Database

KEPT: Final = 256


class RevisionStore(Protocol):
    """Where a call's function is looked up."""

    async def load(self, tenant: str, revision_id: str) -> Revision:
        """Raises NotFoundError for an unknown one, UnavailableError while it cannot be read."""
        ...


class LedgerRevisions(RevisionStore):
    """The revisions of the database; a revision never changes, so the latest used ones are kept."""

    def __init__(self, database: Database, *, kept: int = KEPT) -> None:
        self._database = database
        self._kept = kept
        self._known: OrderedDict[tuple[str, str], Revision] = OrderedDict()

    @override
    async def load(self, tenant: str, revision_id: str) -> Revision:
        key = (tenant, revision_id)
        if key not in self._known:
            self._known[key] = await self._read(tenant, revision_id)
        self._known.move_to_end(key)
        if len(self._known) > self._kept:
            self._known.popitem(last=False)
        return self._known[key]

    async def _read(self, tenant: str, revision_id: str) -> Revision:
        async with self._database.tenant(tenant) as connection:
            body = await runs.get_revision(connection, tenant, revision=revision_id)
        try:
            return Revision.model_validate(body)
        except ValidationError as error:
            raise UnavailableError(
                f"the revision {revision_id!r} was written by another version", hint="update the workers"
            ) from error
