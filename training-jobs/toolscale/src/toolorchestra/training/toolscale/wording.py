"""From what is wanted to how a person would write it: a grammar of templates, values in many spellings, personas.

A template is text with ``{slot}`` for a value and ``[one|another|]`` for a choice, nested at will. Templates live in
each domain's wording.yaml, so that a person can read and judge them without reading code.
"""

import re
from calendar import day_abbr, day_name, month_abbr, month_name
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, time
from pathlib import Path
from random import Random
from typing import Annotated, Final, TypeAlias

from pydantic import Field, ValidationError

from toolorchestra.worlds.errors import InvalidWorldError, mistakes_of
from toolorchestra.worlds.loading import read_yaml
from toolorchestra.worlds.schema import Strict
from toolorchestra.worlds.state import money_text


class Cents(int):
    """An amount of money in a slot, in whole cents."""


Slot: TypeAlias = str | int | Cents
Templates = Annotated[tuple[str, ...], Field(min_length=1)]
_SLOT: Final = re.compile(r"\{([a-z_]+)\}")
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_TIME: Final = re.compile(r"\d{2}:\d{2}")
_LETTERS: Final = re.compile(r"[A-Za-z]+")
_NAMES: Final = frozenset({"I", "Dr", "Mr", "Mrs", "Ms", *day_name, *day_abbr, *month_name, *month_abbr}) - {
    "May",
    "Mar",
    "Sat",
    "Sun",
}
NOON: Final = "12:00"
_NUMBERS: Final = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_SIGNS: Final = {"GBP": ("£", "pounds"), "EUR": ("€", "euros"), "USD": ("$", "dollars")}


class IntentWording(Strict):
    """How one intent is asked for.

    Besides the request: phrases that it may add (each evolve step has one, if only an empty one), and how to ask for each fact.
    """

    request: Templates
    phrases: dict[str, Templates] = {}
    asks: dict[str, Templates] = {}


class Persona(Strict):
    """A way to write: a ``frame`` arranges {greeting} {identity} {body} {chatter} {closing}; ``lower``: no capitals."""

    frame: Templates
    lower: bool = False
    weight: float = 1.0


class Wording(Strict):
    """The grammar of a domain."""

    greeting: Templates
    identity: Templates
    closing: Templates
    chatter: Templates
    connect: Templates
    ask: Templates
    personas: dict[str, Persona]
    intents: dict[str, IntentWording]


@dataclass(frozen=True, slots=True)
class Part:
    """One intent as it was composed: what its text is made from."""

    intent: str
    slots: Mapping[str, Slot]
    phrases: Sequence[str]
    steps: Sequence[str]
    asks: Sequence[str]


@dataclass(frozen=True, slots=True)
class Worded:
    """An opening, and the names of persona and templates that it was made with."""

    persona: str
    template: str
    text: str


def read_wording(path: Path) -> Wording:
    """The grammar in a file. Raises InvalidWorldError that names file and field."""
    try:
        return Wording.model_validate(read_yaml(path))
    except ValidationError as error:
        raise InvalidWorldError(f"{path}: {'; '.join(mistakes_of(error))}", param="wording") from error


class Writer:
    """Writes openings with one grammar and one generator. Raises InvalidWorldError for a slot that nobody fills.

    ``requests``: intent → the numbers of the templates that may ask for it; all of them where it is not named.
    """

    def __init__(
        self, wording: Wording, random: Random, currency: str, requests: Mapping[str, Sequence[int]] | None = None
    ) -> None:
        self._wording, self._random, self._currency, self._requests = wording, random, currency, requests or {}

    def write(self, parts: Sequence[Part], identity: Mapping[str, Slot]) -> Worded:
        personas = self._wording.personas
        name = self._random.choices(list(personas), [one.weight for one in personas.values()])[0]
        templates: list[str] = []
        bodies = [self._part(part, templates, joined=place > 0) for place, part in enumerate(parts)]
        body = bodies[0]
        for other in bodies[1:]:
            body = f"{body} {self._expand(self._choose(self._wording.connect), {'part': other})}"
        frame = expand(self._choose(personas[name].frame), self._random)
        text = self._framed(frame, body, identity)
        return Worded(name, "+".join(templates), _tidy(text).lower() if personas[name].lower else _tidy(text))

    def _framed(self, frame: str, body: str, identity: Mapping[str, Slot]) -> str:
        found = {
            "greeting": self._expand(self._choose(self._wording.greeting), identity),
            "identity": self._expand(self._choose(self._wording.identity), identity) if identity else "",
            "chatter": self._expand(self._choose(self._wording.chatter), {}),
            "closing": self._expand(self._choose(self._wording.closing), {}),
            "body": body,
        }
        return _SLOT.sub(lambda match: str(_filled(match[1], found, frame)), frame)

    def _part(self, part: Part, templates: list[str], *, joined: bool) -> str:
        wording = self._wording.intents.get(part.intent)
        if wording is None:
            raise InvalidWorldError(f"intents.{part.intent}: has no wording", param=part.intent, hint="add it to wording.yaml")
        number = self._random.choice(self._requests.get(part.intent) or range(len(wording.request)))
        templates.append(f"{part.intent}.{number}")
        sentences = [self._expand(wording.request[number], part.slots, joined=joined)]
        sentences += [self._expand(self._find(wording.phrases, part, "phrases", name), part.slots) for name in part.phrases]
        asks = [self._expand(self._find(wording.asks, part, "asks", name), part.slots) for name in part.asks]
        if asks:
            sentences.append(self._expand(self._choose(self._wording.ask), {"asks": _list(asks)}))
        return " ".join(sentences)

    def _find(self, templates: Mapping[str, Sequence[str]], part: Part, kind: str, name: str) -> str:
        if name not in templates:
            hint = "add it to the domain's wording.yaml"
            raise InvalidWorldError(f"intents.{part.intent}.{kind}.{name}: has no wording", param=name, hint=hint)
        return self._choose(templates[name])

    def _choose(self, templates: Sequence[str]) -> str:
        return self._random.choice(templates)

    def _expand(self, template: str, slots: Mapping[str, Slot], *, joined: bool = False) -> str:
        text = expand(template, self._random)
        text = _joined(text) if joined else text
        return _SLOT.sub(lambda match: spell(_filled(match[1], slots, template), self._random, self._currency), text)


