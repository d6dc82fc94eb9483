"""Whether a set of tasks is worth routing over: choosing per task must pay, and the request must tell a part of how to choose.

Utilities come from the simulation alone, without playing: an expert's draw on each task, and what it is likely to spend. A set
is accepted when the oracle is at least 15 points above the best fixed expert, and the best router that reads only the request
closes 30 to 80 % of that gap: below, the choice is luck; above, one look at the request decides and nothing is left to learn.
The measure follows RouterBench (arXiv 2403.12031), with the oracle and a linear router as its bounds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from toolorchestra.core.money import NanoUsd
from toolorchestra.core.pricing import Usage, cost
from toolorchestra.training.toolscale.draws import generator
from toolorchestra.training.toolscale.reading import Floats as TextRows
from toolorchestra.training.toolscale.reading import TextRouter, hashed
from toolorchestra.worlds.errors import InvalidWorldError
from toolorchestra.worlds.questions import QuestionTask
from toolorchestra.worlds.simulation.drawing import is_right, probability
from toolorchestra.worlds.simulation.models import estimate_tokens
from toolorchestra.worlds.simulation.profiles import Cast, Profile
from toolorchestra.worlds.tasks import Task

Floats: TypeAlias = NDArray[np.float64]
AnyTask: TypeAlias = Task | QuestionTask
LEAST_GAP: Final = 15.0
LEAST_CLOSED, MOST_CLOSED = 0.3, 0.8
COST_WEIGHT: Final = 0.5  # beside an accuracy of 1, as in the reward's reference form
PROMPT_TOKENS: Final = 1_800  # instruction and tools of a world
RESULT_TOKENS: Final = 140  # of a call
CALL_TOKENS: Final = 25
ANSWER_TOKENS: Final = 40
MOST: Final = 4_000  # tasks that are looked at: more change nothing but the time
FEWEST: Final = 40  # tasks, below which a figure says nothing


@dataclass(frozen=True, slots=True)
class Acceptance:
    """The figures of a set, in points of utility (0 to 100). ``closed`` is the share of the gap that the text router closes.

    By expert: ``fixed`` its utility, ``right`` the share of tasks that it is right on, ``simulated`` its mean P(right).
    """

    tasks: int
    clusters: int
    oracle: float
    best_fixed: float
    text_router: float
    closed: float
    fixed: Mapping[str, float]
    right: Mapping[str, float]
    simulated: Mapping[str, float]

    @property
    def gap(self) -> float:
        return self.oracle - self.best_fixed

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the set is not accepted; empty if it is."""
        found = []
        if self.gap < LEAST_GAP:
            found.append(f"the oracle is only {self.gap:.1f} points above the best fixed expert; {LEAST_GAP:g} are needed")
        if not LEAST_CLOSED <= self.closed <= MOST_CLOSED:
            span = f"{100 * LEAST_CLOSED:.0f} to {100 * MOST_CLOSED:.0f} %"
            found.append(f"the text router closes {100 * self.closed:.0f} % of the gap; it has to be {span}")
        return tuple(found)

    @property
    def accepted(self) -> bool:
        return not self.reasons

    @property
    def table(self) -> str:
        """The figures for people."""
        lines = [f"{'expert':16} {'right %':>8} {'P(right) %':>11} {'utility':>8}"]
        lines += [
            f"{name:16} {100 * self.right[name]:8.1f} {100 * self.simulated[name]:11.1f} {value:8.1f}"
            for name, value in self.fixed.items()
        ]
        verdict = "accepted" if self.accepted else f"rejected: {'; '.join(self.reasons)}"
        return "\n".join(
            [
                *lines,
                f"oracle {self.oracle:.1f}, best fixed {self.best_fixed:.1f}, gap {self.gap:.1f}",
                f"text router {self.text_router:.1f}, closes {100 * self.closed:.0f} % of the gap",
                f"{self.tasks} tasks in {self.clusters} clusters: {verdict}",
            ]
        )


