"""How well a policy does what the user wants weighed: our score, the paper's, and whether turning the dial turns the policy.

Our score is the mean ``reference`` reward. The paper's is that of ToolOrchestra (arXiv 2511.21689, equations 5 and 6), kept for
comparison; what is wrong with it is in ``PAPER_DEFECTS`` and stands in every report that shows it.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal, TypeAlias

from toolorchestra.core.resources.orchestrator import Weights
from toolorchestra.core.rewards.episodes import EpisodeOutcome, Rollout
from toolorchestra.core.rewards.forms import Form, Rewarded, rewarded
from toolorchestra.core.rewards.yardstick import Yardstick
from toolorchestra.training.evaluate.errors import InvalidPlanError
from toolorchestra.training.evaluate.measures import Episodes, cluster_of, dollars, task_id
from toolorchestra.training.evaluate.records import Episode
from toolorchestra.worlds.statistics import Drawing, Interval, Part, ratio_of_sums

Aspect: TypeAlias = Literal["cost", "latency"]
MS_PER_MINUTE: Final = 60_000
PAPER_DEFECTS: Final = (
    "below one dollar and one minute max(1, ·) makes the terms of cost and latency the same for every policy",
    "the scale is unstated and depends on how many tools are weighed; here it is the mean over tasks, in dollars and minutes",
    "a tool that should be avoided has no weight; negative weights are left out",
    "it is measured against an untrained manager, so it changes with a policy that is not the one judged",
)


@dataclass(frozen=True, slots=True)
class PreferenceScores:
    """Means over tasks with a stated preference; None where nothing can be said.

    ``reward``: 0 if wrong, ½ to 1 if right. ``adherence``: how far the stated wishes were met, 0 to 1, right or wrong.
    ``paper``: the paper's score, where episodes of an untrained manager are there to measure against.
    """

    reward: Interval
    adherence: Interval
    paper: Interval | None


@dataclass(frozen=True, slots=True)
class DialStep:
    """From one weight to the next higher one on the same tasks: what is used now / what was used before; below 1 is right."""

    low: float
    high: float
    ratio: Interval


@dataclass(frozen=True, slots=True)
class Dial:
    """What the weight of an aspect does to that aspect.

    ``monotone``: no step goes the wrong way; ``violations`` counts steps that surely do, by their interval.
    """

    aspect: Aspect
    steps: tuple[DialStep, ...]

    @property
    def monotone(self) -> bool:
        return all(step.ratio.value is not None and step.ratio.value <= 1 for step in self.steps)

    @property
    def violations(self) -> int:
        return sum(step.ratio.low is not None and step.ratio.low > 1 for step in self.steps)


def preference_scores(episodes: Episodes, drawing: Drawing, *, name: str, untrained: Episodes = ()) -> PreferenceScores | None:
    """The scores of one policy; None where no episode states a preference."""
    wished = [episode for episode in episodes if _wishes(episode.preference)]
    if not wished:
        return None
    scored = [(episode, _rewarded(episode)) for episode in wished]
    return PreferenceScores(
        reward=_mean([(episode, score.rewards[0]) for episode, score in scored], drawing, name),
        adherence=_mean([(episode, _met(score)) for episode, score in scored], drawing, name),
        paper=_paper(wished, untrained, drawing, name),
    )


def dials(episodes: Episodes, drawing: Drawing, *, name: str) -> tuple[Dial, ...]:
    """Steps along the weights of cost and latency, wherever tasks were done under at least two of them."""
    found = (Dial(aspect, tuple(_steps(episodes, aspect, drawing, name))) for aspect in ("cost", "latency"))
    return tuple(dial for dial in found if dial.steps)


def _wishes(weights: Weights | None) -> bool:
    """Whether anything is asked for beyond being right."""
    return weights is not None and bool(weights.cost or weights.latency or any(weights.tools.values()))


def _rewarded(episode: Episode) -> Rewarded:
    """The reference reward and its terms. Raises InvalidPlanError for a record without the ceiling that its weights need."""
    weights = episode.preference or Weights()
    ceiling = episode.ceiling
    if ceiling is None and (weights.cost or weights.latency):
        raise InvalidPlanError(
            f"the record of task {episode.task!r} weighs cost or latency but has no ceiling",
            param="ceiling",
            hint="record what always asking the strongest expert takes on this task",
        )
    offered = {*episode.offered, *episode.calls, *episode.experts}
    known = {tool: weight for tool, weight in weights.tools.items() if weight and _names(tool, offered)}
    # Where nothing that was weighed is on offer, being right is all that is left to weigh.
    accuracy = weights.accuracy or (0.0 if known or weights.cost or weights.latency else 1.0)
    yardstick = Yardstick(
        weights.model_copy(update={"tools": known, "accuracy": accuracy}),
        tools=tuple(sorted(offered)),
        cost_nano_usd=ceiling.cost_nano_usd if ceiling else 0,
        latency_ms=ceiling.latency_ms if ceiling else 0,
    )
    return rewarded([_rollout(episode)], yardstick, Form.REFERENCE)


def _names(tool: str, offered: set[str]) -> bool:
    return any(name == tool or name.startswith(f"{tool}__") for name in offered)


def _rollout(episode: Episode) -> Rollout:
    outcome = EpisodeOutcome.OK if episode.success else EpisodeOutcome.WRONG
    return Rollout(outcome, episode.cost_nano_usd, episode.latency_ms, episode.calls)


def _met(scored: Rewarded) -> float | None:
    """The weighted mean of how far each wish was met; None where no wish could be (its tools were not offered)."""
    _, *wishes = scored.terms
    weight = sum(wish.weight for wish in wishes)
    return sum(wish.weight * wish.values[0] for wish in wishes) / weight if weight else None


def _mean(values: Sequence[tuple[Episode, float | None]], drawing: Drawing, name: str) -> Interval:
    by_task: dict[tuple[str, ...], list[tuple[str, float]]] = defaultdict(list)
    for episode, value in values:
        if value is not None:
            by_task[task_id(episode)].append((cluster_of(episode), value))
    parts = [Part(same[0][0], sum(value for _, value in same) / len(same)) for same in by_task.values()]
    return ratio_of_sums(parts, drawing, name=name)


def _paper(episodes: Episodes, untrained: Episodes, drawing: Drawing, name: str) -> Interval | None:
    """Against the first untrained episode of each task, under the same preference or, failing that, under any."""
    exact = {task_id(episode): episode for episode in reversed(untrained)}
    loose = {(episode.suite, episode.task): episode for episode in reversed(untrained)}
    pairs = [(one, exact.get(task_id(one)) or loose.get((one.suite, one.task))) for one in episodes]
    values = [(one, paper_score(one, reference)) for one, reference in pairs if reference is not None]
    return _mean(values, drawing, name) if values else None


def paper_score(episode: Episode, untrained: Episode) -> float:
    """M̂·p if right, else 0: uses and outcome over max(1, M₀), money and minutes as M₀ over max(1, M)."""
    weights = episode.preference
    if not episode.success or weights is None:
        return 0.0
    tools = (max(0.0, w) * episode.calls.get(t, 0) / max(1, untrained.calls.get(t, 0)) for t, w in weights.tools.items())
    cost = dollars(untrained) / max(1.0, dollars(episode))
    latency = _minutes(untrained) / max(1.0, _minutes(episode))
    return weights.accuracy + weights.cost * cost + weights.latency * latency + sum(tools)


def _minutes(episode: Episode) -> float:
    return episode.latency_ms / MS_PER_MINUTE


def _steps(episodes: Episodes, aspect: Aspect, drawing: Drawing, name: str) -> Iterator[DialStep]:
    """From each weight to the next higher one that the same task was done under; tasks may know different weights."""
    parts: dict[tuple[float, float], list[Part]] = defaultdict(list)
    for by_level in _levels(episodes, aspect).values():
        for low, high in pairwise(sorted(by_level)):
            part = Part(cluster_of(by_level[low][0]), _used(by_level[high], aspect), _used(by_level[low], aspect))
            parts[low, high].append(part)
    for (low, high), found in sorted(parts.items()):
        yield DialStep(low, high, ratio_of_sums(found, drawing, name=f"{name}/{aspect}"))


def _levels(episodes: Episodes, aspect: Aspect) -> Mapping[tuple[str, ...], Mapping[float, list[Episode]]]:
    """Episodes by task (under otherwise equal weights) and by the weight of the aspect."""
    found: dict[tuple[str, ...], dict[float, list[Episode]]] = defaultdict(lambda: defaultdict(list))
    for episode in episodes:
        if episode.preference is not None:
            others = episode.preference.model_copy(update={aspect: 0.0}).model_dump_json()
            found[episode.suite, episode.task, others][getattr(episode.preference, aspect)].append(episode)
    return found


def _used(episodes: Sequence[Episode], aspect: Aspect) -> float:
    measure = dollars if aspect == "cost" else _minutes
    return sum(map(measure, episodes)) / len(episodes)
