"""Builds the questions: drafts from every generator, kept when they are worth having. The same seed gives the same bytes."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from random import Random
from typing import Final

from toolorchestra.training.toolscale.contamination import overlaps, require_clean
from toolorchestra.training.toolscale.defaults import QUESTIONS
from toolorchestra.training.toolscale.draws import generator
from toolorchestra.training.toolscale.people import draw_preference
from toolorchestra.training.toolscale.qa import arithmetic, knowledge, tables
from toolorchestra.training.toolscale.qa.corpus import ask_about, read_corpus
from toolorchestra.training.toolscale.qa.dividing import tags_of
from toolorchestra.training.toolscale.qa.drafts import Draft, Generator, UnsuitableDraftError
from toolorchestra.worlds.questions import Need, QuestionTask, check_question
from toolorchestra.worlds.rows import fold
from toolorchestra.worlds.tasks import GoldenCall
from toolorchestra.worlds.values import Kind

SHARES: Final[Mapping[Need, float]] = {Need.SEARCH: 0.35, Need.ARITHMETIC: 0.22, Need.CODE: 0.2, Need.EXPERT: 0.23}
ATTEMPTS: Final = 20  # draws per wanted question
MOST_PER_DOCUMENT: Final = 6
SHORTEST: Final = 4  # letters of a text that is an answer
_ARGUMENTS: Final[Mapping[str, str]] = {"calculator": "expression", "python": "code", "local-search": "query"}


class QuestionDrop(StrEnum):
    """Why a question is not kept."""

    UNSUITABLE = "the numbers drawn make no good question"
    DUPLICATE = "the same was asked before"
    WEAK = "its answer is a small count or a very short text"
    GOLDEN_FAILS = "the right answer does not pass"
    FAILS_REWORDED = "the right answer in other words does not pass"
    PASSES_ECHO = "repeating the question passes"
    PASSES_FREQUENT = "the most frequent answer of its template passes"


@dataclass(frozen=True, slots=True)
class BuiltQuestions:
    """Verified questions, and why others were dropped."""

    questions: Sequence[QuestionTask]
    drops: Mapping[str, int] = field(default_factory=dict)


def build_questions(seed: int, *, count: int = QUESTIONS, corpus: Path | None = None) -> BuiltQuestions:
    """About ``count`` verified questions in all four ways of answering, fewer where documents give no more, with their splits.

    ``corpus``: a folder of ``topic/name.md`` documents; default: the shipped ones. Raises InvalidWorldError without any, and
    ContaminatedSplitsError if anything held out stood among what is for learning.
    """
    drops: Counter[str] = Counter()
    kept: list[QuestionTask] = []
    for need, drafts in _sources(seed, corpus).items():
        wanted = round(count * SHARES[need])
        found = list(islice(_distinct(drafts, drops), wanted * (2 if need is not Need.SEARCH else 4)))
        kept.extend(_verified(found, seed, drops, wanted))
    require_clean(overlaps(kept))
    return BuiltQuestions(kept, dict(sorted(drops.items())))


def why_not(task: QuestionTask, frequent: str | float | None) -> QuestionDrop | None:
    """Why a question is not worth having; None if it is. ``frequent`` is the most frequent answer of its template."""
    if _is_weak(task):
        return QuestionDrop.WEAK
    if not check_question(task, task.text).success:
        return QuestionDrop.GOLDEN_FAILS
    if not check_question(task, f"Thanks for asking! The answer is {task.text}.").success:
        return QuestionDrop.FAILS_REWORDED
    if check_question(task, task.question).success:
        return QuestionDrop.PASSES_ECHO
    guess = None if frequent is None else task.model_copy(update={"value": frequent}).text
    if guess is not None and check_question(task, guess).success:
        return QuestionDrop.PASSES_FREQUENT
    return None


def _sources(seed: int, corpus: Path | None) -> dict[Need, Iterator[Draft | None]]:
    return {
        Need.SEARCH: _searching(seed, corpus),
        Need.ARITHMETIC: _generated(seed, "arithmetic", arithmetic.GENERATORS),
        Need.CODE: _generated(seed, "code", tables.GENERATORS),
        Need.EXPERT: _generated(seed, "expert", knowledge.GENERATORS),
    }


def _searching(seed: int, corpus: Path | None) -> Iterator[Draft]:
    """Questions of all documents in turn, so that each gives about as many."""
    documents = read_corpus(corpus)
    asked = [
        _some(ask_about(one, generator(seed, "qa", one.name)), generator(seed, "qa", one.name, "order")) for one in documents
    ]
    for place in range(MOST_PER_DOCUMENT):
        yield from (drafts[place] for drafts in asked if place < len(drafts))


def _some(drafts: Sequence[Draft], random: Random) -> list[Draft]:
    return random.sample(drafts, len(drafts))


def _generated(seed: int, name: str, generators: Sequence[Generator]) -> Iterator[Draft | None]:
    """Draws of the generators in turn, without end; None for one that was unsuitable."""
    number = 0
    while True:
        for make in generators:
            try:
                yield make(generator(seed, "qa", name, number))
            except UnsuitableDraftError:
                yield None
            number += 1


def _distinct(drafts: Iterable[Draft | None], drops: Counter[str]) -> Iterator[Draft]:
    asked: set[str] = set()
    for draft in drafts:
        if draft is None:
            drops[QuestionDrop.UNSUITABLE.value] += 1
        elif fold(draft.question) in asked:
            drops[QuestionDrop.DUPLICATE.value] += 1
        else:
            asked.add(fold(draft.question))
            yield draft


def _verified(drafts: Sequence[Draft], seed: int, drops: Counter[str], wanted: int) -> list[QuestionTask]:
    tasks = [_task(draft, seed) for draft in drafts]
    frequent = _frequent(tasks)
    kept: list[QuestionTask] = []
    for task in tasks:
        reason = why_not(task, frequent.get(task.template.partition(".")[0]))
        if reason is not None:
            drops[reason.value] += 1
        elif len(kept) < wanted:
            kept.append(task)
    return kept


def _frequent(tasks: Iterable[QuestionTask]) -> dict[str, str | float]:
    """By template without its wording the answer that is given most often, where one is given more than once."""
    counts: defaultdict[str, Counter[str | float]] = defaultdict(Counter)
    for task in tasks:
        counts[task.template.partition(".")[0]][task.value] += 1
    best = {name: max(sorted(values.items(), key=str), key=lambda one: one[1]) for name, values in counts.items()}
    return {name: value for name, (value, times) in best.items() if times > 1}


def _task(draft: Draft, seed: int) -> QuestionTask:
    key = blake2b(json.dumps([draft.question, draft.value]).encode(), digest_size=6).hexdigest()
    name = f"qa-{draft.topic}-{key}"
    calls = (
        [] if draft.tool is None else [GoldenCall(id="c1", tool=draft.tool, arguments={_ARGUMENTS[draft.tool]: draft.argument})]
    )
    return QuestionTask(
        id=name,
        question=draft.question,
        kind=draft.kind,
        value=draft.value,
        others=draft.others,
        topic=draft.topic,
        need=draft.need,
        cluster=draft.cluster,
        template=draft.template,
        steps=draft.steps,
        golden=tuple(calls),
        split=tags_of(draft.cluster, draft.need, key),
        preference=draw_preference(generator(seed, "qa", name, "preference")),
    )


def _is_weak(task: QuestionTask) -> bool:
    match task.kind:
        case Kind.NUMBER if isinstance(task.value, int):
            return abs(task.value) < 10  # noqa: PLR2004 - counts below ten are guessed too easily
        case Kind.TEXT:
            return len(str(task.value)) < SHORTEST
        case _:
            return False
