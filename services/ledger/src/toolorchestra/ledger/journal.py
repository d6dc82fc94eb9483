"""The durable journal: a transition of a run is one transaction and one round trip."""

from collections.abc import Callable
from dataclasses import dataclass

from typing_extensions import override

from toolorchestra.core.errors import ConflictError
from toolorchestra.core.loop.journal import Journal, Stamped, Transition
from toolorchestra.ledger.database import Database
from toolorchestra.ledger.errors import DuplicateRunError
from toolorchestra.ledger.statements import step
from toolorchestra.ledger.transitions import Log, NewRun, RunContext, opening_steps, steps_of


@dataclass(frozen=True, slots=True)
class Existing:
    """The run that a repeated request belongs to."""

    run_id: str
    state: str


class LedgerJournal(Journal):
    """Stores the transitions of one run.

    ``on_cancel`` hears, with any commit, who asked for the run to end. ``traceparent`` tells the trace to write beside calls.
    """

    def __init__(
        self,
        database: Database,
        context: RunContext,
        *,
        on_cancel: Callable[[str], None] | None = None,
        traceparent: Callable[[], str | None] | None = None,
    ) -> None:
        self._database = database
        self._context = context
        self._on_cancel = on_cancel
        self._traceparent = traceparent

    @override
    async def commit(self, transition: Transition) -> tuple[Stamped, ...]:
        log = Log.of(transition)
        traceparent = self._traceparent() if self._traceparent else None
        steps = steps_of(transition, self._context, log, traceparent=traceparent)
        rows, *_ = await self._database.execute(steps, tenant=self._context.tenant)
        by = rows[0]["cancel_by"]
        if by is not None and self._on_cancel is not None:
            self._on_cancel(by)
        return log.stamped(rows)


async def open_run(database: Database, new: NewRun, transition: Transition) -> tuple[Stamped, ...] | Existing:
    """Store a new run, its account, its request, its slot and its first transition, all or nothing, in one round trip.

    Returns the run that has the idempotency key already, if there is one. Raises DeniedError where a limit refuses,
    ConflictError for an idempotency key that was used with another body.
    """
    log = Log.of(transition)
    try:
        _, rows, *_ = await database.execute(opening_steps(new, transition, log), tenant=new.context.tenant)
    except DuplicateRunError:
        found = await _existing(database, new)
        if found is None:
            raise
        return found
    return log.stamped(rows)


async def _existing(database: Database, new: NewRun) -> Existing | None:
    if new.idempotency_key is None:
        return None
    context = new.context
    query = step("runs", "by_idempotency_key", tenant=context.tenant, key=context.key, idempotency_key=new.idempotency_key)
    (rows,) = await database.execute([query], tenant=context.tenant)
    if not rows:
        return None
    row = rows[0]
    if new.body_hash is not None and row["body_hash"] not in (None, new.body_hash):
        raise ConflictError(
            "the idempotency key was used with another request",
            param="Idempotency-Key",
            hint="send a new key with a new request",
        )
    return Existing(row["id"], row["state"])
