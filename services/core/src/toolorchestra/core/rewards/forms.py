"""The three forms of the reward: what each episode of a group is worth under the user's preference.

After ToolOrchestra (arXiv 2511.21689, section 3.2): outcome, money, time and tools used, weighed. That paper normalises every
aspect over the group, so a right episode may score 0 where all are right, and the price of the expert counts for nothing where
all ask it. ``reference`` measures against the strongest model instead. Shapes: n episodes, k aspects; every value of an aspect
is better when higher.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

from toolorchestra.core.rewards.episodes import Rollout
from toolorchestra.core.rewards.yardstick import Yardstick


class Form(StrEnum):
    """``reference``: against the strongest model, 0 to 1. ``paper``: min–max over the group. ``gdpo``: each term apart."""

    REFERENCE = "reference"
    PAPER = "paper"
    GDPO = "gdpo"


@dataclass(frozen=True, slots=True)
class Term:
    """One aspect of n episodes. ``weight`` is from 0 to 1, ``values`` are as the form normalises them."""

    name: str
    weight: float
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Rewarded:
    """The rewards of n episodes, and the k terms that made them."""

    rewards: tuple[float, ...]
    terms: tuple[Term, ...]


def rewarded(rollouts: Sequence[Rollout], yardstick: Yardstick, form: Form) -> Rewarded:
    """What episodes are worth that all count: environment failures are already taken out."""
    return _FORMS[form](rollouts, yardstick)


def mean(values: Sequence[float]) -> float:
    """The mean of one or more values; exact sums make it independent of their order."""
    return math.fsum(values) / len(values)


def sample_std(values: Sequence[float]) -> float:
    """The sample standard deviation (n − 1). Exactly 0 of equal values, and of fewer than two."""
    if not values or min(values) == max(values):
        return 0.0
    middle = mean(values)
    return math.sqrt(math.fsum((value - middle) ** 2 for value in values) / (len(values) - 1))


def _by_reference(rollouts: Sequence[Rollout], yardstick: Yardstick) -> Rewarded:
    """(w_acc + Σ w·u) / (w_acc + Σ w) if right, else 0.

    Every u is from 0 to 1, and w_acc is raised to Σ w where the user set less: so right ≥ ½ > wrong, whoever is in the group.
    """
    terms = [Term(wish.name, wish.weight, wish.absolute) for wish in _wishes(rollouts, yardstick)]
    wished = math.fsum(term.weight for term in terms)
    accuracy = max(yardstick.weights.accuracy, wished)
    worth = [(accuracy + met) / (accuracy + wished) for met in _weighed(terms, len(rollouts))]
    return Rewarded(_if_right(rollouts, worth), (_outcome(rollouts, yardstick), *terms))


def _by_paper(rollouts: Sequence[Rollout], yardstick: Yardstick) -> Rewarded:
    """M̂·p if right, else 0; M̂ is min–max normalised over the group (2511.21689, equations 1 and 2).

    There are no negative weights in the paper; here they weigh the negated number of calls.
    """
    wishes = [Term(wish.name, wish.weight, _min_max(wish.relative)) for wish in _wishes(rollouts, yardstick)]
    outcome = _outcome(rollouts, yardstick)
    terms = (Term(outcome.name, outcome.weight, _min_max(outcome.values)), *wishes)
    return Rewarded(_if_right(rollouts, _weighed(terms, len(rollouts))), terms)


def _by_gdpo(rollouts: Sequence[Rollout], yardstick: Yardstick) -> Rewarded:
    """Σ w·z, each term in standard deviations of its own, the wishes among right episodes only (GDPO, arXiv 2601.05242).

    There the sum is normalised over the batch; here, as in the other forms, over the group, so that the result does not depend
    on how groups are spread over devices.
    """
    right = [rollout.right for rollout in rollouts]
    wishes = [Term(wish.name, wish.weight, _z(wish.relative, among=right)) for wish in _wishes(rollouts, yardstick)]
    outcome = _outcome(rollouts, yardstick)
    terms = (Term(outcome.name, outcome.weight, _z(outcome.values, among=[True] * len(right))), *wishes)
    return Rewarded(tuple(_weighed(terms, len(rollouts))), terms)


_Scoring: TypeAlias = Callable[[Sequence[Rollout], Yardstick], Rewarded]
_FORMS: Final[Mapping[Form, _Scoring]] = {
    Form.REFERENCE: _by_reference,
    Form.PAPER: _by_paper,
    Form.GDPO: _by_gdpo,
}


@dataclass(frozen=True, slots=True)
class _Wish:
    """An aspect beside the outcome: ``relative`` to compare within a group, ``absolute`` from 0 to 1."""

    name: str
    weight: float
    relative: tuple[float, ...]
    absolute: tuple[float, ...]


def _wishes(rollouts: Sequence[Rollout], yardstick: Yardstick) -> list[_Wish]:
    """What is weighed beside the outcome."""
    weights = yardstick.weights
    money = _spared("cost", weights.cost, [r.cost_nano_usd for r in rollouts], yardstick.cost_nano_usd)
    time = _spared("latency", weights.latency, [r.latency_ms for r in rollouts], yardstick.latency_ms)
    used = [_used(rollouts, name, weight, yardstick) for name, weight in weights.tools.items()]
    return [wish for wish in (money, time, *used) if wish.weight]


def _spared(name: str, weight: float, spent: Sequence[int], strongest: int) -> _Wish:
    absolute = tuple(1.0 - min(1.0, one / strongest) if strongest else 0.0 for one in spent)
    return _Wish(name, weight, tuple(-float(one) for one in spent), absolute)


def _used(rollouts: Sequence[Rollout], tool: str, weight: float, yardstick: Yardstick) -> _Wish:
    """A negative weight is a positive one for leaving the tool alone."""
    functions = yardstick.functions(tool)
    uses = [sum(rollout.uses.get(function, 0) for function in functions) for rollout in rollouts]
    relative = tuple(float(count if weight > 0 else -count) for count in uses)
    return _Wish(f"tools.{tool}", abs(weight), relative, tuple(float((count > 0) == (weight > 0)) for count in uses))


def _outcome(rollouts: Sequence[Rollout], yardstick: Yardstick) -> Term:
    return Term("outcome", yardstick.weights.accuracy, tuple(float(rollout.right) for rollout in rollouts))


def _if_right(rollouts: Sequence[Rollout], worth: Sequence[float]) -> tuple[float, ...]:
    return tuple(one if rollout.right else 0.0 for rollout, one in zip(rollouts, worth, strict=True))


def _weighed(terms: Sequence[Term], size: int) -> list[float]:
    return [math.fsum(term.weight * term.values[n] for term in terms) for n in range(size)]


def _min_max(values: Sequence[float]) -> tuple[float, ...]:
    low, high = min(values), max(values)
    return tuple((value - low) / (high - low) if high > low else 0.0 for value in values)


def _z(values: Sequence[float], *, among: Sequence[bool]) -> tuple[float, ...]:
    """The values in standard deviations from the mean of those that count; 0 for the others."""
    some = [value for value, counts in zip(values, among, strict=True) if counts]
    std = sample_std(some)
    if not std:
        return (0.0,) * len(values)
    middle = mean(some)
    return tuple((value - middle) / std if counts else 0.0 for value, counts in zip(values, among, strict=True))
