"""Money: names of accounts, and the moves of a hold as steps of a transaction.

Every transaction that moves money first locks all accounts it moves (``lock``), then takes and settles, each a statement of
its own: a statement's snapshot is older than the locks it waits for, and two in one would grant twice.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Protocol

from toolorchestra.core.errors import InvalidRequestError, NotFoundError
from toolorchestra.core.money import MAX_NANO_USD, NanoUsd
from toolorchestra.core.resources.budget import MoneyLimits, RequestLimits
from toolorchestra.core.resources.meta import nano_usd
from toolorchestra.ledger.connection import Connection
from toolorchestra.ledger.jsontext import encode
from toolorchestra.ledger.statements import Step, step


class Unit(StrEnum):
    """What is counted."""

    MONEY = "nano_usd"
    REQUESTS = "requests"
    SLOTS = "slots"


class Kind(StrEnum):
    """What a hold is for."""

    DECISION = "decision"
    CALL = "call"
    FINAL = "final"
    PASSTHROUGH = "passthrough"
    REQUEST = "request"
    SLOT = "slot"


@dataclass(frozen=True, slots=True)
class Labels:
    """Whose money a hold is, and what for; usage is grouped by these."""

    tenant: str
    key: str
    run: str
    kind: Kind
    function: str | None = None
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Limit:
    """Most of ``unit`` per window of ``kind`` in time zone ``tz``; ``amount`` None is unlimited."""

    unit: Unit
    kind: str
    tz: str
    amount: int | None


class Limited(Protocol):
    """What a BudgetPolicy and a key's limits have in common."""

    @property
    def time_zone(self) -> str: ...
    @property
    def limits(self) -> MoneyLimits: ...
    @property
    def requests(self) -> RequestLimits: ...
    @property
    def concurrency(self) -> int | None: ...


def tenant_account(tenant: str) -> str:
    """The account of a tenant."""
    return f"t:{tenant}"


def key_account(tenant: str, key: str) -> str:
    """The account of a key. A service account's name is unique only within its tenant."""
    return f"k:{tenant}/{key}" if key.startswith("sa:") else f"k:{key}"


def run_account(run_id: str) -> str:
    """The account of a run."""
    return f"r:{run_id}"


def limits_of(spec: Limited) -> list[Limit]:
    """Limit rows of a policy or key. A total per unit is always there; without it an account is refused."""
    zone = spec.time_zone
    money, requests = spec.limits, spec.requests
    return [
        *(Limit(Unit.MONEY, kind, zone, nano_usd(text)) for kind, text in _windows(money) if text is not None),
        Limit(Unit.MONEY, "total", "UTC", nano_usd(money.total)),
        *(Limit(Unit.REQUESTS, kind, zone, count) for kind, count in _windows(requests) if count is not None),
        Limit(Unit.REQUESTS, "total", "UTC", requests.total),
        Limit(Unit.SLOTS, "total", "UTC", spec.concurrency),
    ]


def limits_text(limits: Sequence[Limit]) -> str:
    """Limit rows as JSON for a statement."""
    return encode([asdict(limit) for limit in limits])


def lock(accounts: Sequence[str]) -> Step:
    """Lock accounts for the rest of the transaction."""
    return step("money", "lock", accounts=list(accounts))


def lock_of_hold(hold: str) -> Step:
    """Lock the accounts of a hold for the rest of the transaction."""
    return step("money", "lock_of_hold", hold=hold)


def take(
    hold: str, amount: int, labels: Labels, *, accounts: Sequence[str], ttl_ms: int, sent: bool, unit: Unit = Unit.MONEY,
    strict: bool = True,
) -> Step:  # fmt: skip
    """Reserve ``amount`` under the name ``hold`` in all ``accounts``. ``strict``: a refusal aborts the transaction."""
    return step(
        "money",
        "take",
        hold=hold,
        amount=amount,
        unit=unit.value,
        accounts=list(accounts),
        ttl_ms=ttl_ms,
        sent=sent,
        strict=strict,
        tenant=labels.tenant,
        run=labels.run,
        key=labels.key,
        kind=labels.kind.value,
        function=labels.function,
        model=labels.model,
    )


def settle(hold: str, actual: int, *, estimate: bool = False) -> Step:
    """Replace a hold by what was spent; 0 releases it."""
    return step("money", "settle", hold=hold, actual=actual, estimate=estimate)


def reap(hold: str, *, force: bool = False) -> Step:
    """Close a hold by itself: charged in full if it was sent, released if not. ``force``: before its time."""
    return step("money", "reap", hold=hold, force=force)


def open_account(account: str, tenant: str, *, rank: int, limits: Sequence[Limit]) -> Step:
    """Make an account with its limits; one that exists stays as it is."""
    return step("money", "open_account", account=account, tenant=tenant, rank=rank, limits=limits_text(limits))


async def adjust(connection: Connection, tenant: str, *, amount_nano_usd: NanoUsd, reason: str, author: str) -> int:
    """Credit (negative) or correct a tenant's current windows; the id of the entry.

    Raises NotFoundError for a tenant without an account, InvalidRequestError without an amount, a reason or an author.
    """
    if amount_nano_usd == 0 or abs(amount_nano_usd) > MAX_NANO_USD:
        raise InvalidRequestError("the amount must not be zero, nor beyond what a ledger can hold", param="amount")
    for name, text in (("reason", reason), ("author", author)):
        if not text.strip():
            raise InvalidRequestError(f"an adjustment needs a {name}", param=name, hint=f"say it in `{name}`")
    account = tenant_account(tenant)
    await connection.row(step("money", "lock", accounts=[account]))
    values: dict[str, Any] = {"account": account, "amount": amount_nano_usd, "reason": reason, "author": author}
    row = await connection.row(step("money", "adjust", **values))
    if row is None:
        raise NotFoundError(f"tenant {tenant!r} has no account", hint="apply a BudgetPolicy first")
    return int(row["id"])


def _windows(limits: MoneyLimits | RequestLimits) -> list[tuple[str, Any]]:
    return [("hour", limits.hour), ("day", limits.day), ("month", limits.month)]
