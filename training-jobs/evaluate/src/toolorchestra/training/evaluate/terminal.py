"""The report as tables for a terminal."""

from collections.abc import Iterator, Sequence
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from toolorchestra.training.evaluate import wording
from toolorchestra.training.evaluate.parts import PartRow, SkillRow
from toolorchestra.training.evaluate.report import Report

WIDE: Final = 120  # columns from which figures and their bounds stand on one line
MOST_EXPERTS: Final = 8  # whose skills fit beside each other; more are on the page only


def print_report(report: Report, console: Console) -> None:
    """Print what decides: notes, the gate, the policies and the comparisons. The rest is on the page."""
    console.print(Text(report.title, style="bold"))
    for note in report.notes:
        console.print(Text(f"! {note}", style="yellow"))
    for table in _tables(report, narrow=console.width < WIDE):
        console.print(table)
    if report.gate is not None:
        console.print(Text("Gate: passed", style="green") if report.gate.passed else Text("Gate: not passed", style="red"))
        for failure in report.gate.failures:
            console.print(Text(f"  {failure}"))


def _tables(report: Report, *, narrow: bool) -> Iterator[Table]:
    gap = "\n(" if narrow else " ("
    policies = _table("policy", "success", "cost per task", "per solved", "seconds", "calls", "tasks")
    for one in report.policies:
        policies.add_row(
            Text(f"{'*' if one.on_front else ' '} {one.policy}"),
            wording.percent(one.rates.success).replace(" (", gap),
            wording.usd(one.rates.cost_per_task).replace(" (", gap),
            _value(wording.usd(one.rates.cost_per_solved)),
            _value(wording.plain(one.rates.latency_per_task)),
            _value(wording.plain(one.rates.calls_per_task)),
            f"{one.tasks}{' simulated' if one.simulated else ''}",
        )
    yield policies
    suites = [row for row in report.parts if not row.topic]
    if len(suites) > 1:
        yield _by_suite(report, suites)
    yield from _all_skills(report.skills, gap)
    if not report.comparisons:
        return
    table = _table(f"against {report.comparisons[0].baseline}", "success, points", "cost", "p success", "p cost", "clusters")
    for pair in report.comparisons:
        table.add_row(
            Text(f"{pair.policy}{' (primary)' if pair.primary else ''}"),
            wording.points(pair.success).replace(" (", gap),
            wording.times(pair.cost_ratio).replace(" (", gap),
            wording.p_value(pair.p_success),
            wording.p_value(pair.p_cost),
            str(pair.success.clusters),
        )
    yield table


def _by_suite(report: Report, suites: Sequence[PartRow]) -> Table:
    """Success of each policy in each suite, in percent."""
    table = _table("success, %", *(row.suite for row in suites))
    for one in report.policies:
        cells = [row.cells.get(one.policy) for row in suites]
        table.add_row(Text(f"  {one.policy}"), *(f"{100 * cell.success:.1f}" if cell else wording.UNKNOWN for cell in cells))
    return table


def _all_skills(skills: Sequence[SkillRow], gap: str) -> Iterator[Table]:
    """Experts that played alone, where they fit, and what is real."""
    drawn = [row for row in skills if not row.real]
    if any(row.measured is not None for row in drawn) and len({row.expert for row in drawn}) <= MOST_EXPERTS:
        yield _skills("simulated: measured (drawn)", drawn, gap)
    if real := [row for row in skills if row.real]:
        yield _skills("real: measured (assumed)", real, gap)


def _skills(title: str, skills: Sequence[SkillRow], gap: str) -> Table:
    """By topic, with what is to be known of the figures below."""
    names = sorted({row.expert for row in skills})
    known = {(row.expert, row.topic): row for row in skills}
    table = _table(title, *names)
    for topic in sorted({row.topic for row in skills}):
        cells = [known.get((name, topic)) for name in names]
        told = [wording.skill(one.measured, one.simulated) if one else wording.UNKNOWN for one in cells]
        table.add_row(Text(f"  {topic}"), *(cell.replace(" (", gap) for cell in told))
    notes = dict.fromkeys(f"! {row.expert}: {row.note}" for row in skills if row.note)
    table.caption = Text("\n".join(notes)) if notes else None
    table.caption_justify = "left"
    return table


def _value(figure: str) -> str:
    """Without the bounds, which need room; they are on the page."""
    return figure.partition(" (")[0]


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column(Text(first))
    for name in others:
        table.add_column(name, justify="right")
    return table
