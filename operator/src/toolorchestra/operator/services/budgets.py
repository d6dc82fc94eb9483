"""Budget policies: held by the ledger, read back from it, and told with what is left."""

import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from toolorchestra.core.errors import ToolOrchestraError, UnavailableError
from toolorchestra.core.money import format_usd
from toolorchestra.core.resources import BudgetPolicy, BudgetPolicySpec
from toolorchestra.ledger import policies
from toolorchestra.ledger.connection import Connection
from toolorchestra.ledger.database import Database
from toolorchestra.ledger.errors import LedgerError
from toolorchestra.ledger.money import Unit
from toolorchestra.ledger.policies import Enforced, WindowBudget
from toolorchestra.operator.plan import Condition, Plan, State, roll_up
from toolorchestra.operator.services.kinds import TYPES, Kind, Seen
from toolorchestra.operator.services.status import timestamp

AWAY_S: Final = 3.0
AGAIN_MS: Final = 5_000
FIGURES_MS: Final = 30_000  # how often spending alone is worth a write
NAME: Final = "default"
_FIGURES: Final = ("spent", "held", "remaining", "limit", "window", "windows")


@dataclass(frozen=True, slots=True)
class BudgetObserved:
    """What the ledger says, or the ``problem`` why it says nothing; the status ``stored``; whether new figures are due."""

    enforced: Enforced | None
    windows: Sequence[WindowBudget]
    problem: ToolOrchestraError | None
    stored: Mapping[str, Any]
    figures_due: bool


class PolicyLedger:
    """Budget policies in the ledger, under the system role. ``default`` holds for tenants without one of their own."""

    def __init__(self, database: Database, default: BudgetPolicySpec) -> None:
        self._database = database
        self._default = default
        self._away: tuple[float, ToolOrchestraError] | None = None

    async def hold(self, policy: BudgetPolicy) -> tuple[Enforced, list[WindowBudget]]:
        """Make the ledger hold the policy, unless it does, and read back what it holds."""
        tenant, spec = policy.metadata.namespace, policy.spec
        held, windows = await self._read(tenant)
        if held is not None and held.source == "policy" and held.hash == policies.spec_hash(spec):
            return held, windows
        async with self._session() as connection:
            await policies.apply_policy(connection, tenant, spec, generation=policy.metadata.generation)
        held, windows = await self._read(tenant)  # what was committed, not what was meant
        if held is None:
            raise LedgerError(f"the policy of {tenant!r} was stored and is not there")
        return held, windows

    async def _read(self, tenant: str) -> tuple[Enforced | None, list[WindowBudget]]:
        async with self._session() as connection:
            return await policies.get_policy(connection, tenant), await policies.budget(connection, tenant)

    async def release(self, tenant: str, _name: str) -> None:
        """Return a tenant to the default; what was spent stays."""
        async with self._session() as connection:
            found = await policies.get_policy(connection, tenant)
            if found is not None and found.source == "policy":
                await policies.delete_policy(connection, tenant, default=self._default)

    async def tenants(self) -> Iterable[tuple[str, str]]:
        """The tenants whose own policy the ledger holds, as (namespace, name) of the BudgetPolicy."""
        async with self._session() as connection:
            sources = await policies.sources(connection)
        return [(tenant, NAME) for tenant, source in sources.items() if source == "policy"]

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[Connection]:
        """A transaction. While the database is away only one in so often waits for it, so that others' work goes on."""
        if self._away is not None and time.monotonic() - self._away[0] < AWAY_S:
            raise self._away[1]
        try:
            async with self._database.system() as connection:
                yield connection
            self._away = None
        except UnavailableError as error:
            self._away = (time.monotonic(), error)
            raise


def budget_kind(ledger: PolicyLedger) -> Kind[BudgetPolicy, BudgetObserved]:
    """How BudgetPolicies are reconciled."""

    async def gather(policy: BudgetPolicy, seen: Seen) -> BudgetObserved:
        due = seen.fresh or seen.written_ms_ago is None or seen.written_ms_ago >= FIGURES_MS
        try:
            enforced, windows = await ledger.hold(policy)
        except ToolOrchestraError as error:
            return BudgetObserved(None, (), error, seen.status, due)
        return BudgetObserved(enforced, windows, None, seen.status, due)

    return Kind(
        of=TYPES["BudgetPolicy"],
        model=BudgetPolicy,
        conditions=("Accepted", "Enforced", "NearLimit"),
        headline="Ready",
        gather=gather,
        reconcile=reconcile_budget,
        announces=("NearLimit",),
        forget=ledger.release,
        outside=ledger.tenants,
    )