def _filled(name: str, slots: Mapping[str, Slot], template: str) -> Slot:
    if name not in slots:
        hint = f"what can be filled here: {', '.join(slots) or 'nothing'}"
        raise InvalidWorldError(f"template {template!r}: nobody fills {{{name}}}", param=name, hint=hint)
    return slots[name]


def expand(template: str, random: Random) -> str:
    """A template with its choices made. Slots stay."""
    text, rest = _alternatives(template, 0, random, nested=False)
    if rest != len(template):
        raise InvalidWorldError(f"template {template!r}: ']' without '['", param="wording")
    return text


def _alternatives(template: str, place: int, random: Random, *, nested: bool) -> tuple[str, int]:
    """Reads up to the closing bracket; all alternatives are drawn, so that a choice costs the same draws whatever it is."""
    found, current = [], ""
    while place < len(template):
        letter = template[place]
        place += 1
        if letter == "[":
            inner, place = _alternatives(template, place, random, nested=True)
            current += inner
        elif letter == "|" and nested:
            found.append(current)
            current = ""
        elif letter == "]" and nested:
            return random.choice([*found, current]), place
        elif letter == "]":
            return current, place - 1
        else:
            current += letter
    if nested:
        raise InvalidWorldError(f"template {template!r}: '[' without ']'", param="wording")
    return current, place


def spell(value: Slot, random: Random, currency: str) -> str:
    """A value as people write it: ``2026-03-14`` may become ``Saturday 14 March``, 4000 cents ``40 pounds``."""
    match value:
        case Cents():
            return _spell_money(value, random, currency)
        case int():
            return random.choice((str(value), _NUMBERS[value] if 0 <= value < len(_NUMBERS) else str(value)))
        case str() if _DAY.fullmatch(value):
            return _spell_day(date.fromisoformat(value), random)
        case str() if _TIME.fullmatch(value):
            moment = time.fromisoformat(value)
            half = f"{moment:%I:%M}".lstrip("0") + ("am" if value < NOON else "pm")
            return random.choice((value, value, half))
        case _:
            return value


def _spell_money(value: int, random: Random, currency: str) -> str:
    sign, word = _SIGNS.get(currency, (f"{currency} ", currency))
    plain = str(value // 100) if value % 100 == 0 else money_text(value)
    return random.choice([f"{sign}{plain}", f"{plain} {word}", f"{sign}{money_text(value)}", f"{plain} {currency}"])


def _spell_day(day: date, random: Random) -> str:
    suffix = {1: "st", 2: "nd", 3: "rd"}.get(day.day % 10 if day.day not in (11, 12, 13) else 0, "th")
    return random.choice(
        [
            f"{day.day} {day:%B}",
            f"{day:%B} {day.day}",
            f"{day:%A} {day.day} {day:%B}",
            f"{day:%A}, {day.day} {day:%b}",
            f"the {day.day}{suffix} of {day:%B}",
            f"{day:%B} {day.day}{suffix}",
            day.isoformat(),
        ]
    )


def _list(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def _joined(text: str) -> str:
    """A sentence, its slots not filled yet, that goes on behind another one's beginning; names keep their capitals."""
    text = text.lstrip()
    first = _LETTERS.match(text)
    name = first is None or first[0] in _NAMES or (len(first[0]) > 1 and first[0].isupper())
    return text if name else text[0].lower() + text[1:]


def _tidy(text: str) -> str:
    """Single spaces, none before a full stop, a capital after one."""
    text = re.sub(r"[ \t]+", " ", text)
    text = re.sub(r" ([.,;:?!])", r"\1", text)
    text = re.sub(r"([.?!])(?: ?[.,])+", r"\1", text)
    text = re.sub(r"([.?!] )([a-z])(?!\S*@)", lambda match: match[1] + match[2].upper(), text)
    return text.strip()
