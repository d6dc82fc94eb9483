"""What was spent, on what: grouped for people, in FOCUS columns for billing tools, and the adjustments people made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final

from toolorchestra.core.errors import InvalidRequestError
from toolorchestra.core.money import NanoUsd, format_usd
from toolorchestra.ledger.connection import Connection
from toolorchestra.ledger.jsontext import encode
from toolorchestra.ledger.statements import step

GROUPS: Final = ("key", "function", "model", "kind", "day")
METADATA: Final = "metadata:"


@dataclass(frozen=True, slots=True)
class UsageRow:
    """Money of one group, in nano-USD. ``group`` holds only what was grouped by; ``estimated`` is the part nobody stated."""

    group: Mapping[str, str | None]
    spent_nano_usd: NanoUsd
    estimated_nano_usd: NanoUsd
    calls: int
    runs: int


@dataclass(frozen=True, slots=True)
class Adjustment:
    """A credit (negative) or correction made by a person."""

    id: int
    nano_usd: NanoUsd
    reason: str
    author: str
    at: datetime


async def usage(
    connection: Connection, tenant: str, *, since: datetime, until: datetime, group_by: Sequence[str] = (), tz: str = "UTC"
) -> list[UsageRow]:
    """Spending from ``since`` until before ``until``, the most expensive group first.

    ``group_by`` takes key, function, model, kind, day (in ``tz``) and ``metadata:<name>`` of requests.
    Raises InvalidRequestError.
    """
    names = [name.removeprefix(METADATA) for name in group_by if name.startswith(METADATA)]
    plain = [name for name in group_by if not name.startswith(METADATA)]
    for name in plain:
        if name not in GROUPS:
            known = ", ".join((*GROUPS, f"{METADATA}<name>"))
            raise InvalidRequestError(f"usage cannot be grouped by {name!r}", param="group_by", hint=f"use {known}")
    _check_span(since, until)
    values = {"tenant": tenant, "since": since, "until": until, "by": plain, "metadata": names, "tz": tz}
    rows = await connection.rows(step("usage", "grouped", **values))
    return [_usage_row(row, plain, names) for row in rows]


async def focus_rows(connection: Connection, tenant: str, *, since: datetime, until: datetime) -> list[dict[str, str]]:
    """The same money per day under the column names of FOCUS 1.2; all values are text, money is decimal US dollars."""
    _check_span(since, until)
    values = {"tenant": tenant, "since": since, "until": until}
    rows = await connection.rows(step("usage", "focus", **values))
    return [_focus_row(tenant, row) for row in rows]


async def adjustments(connection: Connection, tenant: str, *, since: datetime, until: datetime) -> list[Adjustment]:
    """Adjustments in a span of time, oldest first."""
    _check_span(since, until)
    values = {"tenant": tenant, "since": since, "until": until}
    rows = await connection.rows(step("usage", "adjustments", **values))
    return [Adjustment(**row) for row in rows]


def _check_span(since: datetime, until: datetime) -> None:
    if since.tzinfo is None or until.tzinfo is None:
        raise InvalidRequestError("a span of time needs a time zone", param="since", hint="write 2030-01-31T00:00:00Z")
    if since >= until:
        raise InvalidRequestError("`since` must be before `until`", param="since")


def _usage_row(row: Mapping[str, Any], plain: Sequence[str], names: Sequence[str]) -> UsageRow:
    metadata = row["metadata"] or {}
    group = {name: _text(row[name]) for name in plain} | {f"{METADATA}{name}": metadata.get(name) for name in names}
    return UsageRow(group, row["spent_nano_usd"], row["estimated_nano_usd"], row["calls"], row["runs"])


def _text(value: object) -> str | None:
    if value is None:
        return None
    return value.isoformat() if isinstance(value, date) else str(value)


def _focus_row(tenant: str, row: Mapping[str, Any]) -> dict[str, str]:
    by_hand = row["purpose"] is None
    amount = format_usd(row["nano_usd"])
    resource = row["function"] or row["model"] or ""
    month: datetime = row["month"]
    return {
        "BilledCost": amount,
        "EffectiveCost": amount,
        "ContractedCost": amount,
        "ListCost": amount,
        "BillingCurrency": "USD",
        "BillingAccountId": tenant,
        "SubAccountId": tenant,
        "BillingPeriodStart": _stamp(month),
        "BillingPeriodEnd": _stamp((month + timedelta(days=32)).replace(day=1)),
        "ChargePeriodStart": _stamp(row["day"]),
        "ChargePeriodEnd": _stamp(row["day"] + timedelta(days=1)),
        "ChargeCategory": "Adjustment" if by_hand and row["nano_usd"] > 0 else "Credit" if by_hand else "Usage",
        "ChargeClass": "Correction" if row["class"] == "adjust" else "",
        "ChargeDescription": row["reason"] or f"{row['purpose']} {resource}".strip(),
        "ChargeFrequency": "One-Time" if by_hand else "Usage-Based",
        "ConsumedQuantity": "" if by_hand else str(row["calls"]),
        "ConsumedUnit": "" if by_hand else "Calls",
        "ProviderName": "ToolOrchestra",
        "PublisherName": "ToolOrchestra",
        "InvoiceIssuerName": "ToolOrchestra",
        "ServiceCategory": "AI and Machine Learning",
        "ServiceName": "ToolOrchestra",
        "ResourceId": resource,
        "ResourceType": "" if by_hand else "Tool" if row["function"] and not row["model"] else "Model",
        "Tags": encode(row["tags"]),
        "x_KeyId": row["key"] or "",
        "x_Kind": row["purpose"] or "adjustment",
    }


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
