"""How sure a figure over tasks is: intervals over clusters, paired comparisons, correction for many of them, and the gate.

Tasks of one intent (questions on one document) rise and fall together, so whole clusters are drawn, never tasks. Every rate
is a ratio of sums. Intervals are expanded percentile intervals (Hesterberg 2015, arXiv 1411.5279, section 5.3), which keep
their level with few clusters; p-values come from flipping the signs of whole clusters (Fisher's randomisation test).
Needs numpy, the extra ``statistics``; playing worlds does not.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from statistics import NormalDist
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]

LEVEL: Final = 0.95
RESAMPLES: Final = 2_000
CHUNK: Final = 250  # resamples drawn at once, so that memory stays small with thousands of clusters
MIN_CLUSTERS: Final = 2


@dataclass(frozen=True, slots=True)
class Drawing:
    """How resampling is done; equal drawings give equal figures. ``level`` is the share of intervals that hold the truth."""

    seed: int = 0
    resamples: int = RESAMPLES
    level: float = LEVEL

    def generator(self, name: str) -> np.random.Generator:
        """A generator of its own for each figure, so that another policy in a report changes no figure of this one."""
        digest = blake2b(f"{self.seed}/{name}".encode(), digest_size=8).digest()
        return np.random.default_rng(int.from_bytes(digest, "big"))


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with its bounds; None where data cannot tell (one cluster, or a ratio to zero). ``n`` counts tasks."""

    value: float | None
    low: float | None
    high: float | None
    n: int
    clusters: int


@dataclass(frozen=True, slots=True)
class Part:
    """What one task adds to a ratio of sums."""

    cluster: str
    above: float
    below: float = 1.0


def ratio_of_sums(parts: Sequence[Part], drawing: Drawing, *, name: str, bounded: bool = False) -> Interval:
    """Σ above / Σ below with a cluster bootstrap interval.

    ``bounded``: the ratio is a share from 0 to 1. When it is exactly 0 or 1 all resamples agree and would claim certainty;
    the free bound is then the exact one for that many clusters that all agree (Clopper and Pearson 1934), on the safe side.
    """
    above, below = _cluster_sums(parts)
    clusters, value = len(above), _divide(above.sum(), below.sum())
    if value is None or clusters < MIN_CLUSTERS:
        return Interval(value, None, None, len(parts), clusters)
    if bounded and value in (0.0, 1.0):
        slack = 1 - ((1 - drawing.level) / 2) ** (1 / clusters)
        low, high = (0.0, slack) if value == 0 else (1 - slack, 1.0)
        return Interval(value, low, high, len(parts), clusters)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.concatenate([draws @ above / (draws @ below) for draws in _draws(clusters, drawing, name)])
    low_bound, high_bound = _bounds(ratios, drawing.level, clusters)
    return Interval(value, low_bound, high_bound, len(parts), clusters)


def _cluster_sums(parts: Sequence[Part]) -> tuple[Floats, Floats]:
    """Sums by cluster, in the order of the clusters' names, so that the order of records does not matter."""
    names = sorted({part.cluster for part in parts})
    place = {name: index for index, name in enumerate(names)}
    above, below = np.zeros(len(names)), np.zeros(len(names))
    for part in sorted(parts, key=lambda one: (one.cluster, one.above, one.below)):
        above[place[part.cluster]] += part.above
        below[place[part.cluster]] += part.below
    return above, below


def _draws(clusters: int, drawing: Drawing, name: str) -> Iterator[Floats]:
    """How often each cluster is drawn: (resamples, clusters), in chunks."""
    generator = drawing.generator(name)
    for start in range(0, drawing.resamples, CHUNK):
        rows = min(CHUNK, drawing.resamples - start)
        places = generator.integers(0, clusters, size=(rows, clusters)) + np.arange(rows)[:, None] * clusters
        yield np.bincount(places.ravel(), minlength=rows * clusters).reshape(rows, clusters).astype(np.float64)


