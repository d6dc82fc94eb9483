"""A provider's own bill: what it counted, request by request, whatever the client believes."""

from dataclasses import asdict, dataclass, field
from typing import Any

from toolorchestra.core.money import NanoUsd
from toolorchestra.core.pricing import Price, Usage, cost


@dataclass(slots=True)
class Entry:
    """One request. Tokens grow while it runs; a refused one costs nothing."""

    id: str
    path: str
    model: str
    price: Price
    prompt_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    max_tokens: int | None = None
    stream: bool = False
    status: int = 200
    finished: bool = False
    client_gone: bool = False
    traceparent: str | None = None
    baggage: str | None = None

    @property
    def cost_nano_usd(self) -> NanoUsd:
        """What the provider charges for it."""
        return cost(self.price, usage=Usage(self.prompt_tokens, self.output_tokens, self.cached_tokens))

    def as_json(self) -> dict[str, Any]:
        """The entry for ``GET /bill``."""
        return {**asdict(self), "price": asdict(self.price), "cost_nano_usd": self.cost_nano_usd}


@dataclass(slots=True)
class Bill:
    """All requests so far, in the order in which they came, and over how many connections."""

    entries: list[Entry] = field(default_factory=list)
    connections: int = 0

    @property
    def total_nano_usd(self) -> NanoUsd:
        return sum(entry.cost_nano_usd for entry in self.entries)

    def as_json(self) -> dict[str, Any]:
        """The bill for ``GET /bill``."""
        return {
            "total_nano_usd": self.total_nano_usd,
            "requests": len(self.entries),
            "prompt_tokens": sum(entry.prompt_tokens for entry in self.entries),
            "output_tokens": sum(entry.output_tokens for entry in self.entries),
            "clients_gone": sum(entry.client_gone for entry in self.entries),
            "entries": [entry.as_json() for entry in self.entries],
        }
