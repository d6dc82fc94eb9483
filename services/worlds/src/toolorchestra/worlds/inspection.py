"""What is wrong with the tasks of a person's world: by line, field and fix."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from typing_extensions import override

from toolorchestra.worlds.errors import BrokenToolError, InvalidWorldError
from toolorchestra.worlds.loading import HOWTO, TASKS, find_world, load_tasks, load_world
from toolorchestra.worlds.tasks import Task
from toolorchestra.worlds.verify import Drop, Frequent, Reason, frequent_values, verify
from toolorchestra.worlds.world import World

_FIXES: Final[Mapping[Reason, tuple[str, str]]] = {
    Reason.GOLDEN_REFUSED: ("golden", "mend the arguments, or the order of the calls"),
    Reason.GOLDEN_FAILS: ("golden", "see the detail: calls must return each fact's rows, and its value be that of the rows"),
    Reason.NOTHING_TO_CHECK: ("facts", "add a fact to tell, or a call that writes"),
    Reason.UNPROVEN: ("golden", "let an earlier call return the value, or let the user say it"),
    Reason.FACT_IN_TEXT: ("facts", "take the value out of opening and known, or ask for another fact"),
    Reason.WEAK_FACTS: ("facts", "ask for one that cannot be guessed: an amount, a date, an id, a name"),
    Reason.PASSES_IDLE: ("golden", "make the calls change something, or ask for a fact that a call must return"),
    Reason.PASSES_ECHO: ("facts", "ask for a fact that does not stand in the request"),
    Reason.PASSES_DUMP: ("facts", "ask for one of several values of its kind, or for one that must be computed"),
    Reason.PASSES_FREQUENT: ("facts", "vary the value over the tasks of this intent"),
    Reason.PASSES_WITHOUT_WRITE: ("golden", "leave the write out, or let it change a column that is compared"),
    Reason.PASSES_MUTATED: ("golden", "let the argument reach a column that is compared, or mark the column `compare: ignore`"),
    Reason.PASSES_WRONG_ENTITY: ("golden", "let a write depend on the entity"),
    Reason.PASSES_FROM_TEXT: ("user.opening", "leave an id out of the text, so that it must be looked up"),
    Reason.FAILS_REORDERED: ("golden", "add to `needs` what must come before, or derive ids from what is stored"),
    Reason.FAILS_EXTRA_READS: ("golden", "a read must not change anything: see its tool"),
    Reason.FAILS_OTHER_PATH: ("facts", "name rows that each way to the answer returns"),
    Reason.FAILS_RETRY: ("golden", "a refused call must not change anything: see its tool"),
    Reason.FAILS_REWORDED: ("facts", "name the fact by words that hold no value of its kind"),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong with one task: where it stands, which field it is about, and what to do."""

    path: Path
    line: int
    task: str
    field: str
    problem: str
    fix: str

    @override
    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.field}: {self.problem}"


class Inspection:
    """A folder with its world and tasks loaded. Raises InvalidWorldError, which names file, line and field."""

    def __init__(self, folder: Path | str) -> None:
        self.path = find_world(folder)
        self.world: World = load_world(self.path)
        self.tasks: Sequence[Task] = tuple(load_tasks(self.path))
        if not self.tasks:
            raise InvalidWorldError(f"{self.path / TASKS}: holds no task", param=TASKS, hint=f"write one per line; {HOWTO}")

    def findings(self) -> Iterator[tuple[Task, list[Finding]]]:
        """Each task with what is wrong with it, in the order of the file. Raises BrokenToolError for a tool of wrong code."""
        frequent, counts = frequent_values(self.tasks), Counter(task.id for task in self.tasks)
        for line, task in enumerate(self.tasks, 1):
            plain = list(self._plain(task, line, counts))
            yield task, plain or list(self._verified(task, line, frequent))

    def _plain(self, task: Task, line: int, counts: Mapping[str, int]) -> Iterator[Finding]:
        """What keeps a task from being played at all."""
        if task.world != self.world.name:
            yield self._finding(task, line, "world", f"is {task.world!r}", f"write {self.world.name!r}, the name in world.yaml")
        if counts[task.id] > 1:
            yield self._finding(task, line, "id", f"{task.id!r} stands {counts[task.id]} times", "give each task its own")
        for number, one in enumerate(task.golden):
            if one.tool not in self.world.tools:
                known = ", ".join(self.world.tools)
                yield self._finding(task, line, f"golden.{number}.tool", f"there is no tool {one.tool!r}", f"there are {known}")
        for number, fact in enumerate(task.facts):
            if fact.column and not self._has(*fact.column):
                problem = f"there is no column {fact.column[1]!r} in {fact.column[0]!r}"
                yield self._finding(task, line, f"facts.{number}.column", problem, "name a table of world.yaml and its column")

    def _has(self, table: str, column: str) -> bool:
        about = self.world.spec.tables.get(table)
        return about is not None and column in about.columns

    def _verified(self, task: Task, line: int, frequent: Frequent) -> Iterator[Finding]:
        try:
            drops = verify(self.world, task, frequent=frequent)
        except BrokenToolError as error:
            yield self._finding(task, line, "golden", str(error), "mend the tool in tools.py")
            return
        yield from (self._of_drop(task, line, drop) for drop in dict.fromkeys(drops))

    def _of_drop(self, task: Task, line: int, drop: Drop) -> Finding:
        field, fix = _FIXES[drop.reason]
        return self._finding(task, line, field, f"{drop.reason}: {drop.detail}" if drop.detail else str(drop.reason), fix)

    def _finding(self, task: Task, line: int, field: str, problem: str, fix: str) -> Finding:
        return Finding(self.path / TASKS, line, task.id, field, problem, fix)
