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

    async def give_up(self, call_id: str, *, now: bool = False) -> StoredCall:
        """Stop waiting; its state is ``over`` if that was possible. ``now``: also if somebody works on it."""
        async with self._database.tenant(self._tenant) as connection:
            return await calls.give_up(connection, call_id, now=now)
