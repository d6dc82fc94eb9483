"""One kind of table for all commands."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal

from rich import box
from rich.table import Table
from rich.text import Text

from toolorchestra.cli.views.values import moment, nano_usd, seconds, text, usd

Side = Literal["left", "right"]
FIGURES: Final = frozenset({"tokens", "time", "cost", "calls", "runs", "limit", "spent", "held", "over", "remaining"})
UNITS: Final = ("_nano_usd", "_usd", "_ms")


def new_table(*columns: str) -> Table:
    """An empty table; columns of figures are aligned to the right, and their units stand with the values."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column in columns:
        figures = column in FIGURES or column.endswith(UNITS)
        side: Side = "right" if figures else "left"
        table.add_column(label(column), justify=side, overflow="fold", no_wrap=figures)
    return table


def label(name: str) -> str:
    """A field's name for people: ``worst_case_nano_usd`` → ``worst case``."""
    for unit in UNITS:
        name = name.removesuffix(unit)
    return name.replace("_", " ")


def records(rows: Sequence[Mapping[str, Any]], first: Iterable[str] = (), *, leave_out: Iterable[str] = ()) -> Table:
    """A table of JSON objects: the columns named ``first``, then all others in which any row says something.

    What is there as dollars is not shown a second time as nano-dollars.
    """
    hidden = set(leave_out)
    named = [name for row in rows for name, value in row.items() if value not in (None, "", [], {})]
    found = [name for name in dict.fromkeys(named) if name not in hidden and not _is_double(name, named)]
    wanted = list(first)
    columns = [name for name in wanted if name in found] + [name for name in found if name not in wanted]
    table = new_table(*columns)
    for row in rows:
        table.add_row(*(Text(cell(name, row.get(name))) for name in columns))
    return table


def cell(name: str, value: Any) -> str:
    """One value as its name tells: dollars, a duration, a moment, or as it is."""
    if name.endswith("nano_usd"):
        return nano_usd(value)
    if name.endswith("usd"):
        return usd(value)
    if name.endswith("_ms"):
        return seconds(value)
    if name.endswith("_at") or name in ("start", "end"):
        return moment(value)
    return text(value)


def _is_double(name: str, names: Iterable[str]) -> bool:
    return name.endswith("_nano_usd") and name.replace("_nano_usd", "_usd") in names