def _bounds(ratios: Floats, level: float, clusters: int) -> tuple[float | None, float | None]:
    """The expanded percentiles; None for a bound that lies among resamples without a finite ratio."""
    tail = expanded_tail((1 - level) / 2, clusters)
    # A ratio to zero is larger than any figure; nothing over nothing says nothing and widens both ends.
    low = np.quantile(np.nan_to_num(ratios, nan=-math.inf, posinf=math.inf), tail, method="lower")
    high = np.quantile(np.nan_to_num(ratios, nan=math.inf, posinf=math.inf), 1 - tail, method="higher")
    return (float(low) if math.isfinite(low) else None, float(high) if math.isfinite(high) else None)


def expanded_tail(tail: float, clusters: int) -> float:
    """The tail to cut so that a bootstrap over ``clusters`` is as wide as Student's interval."""
    normal = NormalDist()
    return normal.cdf(math.sqrt(clusters / (clusters - 1)) * student_quantile(tail, clusters - 1))


def student_quantile(probability: float, freedom: int) -> float:
    """Quantile of Student's t: exact for 1 degree of freedom, else the expansion of Fisher and Cornish (1960)."""
    if freedom == 1:
        return math.tan(math.pi * (probability - 0.5))
    z = NormalDist().inv_cdf(probability)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92_160,
    )
    return z + sum(term / float(freedom) ** power for power, term in enumerate(terms, start=1))


def randomisation_p(parts: Sequence[Part], drawing: Drawing, *, name: str) -> float:
    """Two-sided p-value of "the differences ``above`` are symmetric about zero", by flipping whole clusters."""
    sums, _ = _cluster_sums(parts)
    observed = abs(sums.sum())
    generator = drawing.generator(f"{name}/signs")
    reached = 0
    for start in range(0, drawing.resamples, CHUNK):
        signs = generator.integers(0, 2, size=(min(CHUNK, drawing.resamples - start), len(sums))) * 2.0 - 1.0
        reached += int(np.count_nonzero(np.abs(signs @ sums) >= observed - 1e-9 * max(1.0, observed)))
    return (1 + reached) / (1 + drawing.resamples)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Adjusted p-values (Holm 1979), by name: the family's error stays below the level whatever depends on what."""
    adjusted: dict[str, float] = {}
    highest = 0.0
    for rank, name in enumerate(sorted(p_values, key=lambda one: (p_values[one], one))):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[name]))
        adjusted[name] = highest
    return adjusted


def _divide(above: float, below: float) -> float | None:
    return float(above / below) if below else None


@dataclass(frozen=True, slots=True)
class Gate:
    """What a new policy must keep to be let through; bounds are those of the report's two-sided intervals.

    ``max_lost``: the largest share of episodes that may have failed through their environment, for either policy.
    """

    delta: float = 0.03
    cost_ratio: float = 1.0
    min_tasks: int = 400
    min_clusters: int = 40
    max_lost: float = 0.05

    def failures(self, *, success: Interval, cost_ratio: Interval) -> tuple[str, ...]:
        """Why it does not pass, in words; none if it does. ``success`` is the paired difference, ``cost_ratio`` new / old."""
        checks = (
            (success.n >= self.min_tasks, f"{success.n} tasks of at least {self.min_tasks}"),
            (success.clusters >= self.min_clusters, f"{success.clusters} clusters of at least {self.min_clusters}"),
            (
                success.low is not None and success.low > -self.delta,
                f"success may be lower by {_points(success.low)}; the limit is {_points(-self.delta)}",
            ),
            (
                cost_ratio.high is not None and cost_ratio.high < self.cost_ratio,
                f"the cost may be {_times(cost_ratio.high)} the old one; the limit is {_times(self.cost_ratio)}",
            ),
        )
        return tuple(reason for holds, reason in checks if not holds)


def _points(share: float | None) -> str:
    return "an unknown amount" if share is None else f"{-100 * share:.1f} points"


def _times(ratio: float | None) -> str:
    return "an unknown multiple of" if ratio is None else f"{ratio:.2f} times"
