"""Alerts: which percentages of a budget are reached, told once per window and percentage."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from toolorchestra.ledger.database import Database
from toolorchestra.ledger.jsontext import encode
from toolorchestra.ledger.money import Unit
from toolorchestra.ledger.policies import WindowBudget, reached
from toolorchestra.ledger.statements import step

MOST_WINDOWS: Final = 10_000  # looked at in one go, the fullest first


@dataclass(frozen=True, slots=True)
class TenantWindow:
    """A window of a tenant, and the percentages at which its policy wants to be told."""

    tenant: str
    window: WindowBudget
    alerts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Alert:
    """A percentage that was reached for the first time in a window. ``start`` is None for a window without bounds."""

    tenant: str
    unit: Unit
    kind: str
    start: datetime | None
    percent: int


async def look(database: Database) -> tuple[list[TenantWindow], list[Alert]]:
    """The windows in use, the fullest first, and the alerts that nobody has told of yet: they are the caller's to tell."""
    (rows,) = await database.execute([step("alerts", "used", count=MOST_WINDOWS)])
    windows = [_tenant_window(row) for row in rows]
    found = [
        {
            "tenant": one.tenant,
            "unit": one.window.unit,
            "kind": one.window.kind,
            "start": _text(one.window.start),
            "percent": percent,
        }
        for one in windows
        for percent in reached(one.window, one.alerts)
    ]
    if not found:
        return windows, []
    _, told = await database.execute([step("alerts", "forget"), step("alerts", "tell", reached=encode(found))])
    return windows, [Alert(**row | {"unit": Unit(row["unit"])}) for row in told]


def _tenant_window(row: dict[str, Any]) -> TenantWindow:
    tenant, alerts = row.pop("tenant"), row.pop("alerts")
    return TenantWindow(tenant, WindowBudget(**row | {"unit": Unit(row["unit"])}), tuple(alerts))


def _text(start: datetime | None) -> str | None:
    return start.isoformat() if start else None
