"""From the chunks of a streamed answer to what it says and what it used. Pure.

Servers differ in small ways: tool calls without an index or an id, ``stop`` where ``tool_calls`` is meant, usage in every chunk
or in none, reasoning under two names. Here they come out alike.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from toolorchestra.core.chat import ChatReply, ChatToolCall, CompletionReply, DeltaKind, Meter
from toolorchestra.core.pricing import Usage
from toolorchestra.core.tokens import text_bound_tokens

Chunk = Mapping[str, Any]
_REASONING: Final = ("reasoning_content", "reasoning")


@dataclass(slots=True)
class Tally:
    """Keeps a call's meter true while chunks arrive: bounds and estimates until the provider states its usage."""

    meter: Meter
    input_bound: int
    max_output: int
    output_bytes: int = 0
    finished: bool = False
    answered: bool = False  # something that is an answer arrived

    def sending(self) -> None:
        """From now on the request may have left."""
        self.meter.sent = True
        self.meter.usage = Usage(input=self.input_bound)

    def never_left(self) -> None:
        """The connection was refused before anything was sent."""
        self.meter.sent = False
        self.refused()

    def refused(self) -> None:
        """The server answered with an error instead of working: nothing was used."""
        self.meter.usage, self.meter.exact = Usage(), True

    def add(self, chunk: Chunk) -> None:
        """Count one chunk."""
        choices = chunk.get("choices") or ()
        self.answered = self.answered or bool(choices)
        self.finished = self.finished or any(choice.get("finish_reason") for choice in choices)
        stated = read_usage(chunk)
        if stated is not None:
            self.meter.usage = stated
            # Some servers state a running count with every chunk; only the last one is the bill.
            self.meter.exact = self.finished or not choices
        elif not self.meter.exact:
            self.output_bytes += sum(text_bound_tokens(text) for text in _texts(choices))
            self.meter.usage = Usage(self.input_bound, min(self.output_bytes, self.max_output))


@dataclass(slots=True)
class ChatAssembly:
    """The answer of one chat completion, piece by piece."""

    text: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    calls: list["_CallPieces"] = field(default_factory=list)
    finish_reason: str | None = None
    model: str = ""

    def add(self, chunk: Chunk) -> Iterator[tuple[DeltaKind, str]]:
        """Take one chunk; gives the text that it adds."""
        self.model = chunk.get("model") or self.model
        for choice in chunk.get("choices") or ():
            if choice.get("index") not in (None, 0):
                continue
            self.finish_reason = choice.get("finish_reason") or self.finish_reason
            yield from self._delta(choice.get("delta") or choice.get("message") or {})

    def alike(self, chunk: Chunk) -> Chunk:
        """The chunk, after it was added, with the finish reason that the whole answer has."""
        choices = chunk.get("choices") or ()
        if not self.calls or not any(choice.get("finish_reason") for choice in choices):
            return chunk
        reason = _finish(self.finish_reason, self.calls)
        return {**chunk, "choices": [{**c, "finish_reason": c.get("finish_reason") and reason} for c in choices]}

    def reply(self, meter: Meter, *, latency_ms: int) -> ChatReply:
        """The whole answer."""
        calls = tuple(call.whole(position) for position, call in enumerate(self.calls))
        return ChatReply(
            text="".join(self.text),
            reasoning="".join(self.reasoning),
            tool_calls=calls,
            finish_reason=_finish(self.finish_reason, calls),
            usage=meter.usage,
            estimated=not meter.exact,
            latency_ms=latency_ms,
            model=self.model,
        )

    def _delta(self, delta: Mapping[str, Any]) -> Iterator[tuple[DeltaKind, str]]:
        reasoning = next((delta[name] for name in _REASONING if isinstance(delta.get(name), str)), "")
        if reasoning:
            self.reasoning.append(reasoning)
            yield DeltaKind.REASONING, reasoning
        content = delta.get("content")
        if isinstance(content, str) and content:
            self.text.append(content)
            yield DeltaKind.CONTENT, content
        for piece in delta.get("tool_calls") or ():
            self._call_for(piece).add(piece)

    def _call_for(self, piece: Mapping[str, Any]) -> "_CallPieces":
        index, identity = piece.get("index"), piece.get("id")
        for call in self.calls:
            same_index = index is not None and call.index == index
            if same_index and (not identity or not call.id or call.id == identity):
                return call
        if index is None and not identity and self.calls:
            return self.calls[-1]
        self.calls.append(_CallPieces(index))
        return self.calls[-1]


