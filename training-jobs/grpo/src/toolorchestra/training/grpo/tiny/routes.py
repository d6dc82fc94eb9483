"""Routing in its smallest form: one question, five tools under drawn names, prices and latencies; one call, one answer.

A sum needs the calculator, an order the register; a common thing is known to every expert, a rare one to the experts of rare
things. So the right route is read from descriptions and price tags, never from a name. Everything follows from (seed, number).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b
from random import Random
from typing import Final

from toolorchestra.core.money import NanoUsd
from toolorchestra.core.resources.orchestrator import Weights

COLOURS: Final = ("red", "blue", "green", "black", "white", "yellow", "brown", "grey")
THINGS: Final = (
    "lamp", "river", "stone", "apple", "horse", "paper", "cloud", "table", "glass", "bread", "knife", "shirt", "tower", "field",
    "piano", "wheel", "snake", "honey", "brick", "candle", "button", "garden", "hammer", "island", "jacket", "ladder", "mirror",
    "needle", "orange", "pillow", "ribbon", "saddle", "ticket", "violin", "window", "basket", "carpet", "dragon", "engine",
    "feather",
)  # fmt: skip
COMMON: Final = ("colour", "size", "use", "shape")
RARE: Final = ("origin", "weight", "founder", "age")
# What tools are called, drawn anew for every task: a name tells nothing. The last ones are for tests alone.
ALIASES: Final = (
    "falcon", "marble", "copper", "harbor", "meadow", "silver", "timber", "velvet", "walnut", "winter", "summit", "spring",
    "shadow", "rocket", "raven", "quartz", "prairie", "pepper", "pearl", "otter", "onyx", "nectar", "mint", "maple", "lotus",
    "lemon", "kelp", "jasper", "ivory", "hazel", "granite", "ginger", "frost", "fjord", "ember", "dune", "delta", "cobalt",
    "cedar", "amber",
)  # fmt: skip
NEW_ALIASES: Final = ALIASES[-10:]
# US dollars a call, and milliseconds: a ladder, so that a tag is one token of the tiny vocabulary.
PRICES: Final = ("0.0001", "0.0002", "0.0005", "0.001", "0.002", "0.005", "0.01", "0.02", "0.05", "0.10")
LATENCIES_MS: Final = (100, 200, 500, 1_000, 2_000, 5_000, 10_000)
LIMITS_CENTS: Final = (100, 900)
CENT_NANO_USD: Final = 10_000_000
HELD_OUT: Final = 5  # every fifth question is for tests alone


class Kind(StrEnum):
    """What a question asks for."""

    SUM = "sum"
    ORDER = "order"
    COMMON = "common"
    RARE = "rare"


class Family(StrEnum):
    """What a tool is."""

    CALCULATOR = "calculator"
    REGISTER = "register"
    COMMON = "common"
    RARE = "rare"


KNOWS: Final = {
    Family.CALCULATOR: {Kind.SUM},
    Family.REGISTER: {Kind.ORDER},
    Family.COMMON: {Kind.COMMON},
    Family.RARE: {Kind.COMMON, Kind.RARE},
}
DESCRIPTIONS: Final = {
    Family.CALCULATOR: "Adds numbers.",
    Family.REGISTER: "Finds orders.",
    Family.COMMON: "Knows common things.",
    Family.RARE: "Knows common and rare things.",
}
EXPERTS: Final = (Family.COMMON, Family.RARE)
# Where on the ladders a family usually stands; a flipped task draws from the whole ladders.
_USUAL: Final = {Family.CALCULATOR: (0, 4), Family.REGISTER: (0, 4), Family.COMMON: (1, 6), Family.RARE: (5, 10)}


@dataclass(frozen=True, slots=True)
class Card:
    """One tool as drawn. ``price`` and ``latency`` are places on the ladders."""

    name: str
    family: Family
    price: int
    latency: int

    @property
    def is_expert(self) -> bool:
        return self.family in EXPERTS

    @property
    def usd(self) -> str:
        return PRICES[self.price]

    @property
    def latency_ms(self) -> int:
        return LATENCIES_MS[self.latency]

    def knows(self, kind: Kind) -> bool:
        return kind in KNOWS[self.family]


@dataclass(frozen=True, slots=True)
class Wish:
    """A preference in words, None for none, and what is weighed."""

    words: str | None
    weights: Weights


@dataclass(frozen=True, slots=True)
class RouteTask:
    """``argument`` is what the question's own tool must be asked; experts are asked the question itself. ``limit_nano_usd``
    is more than any call costs: it is there to be read.
    """

    id: str
    kind: Kind
    question: str
    argument: str
    answer: str
    cards: tuple[Card, ...]
    wish: Wish
    limit_nano_usd: NanoUsd | None = None

    def card(self, name: str) -> Card | None:
        return next((card for card in self.cards if card.name == name), None)


PLAIN: Final = Wish(None, Weights(accuracy=1, cost=0.5))
CHEAP: Final = Wish("cheap, please", Weights(accuracy=1, cost=1))
QUICK: Final = Wish("quick, please", Weights(accuracy=1, latency=1))
WISHES: Final = (PLAIN, CHEAP, QUICK)


@dataclass(frozen=True, slots=True)
class Draw:
    """How tasks are drawn. ``held_out``: questions and names of tools that no training task has. ``flipped``: the share of
    tasks whose prices come from the whole ladder, so that an expert of rare things may be the cheapest. ``names``: where names
    are drawn from, for lessons that must show all of them. ``lone_expert``: each list has exactly one expert of rare things.
    """

    seed: int
    held_out: bool = False
    flipped: float = 0.3
    wishes: Sequence[Wish] = WISHES
    tools: int = 5
    names: Sequence[str] | None = None
    lone_expert: bool = False

    def task(self, number: int) -> RouteTask:
        """Task ``number``; the four kinds take turns."""
        random = Random(f"routes/{self.seed}/{self.held_out}/{number}")
        kind = tuple(Kind)[number % len(Kind)]
        question, argument, answer = self.question(random, kind)
        cards = self._cards(random, kind)
        wish = self.wishes[(number // len(Kind)) % len(self.wishes)]
        limit = random.choice((None, random.randrange(*LIMITS_CENTS) * CENT_NANO_USD))
        return RouteTask(f"{self.seed}/{number}", kind, question, argument, answer, cards, wish, limit)

    def question(self, random: Random, kind: Kind) -> tuple[str, str, str]:
        """A question, what its own tool must be asked, and the answer."""
        while True:
            question, argument, answer = _QUESTIONS[kind](random)
            if held_out(question) == self.held_out:
                return question, argument, answer

    def _cards(self, random: Random, kind: Kind) -> tuple[Card, ...]:
        """Two or more that know, so that there is something to weigh, and any others; in the order of their drawn names."""
        knowing = [family for family in Family if kind in KNOWS[family]]
        others = [random.choice(tuple(Family)) for _ in range(self.tools - 2)]
        families = [knowing[0], random.choice(knowing), *others]
        if self.lone_expert:
            families = _with_one_expert(families)
        usual = random.random() >= self.flipped
        names = random.sample(self.names or (NEW_ALIASES if self.held_out else ALIASES[: -len(NEW_ALIASES)]), len(families))
        cards = [_card(random, name, family, usual=usual) for name, family in zip(names, families, strict=True)]
        return tuple(sorted(cards, key=lambda card: card.name))


def held_out(text: str) -> bool:
    """Whether a question is for tests alone."""
    return _digest(text) % HELD_OUT == 0


def wrong(answer: str) -> str:
    """What a tool says that cannot answer: it looks like an answer."""
    if answer.isdigit():
        return str(int(answer) + 1 + _digest(answer) % 9)
    return COLOURS[(COLOURS.index(answer) + 1 + _digest(answer) % (len(COLOURS) - 1)) % len(COLOURS)]


def _with_one_expert(families: Sequence[Family]) -> list[Family]:
    """As many, one of them an expert of rare things: the others of its kind know common ones, or the last one makes room."""
    others = [family for family in families if family is not Family.RARE]
    return [Family.RARE, *others, *[Family.COMMON] * len(families)][: len(families)]


def _card(random: Random, name: str, family: Family, *, usual: bool) -> Card:
    low, high = _USUAL[family] if usual else (0, len(PRICES))
    return Card(name, family, random.randrange(low, high), random.randrange(len(LATENCIES_MS)))


def _sum(random: Random) -> tuple[str, str, str]:
    first, second = random.randrange(10, 100), random.randrange(10, 100)
    return f"What is {first} + {second}?", f"{first} + {second}", str(first + second)


def _order(random: Random) -> tuple[str, str, str]:
    order = str(random.randrange(1_000, 10_000))
    return f"Where is order {order}?", order, _word(order)


def _common(random: Random) -> tuple[str, str, str]:
    question = f"What is the {random.choice(COMMON)} of {random.choice(THINGS)}?"
    return question, question, _word(question)


def _rare(random: Random) -> tuple[str, str, str]:
    question = f"What is the {random.choice(RARE)} of {random.choice(THINGS)}?"
    return question, question, _word(question)


_QUESTIONS: Final = {Kind.SUM: _sum, Kind.ORDER: _order, Kind.COMMON: _common, Kind.RARE: _rare}


def _word(text: str) -> str:
    return COLOURS[_digest(f"answer/{text}") % len(COLOURS)]


def _digest(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")
