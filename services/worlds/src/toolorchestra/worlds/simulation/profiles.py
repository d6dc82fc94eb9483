"""Casts of simulated experts: who they are, what they can do, and what they cost, all drawn from a seed.

A cast has a large dear generalist, a small cheap one, and specialists in between, so that no expert is best at everything and a
manager that reads descriptions and prices gains by it. What is drawn for tests shares neither names nor prices with training.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from random import Random
from statistics import fmean
from typing import Final, Literal, TypeAlias

from toolorchestra.core.errors import NotFoundError
from toolorchestra.core.money import NanoUsd, format_usd, parse_usd
from toolorchestra.core.pricing import Price
from toolorchestra.core.resources import API_VERSION, ExpertModel
from toolorchestra.worlds.simulation.describing import describe, good_topics
from toolorchestra.worlds.simulation.topics import FIELDS, NEEDS, SUBJECTS, WORK, skill_on

Split: TypeAlias = Literal["train", "test"]
Skills: TypeAlias = Mapping[str, float]
Range: TypeAlias = tuple[float, float]
OFFER: Final = "answer"
INSTRUCTIONS: Final = (
    "You are an expert that a manager asks for the next step. If a tool should be called next, reply with JSON alone: "
    '{"call": {"name": "…", "arguments": {…}}}. If nothing is left to do, reply with {"answer": "…"}, what the user is to be '
    "told. Answer a plain question of knowledge in words."
)
CONTEXT_TOKENS: Final = 131_072
MAX_OUTPUT_TOKENS: Final = 2_048
MOST_CAPABILITIES: Final = 16  # that a resource can state


@dataclass(frozen=True, slots=True)
class Profile:
    """One simulated expert. ``skills`` are logits by topic, ``base`` that of any other topic; ``strength`` is 0 to 100.

    ``refusals``, ``truncations`` and ``timeouts`` are the shares of its failures that show themselves; the rest look right.
    ``base_ms`` and ``ms_per_token`` make its latency, ``thinking_tokens`` are what it thinks before it speaks, on average.
    ``known_as`` is its first name, if it is offered by another one.
    """

    name: str
    description: str
    family: str
    skills: Skills
    base: float
    strength: int
    price: Price
    base_ms: int
    ms_per_token: int
    thinking_tokens: int
    refusals: float
    truncations: float
    timeouts: float
    known_as: str = ""

    @property
    def who(self) -> str:
        """What its luck is drawn by: its first name, so that it is right on the same tasks by whatever name it is offered."""
        return self.known_as or self.name

    def skill(self, topics: Sequence[str]) -> float:
        """In logits, over all topics of a task."""
        return skill_on(self.skills, self.base, topics)

    @property
    def typical_ms(self) -> int:
        """The latency of a short reply."""
        return self.base_ms + self.ms_per_token * (self.thinking_tokens + 40)

    def expert(self, base_url: str, *, namespace: str = "default") -> ExpertModel:
        """The resource that offers this expert, served at ``base_url``."""
        pricing = {"input": format_usd(self.price.input), "output": format_usd(self.price.output)}
        return ExpertModel.model_validate(
            {
                "apiVersion": API_VERSION,
                "kind": "ExpertModel",
                "metadata": {"name": self.name, "namespace": namespace},
                "spec": {
                    "description": self.description,
                    "capabilities": good_topics(self.skills, self.base)[:MOST_CAPABILITIES],
                    "model": self.name,
                    "endpoint": {"baseUrl": base_url},
                    "pricing": pricing,
                    "strength": self.strength,
                    "contextTokens": CONTEXT_TOKENS,
                    "maxOutputTokens": MAX_OUTPUT_TOKENS,
                    "typicalLatency": f"{self.typical_ms}ms",
                    "simulated": True,
                    "offers": [{"name": OFFER, "instructions": INSTRUCTIONS}],
                },
            }
        )


@dataclass(frozen=True, slots=True)
class Cast:
    """The experts of a seed, cheapest first."""

    seed: int
    split: Split
    profiles: tuple[Profile, ...]

    def __iter__(self) -> Iterator[Profile]:
        return iter(self.profiles)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(profile.name for profile in self.profiles)

    @property
    def strongest(self) -> Profile:
        """Of equals the cheapest."""
        return max(self.profiles, key=lambda profile: profile.strength)

    @property
    def cheapest(self) -> Profile:
        return self.profiles[0]

    def profile(self, name: str) -> Profile:
        """The expert of this name. Raises NotFoundError that lists those there are."""
        found = next((one for one in self.profiles if one.name == name), None)
        if found is None:
            raise NotFoundError(f"no expert {name!r} is in the cast", param="expert", hint=f"there are {', '.join(self.names)}")
        return found

    def experts(self, base_url: str, *, namespace: str = "default") -> list[ExpertModel]:
        """Resources for all of them, marked as simulated."""
        return [profile.expert(base_url, namespace=namespace) for profile in self.profiles]


@dataclass(frozen=True, slots=True)
class _Kind:
    """Ranges that a profile is drawn from: US dollars per million tokens of input, logits, ms, tokens."""

    usd: Mapping[Split, tuple[float, float]]
    base: tuple[float, float]
    spread: float
    base_ms: tuple[int, int]
    ms_per_token: tuple[int, int]
    thinking: tuple[int, int]


# Train and test ranges of prices do not touch, whichever kinds are compared.
_LARGE: Final = _Kind({"train": (2.0, 5.0), "test": (5.5, 12.0)}, (2.2, 2.9), 0.4, (600, 1_500), (14, 30), (120, 400))
_MEDIUM: Final = _Kind({"train": (0.4, 0.9), "test": (0.95, 1.9)}, (0.4, 1.0), 0.4, (350, 900), (8, 16), (30, 120))
_SPECIAL: Final = _Kind({"train": (0.4, 0.9), "test": (0.95, 1.9)}, (-1.85, -1.55), 0.4, (300, 900), (8, 18), (30, 160))
_SMALL: Final = _Kind({"train": (0.04, 0.15), "test": (0.16, 0.35)}, (-0.6, 0.3), 0.5, (120, 400), (3, 8), (0, 20))
_COMPANIES: Final = ((_SPECIAL, _SPECIAL), (_SPECIAL, _SPECIAL, _MEDIUM))
_EXCEPTION: Final = 0.25  # how often a price does not go with the skill
# Logits that a specialist is better where it is good: more on worlds, whose tasks are longer and of more topics than questions.
# With less, or from wider ranges, some casts leave whoever reads requests too little to choose by.
_GAIN: Final = (5.5, 5.9)
_WORLD_GAIN: Final = (6.1, 6.5)
_OTHER: Final = "-alt"  # of experts at other prices: on a platform both stand side by side
_FACTORS: Final = (1 / 8, 8.0)
_STEP: Final = 1_000_000  # nano-USD: prices are whole thousandths of a dollar per million tokens
_NAMES: Final[Mapping[Split, tuple[str, ...]]] = {
    "train": ("alder", "birch", "cedar", "hazel", "juniper", "larch", "maple", "rowan", "spruce", "willow", "aspen", "elm"),
    "test": (
        "basalt",
        "chert",
        "feldspar",
        "gneiss",
        "jasper",
        "marble",
        "obsidian",
        "quartz",
        "schist",
        "slate",
        "opal",
        "onyx",
    ),
}
_FAMILIES: Final[Mapping[Split, tuple[str, ...]]] = {
    "train": ("northwood", "silverbrook", "tallgrass", "highmoor"),
    "test": ("ironvale", "stonegate", "deepford", "clearpeak"),
}


def draw_cast(seed: int, *, split: Split = "train", fields: Sequence[str] = FIELDS) -> Cast:
    """Four or five experts: a large generalist, a small one, and specialists. Equal seeds draw equally.

    ``fields`` are the worlds that specialists divide among them: name those of a suite where it has few, or worlds of its own.
    """
    random = Random(f"{seed}/{split}/cast")
    kinds = [_LARGE, _SMALL, *random.choice(_COMPANIES)]
    names = random.sample(_NAMES[split], len(kinds))
    areas, topics = _areas(random, fields), (*fields, *WORK, *NEEDS, *SUBJECTS)
    gains = {topic: _GAIN if topic in (*NEEDS, *SUBJECTS) else _WORLD_GAIN for topic in topics}
    drawn = [
        _draw(random, split, kind, f"{name}-{random.randint(1, 9)}", gains, next(areas) if kind is _SPECIAL else ())
        for kind, name in zip(kinds, names, strict=True)
    ]
    return Cast(
        seed, split, tuple(sorted(drawn, key=lambda profile: (profile.price.input + profile.price.output, profile.name)))
    )


def _areas(random: Random, fields: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """What specialists are good at: half of everything; the second one gets the other half."""
    groups = [random.sample(items, len(items)) for items in (fields, WORK, NEEDS, SUBJECTS)]
    yield tuple(topic for group in groups for topic in group[: len(group) // 2])
    yield tuple(topic for group in groups for topic in group[len(group) // 2 :])


def _draw(random: Random, split: Split, kind: _Kind, name: str, gains: Mapping[str, Range], good_at: Sequence[str]) -> Profile:
    base = random.uniform(*kind.base)
    skills = {topic: round(base + random.gauss(0, kind.spread), 2) for topic in gains}
    skills |= {topic: round(skills[topic] + random.uniform(*gains[topic]), 2) for topic in good_at}
    price = _price(random, kind.usd[split])
    base_ms, per_token, thinking = (random.randint(*span) for span in (kind.base_ms, kind.ms_per_token, kind.thinking))
    return Profile(
        name=name,
        description=describe(skills, base, per_token, random),
        family=random.choice(_FAMILIES[split]),
        skills=skills,
        base=round(base, 2),
        strength=strength_of(skills),
        price=price,
        base_ms=base_ms,
        ms_per_token=per_token,
        thinking_tokens=thinking,
        refusals=round(random.uniform(0.02, 0.1), 3),
        truncations=round(random.uniform(0.01, 0.06), 3),
        timeouts=round(random.uniform(0.01, 0.05), 3),
    )


def repriced(cast: Cast) -> Cast:
    """The same experts with prices log-uniform from an eighth to eight times of what they were; all else is as it was."""
    changed = [_repriced(profile, Random(f"{cast.seed}/{cast.split}/{profile.name}/prices")) for profile in cast]
    return Cast(cast.seed, cast.split, tuple(sorted(changed, key=lambda one: (one.price.input + one.price.output, one.name))))


def _repriced(profile: Profile, random: Random) -> Profile:
    low, high = map(math.log, _FACTORS)
    factor = math.exp(random.uniform(low, high))
    price = Price(input=_times(profile.price.input, factor), output=_times(profile.price.output, factor))
    return replace(profile, name=f"{profile.name}{_OTHER}", known_as=profile.who, price=price)


def _times(amount: NanoUsd, factor: float) -> NanoUsd:
    return max(1, round(amount * factor / _STEP)) * _STEP


def strength_of(skills: Skills) -> int:
    """0 to 100: the share of plain tasks that it is right on, over all topics."""
    return round(100 * fmean(1 / (1 + math.exp(-skill)) for skill in skills.values()))


def _price(random: Random, span: tuple[float, float]) -> Price:
    """Log-uniform in the range; now and then from its other end, so that a price alone tells little."""
    low, high = map(math.log, span)
    place = random.random()
    place = place**2 if random.random() < _EXCEPTION else place
    usd = Decimal(str(round(math.exp(low + place * (high - low)), 3)))
    return Price(input=parse_usd(str(usd)), output=parse_usd(str(usd * random.choice((3, 4, 5)))))
