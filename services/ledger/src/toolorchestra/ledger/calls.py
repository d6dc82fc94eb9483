"""Calls as workers and their run's owner see them: claim, finish, give up. All by compare-and-set, so anything may repeat."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from toolorchestra.core.calls import Outcome
from toolorchestra.core.errors import NotFoundError
from toolorchestra.core.loop.calls import denied
from toolorchestra.core.money import NanoUsd
from toolorchestra.ledger import money
from toolorchestra.ledger.connection import Connection
from toolorchestra.ledger.database import Database
from toolorchestra.ledger.errors import denial_from
from toolorchestra.ledger.jsontext import encode
from toolorchestra.ledger.money import Kind, Labels
from toolorchestra.ledger.statements import Step, step

HOLD_GRACE_MS: Final = 30_000  # a hold outlives its call's deadline by this


class CallState(StrEnum):
    """Where a call stands. ``over``: nobody waits for it any more."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    OVER = "over"


@dataclass(frozen=True, slots=True)
class Claim:
    """A call that is now this worker's, as attempt ``attempt``. ``left_ms`` is the time to its deadline."""

    call_id: str
    run_id: str
    tenant: str
    revision: str | None
    function: str
    arguments: Mapping[str, Any]
    attempt: int
    left_ms: int
    hold: str
    hold_nano_usd: NanoUsd
    max_output_tokens: int
    side_effects: str
    traceparent: str | None
    session: str | None = None


@dataclass(frozen=True, slots=True)
class StoredCall:
    """What became of a call. ``sent``: its last attempt (``hold``) may have left; ``outcome`` is None until it is done."""

    call_id: str
    state: CallState
    attempt: int
    outcome: Outcome | None
    hold: str
    hold_nano_usd: NanoUsd
    sent: bool
    deadline_at: datetime


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt of a call. ``estimated`` marks a cost that nobody stated."""

    call_id: str
    attempt: int
    started_at: datetime
    finished_at: datetime | None
    status: str | None
    cost_nano_usd: NanoUsd
    estimated: bool


@dataclass(frozen=True, slots=True)
class CallRecord:
    """One call of a run with what all its attempts cost."""

    id: str
    turn: int
    ordinal: int
    function: str
    execution: str
    side_effects: str
    state: CallState
    attempt: int
    arguments: Mapping[str, Any] | None
    outcome: Mapping[str, Any] | None
    created_at: datetime
    deadline_at: datetime
    cost_nano_usd: NanoUsd


async def claim(database: Database, call_id: str, *, lease_ms: int) -> Claim | StoredCall:
    """Take a call to execute it. When somebody was first or it is over: what is stored of it, to leave alone.

    A call that waits is taken in one round trip. A repeated attempt takes more: it settles the lost one as an estimate and
    takes a hold of its own; if the budget refuses that, the call is finished as denied. Raises NotFoundError.
    """
    values = {"call": call_id, "lease_ms": lease_ms}
    (rows,) = await database.execute([step("calls", "claim", **values)])
    if rows:
        return _claim(rows[0])
    async with database.system() as connection:
        row = await connection.row(step("calls", "reclaim", **values))
        if row is None:
            return await stored(connection, call_id)
        return await _repeat(connection, row)


async def extend(connection: Connection, call_id: str, attempt: int, *, lease_ms: int) -> bool:
    """Keep a claimed call; False when it is no longer this attempt's."""
    values = {"call": call_id, "attempt": attempt, "lease_ms": lease_ms}
    return await connection.row(step("calls", "extend", **values)) is not None


async def finish(connection: Connection, call_id: str, attempt: int, outcome: Outcome) -> bool:
    """Store the outcome of an attempt and its money; False when it came too late to count.

    The money of a late attempt is the truth all the same.
    """
    rows, *_ = await connection.run(finish_steps(call_id, attempt, outcome))
    return bool(rows)


def finish_steps(call_id: str, attempt: int, outcome: Outcome) -> list[Step]:
    """``finish`` as steps, for ``Database.execute``: the whole transaction in one round trip."""
    hold = f"{call_id}/{attempt}"
    return [
        step(
            "calls",
            "finish",
            call=call_id,
            attempt=attempt,
            status=outcome.status.value,
            outcome=encode(outcome.model_dump(mode="json")),
        ),
        money.lock_of_hold(hold),
        money.settle(hold, outcome.cost_nano_usd, estimate=outcome.estimated),
    ]


