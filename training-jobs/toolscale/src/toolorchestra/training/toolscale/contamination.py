"""What two splits share: wishes and templates, solutions, phrases, near copies. Nothing held out may be learnt beforehand.

Overlap of 8-grams is how contamination of language models' training data is usually counted (PaLM, arXiv 2204.02311).
It is not expected to be zero here: greetings and closing words are part of every split. What must be zero between ``train``
and a held-out split are shared (intent, template) pairs, counted per part of a chained task, and shared golden calls. Of
questions it is the document, or what generated them, and the call or else the question itself.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import combinations
from typing import Any, Final, TypeAlias

import numpy as np

from toolorchestra.training.toolscale.errors import ContaminatedSplitsError
from toolorchestra.training.toolscale.shingles import Gram, Shelf, grams, words
from toolorchestra.training.toolscale.splits import HELD_OUT, HELDOUT_DOCUMENT, SPLITS, TRAIN
from toolorchestra.worlds.questions import SUITE, QuestionTask
from toolorchestra.worlds.rows import fold
from toolorchestra.worlds.tasks import Task, signature

LONG: Final = 8  # words of a phrase that is seldom written twice by chance
SHORT: Final = 3  # words of the n-grams by which near copies are found
NEAR: Final = 0.7  # from this similarity on a text is nearly another one with other values
PER_MESSAGE: Final = 3
Pair: TypeAlias = tuple[str, str, str]  # world, intent, template
Item: TypeAlias = Task | QuestionTask
KEPT_BACK: Final = frozenset({*HELD_OUT, HELDOUT_DOCUMENT})


@dataclass(frozen=True, slots=True)
class Overlap:
    """What ``second`` shares with ``first``. Shares are of ``second``, from 0 to 1; similarities are Jaccard of word trigrams.

    ``common_tasks`` stand in both, as tasks with several held-out parts do; they are left out of everything else.
    """

    first: str
    second: str
    tasks: tuple[int, int]
    common_tasks: int
    shared_pairs: tuple[str, ...]
    shared_golden: tuple[str, ...]
    phrase_share: float
    nearest_mean: float
    nearest_95: float
    nearest_max: float
    near_copies: int
    nearest_pair: tuple[str, str] | None

    @property
    def forbidden(self) -> bool:
        """Whether this must not be: something held out stands in what is learnt from."""
        return self.first == TRAIN and self.second in KEPT_BACK and bool(self.shared_pairs or self.shared_golden)


class Split:
    """The tasks or questions of one split, and what is compared of them."""

    def __init__(self, name: str, tasks: Sequence[Item]) -> None:
        self.name, self.tasks = name, tasks

    @cached_property
    def pairs(self) -> frozenset[Pair]:
        return frozenset(pair for task in self.tasks for pair in pairs_of(task))

    @cached_property
    def golden(self) -> frozenset[tuple[str, str]]:
        return frozenset(solution_of(task) for task in self.tasks)

    @cached_property
    def phrases(self) -> frozenset[Gram]:
        return frozenset(gram for task in self.tasks for gram in grams(words(text_of(task)), LONG))

    @cached_property
    def texts(self) -> list[list[Gram]]:
        return [grams(words(text_of(task)), SHORT) for task in self.tasks]

    @cached_property
    def shelf(self) -> Shelf:
        return Shelf(self.texts)

    def without(self, ids: frozenset[str]) -> "Split":
        return Split(self.name, [task for task in self.tasks if task.id not in ids]) if ids else self


def pairs_of(task: Item) -> Iterator[Pair]:
    """(world, intent, template) of each part of a task; the template's name begins with its intent. A question has one."""
    if isinstance(task, QuestionTask):
        yield SUITE, task.cluster, task.cluster
        return
    for template in task.template.split("+"):
        yield task.world, template.rpartition(".")[0], template


def solution_of(task: Item) -> tuple[str, str]:
    """The world, and what makes two solutions the same: the golden calls, or a question that has none."""
    if isinstance(task, QuestionTask):
        return SUITE, signature(one.call for one in task.golden) if task.golden else fold(task.question)
    return task.world, task.golden_key


def text_of(task: Item) -> str:
    """What is asked, in words."""
    return task.question if isinstance(task, QuestionTask) else task.user.opening


def overlaps(tasks: Sequence[Item]) -> list[Overlap]:
    """Every pair of splits that have tasks, the one to learn from first."""
    splits = [Split(name, [task for task in tasks if name in task.split]) for name in (*SPLITS, HELDOUT_DOCUMENT)]
    return [compare(first, second) for first, second in combinations([one for one in splits if one.tasks], 2)]


def compare(first: Split, second: Split) -> Overlap:
    """What a split shares with another."""
    common = frozenset(task.id for task in first.tasks) & frozenset(task.id for task in second.tasks)
    one, two = first.without(common), second.without(common)
    nearest = one.shelf.nearest(two.texts)
    similar = nearest.similarity
    top = int(similar.argmax()) if len(similar) and len(one.tasks) else None
    return Overlap(
        first=first.name,
        second=second.name,
        tasks=(len(first.tasks), len(second.tasks)),
        common_tasks=len(common),
        shared_pairs=tuple(sorted(f"{world}/{template}" for world, _, template in one.pairs & two.pairs)),
        shared_golden=tuple(sorted(f"{world}/{key}" for world, key in one.golden & two.golden)),
        phrase_share=len(one.phrases & two.phrases) / max(1, len(two.phrases)),
        nearest_mean=float(similar.mean()) if len(similar) else 0.0,
        nearest_95=float(np.quantile(similar, 0.95)) if len(similar) else 0.0,
        nearest_max=float(similar.max()) if len(similar) else 0.0,
        near_copies=int((similar >= NEAR).sum()),
        nearest_pair=None if top is None else (one.tasks[int(nearest.place[top])].id, two.tasks[top].id),
    )


def require_clean(found: Sequence[Overlap]) -> None:
    """Raises ContaminatedSplitsError if anything held out stands in ``train``."""
    for overlap in found:
        if overlap.forbidden:
            shared = [*overlap.shared_pairs[:PER_MESSAGE], *overlap.shared_golden[:PER_MESSAGE]]
            raise ContaminatedSplitsError(
                f"{overlap.first} and {overlap.second} share {len(overlap.shared_pairs)} templates and "
                f"{len(overlap.shared_golden)} solutions: {', '.join(shared)}",
                param="split",
                hint="remove these tasks from train, or build anew: the build never makes such",
            )


def as_json(found: Sequence[Overlap]) -> list[Mapping[str, Any]]:
    """For the report: shares rounded, shared names counted and the first few named."""
    return [_plain(overlap) for overlap in found]


def _plain(overlap: Overlap) -> dict[str, Any]:
    numbers = {name: round(value, 4) for name, value in asdict(overlap).items() if isinstance(value, float)}
    shared = {
        "shared_pairs": len(overlap.shared_pairs),
        "shared_pairs_first": list(overlap.shared_pairs[:PER_MESSAGE]),
        "shared_golden": len(overlap.shared_golden),
        "shared_golden_first": list(overlap.shared_golden[:PER_MESSAGE]),
    }
    return {**asdict(overlap), **numbers, **shared, "must_be_clean": overlap.first == TRAIN and overlap.second in KEPT_BACK}
