"""What is measured of a policy's episodes: success, money, time, which tools it used, whom it favours, and how well it obeyed.

All functions are pure and take the episodes of one policy, unless they say otherwise. Episodes that failed through their
environment are left out before (`counted`).
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from toolorchestra.core.money import NANO_PER_USD
from toolorchestra.training.evaluate.records import Episode
from toolorchestra.worlds.statistics import Drawing, Interval, Part, ratio_of_sums

Episodes: TypeAlias = Sequence[Episode]
TaskId: TypeAlias = tuple[str, str, str]  # suite, task, preference
MS_PER_S: Final = 1_000


def counted(episodes: Iterable[Episode]) -> list[Episode]:
    """Those that say something about their policy, in an order that does not depend on that of the records."""
    kept = (episode for episode in episodes if episode.counts)
    return sorted(kept, key=lambda one: (one.suite, one.task, one.policy, one.seed, one.repeat, one.key))


@dataclass(frozen=True, slots=True)
class Rates:
    """Ratios of sums with intervals. Cost in US dollars, latency in seconds."""

    success: Interval
    cost_per_task: Interval
    cost_per_solved: Interval
    latency_per_task: Interval
    calls_per_task: Interval
    tokens_per_task: Interval
    turns_per_task: Interval


def rates(episodes: Episodes, drawing: Drawing, *, name: str) -> Rates:
    """The figures that every policy gets. The cost per solved task is unknown when nothing was solved."""

    def over(above: Callable[[Episode], float], below: Callable[[Episode], float] = lambda _: 1.0) -> Interval:
        return ratio_of_sums(_parts(episodes, above, below), drawing, name=name)

    return Rates(
        success=ratio_of_sums(_parts(episodes, lambda e: e.success), drawing, name=name, bounded=True),
        cost_per_task=over(dollars),
        cost_per_solved=over(dollars, lambda e: e.success),
        latency_per_task=over(_seconds),
        calls_per_task=over(lambda e: sum(e.calls.values())),
        tokens_per_task=over(lambda e: e.input_tokens + e.output_tokens),
        turns_per_task=over(lambda e: e.turns),
    )


def dollars(episode: Episode) -> float:
    """What it cost, in US dollars."""
    return episode.cost_nano_usd / NANO_PER_USD


def _seconds(episode: Episode) -> float:
    return episode.latency_ms / MS_PER_S


def cluster_of(episode: Episode) -> str:
    """What is drawn as one in a bootstrap."""
    return f"{episode.suite}/{episode.cluster}"


def _parts(
    episodes: Episodes, above: Callable[[Episode], float], below: Callable[[Episode], float] = lambda _: 1.0
) -> list[Part]:
    """One part per task: the mean over its repeats, so that a task that was repeated more often does not weigh more."""
    by_task: dict[TaskId, list[Episode]] = defaultdict(list)
    for episode in episodes:
        by_task[task_id(episode)].append(episode)
    return [
        Part(cluster_of(same[0]), sum(map(above, same)) / len(same), sum(map(below, same)) / len(same))
        for same in by_task.values()
    ]


def task_id(episode: Episode) -> TaskId:
    """What two policies are compared on: the same task under the same preference."""
    return episode.suite, episode.task, "" if episode.preference is None else episode.preference.model_dump_json()


def over_tasks(episodes: Episodes, measure: Callable[[Episode], float]) -> tuple[float, int]:
    """The mean over tasks, without an interval, and how many tasks there are; at least one is needed."""
    parts = _parts(episodes, measure)
    return math.fsum(part.above for part in parts) / len(parts), len(parts)


@dataclass(frozen=True, slots=True)
class Paired:
    """New against old on the tasks that both did: difference in success, ratios of costs and of latencies (new / old)."""

    success: Interval
    cost_ratio: Interval
    latency_ratio: Interval
    success_parts: tuple[Part, ...]
    cost_parts: tuple[Part, ...]


def paired(new: Episodes, old: Episodes, drawing: Drawing, *, name: str) -> Paired:
    """Compare two policies on tasks; tasks that only one of them did are left out."""
    ours, theirs = _by_task(new), _by_task(old)
    both = [(ours[task], theirs[task]) for task in sorted(ours.keys() & theirs.keys())]

    def parts(measure: Callable[[Episode], float]) -> tuple[list[Part], tuple[Part, ...]]:
        pairs = [(cluster_of(left[0]), _mean(map(measure, left)), _mean(map(measure, right))) for left, right in both]
        ratio = [Part(cluster, mine, yours) for cluster, mine, yours in pairs]
        return ratio, tuple(Part(cluster, mine - yours) for cluster, mine, yours in pairs)

    cost, cost_parts = parts(dollars)
    latency, _ = parts(_seconds)
    _, success_parts = parts(lambda e: e.success)
    return Paired(
        success=ratio_of_sums(success_parts, drawing, name=name),
        cost_ratio=ratio_of_sums(cost, drawing, name=name),
        latency_ratio=ratio_of_sums(latency, drawing, name=name),
        success_parts=success_parts,
        cost_parts=cost_parts,
    )


def _by_task(episodes: Episodes) -> Mapping[TaskId, list[Episode]]:
    found: dict[TaskId, list[Episode]] = defaultdict(list)
    for episode in episodes:
        found[task_id(episode)].append(episode)
    return found


def _mean(values: Iterable[float]) -> float:
    known = list(values)
    return sum(known) / len(known)


def tool_shares(episodes: Episodes) -> dict[str, float]:
    """The share of each tool in all calls, largest first; empty without calls."""
    calls: Counter[str] = Counter()
    for episode in episodes:
        calls.update(episode.calls)
    total = sum(calls.values())
    ranked = sorted(calls, key=lambda name: (-calls[name], name))
    return {name: calls[name] / total for name in ranked if calls[name]}


def route_entropy(episodes: Episodes) -> float:
    """How evenly a policy's calls of experts are spread over those it was offered, in bits; 0: one expert only, or none.

    Other functions say nothing about routing. Where suites have casts of their own, it is the mean over their calls.
    """
    by_cast: dict[frozenset[str], Counter[str]] = defaultdict(Counter)
    for episode in episodes:
        by_cast[frozenset(episode.experts)].update({name: n for name, n in episode.calls.items() if name in episode.experts})
    total = sum(calls.total() for calls in by_cast.values())
    return math.fsum(calls.total() / total * _bits(calls) for calls in by_cast.values() if calls.total())


def _bits(calls: Mapping[str, int]) -> float:
    total = sum(calls.values())
    return max(0.0, -math.fsum(n / total * math.log2(n / total) for n in calls.values() if n))


@dataclass(frozen=True, slots=True)
class Bias:
    """Shares in all calls of experts; values are None where no expert was called. ``strongest`` near 1 is no orchestration."""

    strongest: Interval


def bias(episodes: Episodes, drawing: Drawing, *, name: str) -> Bias:
    """Whom a policy favours among the experts."""

    def above(episode: Episode) -> float:
        return sum(n for tool, n in episode.calls.items() if tool in episode.experts and episode.experts[tool].strongest)

    return Bias(strongest=ratio_of_sums(_parts(episodes, above, _expert_calls), drawing, name=name, bounded=True))


def _expert_calls(episode: Episode) -> float:
    return sum(count for tool, count in episode.calls.items() if tool in episode.experts)


def pareto_front(points: Mapping[str, tuple[float, float]]) -> tuple[str, ...]:
    """Names of those that no other beats: points are (cost, success), less and more are better; cheapest first."""
    ranked = sorted(points, key=lambda name: (points[name][0], -points[name][1], name))
    front: list[str] = []
    best: tuple[float, float] | None = None
    for name in ranked:
        cost, success = points[name]
        if best is None or success > best[1] or (cost, success) == best:
            front.append(name)
            best = (cost, success)
    return tuple(front)
