"""Runs as this service reads and moves them, each method one transaction."""

from collections.abc import Collection, Sequence

from toolorchestra.core.loop.journal import Stamped
from toolorchestra.ledger import runs
from toolorchestra.ledger.database import Database
from toolorchestra.ledger.runs import Feedback, RunRecord, RunState, WholeRun


class RunStore:
    """Reads and leases of runs."""

    def __init__(self, database: Database, *, owner: str, lease_ms: int) -> None:
        self._database = database
        self._owner = owner
        self._lease_ms = lease_ms

    async def log(self, tenant: str, run_id: str, *, after: int = 0) -> tuple[Stamped, ...]:
        """The facts after ``after``. Raises NotFoundError for a run of another tenant."""
        async with self._database.tenant(tenant) as connection:
            facts = await runs.events(connection, run_id, after=after)
            if not facts and after == 0:
                await runs.get(connection, run_id)
            return facts

    async def get(self, tenant: str, run_id: str) -> RunRecord:
        """Raises NotFoundError."""
        async with self._database.tenant(tenant) as connection:
            return await runs.get(connection, run_id)

    async def whole(self, tenant: str, run_id: str) -> WholeRun:
        """A run with its facts and what its calls were charged. Raises NotFoundError."""
        return await runs.whole(self._database, tenant, run_id)

    async def page(self, tenant: str, *, after: str | None, count: int) -> list[RunRecord]:
        """Raises NotFoundError for an unknown ``after``."""
        async with self._database.tenant(tenant) as connection:
            return await runs.page(connection, tenant, after=after, count=count)

    async def find_retry(self, tenant: str, key: str, body_hash: str) -> str | None:
        """The run that a client's own repetition of a request means."""
        async with self._database.tenant(tenant) as connection:
            found = await runs.find_retry(connection, tenant, key=key, body_hash=body_hash)
        return found.run_id if found else None

    async def request_cancel(self, tenant: str, run_id: str, by: str) -> RunState:
        async with self._database.tenant(tenant) as connection:
            return await runs.request_cancel(connection, run_id, by=by)

    async def add_feedback(self, tenant: str, run_id: str, feedback: Feedback) -> None:
        async with self._database.tenant(tenant) as connection:
            await runs.add_feedback(connection, run_id, feedback)

    async def delete_content(self, tenant: str, run_id: str) -> None:
        async with self._database.tenant(tenant) as connection:
            await runs.delete_content(connection, run_id)

    async def take_over(self, count: int) -> list[RunRecord]:
        """Runs whose owner went silent, now ours."""
        async with self._database.system() as connection:
            return await runs.take_over(connection, owner=self._owner, count=count, lease_ms=self._lease_ms)

    async def waiting_too_long(self) -> list[RunRecord]:
        async with self._database.system() as connection:
            return await runs.waiting_too_long(connection)

    async def renew_leases(self, driven: Collection[str]) -> dict[str, str | None]:
        """Keep those of our runs that are driven; who asked to cancel them."""
        async with self._database.system() as connection:
            return await runs.renew_leases(connection, owner=self._owner, runs=driven, lease_ms=self._lease_ms)

    async def give_back(self, given: Collection[str] | None = None) -> Sequence[str]:
        """Let others take these runs of ours over at once; None: all of ours."""
        async with self._database.system() as connection:
            return await runs.give_back(connection, owner=self._owner, runs=given)

    async def expire_content(self) -> Sequence[str]:
        async with self._database.system() as connection:
            return await runs.expire_content(connection)
