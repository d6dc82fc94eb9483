"""What text-only routers learn from: requests of training tasks, and which experts are right on them, by simulation."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Final, TypeAlias, TypeVar

import numpy as np

from toolorchestra.training.evaluate.casting import Variant, cast_of
from toolorchestra.training.evaluate.errors import InvalidPlanError
from toolorchestra.training.evaluate.plan import EvaluationPlan, Training
from toolorchestra.training.evaluate.routers.learning import (
    Classifier,
    Embeddings,
    TextRouter,
    TfIdf,
    Vectors,
    embed_beside,
    fit,
)
from toolorchestra.training.evaluate.routers.situation import Card, Situation
from toolorchestra.training.evaluate.staging import Staged
from toolorchestra.worlds.loading import load_tasks
from toolorchestra.worlds.questions import QuestionTask, read_questions
from toolorchestra.worlds.simulation.drawing import is_right
from toolorchestra.worlds.tasks import Task

LEXICAL, EMBEDDING = TEXT_ROUTERS = ("lexical", "embedding")
Lesson: TypeAlias = Sequence[Task | QuestionTask]
_Item = TypeVar("_Item", Task, QuestionTask)
LEAST: Final = 20  # requests to learn from; fewer teach nothing
EMBEDDED: Final = 150  # requests that the embedding router learns from: a sentence takes some 50 ms of a core


@dataclass(frozen=True, slots=True)
class Choices:
    """Whom a text-only router asks, by request and stage: settled before the start, since it depends on nothing else."""

    by_stage: Mapping[tuple[str, frozenset[str]], str]

    def choose(self, situation: Situation) -> str | None:
        names = frozenset(card.name for card in situation.experts)
        return self.by_stage.get((situation.opening, names))

    def goes_on(self, situation: Situation) -> bool:  # noqa: ARG002 - it has chosen, by the request alone
        return False


def lessons_of(staged: Staged) -> dict[str, Lesson]:
    """What each text-only router that the plan names learns from. Raises InvalidWorldError."""
    wanted = [name for name in staged.plan.policies if name in TEXT_ROUTERS]
    learned = training_set(staged.plan) if wanted else []
    return {name: lesson_of(name, learned) for name in wanted}


def digest_of(name: str, staged: Staged, lesson: Lesson) -> str:
    """128 bits over all that a router's choices follow from beside the request and the experts it may ask."""
    words = _corpus(staged, lesson) if name == LEXICAL else ()
    content = json.dumps([[task.model_dump(mode="json", exclude={"split"}) for task in lesson], words], sort_keys=True)
    return blake2b(content.encode(), digest_size=16).hexdigest()


def text_choices(staged: Staged, lessons: Mapping[str, Lesson]) -> dict[str, Choices]:
    """The choices of the text-only routers that learn these lessons. Raises MissingEmbedderError."""
    return {name: _choices(staged, _vectors(name, staged, lesson), lesson) for name, lesson in lessons.items()}


def lesson_of(name: str, learned: Lesson) -> Lesson:
    """What a router learns from, drawn evenly where that is less than all."""
    if name != EMBEDDING or len(learned) <= EMBEDDED:
        return learned
    return [learned[place * len(learned) // EMBEDDED] for place in range(EMBEDDED)]


def _vectors(name: str, staged: Staged, learned: Lesson) -> Vectors:
    if name == EMBEDDING:
        width = staged.plan.limits.parallel
        return Embeddings(lambda texts: embed_beside(texts, width))
    return TfIdf(_corpus(staged, learned))


def _corpus(staged: Staged, learned: Lesson) -> tuple[str, ...]:
    """The texts by which words are rare or not: without any to learn from those that are played."""
    described = [card.description for stage in staged.stages.values() for card in stage.cards.values()]
    openings = [opening_of(task) for task in learned] or [subject.opening for subject in staged.subjects]
    return (*described, *openings)


def _choices(staged: Staged, vectors: Vectors, learned: Lesson) -> Choices:
    described = [card.description for stage in staged.stages.values() for card in stage.cards.values()]
    vectors.rows([*described, *(subject.opening for subject in staged.subjects), *map(opening_of, learned)])
    router = TextRouter(vectors, _classifier(staged, vectors, learned))
    found: dict[tuple[str, frozenset[str]], str] = {}
    for subject in staged.subjects:
        cards = staged.stages[subject.stage].cards
        chosen = router.choose(_beginning(subject.opening, cards.values()))
        if chosen is not None:
            found[subject.opening, frozenset(cards)] = chosen
    return Choices(found)


def _beginning(opening: str, cards: Iterable[Card]) -> Situation:
    return Situation(opening, "", (), tuple(cards), frozenset())


def _classifier(staged: Staged, vectors: Vectors, learned: Lesson) -> Classifier | None:
    if len(learned) < LEAST:
        return None
    cast = cast_of(staged.plan.cast, Variant.PLAIN)
    right = [[is_right(staged.plan.seed, task, profile) for profile in cast] for task in learned]
    return fit(vectors.rows([opening_of(task) for task in learned]), cast.names, np.array(right, dtype=np.float64))


def training_set(plan: EvaluationPlan) -> list[Task | QuestionTask]:
    """The tasks to learn from. Raises InvalidWorldError, and InvalidPlanError where none has a tag that is asked for."""
    training, found = plan.training, list[Task | QuestionTask]()
    for folder in training.folders:
        found.extend(_some(load_tasks(folder), training))
    if training.questions:
        found.extend(_some(read_questions(Path(training.questions)), training, untagged=True))
    if not found and (training.folders or training.questions):
        raise InvalidPlanError(
            f"training.split: no task or question has one of the tags {', '.join(training.split)}",
            param="training.split",
            hint=f"there are {', '.join(_tags(training)) or 'none'}; split: [] takes all",
        )
    return found


def _tags(training: Training) -> list[str]:
    tasks: list[Task | QuestionTask] = [task for folder in training.folders for task in load_tasks(folder)]
    tasks += read_questions(Path(training.questions)) if training.questions else ()
    return sorted({tag for task in tasks for tag in task.split})


def _some(tasks: Iterable[_Item], training: Training, *, untagged: bool = False) -> Iterable[_Item]:
    """Those with a tag that is wanted, and with ``untagged`` those that have none."""
    wanted = set(training.split)
    return islice(
        (task for task in tasks if not wanted or wanted & set(task.split) or (untagged and not task.split)), training.count
    )


def opening_of(task: Task | QuestionTask) -> str:
    """What the user says first."""
    return task.question if isinstance(task, QuestionTask) else task.user.opening
