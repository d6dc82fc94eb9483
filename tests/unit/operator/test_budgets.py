"""What is decided of a BudgetPolicy, from what the ledger says."""

from dataclasses import replace
from typing import Any

import pytest

from tests.unit.operator.making import NOW, conditions, resource
from toolorchestra.core.errors import UnavailableError
from toolorchestra.core.resources import BudgetPolicy
from toolorchestra.ledger.errors import LedgerError
from toolorchestra.ledger.money import Unit
from toolorchestra.ledger.policies import Enforced, WindowBudget, spec_hash
from toolorchestra.operator.plan import Plan
from toolorchestra.operator.services.budgets import BudgetObserved, reconcile_budget
from toolorchestra.operator.services.status import status_of

USD = 1_000_000_000


def policy(**spec: Any) -> BudgetPolicy:
    made: BudgetPolicy = resource("BudgetPolicy", "default", {"limits": {"day": "2.00"}, **spec})
    return made


def window(
    spent: int, *, held: int = 0, limit: int | None = 2 * USD, kind: str = "day", unit: Unit = Unit.MONEY
) -> WindowBudget:
    remaining = None if limit is None else max(0, limit - spent - held)
    return WindowBudget(unit, kind, "UTC", limit, spent, held, 0, remaining, NOW, None)


def held(spec: BudgetPolicy, *windows: WindowBudget, stored: dict[str, Any] | None = None, due: bool = True) -> BudgetObserved:
    enforced = Enforced("team", "policy", 1, spec_hash(spec.spec), spec.spec, NOW)
    return BudgetObserved(enforced, windows, None, stored or {}, due)


def stored(plan: Plan) -> dict[str, Any]:
    return status_of(plan, {}, generation=1, now=NOW)


def test_a_policy_that_the_ledger_holds_is_enforced_and_told_in_figures():
    wanted = policy()
    plan = reconcile_budget(wanted, held(wanted, window(USD // 2, held=USD // 4), window(3, limit=5, unit=Unit.REQUESTS)))
    assert conditions(plan) == {
        "Accepted": ("True", "Accepted"), "Enforced": ("True", "Enforced"),
        "NearLimit": ("False", "BelowAlerts"), "Ready": ("True", "Ready"),
    }  # fmt: skip
    figures = {key: plan.status[key] for key in ("limit", "spent", "held", "remaining", "window")}
    assert figures == {"limit": "2.00", "spent": "0.50", "held": "0.25", "remaining": "1.25", "window": "day"}
    assert [(one["unit"], one["spent"]) for one in plan.status["windows"]] == [("usd", "0.50"), ("requests", "3")]
    assert plan.again_ms == 5_000


def test_the_tightest_window_of_money_is_shown():
    wanted = policy()
    plan = reconcile_budget(
        wanted, held(wanted, window(0), window(9 * USD, limit=10 * USD, kind="month"), window(0, limit=None))
    )
    assert (plan.status["window"], plan.status["remaining"]) == ("month", "1.00")


@pytest.mark.parametrize(
    ("windows", "alerts", "expected"),
    [
        ([], [80], ("False", "NoLimit")),
        ([window(USD)], [80, 100], ("False", "BelowAlerts")),
        ([window(USD, held=600_000_000)], [80, 100], ("True", "AlertReached")),
        ([window(0, limit=0)], [80, 100], ("True", "AlertReached")),
        ([window(5, limit=5, unit=Unit.REQUESTS)], [80], ("True", "AlertReached")),
        ([window(5, limit=5, unit=Unit.SLOTS)], [80], ("False", "NoLimit")),
        ([window(USD)], [], ("False", "BelowAlerts")),
    ],
)
def test_near_its_limit(windows: list[WindowBudget], alerts: list[int], expected: tuple[str, str]):
    wanted = policy(alerts=alerts)
    plan = reconcile_budget(wanted, held(wanted, *windows))
    assert conditions(plan)["NearLimit"] == expected
    assert conditions(plan)["Ready"] == ("True", "Ready"), "being near a limit is no fault of the policy"


@pytest.mark.parametrize(
    ("problem", "expected"),
    [
        (UnavailableError("the database is not available"), ("Unknown", "LedgerUnavailable")),
        (LedgerError("permission denied"), ("False", "LedgerRefused")),
    ],
)
def test_while_the_ledger_says_nothing_the_last_figures_stay(problem: Any, expected: tuple[str, str]):
    wanted = policy()
    before = stored(reconcile_budget(wanted, held(wanted, window(USD))))
    plan = reconcile_budget(wanted, BudgetObserved(None, (), problem, before, figures_due=True))
    assert conditions(plan)["Enforced"] == expected
    assert conditions(plan)["NearLimit"] == ("False", "BelowAlerts")
    assert (plan.status["spent"], plan.status["windows"]) == ("1.00", before["windows"])


def test_another_policy_in_force_is_not_this_one_enforced():
    wanted = policy()
    observed = held(policy(limits={"day": "9.00"}), window(0))
    assert conditions(reconcile_budget(wanted, observed))["Enforced"] == ("False", "NotHeld")
    assert observed.enforced is not None
    default = replace(held(wanted), enforced=replace(observed.enforced, source="default", hash=spec_hash(wanted.spec)))
    assert conditions(reconcile_budget(wanted, default))["Enforced"] == ("False", "NotHeld")


def test_spending_alone_is_written_only_when_it_is_due_or_crosses_an_alert():
    wanted = policy()
    before = stored(reconcile_budget(wanted, held(wanted, window(USD // 2))))
    early = reconcile_budget(wanted, held(wanted, window(USD), stored=before, due=False))
    assert early.status["spent"] == "0.50"
    due = reconcile_budget(wanted, held(wanted, window(USD), stored=before, due=True))
    assert due.status["spent"] == "1.00"
    crossing = reconcile_budget(wanted, held(wanted, window(1_700_000_000), stored=before, due=False))
    assert crossing.status["spent"] == "1.70"
