"""Runs: reading them, their leases, cancelling, contents and feedback. Writing a run's facts is the journal's."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Self

from toolorchestra.core.errors import ConflictError, NotFoundError
from toolorchestra.core.loop.facts import EVENT_VERSION, Resumed, dump, load
from toolorchestra.core.loop.journal import Stamped
from toolorchestra.core.money import NanoUsd
from toolorchestra.ledger.connection import Connection
from toolorchestra.ledger.database import Database
from toolorchestra.ledger.journal import Existing
from toolorchestra.ledger.jsontext import encode
from toolorchestra.ledger.statements import Step, step
from toolorchestra.ledger.transitions import LEASE_MS

RETRY_WINDOW_MS: Final = 60_000  # a repeated POST means the earlier run for this long after its end
WAITING_MS: Final = 24 * 3_600_000  # how long a run waits for its client
MAX_PAGE: Final = 1000
MAX_FACTS: Final = 10_000


class RunState(StrEnum):
    """Where a run stands."""

    RUNNING = "running"
    WAITING = "waiting"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run as stored. Money in nano-USD; ``seq`` is the place of its newest fact; ``status`` says how it ended."""

    id: str
    tenant: str
    key: str
    model: str
    policy: str
    revision: str | None
    state: RunState
    status: str | None
    owner: str | None
    seq: int
    event_version: int
    resumes: int
    cap_nano_usd: NanoUsd | None
    spent_nano_usd: NanoUsd
    held_nano_usd: NanoUsd
    metadata: Mapping[str, str]
    traceparent: str | None
    cancel_by: str | None
    created_at: datetime
    deadline_at: datetime
    waiting_since: datetime | None
    ended_at: datetime | None
    content_deleted_at: datetime | None

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Self:
        values = {name: row[name] for name in cls.__dataclass_fields__}
        return cls(**values | {"state": RunState(row["state"])})


@dataclass(frozen=True, slots=True)
class Feedback:
    """What somebody thought of a run. ``score`` is 0 to 1."""

    author: str
    score: float | None = None
    label: str | None = None
    comment: str | None = None
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class WholeRun:
    """A run with its facts, and what each of its calls was charged, all attempts together, by ``turn/ordinal``."""

    record: RunRecord
    facts: tuple[Stamped, ...]
    charged: Mapping[str, NanoUsd]


async def get(connection: Connection, run_id: str) -> RunRecord:
    """One run. Raises NotFoundError."""
    row = await connection.row(step("runs", "get", run=run_id))
    if row is None:
        raise _unknown(run_id)
    return RunRecord.of(row)


async def whole(database: Database, tenant: str, run_id: str) -> WholeRun:
    """One run of a tenant, read in one round trip. Raises NotFoundError."""
    steps = (step("runs", "get", run=run_id), _events(run_id), step("calls", "of_run", run=run_id))
    found, facts, calls = await database.execute(steps, tenant=tenant)
    if not found:
        raise _unknown(run_id)
    charged = {f"{call['turn']}/{call['ordinal']}": call["cost_nano_usd"] for call in calls}
    return WholeRun(RunRecord.of(found[0]), tuple(_stamped(row) for row in facts), charged)


async def page(
    connection: Connection, tenant: str, *, after: str | None = None, key: str | None = None,
    state: RunState | None = None, count: int = 50,
) -> list[RunRecord]:  # fmt: skip
    """A tenant's runs, newest first; ``after`` is the last id of the page before. Raises NotFoundError for an unknown one."""
    values = {"tenant": tenant, "after": after, "key": key, "state": state and state.value, "count": min(count, MAX_PAGE)}
    rows = await connection.rows(step("runs", "page", **values))
    if not rows and after is not None and await connection.row(step("runs", "get", run=after)) is None:
        raise NotFoundError(f"there is no run {after!r}", param="after", hint="take the id of the last run of the page before")
    return [RunRecord.of(row) for row in rows]


async def events(connection: Connection, run_id: str, *, after: int = 0, count: int = MAX_FACTS) -> tuple[Stamped, ...]:
    """The facts of a run after place ``after``, in order."""
    return tuple(_stamped(row) for row in await connection.rows(_events(run_id, after=after, count=count)))


async def find_retry(
    connection: Connection, tenant: str, *, key: str, body_hash: str, within_ms: int = RETRY_WINDOW_MS
) -> Existing | None:
    """The run that a client's own retry of the same body means: unfinished, or ended less than ``within_ms`` ago."""
    values = {"tenant": tenant, "key": key, "body_hash": body_hash, "within_ms": within_ms}
    row = await connection.row(step("runs", "find_retry", **values))
    return Existing(row["id"], row["state"]) if row else None


async def find_idempotent(connection: Connection, tenant: str, *, key: str, idempotency_key: str) -> Existing | None:
    """The run that has this Idempotency-Key."""
    values = {"tenant": tenant, "key": key, "idempotency_key": idempotency_key}
    row = await connection.row(step("runs", "by_idempotency_key", **values))
    return Existing(row["id"], row["state"]) if row else None


