"""Budget policies: what limits a tenant now. An edit is one transaction under the tenant's lock and gives no money back."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from toolorchestra.core.durations import parse_duration_ms
from toolorchestra.core.resources.budget import BudgetPolicySpec
from toolorchestra.ledger import money
from toolorchestra.ledger.connection import Connection
from toolorchestra.ledger.money import Limit, Unit
from toolorchestra.ledger.statements import step


@dataclass(frozen=True, slots=True)
class Enforced:
    """The policy in force. ``source``: the tenant's own ``policy``, or the platform's ``default``."""

    tenant: str
    source: str
    generation: int
    hash: str
    spec: BudgetPolicySpec
    enforced_at: datetime


@dataclass(frozen=True, slots=True)
class WindowBudget:
    """One limit with its current window. Amounts in ``unit``; None is unlimited, or without bounds in time."""

    unit: Unit
    kind: str
    tz: str
    limit: int | None
    spent: int
    held: int
    over: int
    remaining: int | None
    start: datetime | None
    end: datetime | None


async def apply_policy(
    connection: Connection, tenant: str, spec: BudgetPolicySpec, *, generation: int = 1, source: str = "policy"
) -> Enforced:
    """Make ``spec`` the limits of a tenant. Needs the system role.

    Windows that the tenant had no limit for until now open with what was spent and is held since their start.
    """
    account = money.tenant_account(tenant)
    await connection.row(step("policies", "open_tenant", account=account, tenant=tenant))
    await connection.row(step("money", "lock", accounts=[account]))
    rows = await connection.rows(step("policies", "limits", account=account))
    before = {(row["unit"], row["kind"], row["tz"]) for row in rows}
    limits = money.limits_of(spec)
    new = [limit for limit in limits if (limit.unit, limit.kind, limit.tz) not in before]
    await _replace(connection, tenant, limits, new)
    values = {
        "tenant": tenant,
        "source": source,
        "generation": generation,
        "hash": spec_hash(spec),
        "spec": spec.model_dump_json(by_alias=True),
        "retention_ms": parse_duration_ms(spec.retention),
    }
    await connection.row(step("policies", "put", **values))
    return await _enforced(connection, tenant)


async def delete_policy(connection: Connection, tenant: str, *, default: BudgetPolicySpec) -> Enforced:
    """Return to the platform's default; what was spent stays."""
    return await apply_policy(connection, tenant, default, source="default")


async def ensure_tenant(connection: Connection, tenant: str, *, default: BudgetPolicySpec) -> Enforced:
    """The policy in force; a tenant without one gets the default, as does one whose default is outdated. System role."""
    found = await get_policy(connection, tenant)
    if found is not None and (found.source == "policy" or found.hash == spec_hash(default)):
        return found
    return await apply_policy(connection, tenant, default, source="default")


async def get_policy(connection: Connection, tenant: str) -> Enforced | None:
    """The policy in force, if the tenant has any."""
    row = await connection.row(step("policies", "get", tenant=tenant))
    return Enforced(**row | {"spec": BudgetPolicySpec.model_validate(row["spec"])}) if row else None


async def sources(connection: Connection) -> dict[str, str]:
    """Every tenant with a policy, and whether it is its own (``policy``) or the platform's (``default``). System role."""
    rows = await connection.rows(step("policies", "sources"))
    return {row["tenant"]: row["source"] for row in rows}


async def budget(connection: Connection, tenant: str) -> list[WindowBudget]:
    """What a tenant may still use, per limit."""
    values = {"account": money.tenant_account(tenant)}
    rows = await connection.rows(step("policies", "budget", **values))
    return [WindowBudget(**row | {"unit": Unit(row["unit"])}) for row in rows]


async def key_budget(connection: Connection, tenant: str, key: str) -> list[WindowBudget]:
    """What a key may still use under its own limits."""
    values = {"account": money.key_account(tenant, key)}
    rows = await connection.rows(step("policies", "budget", **values))
    return [WindowBudget(**row | {"unit": Unit(row["unit"])}) for row in rows]


def used_percent(window: WindowBudget) -> int | None:
    """How much of a limit is spent or held, rounded down; None where there is no limit to come near to."""
    if window.limit is None or window.unit is Unit.SLOTS:
        return None
    return (window.spent + window.held) * 100 // window.limit if window.limit else 100


def reached(window: WindowBudget, alerts: Iterable[int]) -> tuple[int, ...]:
    """Those of a policy's percentages that a window has reached, ascending.

    The one rule of what counts as near a limit: what is spent or held, as for a hold when it is granted or refused.
    """
    used = used_percent(window)
    return tuple(sorted({percent for percent in alerts if used is not None and percent <= used}))


def spec_hash(spec: BudgetPolicySpec) -> str:
    """Names the content of a policy."""
    return hashlib.sha256(spec.model_dump_json().encode()).hexdigest()[:32]


async def _replace(connection: Connection, tenant: str, limits: Sequence[Limit], new: Sequence[Limit]) -> None:
    account = money.tenant_account(tenant)
    steps = [
        step("policies", "clear_limits", account=account),
        step("policies", "put_limits", account=account, tenant=tenant, limits=money.limits_text(limits)),
    ]
    for limit in new:
        window = {"unit": limit.unit.value, "kind": limit.kind, "tz": limit.tz, "amount": limit.amount}
        steps.append(step("policies", "open_window", account=account, tenant=tenant, **window))
    await connection.run(steps)


async def _enforced(connection: Connection, tenant: str) -> Enforced:
    found = await get_policy(connection, tenant)
    if found is None:
        raise LookupError(f"the policy of {tenant!r} was stored and is not there")
    return found
