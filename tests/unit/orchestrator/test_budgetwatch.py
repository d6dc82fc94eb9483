"""Budgets that fill up are told of once, and shown within bounds."""

import structlog

from toolorchestra.ledger.alerts import Alert, TenantWindow
from toolorchestra.ledger.money import Unit
from toolorchestra.ledger.policies import WindowBudget
from toolorchestra.orchestrator.services.budgetwatch import MOST_SERIES, BudgetWatch
from toolorchestra.orchestrator.services.metrics import Metrics
from toolorchestra.orchestrator.testing import MemoryAccounts


def filled(tenant: str, spent: int) -> TenantWindow:
    return TenantWindow(tenant, WindowBudget(Unit.MONEY, "day", "UTC", 1_000, spent, 0, 0, None, None, None), (80,))


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


async def test_an_alert_is_one_line_of_the_log_and_counted():
    accounts, metrics = MemoryAccounts(), Metrics()
    accounts.alerts.append(Alert("acme", Unit.MONEY, "day", None, 80))
    watch = BudgetWatch(accounts, metrics)

    with structlog.testing.capture_logs() as lines:
        await watch.look()
        await watch.look()

    (line,) = lines
    assert (line["event"], line["tenant"], line["window"], line["percent"]) == ("budget_alert", "acme", "day", 80)
    assert value(metrics, "toolorchestra_budget_alerts_total", unit="nano_usd", window="day") == 1


async def test_only_the_fullest_windows_are_series_and_old_ones_go():
    accounts, metrics = MemoryAccounts(), Metrics()
    watch = BudgetWatch(accounts, metrics)
    accounts.filled = [filled(f"t{number}", 1_000 - number) for number in range(MOST_SERIES + 1)]
    await watch.look()
    labels = {"unit": "nano_usd", "window": "day"}

    assert value(metrics, "toolorchestra_budget_used_ratio", tenant="t0", **labels) == 1.0
    assert value(metrics, "toolorchestra_budget_used_ratio", tenant=f"t{MOST_SERIES}", **labels) is None

    accounts.filled = [filled("new", 255)]
    await watch.look()

    assert value(metrics, "toolorchestra_budget_used_ratio", tenant="new", **labels) == 0.25
    assert value(metrics, "toolorchestra_budget_used_ratio", tenant="t0", **labels) is None
