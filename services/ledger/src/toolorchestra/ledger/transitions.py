"""A transition of a run as steps of one transaction, built without a database.

The order makes it safe: the run's row and its log (the fence), call rows, the lock of the accounts, settlements, holds.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from toolorchestra.core.loop.facts import Continued, Ended, Fact, dump, load
from toolorchestra.core.loop.journal import CallEnd, CallStart, Stamped, Take, Transition
from toolorchestra.core.money import NanoUsd
from toolorchestra.ledger import money
from toolorchestra.ledger.jsontext import REPLACEMENT, encode, encode_checked
from toolorchestra.ledger.money import Kind, Labels, Limit, Unit
from toolorchestra.ledger.statements import Step, step

LEASE_MS: Final = 15_000
SLOT_GRACE_MS: Final = 30_000  # a run's slot outlives its deadline by this


@dataclass(frozen=True, slots=True)
class RunContext:
    """What all transactions of one run share.

    ``policy`` is the run's (``expert:namespace/name``, ``passthrough:…``, ``baseline:…``); ``models`` names the model behind a
    function, for usage. ``timeout_ms`` is the run's time limit.
    """

    run_id: str
    tenant: str
    key: str
    owner: str
    policy: str = ""
    models: Mapping[str, str] = field(default_factory=dict)
    timeout_ms: int = 300_000
    lease_ms: int = LEASE_MS

    @property
    def accounts(self) -> list[str]:
        return [money.run_account(self.run_id), *self.outer_accounts]

    @property
    def outer_accounts(self) -> list[str]:
        return [money.key_account(self.tenant, self.key), money.tenant_account(self.tenant)]

    def labels(self, kind: Kind, *, function: str | None = None, model: str | None = None) -> Labels:
        return Labels(self.tenant, self.key, self.run_id, kind, function, model)


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run to open. ``cap_nano_usd`` bounds it as a whole; ``body_hash`` and ``idempotency_key`` find it again."""

    context: RunContext
    model: str
    revision: str | None = None
    cap_nano_usd: NanoUsd | None = None
    idempotency_key: str | None = None
    body_hash: str | None = None
    traceparent: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    session: str | None = None


@dataclass(frozen=True, slots=True)
class Log:
    """The facts of a transition: as text for a statement, and as they will be read again."""

    text: str
    facts: tuple[Fact, ...]
    version: int

    @classmethod
    def of(cls, transition: Transition) -> "Log":
        """The log entries of a transition."""
        items, facts = [], []
        for seq, fact in enumerate(transition.facts, start=transition.after + 1):
            text, changed = encode_checked(dump(fact))
            changed = changed or REPLACEMENT in text  # half a surrogate pair was replaced before
            items.append(f'{{"seq":{seq},"type":"{fact.type}","v":{fact.v},"body":{text}}}')
            facts.append(load(json.loads(text)) if changed else fact)  # live state must say what a take-over will read
        return cls(f"[{','.join(items)}]", tuple(facts), max(fact.v for fact in facts))

    def stamped(self, rows: Sequence[Mapping[str, Any]]) -> tuple[Stamped, ...]:
        """The facts with their places and times from the database."""
        ordered = sorted(rows, key=lambda row: int(row["seq"]))
        return tuple(Stamped(seq=row["seq"], at=row["at"], fact=fact) for row, fact in zip(ordered, self.facts, strict=True))


def steps_of(transition: Transition, context: RunContext, log: Log, *, traceparent: str | None = None) -> list[Step]:
    """A further transition as steps."""
    continues = any(isinstance(fact, Continued) for fact in transition.facts)
    slot = f"{context.run_id}/slot/{transition.after}" if continues else None
    steps = [_advance(transition, context, log, slot)]
    if transition.ends:
        steps.append(step("calls", "end", ends=_ends(context, transition.ends)))
    if transition.starts:
        steps.append(_start(context, transition.starts, traceparent))
    moves = [
        *(money.settle(s.hold, s.actual_nano_usd, estimate=s.estimate) for s in transition.settles),
        *([_slot(context, slot)] if slot else []),
        *_takes(transition, context),
        *_leave(transition, context),
    ]
    return [*steps, money.lock(context.accounts), *moves] if moves else steps


def opening_steps(new: NewRun, transition: Transition, log: Log) -> list[Step]:
    """The first transition of a run as steps."""
    context = new.context
    slot = f"{context.run_id}/slot/0"
    request = f"{context.run_id}/request"
    cap = Limit(Unit.MONEY, "total", "UTC", new.cap_nano_usd)
    return [
        _insert(new, transition, log, slot),
        step("runs", "append", run=context.run_id, tenant=context.tenant, facts=log.text),
        money.open_account(money.run_account(context.run_id), context.tenant, rank=2, limits=[cap]),
        *([_start(context, transition.starts, new.traceparent)] if transition.starts else []),
        money.lock(context.accounts),
        _count(context, request, Kind.REQUEST, Unit.REQUESTS, ttl_ms=SLOT_GRACE_MS),
        money.settle(request, 1),
        _slot(context, slot),
        *(money.settle(s.hold, s.actual_nano_usd, estimate=s.estimate) for s in transition.settles),
        *_takes(transition, context),
    ]


