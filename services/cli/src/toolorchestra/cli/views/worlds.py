"""Worlds as a person reads them in a terminal."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from rich.markdown import Markdown
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from toolorchestra.cli.shell import Shell
from toolorchestra.cli.views.tables import new_table
from toolorchestra.core.functions import SideEffects
from toolorchestra.training.toolscale.making import DONE, News
from toolorchestra.training.toolscale.page import task_page
from toolorchestra.worlds.inspection import Finding
from toolorchestra.worlds.loading import Definition
from toolorchestra.worlds.tasks import Task
from toolorchestra.worlds.world import World

POLICY_LINES: Final = 12
_COLOURS: Final[Mapping[SideEffects, str]] = {"readOnly": "green", "idempotent": "yellow", "destructive": "red"}


class BuildLines:
    """One line per domain while worlds are built: stage, tasks of those wanted, time."""

    def __init__(self, shell: Shell, domains: Iterable[str], wanted: int) -> None:
        columns = (TextColumn("{task.description:<15}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self.progress = Progress(*columns, TextColumn("{task.fields[stage]}"), console=shell.err)
        self._lines: dict[str, TaskID] = {
            name: self.progress.add_task(name, total=wanted, stage="waiting", start=False) for name in domains
        }

    def hear(self, news: News) -> None:
        """Show how far a domain is."""
        line = self._lines[news.domain]
        self.progress.start_task(line)
        self.progress.update(line, completed=news.done, stage=news.stage)
        if news.stage == DONE:
            self.progress.update(line, total=max(1, news.done))
            self.progress.stop_task(line)


def list_table(definitions: Iterable[Definition], domains: Sequence[str]) -> Table:
    """Worlds with what they hold; whether tasks can be drawn for them."""
    table = new_table("world", "title", "domain", "tables", "tools", "tasks", "about")
    for one in definitions:
        drawn = "any number" if one.spec.name in domains else "its own"
        spec = one.spec
        about = (spec.name, spec.title, spec.domain, str(len(spec.tables)), str(len(one.tools)), drawn, spec.description)
        table.add_row(*map(Text, about))
    return table


def tables_table(world: World) -> Table:
    """Tables with their columns."""
    table = new_table("table", "rows", "key", "columns")
    for name, about in world.spec.tables.items():
        columns = ", ".join(column for column in about.columns if column != about.key)
        table.add_row(*map(Text, (name, str(len(world.rows.tables[name])), about.key, columns)))
    return table


def tools_table(world: World) -> Table:
    """Tools with what they do to the world."""
    table = new_table("tool", "effects", "arguments", "about")
    for tool in world.tools.values():
        arguments = ", ".join(tool.parameters.get("properties", {}))
        effects = Text(tool.side_effects, style=_COLOURS[tool.side_effects])
        table.add_row(Text(tool.name), effects, Text(arguments), Text(tool.description))
    return table


def policy_excerpt(world: World) -> str:
    """The first lines of the policy."""
    lines = world.policy.strip().splitlines()
    more = f"\n… {len(lines) - POLICY_LINES} more lines" if len(lines) > POLICY_LINES else ""
    return "\n".join(lines[:POLICY_LINES]) + more


def print_tasks(shell: Shell, tasks: Iterable[Task]) -> None:
    """Tasks one after the other: as Markdown in a file, formatted in a terminal."""
    for number, task in enumerate(tasks, 1):
        text = f"#### {number}\n\n{task_page(task)}\n"
        if shell.out.is_terminal:
            shell.out.print(Markdown(text))
        else:
            shell.raw(text)


def print_finding(shell: Shell, finding: Finding) -> None:
    """One fault of a task, with its fix."""
    shell.out.print(Text.assemble(str(finding)), soft_wrap=True)
    shell.out.print(Text.assemble(("  fix: ", "bold"), finding.fix), soft_wrap=True)


def build_table(report: Mapping[str, Any]) -> Table:
    """What was built, in a few lines."""
    table = new_table("world", "tools", "rows", "tasks", "train", "held out", "write", "golden calls", "dropped", "unsound")
    for name, about in [*report["worlds"].items(), ("all", {**report, "figures": report["total"]})]:
        figures, splits = about["figures"], about["splits"]
        held_out = figures["tasks"] - splits["train"] - splits["test"]
        row = (
            name,
            f"{figures['tools']:,}",
            f"{figures['rows']:,}",
            f"{figures['tasks']:,}",
            f"{splits['train']:,}",
            f"{held_out:,}",
            f"{figures['with_writes']:.0%}",
            f"{figures['mean_calls']:.1f} (most {figures['max_calls']})",
            f"{about['attempts'] - figures['tasks']:,} of {about['attempts']:,}",
            str(sum(about["audit"].values())),
        )
        table.add_row(*map(Text, row))
    return table
