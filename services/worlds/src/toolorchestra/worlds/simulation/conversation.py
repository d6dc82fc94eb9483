"""What a model was given: who said what, which calls were made and what came of them, read from chat messages alone."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from toolorchestra.core.chat import WireMessage, content_text
from toolorchestra.worlds.rows import fold
from toolorchestra.worlds.simulation.profiles import INSTRUCTIONS
from toolorchestra.worlds.values import Found, Kind, holds, scan

_CALL: Final = re.compile(r"\[call \d+/\d+\] ")
_LEFT: Final = re.compile(r"\n\[left: [^\n]*\]\Z")
_BAD: Final = re.compile(r"\[(?:error|timeout|denied|unknown)\] ")
_ESCAPED: Final = re.compile(r"\\u([0-9a-fA-F]{4})")
KEPT: Final = 2_048  # texts


@dataclass(frozen=True, slots=True)
class Made:
    """A call that was made, under the name of its function. ``result`` is what came back; ``ok``: it was no refusal."""

    name: str
    arguments: Mapping[str, Any]
    result: str = ""
    ok: bool = True

    @property
    def line(self) -> str:
        """The call as a line of a transcript, which experts are given as context."""
        return json.dumps({"call": {"name": self.name, "arguments": self.arguments}, "result": self.result}, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Conversation:
    """``said``: texts of the user and of a context in words. ``asked``: a manager asks, as one does a tool."""

    said: tuple[str, ...]
    made: tuple[Made, ...]
    asked: bool = False

    @property
    def text(self) -> str:
        return "\n".join(self.said)

    @property
    def shown(self) -> tuple[str, ...]:
        """What calls brought."""
        return tuple(one.result for one in self.made)


def read_conversation(messages: Sequence[WireMessage]) -> Conversation:
    """The conversation that these messages are; one that begins with ``INSTRUCTIONS`` asks an expert."""
    asked = any(one.get("role") == "system" and content_text(one.get("content")) == INSTRUCTIONS for one in messages)
    texts = [content_text(one.get("content")) for one in messages if one.get("role") == "user"]
    if not asked:
        return Conversation(tuple(texts), tuple(_made(messages)))
    lines = [line for text in texts for line in text.splitlines()]
    calls = [(line, read_line(line)) for line in lines]
    words = "\n".join(line for line, call in calls if call is None)
    return Conversation((words,), tuple(call for _, call in calls if call is not None), asked=True)


def write_transcript(calls: Iterable[Made]) -> str:
    """Calls and results as JSON lines: the context that an expert is given."""
    return "\n".join(call.line for call in calls)


def read_line(line: str) -> Made | None:
    """A line ``{"call": {"name", "arguments"}, "result"}`` of a transcript; None for any other text."""
    if not line.startswith("{"):
        return None
    try:
        found = json.loads(line)
    except ValueError:
        return None
    call = found.get("call")
    if not isinstance(call, dict) or not isinstance(call.get("arguments"), dict):
        return None
    result = found.get("result", "")
    text = result if isinstance(result, str) else json.dumps(result, ensure_ascii=False)
    return Made(str(call.get("name", "")), call["arguments"], text, ok=found.get("ok", True) and not _is_refusal(text))


class Heard:
    """What can be known from a conversation: what was said, with values in any spelling, and what results show."""

    def __init__(self, said: Iterable[str], shown: Iterable[str], year: int) -> None:
        self._said: list[Found] = [scan(text, year) for text in said]
        self._shown = [_folded(text) for text in shown]

    def holds(self, value: Any, form: str | None = None) -> bool:
        """Whether a value was said or shown, a list in all its parts. ``form`` is ``money``, ``date`` or ``date-time``."""
        match value:
            case bool() | None:
                return True
            case list():
                return all(self.holds(item, form) for item in value)
            case dict():
                return all(self.holds(item) for item in value.values())
            case int() | float():
                return self._says(Kind.NUMBER, value) or self.shows(value)
            case _:
                return self.shows(value) or self._spelled(str(value), form)

    def shows(self, value: Any) -> bool:
        """Whether a result shows the value as it stands; a day also by a time on it."""
        wanted = fold(str(value))
        return any(holds(text, wanted) or f"{wanted}t" in text for text in self._shown)

    def _spelled(self, value: str, form: str | None) -> bool:
        match form:
            case "money":
                return self._says(Kind.MONEY, round(float(value) * 100))
            case "date":
                return self._says(Kind.DATE, value)
            case "date-time":
                return self._says(Kind.DATETIME, value)
            case _:
                return self._says(Kind.ID, value) or self._says(Kind.TEXT, value) or self._says(Kind.DATE, value)

    def _says(self, kind: Kind, value: Any) -> bool:
        return any(found.says(kind, value) for found in self._said)


@lru_cache(maxsize=KEPT)
def _folded(text: str) -> str:
    return fold(_ESCAPED.sub(lambda match: chr(int(match[1], 16)), text))


def _made(messages: Sequence[WireMessage]) -> Iterator[Made]:
    results = {one.get("tool_call_id"): content_text(one.get("content")) for one in messages if one.get("role") == "tool"}
    for message in messages:
        for call in message.get("tool_calls") or ():
            yield _one(call.get("function", {}), results.get(call.get("id"), ""))


def _one(function: Mapping[str, Any], content: str) -> Made:
    plain = _LEFT.sub("", _CALL.sub("", content, count=1))
    bad = _BAD.match(plain)
    text = plain[bad.end() :] if bad else plain
    try:
        arguments = json.loads(function.get("arguments") or "{}")
    except ValueError:
        arguments = {}
    given = arguments if isinstance(arguments, dict) else {}
    return Made(str(function.get("name", "")), given, text, ok=bad is None and not _is_refusal(text))


def _is_refusal(text: str) -> bool:
    return text.startswith('{"error":')
