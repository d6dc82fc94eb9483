"""The reaper: closes holds whose time is over, one transaction each, in the order of locks that everybody keeps."""

from toolorchestra.ledger import money
from toolorchestra.ledger.database import Database
from toolorchestra.ledger.statements import step


async def reap(database: Database, *, count: int = 100) -> int:
    """Close up to ``count`` expired holds; how many this call closed. Several reapers may run at once."""
    (expired,) = await database.execute([step("money", "expired", count=count)])
    closed = 0
    for row in expired:
        hold = row["id"]
        _, (result,) = await database.execute([money.lock_of_hold(hold), money.reap(hold)])
        closed += result["settled"]
    return closed
