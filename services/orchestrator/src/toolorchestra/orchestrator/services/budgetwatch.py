"""Looks now and then how full the budgets are: a line in the log when a percentage is reached, and metrics."""

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog

from toolorchestra.core.errors import ToolOrchestraError
from toolorchestra.ledger.alerts import TenantWindow
from toolorchestra.ledger.policies import used_percent
from toolorchestra.orchestrator.services.metrics import Metrics
from toolorchestra.orchestrator.storage.accounts import AccountStore

WATCH_S: Final = 10.0
MOST_SERIES: Final = 200  # of the gauge: the fullest windows

logger = structlog.get_logger(__name__)


class BudgetWatch:
    """One per process. The ledger sees to it that of all processes one tells of an alert."""

    def __init__(self, accounts: AccountStore, metrics: Metrics) -> None:
        self._accounts = accounts
        self._metrics = metrics

    async def run_forever(self) -> None:
        """Look, until cancelled."""
        while True:
            try:
                await self.look()
            except ToolOrchestraError as error:
                logger.warning("budgets_not_watched", error=str(error))
            await asyncio.sleep(WATCH_S)

    async def look(self) -> None:
        """Show the fullest windows and tell of what was reached."""
        windows, alerts = await self._accounts.look_at_budgets()
        self._show(windows)
        for alert in alerts:
            self._metrics.budget_alerts.labels(alert.unit.value, alert.kind).inc()
            logger.warning(
                "budget_alert",
                tenant=alert.tenant,
                unit=alert.unit.value,
                window=alert.kind,
                start=alert.start.isoformat() if alert.start else None,
                percent=alert.percent,
            )

    def _show(self, windows: Sequence[TenantWindow]) -> None:
        gauge = self._metrics.budget_used
        gauge.clear()
        for one in windows[:MOST_SERIES]:
            gauge.labels(one.tenant, one.window.unit.value, one.window.kind).set((used_percent(one.window) or 0) / 100)