def _insert(new: NewRun, transition: Transition, log: Log, slot: str) -> Step:
    context = new.context
    return step(
        "runs",
        "insert",
        run=context.run_id,
        tenant=context.tenant,
        key=context.key,
        model=new.model,
        policy=context.policy,
        revision=new.revision,
        owner=context.owner,
        lease_ms=context.lease_ms,
        seq=transition.after + len(transition.facts),
        version=log.version,
        slot=slot,
        cap=new.cap_nano_usd,
        idempotency_key=new.idempotency_key,
        body_hash=new.body_hash,
        traceparent=new.traceparent,
        metadata=encode(dict(new.metadata)),
        session=new.session,
        timeout_ms=context.timeout_ms,
    )


def _advance(transition: Transition, context: RunContext, log: Log, slot: str | None) -> Step:
    ended = next((fact for fact in transition.facts if isinstance(fact, Ended)), None)
    return step(
        "runs",
        "advance",
        run=context.run_id,
        owner=context.owner,
        after=transition.after,
        count=len(transition.facts),
        version=log.version,
        state=_next_state(transition, continues=slot is not None),
        status=ended.status if ended else None,
        slot=slot,
        lease_ms=context.lease_ms,
        facts=log.text,
    )


def _next_state(transition: Transition, *, continues: bool) -> str | None:
    """None leaves it as it is."""
    if transition.closes:
        return "ended"
    if transition.parks:
        return "waiting"
    return "running" if continues else None


def _takes(transition: Transition, context: RunContext) -> list[Step]:
    functions = {start.hold: start.function for start in transition.starts}
    return [
        money.take(
            one.hold,
            one.amount_nano_usd,
            _purpose(one, context, functions.get(one.hold)),
            accounts=context.accounts,
            ttl_ms=one.ttl_ms,
            sent=one.sent,
        )
        for one in transition.takes
    ]


def _purpose(one: Take, context: RunContext, function: str | None) -> Labels:
    if function is not None:
        return context.labels(Kind.CALL, function=function, model=context.models.get(function))
    source, _, name = context.policy.partition(":")
    model = name if source in ("expert", "passthrough") else None
    if "/" not in one.hold.removeprefix(f"{context.run_id}/"):
        return context.labels(Kind.FINAL, model=model)
    return context.labels(Kind.PASSTHROUGH if source == "passthrough" else Kind.DECISION, model=model)


def _slot(context: RunContext, slot: str) -> Step:
    return _count(context, slot, Kind.SLOT, Unit.SLOTS, ttl_ms=context.timeout_ms + SLOT_GRACE_MS)


def _count(context: RunContext, hold: str, kind: Kind, unit: Unit, *, ttl_ms: int) -> Step:
    labels = context.labels(kind)
    return money.take(hold, 1, labels, accounts=context.outer_accounts, ttl_ms=ttl_ms, sent=False, unit=unit)


def _leave(transition: Transition, context: RunContext) -> list[Step]:
    if not (transition.closes or transition.parks):
        return []
    slot = step("money", "settle_slot", run=context.run_id)
    closed = step("money", "close_account", account=money.run_account(context.run_id))
    return [slot, closed] if transition.closes else [slot]


def _start(context: RunContext, starts: Sequence[CallStart], traceparent: str | None) -> Step:
    rows = [
        {
            "id": f"{context.run_id}/{s.turn}/{s.ordinal}",
            "turn": s.turn,
            "ordinal": s.ordinal,
            "attempt": s.attempt,
            "function": s.function,
            "arguments": s.arguments,
            "args_hash": hashlib.sha256(json.dumps(s.arguments, sort_keys=True).encode()).hexdigest(),
            "execution": s.execution,
            "side_effects": s.side_effects,
            "timeout_ms": s.timeout_ms,
            "hold": s.hold,
            "hold_nano_usd": s.hold_nano_usd,
            "max_output_tokens": s.max_output_tokens,
        }
        for s in starts
    ]
    return step("calls", "start", starts=encode(rows), run=context.run_id, tenant=context.tenant, traceparent=traceparent)


def _ends(context: RunContext, ends: Sequence[CallEnd]) -> str:
    return encode(
        [
            {
                "id": f"{context.run_id}/{e.turn}/{e.ordinal}",
                "attempt": e.attempt,
                "status": e.outcome.status.value,
                "outcome": e.outcome.model_dump(mode="json"),
            }
            for e in ends
        ]
    )