def accept(tasks: Sequence[AnyTask], cast: Cast, seed: int) -> Acceptance:
    """The figures of a set with a cast, over 4,000 tasks at most.

    Raises InvalidWorldError for fewer than 40 tasks, or tasks of one cluster only.
    """
    if len(tasks) > MOST:
        tasks = generator(seed, "acceptance").sample(list(tasks), MOST)
    clusters = [cluster_of(task) for task in tasks]
    if len(tasks) < FEWEST or len(set(clusters)) < 2:  # noqa: PLR2004 - one half to train on, one to test
        hint = f"build {FEWEST} or more tasks of several intents"
        raise InvalidWorldError("the set is too small to say whether it is worth routing over", param="tasks", hint=hint)
    right = np.array([[is_right(seed, task, profile) for profile in cast] for task in tasks], dtype=np.float64)
    values = utilities(tasks, cast, right)
    text = hashed([opening_of(task) for task in tasks])
    routed, closed = _cross_fitted(text, values, _halves(clusters, seed))
    fixed, chances = values.mean(axis=0), _chances(tasks, cast, seed)
    return Acceptance(
        tasks=len(tasks),
        clusters=len(set(clusters)),
        oracle=100 * float(values.max(axis=1).mean()),
        best_fixed=100 * float(fixed.max()),
        text_router=100 * routed,
        closed=closed,
        fixed={name: 100 * float(value) for name, value in zip(cast.names, fixed, strict=True)},
        right=dict(zip(cast.names, map(float, right.mean(axis=0)), strict=True)),
        simulated=dict(zip(cast.names, map(float, chances.mean(axis=0)), strict=True)),
    )


def utilities(tasks: Sequence[AnyTask], cast: Cast, right: Floats) -> Floats:
    """What each expert is worth on each task, 0 to 1; shape (tasks, experts).

    The reward's reference form with accuracy 1 and cost 0.5: 0 if wrong, else (1 + ½·(1 − cost / C*)) / 1½, where C* is what
    the strongest takes.
    """
    spent = np.array([[estimated_cost(task, profile) for profile in cast] for task in tasks], dtype=np.float64)
    ceiling = np.array([[estimated_cost(task, cast.strongest)] for task in tasks], dtype=np.float64)
    spared = 1 - np.minimum(1.0, spent / ceiling)
    values: Floats = right * (1 + COST_WEIGHT * spared) / (1 + COST_WEIGHT)
    return values


def estimated_cost(task: AnyTask, profile: Profile) -> NanoUsd:
    """What an expert that manages alone spends on a task, about: every turn reads all that was said before."""
    opening = estimate_tokens(opening_of(task))
    if isinstance(task, QuestionTask):
        return cost(profile.price, usage=Usage(opening + CALL_TOKENS, ANSWER_TOKENS + profile.thinking_tokens))
    calls = len(task.golden)
    read = (calls + 1) * (PROMPT_TOKENS + opening) + (CALL_TOKENS + RESULT_TOKENS) * calls * (calls + 1) // 2
    written = calls * CALL_TOKENS + ANSWER_TOKENS + (calls + 1) * profile.thinking_tokens
    return cost(profile.price, usage=Usage(read, written))


def opening_of(task: AnyTask) -> str:
    """The request as a router reads it."""
    return task.question if isinstance(task, QuestionTask) else task.user.opening


def cluster_of(task: AnyTask) -> str:
    """What tasks share: the world and its first intent, or the document or generator of a question."""
    return task.cluster if isinstance(task, QuestionTask) else f"{task.world}/{task.intent.partition('+')[0]}"


def _chances(tasks: Sequence[AnyTask], cast: Cast, seed: int) -> Floats:
    return np.array([[probability(seed, task, profile) for profile in cast] for task in tasks], dtype=np.float64)


def _halves(clusters: Sequence[str], seed: int) -> NDArray[np.bool_]:
    """Which tasks are in the first half; a cluster is in one of them."""
    order = sorted(set(clusters), key=lambda name: blake2b(f"{seed}/{name}".encode()).digest())
    first = set(order[::2])
    return np.array([cluster in first for cluster in clusters])


def _cross_fitted(text: TextRows, values: Floats, first: NDArray[np.bool_]) -> tuple[float, float]:
    """Mean utility of the text router on tasks of clusters that it was not trained on, and the share of the gap it closes.

    The gap of each half is that between its oracle and its best fixed expert.
    """
    routed, gained, gaps = np.zeros(len(values)), 0.0, 0.0
    for train, test in ((first, ~first), (~first, first)):
        chosen = TextRouter.fitted(text[train], values[train].astype(np.float32)).choose(text[test])
        routed[test] = values[test][np.arange(int(test.sum())), chosen]
        fixed = values[test].mean(axis=0).max()
        gained += float(routed[test].sum() - fixed * test.sum())
        gaps += float(values[test].max(axis=1).sum() - fixed * test.sum())
    return float(routed.mean()), gained / gaps if gaps > 0 else 0.0