def reconcile_budget(policy: BudgetPolicy, observed: BudgetObserved) -> Plan:
    """Accepted, Enforced, NearLimit, Ready (= Enforced); what is spent, held and left."""
    accepted = Condition("Accepted", State.TRUE, "Accepted")
    enforced = _is_enforced(policy, observed)
    near = _near_limit(policy, observed)
    conditions = [accepted, enforced, near, roll_up("Ready", enforced)]
    return Plan(conditions=conditions, status=_status(observed, near), again_ms=AGAIN_MS)


def _is_enforced(policy: BudgetPolicy, observed: BudgetObserved) -> Condition:
    problem, held = observed.problem, observed.enforced
    if held is None:
        retryable = problem is None or problem.retryable
        text = f"{problem or 'not looked at yet'}; until it can be asked, what it held last stays in force"
        return Condition(
            "Enforced", State.UNKNOWN if retryable else State.FALSE, "LedgerUnavailable" if retryable else "LedgerRefused", text
        )
    wanted = policies.spec_hash(policy.spec)
    if held.source != "policy" or held.hash != wanted:
        text = f"the ledger holds {held.hash} of {held.source}, wanted is {wanted}"
        return Condition("Enforced", State.FALSE, "NotHeld", text)
    return Condition("Enforced", State.TRUE, "Enforced")


def _near_limit(policy: BudgetPolicy, observed: BudgetObserved) -> Condition:
    if observed.enforced is None:
        return _stored(observed, "NearLimit") or Condition("NearLimit", State.UNKNOWN, "LedgerUnavailable")
    limited = [one for one in observed.windows if policies.used_percent(one) is not None]
    alerts = sorted((alert, one.kind, one.unit) for one in limited for alert in policies.reached(one, policy.spec.alerts))
    if not alerts:
        return Condition("NearLimit", State.FALSE, "BelowAlerts" if limited else "NoLimit")
    alert, kind, unit = alerts[-1]
    what = "money" if unit is Unit.MONEY else "requests"
    return Condition("NearLimit", State.TRUE, "AlertReached", f"{alert} % of the {what} of this {kind} is spent or held")


def _status(observed: BudgetObserved, near: Condition) -> dict[str, Any]:
    """Figures are new ones on a crossing, else at most every so often, and the old ones while the ledger is away."""
    old = {key: observed.stored.get(key) for key in ("hash", "enforcedAt", *_FIGURES)}
    held = observed.enforced
    if held is None:
        return old
    policy = {"hash": held.hash, "enforcedAt": timestamp(held.enforced_at)}
    crossed = _stored(observed, "NearLimit") != near
    if observed.figures_due or crossed or observed.stored.get("hash") != held.hash:
        return policy | _figures(observed.windows)
    return old | policy


def _figures(windows: Sequence[WindowBudget]) -> dict[str, Any]:
    money = [one for one in windows if one.unit is Unit.MONEY and one.remaining is not None]
    told: dict[str, Any] = {"windows": [_window(one) for one in windows]}
    if not money:
        return told
    tightest = min(money, key=lambda one: one.remaining or 0)
    amounts = _window(tightest)
    return told | {key: amounts[key] for key in ("spent", "held", "remaining", "limit")} | {"window": tightest.kind}


def _window(one: WindowBudget) -> dict[str, Any]:
    amounts = {"limit": one.limit, "spent": one.spent, "held": one.held, "over": one.over, "remaining": one.remaining}
    told = {key: _amount(one.unit, amount) for key, amount in amounts.items() if amount is not None}
    edges = {key: timestamp(moment) for key, moment in _edges(one) if moment is not None}
    return {"unit": "usd" if one.unit is Unit.MONEY else one.unit.value, "kind": one.kind, **edges, **told}


def _edges(one: WindowBudget) -> tuple[tuple[str, datetime | None], ...]:
    return ("start", one.start), ("end", one.end)


def _amount(unit: Unit, amount: int) -> str:
    return format_usd(amount) if unit is Unit.MONEY else str(amount)


def _stored(observed: BudgetObserved, kind: str) -> Condition | None:
    found = next((one for one in observed.stored.get("conditions") or () if one["type"] == kind), None)
    return Condition(kind, State(found["status"]), found["reason"], found.get("message", "")) if found else None
