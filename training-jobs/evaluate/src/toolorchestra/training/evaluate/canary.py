"""Watching a canary: part of the traffic goes to a new policy until it is certain that it is no worse, or that it is.

It may be looked at after every run without losing its level: the interval of the difference is a confidence sequence, the
normal mixture of Robbins (1970) as used in Johari, Koomen, Pekelis and Walsh, "Always Valid Inference" (arXiv 1512.04922),
with estimated variances (asymptotic, Waudby-Smith et al., arXiv 2103.06476, hence the minimum sample). Assignment is sticky,
so what counts as one observation is a unit (a user or session) with all of its runs.
"""

import math
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b
from typing import Final

from toolorchestra.core.errors import InvalidRequestError
from toolorchestra.core.money import NanoUsd, format_usd

_HASH_BITS: Final = 64


class Arm(StrEnum):
    """Who answers."""

    CURRENT = "current"
    CANARY = "canary"


class Action(StrEnum):
    """What to do now."""

    CONTINUE = "continue"
    PROMOTE = "promote"
    ROLL_BACK = "roll_back"


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do and why; ``low`` and ``high`` bound the difference in success (canary − current) at all times together."""

    action: Action
    reason: str
    low: float = -1.0
    high: float = 1.0


@dataclass(frozen=True, slots=True)
class CanaryRules:
    """``min_units`` per arm before the test speaks, ``max_units`` of the canary before it gives up.

    ``max_errors``: so many failed runs of the canary stop it at once, as does spending more than ``max_spend_nano_usd``.
    ``likely``: the size of difference that the test is sharpest at (τ of the mixture).
    """

    delta: float = 0.03
    level: float = 0.95
    min_units: int = 100
    max_units: int = 20_000
    max_errors: int = 10
    max_spend_nano_usd: NanoUsd | None = None
    likely: float = 0.05

    def __post_init__(self) -> None:
        limits = {"delta": (0, 1), "level": (0.5, 1), "likely": (0, 1)}
        for name, (low, high) in limits.items():
            if not low < getattr(self, name) < high:
                raise InvalidRequestError(f"{name} must lie between {low} and {high}", param=name)
        if not 1 < self.min_units <= self.max_units:
            raise InvalidRequestError("min_units must be at least 2 and at most max_units", param="min_units")


def assign(unit: str, *, salt: str, share: float) -> Arm:
    """The arm of a user or session: always the same for the same salt."""
    digest = blake2b(f"{salt}/{unit}".encode(), digest_size=_HASH_BITS // 8).digest()
    return Arm.CANARY if int.from_bytes(digest, "big") < share * 2**_HASH_BITS else Arm.CURRENT


@dataclass(slots=True)
class _Sums:
    """Runs and successes by unit, with the sums that the variance of their ratio needs."""

    units: dict[str, tuple[int, int]] = field(default_factory=dict)
    runs: int = 0
    wins: int = 0
    runs2: int = 0
    wins2: int = 0
    both: int = 0
    errors: int = 0
    spent_nano_usd: NanoUsd = 0

    def add(self, unit: str, *, success: bool) -> None:
        runs, wins = self.units.get(unit, (0, 0))
        self.units[unit] = (runs + 1, wins + success)
        self.runs += 1
        self.wins += success
        self.runs2 += 2 * runs + 1
        self.wins2 += (2 * wins + 1) * success
        self.both += runs * success + wins + success

    @property
    def rate(self) -> float:
        return self.wins / self.runs

    @property
    def variance(self) -> float:
        """Of the rate, over units; never below that of a rate that is not quite 0 or 1, so that early streaks prove nothing."""
        count, rate = len(self.units), self.rate
        between = self.wins2 - 2 * rate * self.both + rate**2 * self.runs2
        smooth = (self.wins + 1) / (self.runs + 2)
        return max(between / self.runs**2 * count / (count - 1), smooth * (1 - smooth) / self.runs)


class Canary:
    """Takes in runs, one by one, and says after each what to do."""

    def __init__(self, rules: CanaryRules | None = None) -> None:
        self._rules = rules or CanaryRules()
        self._arms = {arm: _Sums() for arm in Arm}

    def observe(self, arm: Arm, unit: str, *, success: bool, cost_nano_usd: NanoUsd = 0, error: bool = False) -> Decision:
        """Take in the end of one run. A run that failed counts as not successful."""
        sums = self._arms[arm]
        sums.add(unit, success=success and not error)
        sums.errors += error
        sums.spent_nano_usd += cost_nano_usd
        return self.decide()

    def decide(self) -> Decision:
        """What to do now. Safe to ask at any time."""
        rules, canary = self._rules, self._arms[Arm.CANARY]
        if canary.errors >= rules.max_errors:
            return Decision(Action.ROLL_BACK, f"{canary.errors} runs of the canary failed")
        if rules.max_spend_nano_usd is not None and canary.spent_nano_usd > rules.max_spend_nano_usd:
            return Decision(Action.ROLL_BACK, f"the canary has spent more than {format_usd(rules.max_spend_nano_usd)} USD")
        fewest = min(len(sums.units) for sums in self._arms.values())
        if fewest < rules.min_units:
            return Decision(Action.CONTINUE, f"{fewest} of {rules.min_units} units")
        return self._judge(len(canary.units))

    def _judge(self, units: int) -> Decision:
        low, high = self._bounds()
        if low > -self._rules.delta:
            return Decision(Action.PROMOTE, "it is certain that success is not lower by more than delta", low, high)
        if high < -self._rules.delta:
            return Decision(Action.ROLL_BACK, "it is certain that success is lower by more than delta", low, high)
        if units >= self._rules.max_units:
            return Decision(Action.ROLL_BACK, f"still undecided after {units} units", low, high)
        return Decision(Action.CONTINUE, "not certain yet", low, high)

    def _bounds(self) -> tuple[float, float]:
        """Bounds of the difference in success that hold at all times together with probability ``level``."""
        canary, current = self._arms[Arm.CANARY], self._arms[Arm.CURRENT]
        variance, mixing = canary.variance + current.variance, self._rules.likely**2
        total = variance + mixing
        width = math.sqrt(variance * total / mixing * 2 * math.log(math.sqrt(total / variance) / (1 - self._rules.level)))
        difference = canary.rate - current.rate
        return difference - width, difference + width
