"""The price book: what a model's tokens and a tool's calls cost, and the one function that multiplies each.

Prices are integers of nano-USD: per million tokens for models, per call and per second for tools. Rounding is always up,
so that a sum of parts is never below the truth and a hold never below the charge.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from toolorchestra.core.errors import InvalidRequestError
from toolorchestra.core.money import NanoUsd, parse_usd

TOKENS_PER_PRICE: Final = 1_000_000
MILLISECONDS_PER_SECOND: Final = 1_000
_MAKERS: Final = ("openai", "anthropic", "google", "mistral", "x-ai", "deepseek", "cohere", "moonshotai", "perplexity")


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens that one model call used. ``cached`` is the part of ``input`` that was read from a cache."""

    input: int = 0
    output: int = 0
    cached: int = 0
    reasoning: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.input + other.input,
            self.output + other.output,
            self.cached + other.cached,
            self.reasoning + other.reasoning,
        )


@dataclass(frozen=True, slots=True)
class Price:
    """Nano-USD per million input, cached and output tokens, per call and per second. All zero means free."""

    input: NanoUsd = 0
    output: NanoUsd = 0
    cached: NanoUsd | None = None  # None: cached input costs the same as fresh input
    per_call: NanoUsd = 0
    per_second: NanoUsd = 0


def cost(price: Price, *, usage: Usage | None = None, calls: int = 1, milliseconds: int = 0) -> NanoUsd:
    """The price of one call in nano-USD, rounded up once. Every amount in the ledger comes from here."""
    used = usage or Usage()
    cached_price = price.input if price.cached is None else price.cached
    cached = min(used.cached, used.input)
    tokens = (used.input - cached) * price.input + cached * cached_price + used.output * price.output
    seconds = price.per_second * milliseconds
    return calls * price.per_call + _up(tokens, TOKENS_PER_PRICE) + _up(seconds, MILLISECONDS_PER_SECOND)


def worst_case(price: Price, *, input_tokens: int = 0, output_tokens: int = 0, milliseconds: int = 0) -> NanoUsd:
    """What a call can cost at most: nothing cached, every allowed token written, the whole time used."""
    highest = max(price.input, price.cached or 0)
    full = Price(highest, price.output, highest, price.per_call, price.per_second)
    return cost(full, usage=Usage(input_tokens, output_tokens), milliseconds=milliseconds)


def affordable_output_tokens(price: Price, amount: NanoUsd, *, input_tokens: int, milliseconds: int = 0) -> int:
    """How many output tokens fit into ``amount`` beside the fixed part of a call; 0 if even that does not fit."""
    rest = amount - worst_case(price, input_tokens=input_tokens, milliseconds=milliseconds)
    if rest < 0:
        return 0
    return rest * TOKENS_PER_PRICE // price.output if price.output else TOKENS_PER_PRICE


@cache
def known_price(model: str) -> Price | None:
    """The public list price of a well-known model, from the ``genai-prices`` data set; None if it is not listed.

    The maker's own listing counts; without one, all resellers must agree. Only flat prices are taken: a model with tiers or
    time-dependent prices must be priced in its manifest.
    """
    from genai_prices import data  # the data set is a megabyte; only priced-by-name models need it  # noqa: PLC0415

    listings = {provider.id: found.prices for provider in data.providers if (found := provider.find_model(model)) is not None}
    makers = [listings[maker] for maker in _MAKERS if maker in listings]
    prices = {_flat(listing) for listing in makers[:1] or listings.values()}
    return prices.pop() if len(prices) == 1 else None


def _flat(listing: Any) -> Price | None:
    """A listing as a price; None if anything but the three token prices matters."""
    if isinstance(listing, list) or listing.requests_kcount is not None:
        return None
    fresh, written = _per_million(listing.input_mtok), _per_million(listing.output_mtok)
    if fresh is None or written is None:
        return None
    return Price(input=fresh, output=written, cached=_per_million(listing.cache_read_mtok))


def _per_million(value: object) -> NanoUsd | None:
    """Nano-USD per million tokens; None for what is missing or not one number."""
    try:
        return None if value is None else parse_usd(f"{value:f}")
    except (InvalidRequestError, TypeError, ValueError):
        return None


def _up(amount: int, unit: int) -> int:
    return -(-amount // unit)
