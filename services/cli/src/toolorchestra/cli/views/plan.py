"""What a request would do, without doing it: who may be called, what that costs at most, the first step, and the limits."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from toolorchestra.cli.views.tables import cell, label, records
from toolorchestra.cli.views.values import text

SHOWN_ELSEWHERE: Final = frozenset({"object", "candidates", "first", "limits"})
FIRST: Final = ("function", "worst_case_nano_usd", "typical_latency_ms")


def plan_view(plan: Mapping[str, Any]) -> RenderableType:
    """The candidates as a table, then the first step, everything else and the limits as lines."""
    other = {name: value for name, value in plan.items() if name not in SHOWN_ELSEWHERE}
    return Group(
        records(plan.get("candidates") or [], FIRST),
        first_step(plan.get("first")),
        fields({**other, **(plan.get("limits") or {})}),
    )


def first_step(first: Any) -> RenderableType:
    """The calls that a rule would begin with; a model is asked only when it counts."""
    grid = Table.grid(padding=(0, 2))
    calls: Sequence[Mapping[str, Any]] = (first or {}).get("calls") or []
    for call in calls:
        what = f"{call.get('function')}({text(call.get('arguments'))})"
        grid.add_row(Text("first call", style="dim"), Text(what), Text(text(call.get("reason"))))
    return grid


def fields(values: Mapping[str, Any]) -> RenderableType:
    """Names and values, aligned; what says nothing is left out."""
    grid = Table.grid(padding=(0, 2))
    for name, value in values.items():
        if value not in (None, "", [], {}):
            grid.add_row(Text(label(name), style="dim"), Text(cell(name, value)))
    return grid