@dataclass(slots=True)
class _CallPieces:
    index: int | None
    id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list)

    def add(self, piece: Mapping[str, Any]) -> None:
        function = piece.get("function") or {}
        self.id = self.id or piece.get("id") or ""
        self.name = self.name or function.get("name") or ""
        arguments = function.get("arguments")
        if arguments:
            self.arguments.append(arguments if isinstance(arguments, str) else json.dumps(arguments))

    def whole(self, position: int) -> ChatToolCall:
        return ChatToolCall(id=self.id or f"call_{position}", name=self.name, arguments="".join(self.arguments))


@dataclass(slots=True)
class CompletionAssembly:
    """The answer of one raw completion, piece by piece."""

    text: list[str] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finish_reason: str | None = None

    def add(self, chunk: Chunk) -> None:
        """Take one chunk."""
        for choice in chunk.get("choices") or ():
            self.finish_reason = choice.get("finish_reason") or self.finish_reason
            if isinstance(choice.get("text"), str):
                self.text.append(choice["text"])
            self._add_logprobs(choice.get("logprobs") or {})

    def reply(self, meter: Meter, *, latency_ms: int) -> CompletionReply:
        """The whole answer."""
        return CompletionReply(
            text="".join(self.text),
            usage=meter.usage,
            finish_reason=self.finish_reason or "stop",
            tokens=tuple(self.tokens),
            logprobs=tuple(self.logprobs),
            estimated=not meter.exact,
            latency_ms=latency_ms,
        )

    def _add_logprobs(self, logprobs: Mapping[str, Any]) -> None:
        # Two shapes are in use: parallel lists, and one object per token as in chat completions.
        for entry in logprobs.get("content") or ():
            self.tokens.append(str(entry.get("token", "")))
            self.logprobs.append(float(entry.get("logprob", 0.0)))
        for token, logprob in zip(logprobs.get("tokens") or (), logprobs.get("token_logprobs") or (), strict=False):
            self.tokens.append(str(token))
            self.logprobs.append(0.0 if logprob is None else float(logprob))


def read_usage(chunk: Chunk) -> Usage | None:
    """The usage that a chunk states, zeros included; None if it states none."""
    usage = chunk.get("usage")
    if not isinstance(usage, Mapping) or not isinstance(usage.get("prompt_tokens"), int):
        return None
    prompt = usage.get("prompt_tokens_details") or {}
    completion = usage.get("completion_tokens_details") or {}
    return Usage(
        input=usage["prompt_tokens"],
        output=usage.get("completion_tokens") or 0,
        cached=prompt.get("cached_tokens") or 0,
        reasoning=completion.get("reasoning_tokens") or 0,
    )


def whole_as_chunk(answer: Chunk) -> dict[str, Any]:
    """An answer that a server gave in one piece, in the shape of a stream's only chunk."""
    choices = [{**choice, "delta": choice.get("message") or {}} for choice in answer.get("choices") or ()]
    for choice in choices:
        choice.pop("message", None)
    return {**answer, "object": "chat.completion.chunk", "choices": choices}


def _texts(choices: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for choice in choices:
        delta = choice.get("delta") or {}
        yield from (delta[k] for k in ("content", *_REASONING) if isinstance(delta.get(k), str))
        if isinstance(choice.get("text"), str):
            yield choice["text"]
        for call in delta.get("tool_calls") or ():
            function = call.get("function") or {}
            yield from (str(function[k]) for k in ("name", "arguments") if function.get(k))


def _finish(reason: str | None, calls: Sequence[object]) -> str:
    if calls and reason in (None, "stop", "function_call"):
        return "tool_calls"
    return reason or "stop"
