"""From what a run does to what an OpenAI client reads: one body, or server-sent chunks."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final

from toolorchestra.core.chat import DeltaKind
from toolorchestra.core.errors import ToolOrchestraError, UnavailableError
from toolorchestra.core.loop.facts import Asked
from toolorchestra.core.loop.state import CallPhase, State, apply
from toolorchestra.core.openai import ChatCompletionRequest, Completion, error_body
from toolorchestra.core.storable import clean_text
from toolorchestra.orchestrator.services import explain, progress
from toolorchestra.orchestrator.services.hub import Delta, Item, Superseded

DONE: Final = "data: [DONE]\n\n"
KEEP_ALIVE: Final = ": keep-alive\n\n"
RESTART: Final = "\n\n"  # between content that is superseded and the answer
ANSWER_PIECE: Final = 256  # characters per chunk of a stored answer


def client_calls(run_id: str, state: State) -> list[dict[str, Any]]:
    """The calls of the current turn that are the client's, with ids that lead back to this run."""
    turn = state.turn
    if turn is None or state.parked_at is None:
        return []
    return [
        {
            "id": f"call_{run_id}_{turn.number}_{call.ordinal}",
            "type": "function",
            "function": {"name": call.intent.function, "arguments": json.dumps(call.intent.arguments, ensure_ascii=False)},
        }
        for call in turn.calls
        if call.phase is CallPhase.CLIENT
    ]


def finish_reason(state: State) -> str:
    """``tool_calls`` while the client's tools are awaited, else how the run ended."""
    if state.parked_at is not None:
        return "tool_calls"
    return state.ended.finish_reason if state.ended else "stop"


def whole(run_id: str, state: State) -> dict[str, Any]:
    """The body of a response that is not streamed. Raises UnavailableError when this process lost the run."""
    _require_rest(state)
    calls = client_calls(run_id, state)
    return _completion(run_id, state).whole(
        content=None if calls else state.ended.answer if state.ended else "",
        tool_calls=calls or None,
        finish_reason=finish_reason(state),
        usage=state.usage,
        extension=explain.summary(state),
    )


class ChunkStream:
    """The server-sent events of one response. ``id:`` lines are the numbers of stored facts, so a stream can be resumed."""

    def __init__(self, run_id: str, request: ChatCompletionRequest, state: State, keep_alive_s: float) -> None:
        self._run_id = run_id
        self._request = request
        self._state = state
        self._keep_alive_s = keep_alive_s
        self._sent = ""  # of the answer
        self._answering = False  # text that comes now is the answer's
        self._superseded = 0  # characters of content that are not the answer's after all

    async def events(self, items: AsyncGenerator[Item, None]) -> AsyncGenerator[str, None]:
        """All events to the end of the response. A run that rests already is answered from what is stored."""
        completion = _completion(self._run_id, self._state)
        yield data(completion.first())
        try:
            if self._rests:
                for chunk in self._last(completion):
                    yield chunk
            async with aclosing(with_keep_alive(items, self._keep_alive_s)) as kept_alive:
                async for item in kept_alive:
                    for event in [KEEP_ALIVE] if item is None else self._chunks(completion, item):
                        yield event
            _require_rest(self._state)
        except ToolOrchestraError as error:
            yield data(error_body(error))
        if self._request.stream_options is not None and self._request.stream_options.include_usage:
            yield data(completion.usage(self._state.usage, self._summary()))
        yield DONE

    @property
    def _rests(self) -> bool:
        return self._state.ended is not None or self._state.parked_at is not None

    def _chunks(self, completion: Completion, item: Item) -> list[str]:
        if isinstance(item, Delta):
            return self._delta(completion, item)
        if isinstance(item, Superseded):  # the facts around it say so in words; what was content is settled at the end
            return []
        if item.seq <= self._state.seq:
            return []
        self._state = apply(self._state, item)
        if self._rests:
            return self._last(completion)
        if isinstance(item.fact, Asked):  # a second try of the answer may say something else: it is sent when it is whole
            whole_only = self._sent or self._request.response_format is not None
            self._answering = item.fact.forced is not None and not whole_only
        line = progress.line(item.fact)
        if line is None or not self._request.toolorchestra.progress:
            return []
        return [data(completion.reasoning(line), item.seq)]

    def _delta(self, completion: Completion, item: Delta) -> list[str]:
        """Text of the closing answer is the answer; other text is the manager thinking aloud."""
        if self._answering and item.kind is DeltaKind.CONTENT:
            self._sent += item.text
            return [data(completion.content(item.text))]
        return [data(completion.reasoning(item.text))] if self._request.toolorchestra.progress else []

    def _last(self, completion: Completion) -> list[str]:
        calls = client_calls(self._run_id, self._state)
        chunks = [completion.tool_calls(calls)] if calls else []
        unsent = self._unsent()
        chunks += [completion.content(unsent[i : i + ANSWER_PIECE]) for i in range(0, len(unsent), ANSWER_PIECE)]
        last = completion.finish(finish_reason(self._state), self._summary())
        return [*(data(chunk) for chunk in chunks), data(last, self._state.seq)]  # who has the number has all of it

    def _unsent(self) -> str:
        """What is missing of the answer. Passing text may be lost or superseded: then the answer follows as a whole."""
        answer, sent = self._state.ended.answer if self._state.ended else "", clean_text(self._sent)
        if answer.startswith(sent):
            return answer[len(sent) :]
        self._superseded = len(self._sent) + len(RESTART)
        return f"{RESTART}{answer}"

    def _summary(self) -> dict[str, Any]:
        return explain.summary(self._state) | ({"superseded": self._superseded} if self._superseded else {})


def _require_rest(state: State) -> None:
    if state.ended is None and state.parked_at is None:
        raise UnavailableError("the run goes on in another process", hint="send the request again: it attaches to the run")


def _completion(run_id: str, state: State) -> Completion:
    return Completion(run_id, state.run.model, int(state.opened_at.timestamp()))


def data(body: dict[str, Any], number: int | None = None) -> str:
    """One server-sent event."""
    prefix = "" if number is None else f"id: {number}\n"
    return f"{prefix}data: {json.dumps(body, ensure_ascii=False)}\n\n"


async def with_keep_alive(items: AsyncGenerator[Item, None], pause_s: float) -> AsyncGenerator[Item | None, None]:
    """The items, and None whenever nothing came for a while. Closes ``items`` at the end."""
    waiting = asyncio.ensure_future(anext(items, None))
    try:
        while True:
            done, _ = await asyncio.wait({waiting}, timeout=pause_s)
            if not done:
                yield None
                continue
            item = waiting.result()
            if item is None:
                return
            yield item
            waiting = asyncio.ensure_future(anext(items, None))
    finally:
        waiting.cancel()
        await asyncio.wait({waiting})  # a generator that still runs cannot be closed
        await items.aclose()