async def take_over(
    connection: Connection, *, owner: str, count: int = 4, version: int = EVENT_VERSION, lease_ms: int = LEASE_MS
) -> list[RunRecord]:
    """Become the owner of runs whose owner is silent. Only runs whose facts this program can read (``version``)."""
    fact = Resumed(owner=owner)
    values = {
        "owner": owner,
        "count": count,
        "version": version,
        "lease_ms": lease_ms,
        "fact": encode(dump(fact)),
        "fact_version": fact.v,
    }
    taken = await connection.rows(step("runs", "take_over", **values))
    rows = await connection.rows(step("runs", "records", runs=[row["id"] for row in taken])) if taken else []
    return [RunRecord.of(row) for row in rows]


async def renew_leases(
    connection: Connection, *, owner: str, runs: Collection[str] | None = None, lease_ms: int = LEASE_MS
) -> dict[str, str | None]:
    """Keep an owner's ``runs`` (None: all of them); for each renewed one, who asked to cancel it.

    A run that writes just now renews itself.
    """
    values = {"owner": owner, "runs": None if runs is None else list(runs), "lease_ms": lease_ms}
    rows = await connection.rows(step("runs", "renew_leases", **values))
    return {row["id"]: row["cancel_by"] for row in rows}


async def give_back(connection: Connection, *, owner: str, runs: Collection[str] | None = None) -> list[str]:
    """The owner stops driving ``runs`` (None: all of its runs): they may be taken over at once. Their ids."""
    rows = await connection.rows(step("runs", "give_back", owner=owner, runs=None if runs is None else list(runs)))
    return [row["id"] for row in rows]


async def request_cancel(connection: Connection, run_id: str, *, by: str) -> RunState:
    """Ask a run to end; where it stands. A waiting run has no owner to hear it: end it with a transition."""
    row = await connection.row(step("runs", "request_cancel", run=run_id, by=by))
    if row is None:
        raise _unknown(run_id)
    return RunState(row["state"])


async def waiting_too_long(
    connection: Connection, *, older_ms: int = WAITING_MS, count: int = 20, version: int = EVENT_VERSION
) -> list[RunRecord]:
    """Runs whose client did not come back in time."""
    values = {"older_ms": older_ms, "count": count, "version": version}
    rows = await connection.rows(step("runs", "waiting_too_long", **values))
    return [RunRecord.of(row) for row in rows]


async def delete_content(connection: Connection, run_id: str) -> None:
    """Remove what was said in an ended run; what it cost stays. Raises NotFoundError, or ConflictError while it goes on."""
    row = await connection.row(step("runs", "lock_content", run=run_id))
    if row is None:
        raise _unknown(run_id)
    if row["state"] != RunState.ENDED:
        raise ConflictError(f"run {run_id!r} has not ended", hint="cancel it first")
    await connection.row(step("runs", "delete_content", runs=[run_id]))


async def expire_content(connection: Connection, *, count: int = 100) -> list[str]:
    """Remove the contents of runs older than their tenants keep them. Their ids."""
    rows = await connection.rows(step("runs", "expired_content", count=count))
    ids = [row["id"] for row in rows]
    if ids:
        await connection.row(step("runs", "delete_content", runs=ids))
    return ids


async def add_feedback(connection: Connection, run_id: str, feedback: Feedback) -> None:
    """Store feedback on a run. Raises NotFoundError."""
    values = {
        "run": run_id,
        "author": feedback.author,
        "score": feedback.score,
        "label": feedback.label,
        "comment": feedback.comment,
    }
    if await connection.row(step("runs", "add_feedback", **values)) is None:
        raise _unknown(run_id)


async def list_feedback(connection: Connection, run_id: str) -> list[Feedback]:
    """All feedback on a run, oldest first."""
    rows = await connection.rows(step("runs", "list_feedback", run=run_id))
    return [Feedback(**row) for row in rows]


async def put_revision(connection: Connection, tenant: str, *, revision: str, body: Mapping[str, Any]) -> None:
    """Keep a revision's body under its hash. May be repeated."""
    values = {"revision": revision, "tenant": tenant, "body": encode(body)}
    await connection.row(step("runs", "put_revision", **values))


async def get_revision(connection: Connection, tenant: str, *, revision: str) -> dict[str, Any]:
    """A pinned revision's body. Raises NotFoundError."""
    values = {"revision": revision, "tenant": tenant}
    row = await connection.row(step("runs", "get_revision", **values))
    if row is None:
        raise NotFoundError(f"there is no revision {revision!r} of tenant {tenant!r}")
    body: dict[str, Any] = row["body"]
    return body


def _events(run_id: str, *, after: int = 0, count: int = MAX_FACTS) -> Step:
    return step("runs", "events", run=run_id, after=after, count=count)


def _stamped(row: Mapping[str, Any]) -> Stamped:
    return Stamped(row["seq"], row["at"], load(row["body"]))


def _unknown(run_id: str) -> NotFoundError:
    return NotFoundError(f"there is no run {run_id!r}", param="run", hint="list runs with GET /v1/runs")
