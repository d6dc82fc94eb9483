"""What a tenant's administrator does: keys, usage, budget, adjustments."""

import csv
import io
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from toolorchestra.core.errors import InvalidRequestError
from toolorchestra.core.money import format_usd, parse_usd
from toolorchestra.core.registry import Registry
from toolorchestra.core.resources import BudgetPolicySpec
from toolorchestra.core.resources.manifest import describe, first_field
from toolorchestra.ledger.keys import KeyLimits, KeyRecord, Scopes
from toolorchestra.ledger.money import Unit
from toolorchestra.ledger.policies import WindowBudget, reached, used_percent
from toolorchestra.orchestrator.storage.accounts import AccountStore

T = TypeVar("T", bound=BaseModel)

DEFAULT_SPAN = timedelta(days=30)


class KeyWish(BaseModel):
    """The body of a new key."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=128)
    models: tuple[str, ...] = ("*",)
    tools: tuple[str, ...] = ("*",)
    expires_in_days: int = Field(default=90, ge=1, le=3650)
    limits: KeyLimits = KeyLimits()


class AdjustmentWish(BaseModel):
    """The body of an adjustment: a positive amount is a charge, ``credit`` turns it around."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    amount_usd: str
    credit: bool = False
    reason: str = Field(min_length=1, max_length=1024)


class Administration:
    """One per process."""

    def __init__(self, accounts: AccountStore, registry: Registry, default: BudgetPolicySpec) -> None:
        self._accounts = accounts
        self._registry = registry
        self._default = default

    async def keys(self, tenant: str) -> dict[str, Any]:
        return {"object": "list", "data": [_key(record) for record in await self._accounts.list_keys(tenant)]}

    async def create_key(self, tenant: str, body: Any) -> dict[str, Any]:
        """A new key with its text, which nobody can read again."""
        wish = _checked(KeyWish, body)
        if (tenant, "default") not in self._registry.catalog().budgets:
            await self._accounts.default_policy(tenant, self._default)
        new = await self._accounts.create_key(
            tenant,
            name=wish.name,
            scopes=Scopes(models=wish.models, tools=wish.tools),
            limits=wish.limits,
            expires_at=datetime.now(UTC) + timedelta(days=wish.expires_in_days),
        )
        return _key(new.record) | {"key": new.text}

    async def revoke_key(self, tenant: str, key: str) -> dict[str, Any]:
        return _key(await self._accounts.revoke_key(tenant, key))

    async def usage(self, tenant: str, since: datetime | None, until: datetime | None, group_by: list[str]) -> dict[str, Any]:
        """Spending per group; ``group_by`` may be given comma-separated."""
        groups = [name for part in group_by for name in part.split(",") if name]
        begin, end = _span(since, until)
        rows = await self._accounts.usage(tenant, begin, end, groups)
        data = [
            {
                **row.group,
                "spent_usd": format_usd(row.spent_nano_usd),
                "estimated_usd": format_usd(row.estimated_nano_usd),
                "calls": row.calls,
                "runs": row.runs,
            }
            for row in rows
        ]
        return {"object": "list", "since": begin.isoformat(), "until": end.isoformat(), "group_by": groups, "data": data}

    async def focus_csv(self, tenant: str, since: datetime | None, until: datetime | None) -> str:
        """Spending per day with the columns of FOCUS."""
        rows = await self._accounts.focus_rows(tenant, *_span(since, until))
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=list(rows[0]) if rows else ["BilledCost"])
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()

    async def budget(self, tenant: str) -> dict[str, Any]:
        """Every limit with its window, how much of it is spent or held, and which of the policy's percentages that reaches."""
        found = self._registry.catalog().budgets.get((tenant, "default"))
        percentages = (found.spec if found else self._default).alerts
        windows = [_window(window, reached(window, percentages)) for window in await self._accounts.budget(tenant)]
        return {"object": "list", "tenant": tenant, "data": windows}

    async def adjust(self, tenant: str, body: Any, author: str) -> dict[str, Any]:
        """A correction as an entry of its own; the past is not edited."""
        wish = _checked(AdjustmentWish, body)
        amount = parse_usd(wish.amount_usd, param="amount_usd") * (-1 if wish.credit else 1)
        number = await self._accounts.adjust(tenant, amount, reason=wish.reason, author=author)
        return {"id": number, "amount_usd": format_usd(amount), "reason": wish.reason, "author": author}


def _checked(kind: type[T], body: Any) -> T:
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        raise InvalidRequestError(describe(error), param=first_field(error)) from error


def _span(since: datetime | None, until: datetime | None) -> tuple[datetime, datetime]:
    end = until or datetime.now(UTC)
    return since or end - DEFAULT_SPAN, end


def _key(record: KeyRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "object": "toolorchestra.key",
        "tenant": record.tenant,
        "name": record.name,
        "models": list(record.scopes.models),
        "tools": list(record.scopes.tools),
        "limits": record.limits.model_dump(mode="json", by_alias=True, exclude_none=True),
        "created_at": record.created_at.isoformat(),
        "expires_at": _moment(record.expires_at),
        "revoked_at": _moment(record.revoked_at),
        "last_used_at": _moment(record.last_used_at),
    }


def _window(window: WindowBudget, alerts: Sequence[int]) -> dict[str, Any]:
    money = window.unit is Unit.MONEY

    def amount(value: int | None) -> str | int | None:
        return format_usd(value) if money and value is not None else value

    return {
        "unit": "usd" if money else window.unit.value,
        "window": window.kind,
        "time_zone": window.tz,
        "limit": amount(window.limit),
        "spent": amount(window.spent),
        "held": amount(window.held),
        "over": amount(window.over),
        "remaining": amount(window.remaining),
        "used_percent": used_percent(window),
        "alerts": list(alerts),
        "start": _moment(window.start),
        "end": _moment(window.end),
    }


def _moment(value: datetime | None) -> str | None:
    return value.isoformat() if value else None
