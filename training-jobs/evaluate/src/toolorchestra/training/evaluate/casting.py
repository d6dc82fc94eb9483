"""The casts of an evaluation: the plan's, the held-out one, and the same experts at other prices."""

import math
from dataclasses import replace
from enum import StrEnum
from random import Random
from typing import Final

from toolorchestra.core.money import NanoUsd
from toolorchestra.core.pricing import Price
from toolorchestra.training.evaluate.plan import CastPlan
from toolorchestra.worlds.simulation.profiles import Cast, Profile, draw_cast

SUFFIX: Final = "-alt"  # of experts at other prices: on a platform both stand side by side
FACTORS: Final = (1 / 8, 8.0)
STEP: Final = 1_000_000  # nano-USD: prices are whole thousandths of a dollar per million tokens


class Variant(StrEnum):
    """In what a stage differs from the plain one."""

    PLAIN = "worlds"
    UNSEEN = "unseen-tools"
    REPRICED = "unseen-prices"
    RENAMED = "renamed-tools"


def cast_of(plan: CastPlan, variant: Variant) -> Cast:
    """The cast of a stage."""
    match variant:
        case Variant.UNSEEN:
            return draw_cast(plan.seed, split="train" if plan.split == "test" else "test")
        case Variant.REPRICED:
            return repriced(draw_cast(plan.seed, split=plan.split))
        case Variant.PLAIN | Variant.RENAMED:
            return draw_cast(plan.seed, split=plan.split)


def repriced(cast: Cast) -> Cast:
    """The same experts with prices log-uniform from an eighth to eight times of what they were."""
    changed = [_repriced(profile, Random(f"{cast.seed}/{cast.split}/{profile.name}/prices")) for profile in cast]
    return Cast(cast.seed, cast.split, tuple(sorted(changed, key=lambda one: (one.price.input + one.price.output, one.name))))


def _repriced(profile: Profile, random: Random) -> Profile:
    low, high = map(math.log, FACTORS)
    factor = math.exp(random.uniform(low, high))
    price = Price(input=_times(profile.price.input, factor), output=_times(profile.price.output, factor))
    return replace(profile, name=f"{profile.name}{SUFFIX}", price=price)


def _times(amount: NanoUsd, factor: float) -> NanoUsd:
    return max(1, round(amount * factor / STEP)) * STEP
