"""Calls in the ledger, as a worker sees them: whatever tenant they belong to, by their id."""

from typing import Protocol

from typing_extensions import override

from toolorchestra.core.calls import Outcome
from toolorchestra.ledger import calls
from toolorchestra.ledger.calls import Claim, StoredCall
from toolorchestra.ledger.database import Database


class CallStore(Protocol):
    """Compare-and-set moves of a call. All may be repeated; all raise UnavailableError while the database is away."""

    async def claim(self, call_id: str, *, lease_ms: int) -> Claim | StoredCall:
        """Take the call, or see what became of it. Raises NotFoundError."""
        ...

    async def extend(self, claim: Claim, *, lease_ms: int) -> bool:
        """Keep it for ``lease_ms`` from now (0: give it back); False when it is no longer this attempt's."""
        ...

    async def finish(self, claim: Claim, outcome: Outcome) -> bool:
        """Store the attempt's outcome and its money; False when it came too late to count."""
        ...


class LedgerCalls(CallStore):
    """The calls of the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @override
    async def claim(self, call_id: str, *, lease_ms: int) -> Claim | StoredCall:
        return await calls.claim(self._database, call_id, lease_ms=lease_ms)

    @override
    async def extend(self, claim: Claim, *, lease_ms: int) -> bool:
        async with self._database.system() as connection:
            return await calls.extend(connection, claim.call_id, claim.attempt, lease_ms=lease_ms)

    @override
    async def finish(self, claim: Claim, outcome: Outcome) -> bool:
        stored, *_ = await self._database.execute(calls.finish_steps(claim.call_id, claim.attempt, outcome))
        return bool(stored)
