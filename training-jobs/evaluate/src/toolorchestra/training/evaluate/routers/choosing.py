"""Routers without learning: whom they ask. Each is a pure function of the situation and, for ``random``, of a seed."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from toolorchestra.core.preferences import wants_best, wants_cheap
from toolorchestra.core.resources.orchestrator import PreferenceSpec
from toolorchestra.training.evaluate.routers.acting import failures
from toolorchestra.training.evaluate.routers.situation import Card, Situation


def by_price(situation: Situation) -> list[Card]:
    """Cheapest first."""
    return sorted(situation.experts, key=lambda card: (card.per_token, card.name))


def strongest(situation: Situation) -> Card | None:
    """Of equals the cheapest."""
    return max(by_price(situation), key=lambda card: card.strength, default=None)


@dataclass(frozen=True, slots=True)
class Fixed:
    """Asks one expert all the time: the one that ``pick`` finds."""

    pick: Callable[[Situation], Card | None]

    def choose(self, situation: Situation) -> str | None:
        card = self.pick(situation)
        return None if card is None else card.name

    def goes_on(self, situation: Situation) -> bool:  # noqa: ARG002 - a fixed expert has no second opinion
        return False


def cheapest() -> Fixed:
    """The router that always asks the cheapest expert."""
    return Fixed(lambda situation: next(iter(by_price(situation)), None))


def always_strongest() -> Fixed:
    """The router that always asks the strongest expert."""
    return Fixed(strongest)


def at_random(seed: int) -> Fixed:
    """The router that draws one expert per episode, each with equal chances."""
    return Fixed(lambda situation: _drawn(situation, seed))


def _drawn(situation: Situation, seed: int) -> Card | None:
    if not situation.experts:
        return None
    return Random(f"{seed}/random/{situation.opening}").choice(situation.experts)


@dataclass(frozen=True, slots=True)
class Cascade:
    """Cheapest first; the next dearer one after every reply without a proposal and every proposed call that was refused.

    The order of FrugalGPT (arXiv 2305.05176) with the environment as the judge. It obeys plain words: who wants the best
    begins with the strongest, who wants it cheap never climbs.
    """

    def choose(self, situation: Situation) -> str | None:
        ladder = self._ladder(situation)
        level = failures(situation)
        return ladder[level].name if level < len(ladder) else None

    def goes_on(self, situation: Situation) -> bool:
        return failures(situation) < len(self._ladder(situation))

    def _ladder(self, situation: Situation) -> list[Card]:
        words = PreferenceSpec(words=situation.preference or None)
        best = strongest(situation)
        if wants_best(words) and best is not None:
            return [best]
        ladder = by_price(situation)
        return ladder[:1] if wants_cheap(words) else ladder
