"""What a provider says: tokens of an answer, and how a whole answer and a stream of it look in OpenAI's shapes."""

import json
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from toolorchestra.executors.testing.behaviour import Behaviour, text_of

_WORD: Final = re.compile(r"\S+\s*|\s+")
MESSAGE_TOKENS: Final = 4
CHARACTERS_PER_TOKEN: Final = 4
SIMULATED: Final = "[simulated] "


@dataclass(frozen=True, slots=True)
class SimulatedExpert:
    """Answers by key facts: an answer is known only to a question that holds all of its facts. Always labelled."""

    answers: Sequence[tuple[Sequence[str], str]] = ()  # (facts, answer)
    otherwise: str = "I do not know."

    def answer(self, question: str) -> str:
        """The labelled answer to a question."""
        asked = question.lower()
        known = (text for facts, text in self.answers if all(fact.lower() in asked for fact in facts))
        return SIMULATED + next(known, self.otherwise)


@dataclass(frozen=True, slots=True)
class Piece:
    """One token: of reasoning, of the answer, or of a tool call."""

    reasoning: str = ""
    text: str = ""
    calls: Sequence[Mapping[str, Any]] = ()

    def delta(self) -> dict[str, Any]:
        """The piece as a chat delta."""
        filled = {"reasoning_content": self.reasoning, "content": self.text, "tool_calls": list(self.calls)}
        return {name: value for name, value in filled.items() if value}


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer as tokens, cut to what the request allows, and why it ends."""

    pieces: tuple[Piece, ...]
    finish_reason: str


@dataclass(frozen=True, slots=True)
class Shape:
    """The envelope of one answer."""

    id: str
    model: str
    chat: bool
    simulated: bool
    created: int = field(default_factory=lambda: int(time.time()))

    def chunk(self, delta: Mapping[str, Any] | None, finish: str | None = None) -> dict[str, Any]:
        """One event of a stream; ``delta`` None has no choices, as the last one with the usage."""
        choice: dict[str, Any] = {"index": 0, "finish_reason": finish}
        if self.chat:
            choice["delta"] = delta
        else:
            choice["text"] = (delta or {}).get("content", "")
        kind = "chat.completion.chunk" if self.chat else "text_completion"
        return {**self._envelope(kind), "choices": [] if delta is None else [choice]}

    def whole(self, pieces: Sequence[Piece], finish: str, usage: Mapping[str, Any] | None) -> dict[str, Any]:
        """The answer in one piece."""
        text = "".join(piece.text for piece in pieces)
        choice: dict[str, Any] = {"index": 0, "finish_reason": finish}
        if self.chat:
            calls = _merged(call for piece in pieces for call in piece.calls)
            reasoning = "".join(piece.reasoning for piece in pieces)
            message: dict[str, Any] = {"role": "assistant", "content": text or None}
            choice["message"] = {**message, **({"tool_calls": calls} if calls else {})}
            choice["message"].update({"reasoning_content": reasoning} if reasoning else {})
        else:
            choice["text"] = text
        kind = "chat.completion" if self.chat else "text_completion"
        return {**self._envelope(kind), "choices": [choice], **({"usage": usage} if usage else {})}

    def _envelope(self, kind: str) -> dict[str, Any]:
        label = {"simulated": True} if self.simulated else {}
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model, **label}


def make_answer(behaviour: Behaviour, *, identity: str, max_tokens: int | None) -> Answer:
    """The answer's tokens under this behaviour; never more than ``max_tokens`` unless it overruns on purpose."""
    thinking = [Piece(reasoning=f"r{number} ") for number in range(behaviour.reasoning)]
    said = [*thinking, *_said(behaviour, identity)]
    if behaviour.overrun and max_tokens is not None:
        most = max_tokens + behaviour.overrun
        said += [Piece(text=f"more{number} ") for number in range(max(0, most - len(said)))]
    else:
        most = len(said) if max_tokens is None else max_tokens
    if len(said) > most:
        return Answer(tuple(said[:most]), "length")
    return Answer(tuple(said), "tool_calls" if behaviour.calls else "stop")


def tokenize(text: str) -> list[str]:
    """A text as tokens, one per word; joined they are the text."""
    return _WORD.findall(text)


def count_prompt(body: Mapping[str, Any]) -> int:
    """Prompt tokens of a request by the provider's rule: words, and a few per message."""
    prompt = body.get("prompt")
    if isinstance(prompt, list):
        return len(prompt)
    if isinstance(prompt, str):
        return len(prompt.split())
    messages = body.get("messages") or ()
    words = sum(MESSAGE_TOKENS + len(text_of(message).split()) for message in messages)
    calls = sum(len(json.dumps(message.get("tool_calls") or "")) for message in messages)
    tools = len(json.dumps(body["tools"])) if body.get("tools") else 0
    return words + (tools + calls) // CHARACTERS_PER_TOKEN


def _merged(parts: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Whole tool calls from their streamed parts."""
    calls: dict[int, dict[str, Any]] = {}
    for part in parts:
        function = part["function"]
        if part["index"] not in calls:
            calls[part["index"]] = {"id": part["id"], "type": "function", "function": dict(function)}
        else:
            calls[part["index"]]["function"]["arguments"] += function["arguments"]
    return list(calls.values())


def _said(behaviour: Behaviour, identity: str) -> Iterator[Piece]:
    if behaviour.calls:
        for index, (name, arguments) in enumerate(behaviour.calls):
            yield from _call(index, f"call_{identity}_{index}", name, json.dumps(arguments))
    elif behaviour.text is not None:
        yield from (Piece(text=token) for token in tokenize(behaviour.text))
    else:
        yield from (Piece(text=f"w{number} ") for number in range(behaviour.tokens))


def _call(index: int, identity: str, name: str, arguments: str) -> Iterator[Piece]:
    first = {"index": index, "id": identity, "type": "function", "function": {"name": name, "arguments": ""}}
    yield Piece(calls=[first])
    for start in range(0, len(arguments), CHARACTERS_PER_TOKEN):
        part = arguments[start : start + CHARACTERS_PER_TOKEN]
        yield Piece(calls=[{"index": index, "function": {"arguments": part}}])
