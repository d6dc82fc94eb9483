"""How every run begins, and goes on after a pause: what its transactions share, and its first one."""

from dataclasses import dataclass
from secrets import token_hex

from toolorchestra.core.errors import ConflictError
from toolorchestra.core.functions import ExpertTarget
from toolorchestra.core.loop.context import HOLD_GRACE_MS
from toolorchestra.core.loop.facts import Asked, Opened
from toolorchestra.core.loop.journal import Journal, Stamped, Take, Transition
from toolorchestra.core.revision import Revision
from toolorchestra.ledger.database import Database
from toolorchestra.ledger.journal import Existing, LedgerJournal, open_run
from toolorchestra.ledger.transitions import NewRun, RunContext
from toolorchestra.orchestrator.storage.revisions import RevisionStore


@dataclass(frozen=True, slots=True)
class OpenedRun:
    """A run that was stored just now, with its first facts."""

    context: RunContext
    revision: Revision
    facts: tuple[Stamped, ...]


class Entry:
    """One per process: it knows in whose name runs are driven."""

    def __init__(self, *, database: Database, revisions: RevisionStore, owner: str, lease_ms: int) -> None:
        self._database = database
        self._revisions = revisions
        self._owner = owner
        self._lease_ms = lease_ms

    async def open(self, revision: Revision, opened: Opened) -> OpenedRun:
        """Store a new run. Raises DeniedError when there is no money."""
        found = await self.open_once(revision, opened)
        if isinstance(found, Existing):
            raise ConflictError(f"run {found.run_id} exists already")
        return found

    async def open_once(
        self,
        revision: Revision,
        opened: Opened,
        *,
        asked: Asked | None = None,
        idempotency_key: str | None = None,
        body_hash: str | None = None,
    ) -> OpenedRun | Existing:
        """Store a new run, or find the one that has the idempotency key.

        ``asked``: its first question leaves at once, with its own hold in place of the closing reserve. Raises DeniedError
        when there is no money.
        """
        await self._revisions.save(revision)  # whoever goes on with the run after a crash needs it
        context = self._context(f"run-{token_hex(10)}", opened, revision)
        new = NewRun(
            context=context,
            model=opened.model,
            revision=revision.id,
            cap_nano_usd=opened.limits.max_cost_nano_usd,
            idempotency_key=idempotency_key,
            body_hash=body_hash,
            traceparent=opened.traceparent,
            session=opened.session,
            metadata=opened.metadata,
        )
        facts = (opened,) if asked is None else (opened, asked)
        first = Transition(context.run_id, 0, facts, takes=(_take(context.run_id, opened, asked),))
        stored = await open_run(self._database, new, first)
        return stored if isinstance(stored, Existing) else OpenedRun(context, revision, stored)

    async def resume(self, run_id: str, opened: Opened) -> tuple[RunContext, Revision]:
        """What a stored run needs to go on here. Raises NotFoundError when its revision is gone."""
        revision = await self._revisions.load(opened.tenant, opened.revision)
        return self._context(run_id, opened, revision), revision

    def journal(self, context: RunContext) -> Journal:
        """Where the run's transitions are stored."""
        return LedgerJournal(self._database, context)

    def _context(self, run_id: str, opened: Opened, revision: Revision) -> RunContext:
        models = {f.name: f.target.spec.model for f in revision.functions if isinstance(f.target, ExpertTarget)}
        return RunContext(
            run_id=run_id,
            tenant=opened.tenant,
            key=opened.key,
            owner=self._owner,
            policy=opened.policy,
            models=models,
            timeout_ms=opened.limits.timeout_ms,
            lease_ms=self._lease_ms,
        )


def _take(run_id: str, opened: Opened, asked: Asked | None) -> Take:
    if asked is not None:
        hold = f"{run_id}/{asked.turn}/0/{asked.attempt}"
        return Take(hold, asked.hold_nano_usd, asked.timeout_ms + HOLD_GRACE_MS)
    hold, ttl_ms = f"{run_id}/{opened.reserve.hold}", opened.limits.timeout_ms + HOLD_GRACE_MS
    return Take(hold, opened.reserve.nano_usd, ttl_ms, sent=False)
