"""Stand-ins for the seams of this package, for tests."""

from collections.abc import Iterable, Mapping

from typing_extensions import override

from toolorchestra.core.calls import Outcome
from toolorchestra.core.errors import NotFoundError, ToolOrchestraError, UnavailableError
from toolorchestra.core.revision import Revision
from toolorchestra.ledger.calls import Claim, StoredCall
from toolorchestra.worker.services.execution import Handling
from toolorchestra.worker.storage.calls import CallStore
from toolorchestra.worker.storage.revisions import RevisionStore


class MemoryCalls(CallStore):
    """Calls in memory. ``away`` counts how many moves the database still misses; ``refuses`` is what it says to outcomes."""

    def __init__(self, *calls: Claim | StoredCall) -> None:
        self.calls = {call.call_id: call for call in calls}
        self.finished: list[Outcome] = []
        self.extended: list[int] = []
        self.ours = True
        self.away = 0
        self.refuses: ToolOrchestraError | None = None

    @override
    async def claim(self, call_id: str, *, lease_ms: int) -> Claim | StoredCall:
        self._reach()
        if call_id not in self.calls:
            raise NotFoundError(f"there is no call {call_id!r}")
        return self.calls[call_id]

    @override
    async def extend(self, claim: Claim, *, lease_ms: int) -> bool:
        self._reach()
        self.extended.append(lease_ms)
        return self.ours

    @override
    async def finish(self, claim: Claim, outcome: Outcome) -> bool:
        self._reach()
        if self.refuses is not None:
            error, self.refuses = self.refuses, None
            raise error
        self.finished.append(outcome)
        return self.ours

    def _reach(self) -> None:
        if self.away > 0:
            self.away -= 1
            raise UnavailableError("the database is away")


class MemoryRevisions(RevisionStore):
    """Revisions in memory."""

    def __init__(self, revisions: Iterable[Revision] = ()) -> None:
        self._revisions: Mapping[str, Revision] = {revision.id: revision for revision in revisions}

    @override
    async def load(self, tenant: str, revision_id: str) -> Revision:
        if revision_id not in self._revisions:
            raise NotFoundError(f"there is no revision {revision_id!r} of tenant {tenant!r}")
        return self._revisions[revision_id]


class MemoryRuntime:
    """A runtime that notes what it was asked, and answers ``handling``."""

    def __init__(self, handling: Handling = Handling.DONE) -> None:
        self.handling = handling
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.pings = 0

    def run(self, call_id: str, headers: Mapping[str, str]) -> Handling:
        self.asked.append((call_id, dict(headers)))
        return self.handling

    def ping(self) -> None:
        self.pings += 1

    def stop_soon(self) -> None: ...
