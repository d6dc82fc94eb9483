"""Ending runs that nobody drives: their client does not come back, or told them to stop, or they cannot be read any more."""

from contextlib import suppress

from toolorchestra.core.loop.facts import CancelRequested, Ended, Fact
from toolorchestra.core.loop.journal import FencedError, Transition
from toolorchestra.core.loop.state import fold
from toolorchestra.ledger.database import Database
from toolorchestra.ledger.journal import LedgerJournal
from toolorchestra.ledger.runs import RunRecord
from toolorchestra.ledger.transitions import RunContext
from toolorchestra.orchestrator.storage.runs import RunStore


class Waiting:
    """A parked run has no owner: whoever ends it competes with its client by compare-and-set."""

    def __init__(self, database: Database, runs: RunStore, owner: str) -> None:
        self._database = database
        self._runs = runs
        self._owner = owner

    async def end(self, record: RunRecord, *, by: str) -> None:
        """End a parked run; one that went on in the meantime is left alone."""
        state = fold(record.id, await self._runs.log(record.tenant, record.id))
        if state.parked_at is None or state.ended is not None:
            return
        ended = Ended(status="cancelled", answer="The run was cancelled while it waited.", reason=f"cancelled by {by}")
        await self._close(record, state.seq, CancelRequested(by=by), ended)

    async def give_up(self, record: RunRecord, *, reason: str) -> None:
        """End a run of ours that nobody can go on with. Its open holds are closed when their time is over."""
        ended = Ended(status="failed", answer=f"I could not answer: {reason}.", reason=reason, finish_reason="length")
        await self._close(record, record.seq, ended)

    async def _close(self, record: RunRecord, after: int, *facts: Fact) -> None:
        context = RunContext(record.id, record.tenant, record.key, self._owner, policy=record.policy)
        with suppress(FencedError):
            await LedgerJournal(self._database, context).commit(Transition(record.id, after, facts, closes=True))
