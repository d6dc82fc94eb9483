"""A question with one checkable answer: what evaluations ask beside the tasks of worlds.

The answer is typed and read as facts are (``values.scan``); an answer that lists more than two other values of the type is a
guess. One question is one line of a JSONL file.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Final

from pydantic import Field, ValidationError, field_validator

from toolorchestra.worlds.check import MAX_OTHERS
from toolorchestra.worlds.errors import InvalidWorldError, mistakes_of
from toolorchestra.worlds.rows import fold
from toolorchestra.worlds.schema import Strict
from toolorchestra.worlds.tasks import GoldenCall, Preference
from toolorchestra.worlds.values import Found, Kind, Value, holds, of_its_kind, scan

SUITE: Final = "qa"
YEAR: Final = 2026  # dates of an answer without a year are taken to be of it


class Need(StrEnum):
    """What it takes to answer: looking it up, working it out, running code, or a strong expert's knowledge."""

    SEARCH = "search"
    ARITHMETIC = "arithmetic"
    CODE = "code"
    EXPERT = "expert"


class QuestionTask(Strict):
    """One question. ``others`` are the texts that the answer must not list beside its own (for texts only).

    ``golden`` is the call of a tool that brings the answer, where there is one: local-search, calculator, python.
    """

    id: str = Field(min_length=1, description="Unique within the suite.")
    question: str = Field(min_length=1, description="The question, with everything that it takes.")
    kind: Kind = Field(description="How the answer is read.")
    value: str | int | float = Field(description="The answer; money in whole cents, dates as `2026-03-14`.")
    others: tuple[str, ...] = Field(default=(), description="For texts: what else might be said.")
    topic: str = Field(description="What it is about, e.g. `geography`.")
    need: Need = Field(description="What it takes to answer.")
    cluster: str = Field(description="What questions share: the document, or the generator of tables.")
    template: str = Field(default="", description="The wording template, by name.")
    steps: int = Field(default=1, ge=1, description="How many steps lead to the answer.")
    golden: tuple[GoldenCall, ...] = Field(default=(), description="Calls of tools that bring the answer.")
    preference: Preference = Field(default_factory=Preference, description="What the user wants weighed.")
    split: tuple[str, ...] = Field(default=(), description="Tags such as `train`.")

    _is_of_its_kind = field_validator("value")(of_its_kind)

    @property
    def text(self) -> str:
        """The answer as a short text."""
        match self.kind:
            case Kind.MONEY:
                return f"${Decimal(int(self.value)) / 100:.2f}"
            case _:
                return str(self.value)


@dataclass(frozen=True, slots=True)
class QuestionVerdict:
    """Whether an answer is right, and what is wrong with it in words (empty if nothing)."""

    success: bool
    reason: str = ""


def check_question(task: QuestionTask, answer: str) -> QuestionVerdict:
    """Judge an answer: it says the value, and at most two other values of its type."""
    found = scan(answer, YEAR)
    if not _says(task, found):
        return QuestionVerdict(success=False, reason=f"the answer does not say {task.text}")
    if sum(1 for _ in _others(task, found)) > MAX_OTHERS:
        return QuestionVerdict(success=False, reason=f"it lists more than {MAX_OTHERS} other values of type {task.kind}")
    return QuestionVerdict(success=True)


def says_answer(task: QuestionTask, text: str) -> bool:
    """Whether a text holds the answer, whatever else it holds."""
    return _says(task, scan(text, YEAR))


def _says(task: QuestionTask, found: Found) -> bool:
    """Amounts and plain numbers are one kind here: ``445.71`` is read as an amount, ``$12`` may be written ``12``."""
    match task.kind:
        case Kind.NUMBER:
            cents = Decimal(str(task.value)) * 100
            return found.says(Kind.NUMBER, task.value) or cents in found.money
        case Kind.MONEY:
            return task.value in found.money or Decimal(int(task.value)) / 100 in found.numbers
        case _:
            return found.says(task.kind, task.value)


def _others(task: QuestionTask, found: Found) -> Iterator[Value]:
    if task.kind is Kind.TEXT:
        wanted = fold(str(task.value))
        yield from (one for one in task.others if fold(one) not in wanted and holds(found.folded, fold(one)))
        return
    if task.kind in (Kind.NUMBER, Kind.MONEY):
        right = Decimal(str(task.value)) / (100 if task.kind is Kind.MONEY else 1)
        yield from (value for value in found.numbers | {Decimal(one) / 100 for one in found.money} if value != right)
        return
    yield from (value for value in found.of(task.kind) if value != task.value)


def write_questions(path: Path, tasks: Iterable[QuestionTask]) -> None:
    """One line per question, without what is at its default. Raises InvalidWorldError for a path that cannot be written."""
    lines = (f"{task.model_dump_json(exclude_defaults=True)}\n" for task in tasks)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(lines), encoding="utf-8")
    except OSError as error:
        hint = "name a file in a folder that you may write"
        raise InvalidWorldError(f"out: {path} cannot be written: {error.strerror}", param="out", hint=hint) from error


def read_questions(path: Path) -> Sequence[QuestionTask]:
    """The questions of a file. Raises InvalidWorldError that names the file, the line and the field."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except OSError as error:
        hint = "name a file of questions, or build one"
        raise InvalidWorldError(f"{path}: cannot be read: {error.strerror}", param="qa", hint=hint) from error
    except UnicodeDecodeError as error:
        raise InvalidWorldError(f"{path}: is not text in UTF-8", param="qa", hint="save the file as UTF-8") from error
    tasks = [_read_line(path, number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    _check_ids(path, tasks)
    return tasks


def _read_line(path: Path, number: int, line: str) -> QuestionTask:
    try:
        return QuestionTask.model_validate_json(line)
    except ValidationError as error:
        problems = "; ".join(mistakes_of(error))
        raise InvalidWorldError(f"{path}, line {number}: {problems}", param=f"line {number}") from error


def _check_ids(path: Path, tasks: Sequence[QuestionTask]) -> None:
    seen: set[str] = set()
    for number, task in enumerate(tasks, start=1):
        if task.id in seen:
            raise InvalidWorldError(
                f"{path}, question {number}: the id {task.id!r} stands twice", param="id", hint="rename one"
            )
        seen.add(task.id)
