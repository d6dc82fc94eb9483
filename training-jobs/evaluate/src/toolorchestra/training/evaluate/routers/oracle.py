"""The oracle: asks the cheapest expert that the simulation makes right on the next step, the strongest where none is.

It knows what nobody can know, so it bounds what any router among these experts can reach.
"""

from collections.abc import Callable
from dataclasses import dataclass

from toolorchestra.training.evaluate.routers.choosing import by_price, strongest
from toolorchestra.training.evaluate.routers.situation import Situation


@dataclass(frozen=True, slots=True)
class Oracle:
    """``right``: whether an expert will be right, by request, expert and number of calls that were made."""

    right: Callable[[str, str, int], bool]

    def choose(self, situation: Situation) -> str | None:
        step = sum(one.ok for one in situation.made)
        able = (card for card in by_price(situation) if self.right(situation.opening, card.name, step))
        found = next(able, None) or strongest(situation)
        return None if found is None else found.name

    def goes_on(self, situation: Situation) -> bool:  # noqa: ARG002 - it has asked the right one if there is any
        return False
