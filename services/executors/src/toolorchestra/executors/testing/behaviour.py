"""What a counting provider does with a request: by default, by a queue, or as the request itself says.

A user message may carry a directive, a JSON object in double brackets: ``[[{"tokens": 50, "delay_ms": 5}]]``. ``turns`` is a
list of such objects, one per assistant turn since that message, so one question scripts a whole run.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final

MARK: Final = "[["


@dataclass(frozen=True, slots=True)
class Behaviour:
    """One request's fate. Tokens are counted by the provider's own rule, times are in ms."""

    tokens: int = 16  # length of a made-up answer
    text: str | None = None  # this answer instead
    calls: tuple[tuple[str, Mapping[str, Any]], ...] = ()  # tool calls instead: name, arguments
    needs_tools: bool = False  # True: a request that shows no tools gets the text instead of the calls
    reasoning: int = 0  # tokens of reasoning before the answer
    first_delay_ms: int = 0
    delay_ms: int = 0  # before every token
    status: int = 200  # another one refuses the request
    retry_after_s: int | None = None
    refuse: tuple[str, ...] = ()  # fields of the request that are refused with 400
    abort_after: int | None = None  # the connection breaks after so many tokens
    error_after: int | None = None  # an error event comes after so many tokens
    hang_after: int | None = None  # nothing comes after so many tokens, until the client leaves
    overrun: int = 0  # tokens beyond the request's max_tokens
    cached: int = 0  # prompt tokens read from a cache
    usage: bool = True  # whether usage is stated
    streams: bool = True  # False: answers in one piece, whatever is asked


def from_fields(base: Behaviour, given: Mapping[str, Any]) -> Behaviour:
    """``base`` with other fields. ``call`` is short for one tool call. Raises ValueError for an unknown field."""
    values = dict(given)
    if "call" in values:
        name, arguments = values.pop("call")
        values["calls"] = [[name, arguments]]
    known = {field.name for field in fields(Behaviour)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise ValueError(f"unknown behaviour {', '.join(unknown)}; known: {', '.join(sorted(known))}, call, turns")
    if "calls" in values:
        values["calls"] = tuple((str(name), dict(arguments)) for name, arguments in values["calls"])
    if "refuse" in values:
        values["refuse"] = tuple(values["refuse"])
    return replace(base, **values)


def directed(base: Behaviour, messages: Sequence[Mapping[str, Any]]) -> Behaviour:
    """``base``, changed by the directive of the last user message for the turn that is asked now."""
    asked = max((i for i, message in enumerate(messages) if message.get("role") == "user"), default=None)
    if asked is None:
        return base
    directive = find_directive(text_of(messages[asked]))
    if directive is None:
        return base
    turn = sum(1 for message in messages[asked + 1 :] if message.get("role") == "assistant")
    turns = directive.get("turns")
    if turns is not None:
        return from_fields(base, turns[min(turn, len(turns) - 1)])
    if turn and ("call" in directive or "calls" in directive):
        return base
    return from_fields(base, directive)


def find_directive(text: str) -> dict[str, Any] | None:
    """The JSON object in double brackets, if the text has one. Raises ValueError if it is not JSON."""
    start = text.find(MARK + "{")
    if start < 0:
        return None
    found, _ = json.JSONDecoder().raw_decode(text, start + len(MARK))
    return dict(found)


def text_of(message: Mapping[str, Any]) -> str:
    """The text of a message, parts joined."""
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "".join(str(part.get("text", "")) for part in content if isinstance(part, Mapping))
