"""What the episodes of one task are measured by: the user's weights, the tools offered, and what the strongest model takes."""

from collections.abc import Iterator
from dataclasses import dataclass

from toolorchestra.core.errors import InvalidRequestError
from toolorchestra.core.money import NanoUsd
from toolorchestra.core.preferences import matches
from toolorchestra.core.resources.orchestrator import Weights


@dataclass(frozen=True, slots=True)
class Yardstick:
    """Made, and thereby checked, before an episode is paid for.

    ``tools`` are the functions offered, by the names shown; a weight of ``crm`` also covers its operations ``crm__…``.
    ``cost_nano_usd`` (C*) and ``latency_ms`` (L*) are what always asking the strongest model takes on this task at this task's
    prices, computed, never taken from episodes. Raises InvalidRequestError for weights out of range or all 0, for weights of
    what is not offered, and for a C* or L* below 0, or of 0 where it is weighed.
    """

    weights: Weights
    tools: tuple[str, ...]
    cost_nano_usd: NanoUsd
    latency_ms: int

    def __post_init__(self) -> None:
        self._check_ranges()
        for name in self.weights.tools:
            if not self.functions(name):
                hint = "rename a weight with its tool, and leave it out where the tool is"
                raise InvalidRequestError(f"{name!r} is weighed but not offered", param="weights.tools", hint=hint)
        _check_strongest("cost_nano_usd", self.cost_nano_usd, self.weights.cost)
        _check_strongest("latency_ms", self.latency_ms, self.weights.latency)

    def functions(self, tool: str) -> list[str]:
        """The offered functions that a weight of this name is about."""
        return [function for function in self.tools if matches(function, (tool,))]

    def _check_ranges(self) -> None:
        for name, least, weight in self._ranges():
            if not least <= weight <= 1:  # nor does NaN pass
                hint = f"a weight is from {least} to 1"
                raise InvalidRequestError(f"the weight is {weight}", param=f"weights.{name}", hint=hint)
        if not any(weight for _, _, weight in self._ranges()):
            raise InvalidRequestError("all weights are 0", param="weights", hint="set accuracy above 0")

    def _ranges(self) -> Iterator[tuple[str, int, float]]:
        """Name, lowest value and value of every weight; the highest is 1."""
        yield from (
            ("accuracy", 0, self.weights.accuracy),
            ("cost", 0, self.weights.cost),
            ("latency", 0, self.weights.latency),
        )
        yield from ((f"tools.{name}", -1, weight) for name, weight in self.weights.tools.items())


def _check_strongest(name: str, value: int, weight: float) -> None:
    if value < 0 or (value == 0 and weight > 0):
        hint = "give what always asking the strongest model takes on this task, or set the weight to 0"
        raise InvalidRequestError(f"that of the strongest model is {value}", param=name, hint=hint)