async def give_up(connection: Connection, call_id: str, *, now: bool = False) -> StoredCall:
    """As the run's owner: stop waiting for a call that nobody runs any more, or (``now``) for any. What is stored of it then.

    Its state is ``over`` if it was given up; its hold stays open until the owner settles it. Raises NotFoundError.
    """
    await connection.row(step("calls", "give_up", call=call_id, now=now))
    return await stored(connection, call_id)


async def stored(connection: Connection, call_id: str) -> StoredCall:
    """What is stored of a call. Raises NotFoundError."""
    found = await outcomes(connection, [call_id])
    if call_id not in found:
        raise NotFoundError(f"there is no call {call_id!r}")
    return found[call_id]


async def outcomes(connection: Connection, call_ids: Sequence[str]) -> dict[str, StoredCall]:
    """What became of calls, by id; unknown ids are left out."""
    rows = await connection.rows(step("calls", "outcomes", calls=list(call_ids)))
    return {row["id"]: _stored(row) for row in rows}


async def of_run(connection: Connection, run_id: str) -> list[CallRecord]:
    """The calls of a run, in order."""
    rows = await connection.rows(step("calls", "of_run", run=run_id))
    return [CallRecord(**row | {"state": CallState(row["state"])}) for row in rows]


async def attempts_of_run(connection: Connection, run_id: str) -> list[Attempt]:
    """Every attempt of every call of a run, in order."""
    rows = await connection.rows(step("calls", "attempts_of_run", run=run_id))
    return [Attempt(call_id=row.pop("call"), **row) for row in rows]


async def _repeat(connection: Connection, row: Mapping[str, Any]) -> Claim | StoredCall:
    call_id, attempt, hold = row["id"], row["attempt"], row["hold"]
    refusal = await _renew_hold(connection, row)
    if refusal is not None:
        await connection.run(finish_steps(call_id, attempt, refusal)[:1])
        return await stored(connection, call_id)
    await connection.rows(step("calls", "start_attempt", call=call_id, attempt=attempt, tenant=row["tenant"], hold=hold))
    return _claim(row)


async def _renew_hold(connection: Connection, row: Mapping[str, Any]) -> Outcome | None:
    """Close the lost attempt's hold and take one for this attempt; the outcome if that is refused."""
    found = await connection.row(step("calls", "hold_labels", hold=row["old_hold"]))
    if found is None:
        raise NotFoundError(f"call {row['id']!r} has no hold {row['old_hold']!r}")
    labels = Labels(found["tenant"], found["key"], found["run"], Kind(found["kind"]), found["function"], found["model"])
    taken = money.take(
        row["hold"],
        row["hold_nano_usd"],
        labels,
        accounts=found["accounts"],
        ttl_ms=row["left_ms"] + HOLD_GRACE_MS,
        sent=True,
        strict=False,
    )
    lost = step("calls", "lose_attempts", call=row["id"], attempt=row["attempt"])
    moves = [lost, money.lock(found["accounts"]), money.reap(row["old_hold"], force=True), taken]
    *_, (result,) = await connection.run(moves)
    if result["result"] != "denied":
        return None
    return denied(denial_from(result["denial"], hold=row["hold"]), row["hold_nano_usd"])


def _claim(row: Mapping[str, Any]) -> Claim:
    return Claim(
        call_id=row["id"],
        run_id=row["run"],
        tenant=row["tenant"],
        revision=row["revision"],
        function=row["function"],
        arguments=row["arguments"],
        attempt=row["attempt"],
        left_ms=row["left_ms"],
        hold=row["hold"],
        hold_nano_usd=row["hold_nano_usd"],
        max_output_tokens=row["max_output_tokens"],
        side_effects=row["side_effects"],
        traceparent=row["traceparent"],
        session=row["session"],
    )


def _stored(row: Mapping[str, Any]) -> StoredCall:
    return StoredCall(
        call_id=row["id"],
        state=CallState(row["state"]),
        attempt=int(row["hold"].rpartition("/")[2]),
        outcome=Outcome.model_validate(row["outcome"]) if row["outcome"] else None,
        hold=row["hold"],
        hold_nano_usd=row["hold_nano_usd"],
        sent=row["sent"],
        deadline_at=row["deadline_at"],
    )
