"""The casts of an evaluation: the plan's, the held-out one, and the same experts at other prices."""

from enum import StrEnum

from toolorchestra.training.evaluate.plan import CastPlan
from toolorchestra.worlds.simulation.profiles import Cast, draw_cast, repriced


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
