"""What a router sees: the request, what was called and what came of it, and whom it may ask. Read from chat messages only.

Nothing else is known to it, so the same router manages runs in process and behind HTTP.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from types import MappingProxyType
from typing import Any, Final

from toolorchestra.core.chat import WireMessage, WireTool, content_text
from toolorchestra.core.functions import Function
from toolorchestra.core.pricing import Price

_CALL: Final = re.compile(r"\[call \d+/\d+\] ")
_LEFT: Final = re.compile(r"\n\[left: [^\n]*\]\Z")
_BAD: Final = re.compile(r"\[(?:error|timeout|denied|unknown)\] ")
_PREFERENCE: Final = "\n\nPreference: "
KEPT: Final = 4_096  # steps


@dataclass(frozen=True, slots=True)
class Card:
    """An expert as it is offered: price in nano-USD, ``strength`` 0 to 100, ``latency_ms`` of a typical answer."""

    name: str
    description: str
    price: Price
    strength: int
    latency_ms: int = 0

    @property
    def per_token(self) -> int:
        """What orders experts by price: input and output per million tokens together."""
        return self.price.input + self.price.output


def card_of(function: Function) -> Card:
    """The card of an expert function."""
    return Card(function.name, function.description, function.price, function.strength, function.typical_latency_ms or 0)


@dataclass(frozen=True)
class Step:
    """One call that was made. ``content`` is the result without the loop's marks; ``ok``: it was a good one."""

    name: str
    arguments: Mapping[str, Any]
    content: str
    ok: bool = True

    @property
    def call(self) -> tuple[str, str]:
        """What makes two calls the same."""
        return self.name, json.dumps(self.arguments, sort_keys=True, ensure_ascii=False)

    @cached_property
    def line(self) -> str:
        """The step as an expert reads it: one JSON object."""
        call = {"name": self.name, "arguments": self.arguments}
        return json.dumps({"call": call, "result": _parsed(self.content)}, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Situation:
    """A moment of an episode. ``closing``: only an answer counts now. ``answered``: how often the user got an answer before."""

    opening: str
    preference: str
    steps: tuple[Step, ...]
    experts: tuple[Card, ...]
    functions: frozenset[str]
    closing: bool = False
    answered: int = 0

    @property
    def asked(self) -> tuple[Step, ...]:
        """The calls of experts."""
        names = {card.name for card in self.experts}
        return tuple(step for step in self.steps if step.name in names)

    @property
    def made(self) -> tuple[Step, ...]:
        """The calls of tools."""
        names = {card.name for card in self.experts}
        return tuple(step for step in self.steps if step.name not in names)

    @property
    def transcript(self) -> str:
        """The tool calls with their results as JSON lines: all that an expert needs to know beside the request."""
        return "\n".join(step.line for step in self.made)

    def expert(self, name: str) -> Card:
        return next(card for card in self.experts if card.name == name)


def read_situation(
    messages: Sequence[WireMessage],
    tools: Sequence[WireTool],
    cards: Mapping[str, Card],
    *,
    plain: Mapping[str, str] = MappingProxyType({}),
) -> Situation:
    """The situation that a manager's messages tell; ``plain`` names functions as experts know them."""
    names = [str(tool.get("function", {}).get("name", "")) for tool in tools]
    offered = frozenset(plain.get(name, name) for name in names)
    opening, preference = _opening(messages)
    return Situation(
        opening=opening,
        preference=preference,
        steps=tuple(_steps(messages, plain)),
        experts=tuple(card for name, card in sorted(cards.items()) if name in offered),
        functions=offered,
        closing=not tools,
        answered=sum(one.get("role") == "assistant" and not one.get("tool_calls") for one in messages),
    )


def _opening(messages: Sequence[WireMessage]) -> tuple[str, str]:
    """The first request, and the user's preference that stands at the end of it."""
    first = next((content_text(one.get("content")) for one in messages if one.get("role") == "user"), "")
    opening, _, preference = first.partition(_PREFERENCE)
    return opening, preference


def _steps(messages: Sequence[WireMessage], plain: Mapping[str, str]) -> Iterator[Step]:
    results = {one.get("tool_call_id"): content_text(one.get("content")) for one in messages if one.get("role") == "tool"}
    for message in messages:
        for call in message.get("tool_calls") or ():
            content, function = results.get(call["id"]), call["function"]
            if content is not None:
                name = str(function["name"])
                yield _step(plain.get(name, name), function["arguments"] or "{}", content)


@lru_cache(maxsize=KEPT)
def _step(name: str, arguments: str, content: str) -> Step:
    """Read once: every turn shows all the earlier ones again."""
    unmarked = _LEFT.sub("", _CALL.sub("", content, count=1))
    bad = _BAD.match(unmarked)
    text = unmarked[bad.end() :] if bad else unmarked
    return Step(name, json.loads(arguments), text, ok=bad is None)


def _parsed(content: str) -> Any:
    """JSON as JSON, anything else as text."""
    try:
        return json.loads(content)
    except ValueError:
        return content
