"""Calls that workers run, as the run's owner sees them."""

from toolorchestra.ledger import calls
from toolorchestra.ledger.calls import StoredCall
from toolorchestra.ledger.database import Database


class CallStore:
    """Reads outcomes and gives calls up, for one tenant."""

    def __init__(self, database: Database, tenant: str) -> None:
        self._database = database
        self._tenant = tenant

    async def read(self, call_id: str) -> StoredCall:
        """What is stored of a call."""
        async with self._database.tenant(self._tenant) as connection:
            return await calls.stored(connection, call_id)

    async def give_up(self, call_id: str) -> StoredCall:
        """Stop waiting; its state is ``over`` if that was possible."""
        async with self._database.tenant(self._tenant) as connection:
            return await calls.give_up(connection, call_id)
