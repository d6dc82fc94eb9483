"""Upper bounds of token counts, for holds and for calls whose provider never said what they used.

A tokenizer that works on bytes never writes more tokens than the text has UTF-8 bytes; what a chat template adds around
messages and tools is covered by fixed margins. So a bound is high (about four times the truth for English) and never low.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

PROMPT_OVERHEAD: Final = 64  # begin and end marks, and the system text that some templates add by themselves
MESSAGE_OVERHEAD: Final = 16  # role and turn marks of one message
TOOLS_OVERHEAD: Final = 512  # what a template says about calling tools at all
INDENT_TOKENS: Final = 4  # a line break and a run of spaces
MEDIA_TOKENS: Final = 8_192  # one image, sound or file, at the highest resolution in use


def input_bound_tokens(messages: Iterable[Mapping[str, Any]], tools: Iterable[Mapping[str, Any]] = ()) -> int:
    """The most tokens that these messages and tools can become as the input of one chat completion."""
    return PROMPT_OVERHEAD + messages_bound_tokens(messages) + tools_bound_tokens(tools)


def messages_bound_tokens(messages: Iterable[Mapping[str, Any]]) -> int:
    """The part of messages in the input of a chat completion."""
    return sum(MESSAGE_OVERHEAD + _message(message) for message in messages)


def tools_bound_tokens(tools: Iterable[Mapping[str, Any]]) -> int:
    """The part of tools in the input of a chat completion; 0 without any."""
    shown = [_json(tool) for tool in tools]
    return TOOLS_OVERHEAD + sum(shown) if shown else 0


def text_bound_tokens(text: str) -> int:
    """The most tokens that ``text`` can become: its UTF-8 bytes."""
    return len(text.encode("utf-8", "surrogatepass"))


def prompt_bound_tokens(prompt: str | Iterable[int]) -> int:
    """The most tokens of a raw prompt: exact for token ids, else a bound."""
    if isinstance(prompt, str):
        return PROMPT_OVERHEAD + text_bound_tokens(prompt)
    return sum(1 for _ in prompt)


def _message(message: Mapping[str, Any]) -> int:
    content = message.get("content")
    rest = {key: value for key, value in message.items() if key not in ("content", "role") and value}
    return _content(content) + (_json(rest) if rest else 0)


def _content(content: Any) -> int:
    if content is None:
        return 0
    if isinstance(content, str):
        return text_bound_tokens(content)
    if isinstance(content, list):
        return sum(_part(part) for part in content)
    return _json(content)


def _part(part: Any) -> int:
    if isinstance(part, Mapping) and isinstance(part.get("text"), str):
        return text_bound_tokens(part["text"])
    return MEDIA_TOKENS if isinstance(part, Mapping) else text_bound_tokens(str(part))


def _json(value: Any) -> int:
    """JSON as widely as a template may print it: each mark may start a new, indented line."""
    text = json.dumps(value, default=str)
    return len(text) + INDENT_TOKENS * sum(text.count(mark) for mark in "{}[],")
