"""Figures of worlds and of how their tasks are worded.

Distinct-n is the share of different n-grams among all (Li et al., arXiv 1510.03055); it falls with the size of a collection, so
it is always taken of samples of one size. Self-overlap is how much of a text its nearest neighbour has (in the manner of
Self-BLEU, arXiv 1802.01886, with the Jaccard similarity of word trigrams); template overlap is that of two of one template.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Final

from toolorchestra.training.toolscale.draws import generator, some
from toolorchestra.training.toolscale.shingles import Gram, Shelf, grams, words
from toolorchestra.worlds.tasks import Task
from toolorchestra.worlds.world import World

SAMPLE: Final = 200  # texts of which wording is measured
TRIGRAM: Final = 3


@dataclass(frozen=True, slots=True)
class WordingFigures:
    """Of ``texts`` openings. Shares from 0 to 1; ``mean_words`` is their length."""

    texts: int
    distinct_1: float
    distinct_2: float
    distinct_3: float
    template_overlap: float
    self_overlap: float
    mean_words: float


@dataclass(frozen=True, slots=True)
class WorldFigures:
    """What a world holds, and how much its tasks ask of a manager. ``with_writes`` is a share from 0 to 1."""

    tables: int
    rows: int
    tools: int
    intents: int
    templates: int
    tasks: int
    with_writes: float
    chained: float
    mean_calls: float
    max_calls: int
    mean_facts: float


def world_figures(world: World, tasks: Sequence[Task]) -> WorldFigures:
    """Figures of one world and its tasks."""
    parts = {part for task in tasks for part in task.template.split("+")}
    return WorldFigures(
        tables=len(world.spec.tables),
        rows=sum(map(len, world.rows.tables.values())),
        tools=len(world.tools),
        intents=len({name for task in tasks for name in task.intent.split("+")}),
        templates=len(parts),
        tasks=len(tasks),
        with_writes=_mean(any(world.tools[one.tool].writes for one in task.golden) for task in tasks),
        chained=_mean("+" in task.intent for task in tasks),
        mean_calls=_mean(len(task.golden) for task in tasks),
        max_calls=max((len(task.golden) for task in tasks), default=0),
        mean_facts=_mean(len(task.facts) for task in tasks),
    )


def total_figures(worlds: Sequence[WorldFigures]) -> WorldFigures:
    """Sums of several worlds, means weighted by their tasks."""
    tasks = sum(one.tasks for one in worlds)

    def mean(of: Callable[[WorldFigures], float]) -> float:
        return sum(of(one) * one.tasks for one in worlds) / max(1, tasks)

    return WorldFigures(
        tables=sum(one.tables for one in worlds),
        rows=sum(one.rows for one in worlds),
        tools=sum(one.tools for one in worlds),
        intents=sum(one.intents for one in worlds),
        templates=sum(one.templates for one in worlds),
        tasks=tasks,
        with_writes=mean(lambda one: one.with_writes),
        chained=mean(lambda one: one.chained),
        mean_calls=mean(lambda one: one.mean_calls),
        max_calls=max((one.max_calls for one in worlds), default=0),
        mean_facts=mean(lambda one: one.mean_facts),
    )


def wording_figures(tasks: Sequence[Task], seed: int = 0) -> WordingFigures:
    """Of a sample of SAMPLE tasks, or of all if there are fewer."""
    sample = some(generator(seed, "wording"), tasks, SAMPLE)
    texts = [words(task.user.opening) for task in sample]
    trigrams = [grams(text, TRIGRAM) for text in texts]
    return WordingFigures(
        texts=len(sample),
        distinct_1=distinct(texts, 1),
        distinct_2=distinct(texts, 2),
        distinct_3=distinct(texts, TRIGRAM),
        template_overlap=_template_overlap(tasks, seed),
        self_overlap=_mean(Shelf(trigrams).nearest(trigrams, own=True).similarity) if len(texts) > 1 else 0.0,
        mean_words=_mean(map(len, texts)),
    )


def distinct(texts: Iterable[Sequence[str]], length: int) -> float:
    """Different n-grams among all of a collection."""
    counts = Counter[Gram]()
    for text in texts:
        counts.update(grams(text, length))
    return len(counts) / max(1, counts.total())


def _template_overlap(tasks: Sequence[Task], seed: int) -> float:
    """Mean similarity of two texts made with one template."""
    groups: defaultdict[str, list[Task]] = defaultdict(list)
    for task in tasks:
        groups[f"{task.world} {task.template}"].append(task)
    random = generator(seed, "templates")
    pairs = [random.sample(group, 2) for group in groups.values() if len(group) > 1]
    return _mean(_similarity(one, two) for one, two in pairs)


def _similarity(one: Task, two: Task) -> float:
    first, second = (set(grams(words(task.user.opening), TRIGRAM)) for task in (one, two))
    return len(first & second) / max(1, len(first | second))


def _mean(values: Iterable[float]) -> float:
    found = list(map(float, values))
    return fmean(found) if found else 0.0


def rounded(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Figures as a report prints them."""
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in figures.items()}
