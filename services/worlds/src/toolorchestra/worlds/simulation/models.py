"""Simulated experts behind the interface of real models.

An expert is asked in two ways. As *manager* it gets tools and returns its next call, or its answer as text. As an *expert tool*
(the system prompt is ``INSTRUCTIONS``) it replies with ``{"call": {"name", "arguments"}}``, ``{"answer": "…"}`` or, to a
question, with words. In both it can be right only if the values that its next call takes stand in the messages it was given.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from typing_extensions import override

from toolorchestra.core.chat import (
    ChatModels,
    ChatReply,
    ChatRequest,
    ChatToolCall,
    CompletionReply,
    CompletionRequest,
    DeltaKind,
    InterruptedCallError,
    Meter,
    WireMessage,
    WireTool,
    content_text,
)
from toolorchestra.core.errors import InvalidRequestError, UpstreamTimeoutError
from toolorchestra.core.pricing import Usage
from toolorchestra.core.sessions import session_of
from toolorchestra.worlds.simulation.acting import Move, next_move, stance_of
from toolorchestra.worlds.simulation.cases import Case, TaskBook
from toolorchestra.worlds.simulation.conversation import Conversation, read_conversation
from toolorchestra.worlds.simulation.drawing import Draw, Fault, draw
from toolorchestra.worlds.simulation.planning import Plan, make_plan
from toolorchestra.worlds.simulation.profiles import Cast, Profile

BYTES_PER_TOKEN: Final = 4  # of English, with the tokenizers of today; an estimate, as simulated experts have no tokenizer
FRAME_TOKENS: Final = 6  # around a message or a function
ARGUMENT_TOKENS: Final = 30
READING: Final = 4.0  # logits: an answer that stands in what one was given is read off
NOT_IN_BOOK: Final = "I am a simulated expert and only know the tasks that I was made for."
REFUSAL: Final = "I'm sorry, but I can't help with this request."


class SimulatedTimeoutError(InterruptedCallError, UpstreamTimeoutError):
    """A simulated expert did not answer in time. ``latency_ms`` is the (virtual) time that was waited."""

    code = UpstreamTimeoutError.code
    http_status = UpstreamTimeoutError.http_status

    def __init__(self, message: str, *, meter: Meter, latency_ms: int) -> None:
        super().__init__(message, meter=meter)
        self.latency_ms = latency_ms


@dataclass(frozen=True, slots=True)
class _Timing:
    """What a reply takes beside its text."""

    thinking: int
    base_ms: int


class SimulatedModels(ChatModels):
    """A cast that plays. All is drawn from ``seed``: the same messages get the same reply, in any order and any process."""

    def __init__(self, book: TaskBook, cast: Cast, seed: int) -> None:
        self.book, self.cast, self.seed = book, cast, seed
        self._plans: dict[tuple[str, str, bool], Plan] = {}

    @override
    async def chat(self, request: ChatRequest) -> ChatReply:
        """The expert's next move. Raises SimulatedTimeoutError, and NotFoundError for a model that is not in the cast."""
        profile = self.cast.profile(request.target.spec.model)
        conversation = read_conversation(request.messages)
        case = self._find(request.headers, conversation)
        move = Move(text=NOT_IN_BOOK) if case is None else self._move(case, profile, conversation, request.tools)
        key = f"{self.seed}/{case.id if case else ''}/{profile.who}/{len(request.messages)}/{len(conversation.made)}"
        reply = _reply(request, profile, move, _timing(profile, key))
        request.meter.sent, request.meter.usage, request.meter.exact = True, reply.usage, True
        if move.late or reply.latency_ms > request.timeout_ms:
            text = f"the model {profile.name!r} did not finish within {request.timeout_ms} ms"
            raise SimulatedTimeoutError(text, meter=request.meter, latency_ms=request.timeout_ms)
        if request.on_delta is not None and reply.text:
            await request.on_delta(DeltaKind.CONTENT, reply.text)
        return reply

    @override
    async def complete(self, request: CompletionRequest) -> CompletionReply:
        """Simulated experts speak chat only. Raises InvalidRequestError."""
        raise InvalidRequestError("simulated experts do not complete raw prompts", param="prompt", hint="ask them by chat")

    def would_be_right(
        self,
        expert: str,
        messages: Sequence[WireMessage],
        *,
        tools: Sequence[WireTool] = (),
        headers: Mapping[str, str] | None = None,
    ) -> bool:
        """Whether the expert's next move in this conversation, a manager's or an expert's, would be the right one.

        What an oracle knows; nothing that manages may use it otherwise.
        """
        conversation = read_conversation(messages)
        case = self._find(headers or {}, conversation)
        if case is None:
            return False
        plan = self._plan(case, self.cast.profile(expert), read=_is_read(case, conversation))
        return plan.draw.right_at(stance_of(case, plan, conversation, _described(tools)).place)

    def outcome(self, expert: str, task: str) -> Draw:
        """How the expert does on a task by itself. Raises NotFoundError for an expert that is not in the cast."""
        return self._plan(self.book.cases[task], self.cast.profile(expert), read=False).draw

    def _find(self, headers: Mapping[str, str], conversation: Conversation) -> Case | None:
        return self.book.find(session_of(headers), conversation.text)

    def _move(self, case: Case, profile: Profile, conversation: Conversation, tools: Sequence[WireTool]) -> Move:
        plan = self._plan(case, profile, read=_is_read(case, conversation))
        stance = stance_of(case, plan, conversation, _described(tools), f"{self.seed}/{case.id}/{profile.who}")
        at_fault = stance.place == plan.draw.step
        match plan.draw.fault:
            case Fault.REFUSED:
                return Move(text=REFUSAL)
            case Fault.LATE if at_fault:
                return Move(late=True)
            case Fault.CUT if at_fault:
                return next_move(stance).cut
            case _:
                return next_move(stance)

    def _plan(self, case: Case, profile: Profile, *, read: bool) -> Plan:
        key = (case.id, profile.name, read)
        found = self._plans.get(key)
        if found is None:
            aid = READING if read else 0.0
            drawn = draw(self.seed, case.task, profile, writes=case.writes, aid=aid)
            found = make_plan(case, drawn, Random(f"{self.seed}/{case.id}/{profile.who}/plan"))
            self._plans[key] = found
        return found


def estimate_tokens(text: str) -> int:
    """About how many tokens a text is: a quarter of its UTF-8 bytes, rounded up."""
    return math.ceil(len(text.encode("utf-8", "surrogatepass")) / BYTES_PER_TOKEN)


def _is_read(case: Case, conversation: Conversation) -> bool:
    """Whether the answer of a question stands in what a tool brought."""
    if case.world is not None:
        return False
    texts = conversation.shown if not conversation.asked else (*conversation.shown, conversation.text)
    return case.answered_by(texts)


def _described(tools: Sequence[WireTool]) -> dict[str, str]:
    functions = [tool.get("function", {}) for tool in tools]
    return {str(one.get("name", "")): str(one.get("description", "")) for one in functions}


def _timing(profile: Profile, key: str) -> _Timing:
    random = Random(f"{key}/timing")
    thinking = round(profile.thinking_tokens * math.exp(random.gauss(0, 0.4)))
    return _Timing(thinking, round(profile.base_ms * math.exp(random.gauss(0, 0.25))))


def _reply(request: ChatRequest, profile: Profile, move: Move, timing: _Timing) -> ChatReply:
    """The move on the wire, within ``max_tokens``: thinking gives way, then the text is cut."""
    said = move.text if move.name is None else json.dumps(move.arguments, ensure_ascii=False)
    text = said.encode()[: request.max_tokens * BYTES_PER_TOKEN].decode(errors="ignore")
    written = estimate_tokens(text)
    output = min(written + timing.thinking, request.max_tokens)
    called = () if move.name is None else (ChatToolCall(_call_id(request), move.name, text),)
    return ChatReply(
        text=text if move.name is None else "",
        usage=Usage(_input_tokens(request), output, reasoning=max(0, output - written)),
        tool_calls=called,
        finish_reason="length" if move.is_cut or text != said else "tool_calls" if called else "stop",
        latency_ms=timing.base_ms + profile.ms_per_token * output,
        model=profile.name,
    )


def _input_tokens(request: ChatRequest) -> int:
    return sum(map(_message_tokens, request.messages)) + sum(map(_tool_tokens, request.tools))


def _message_tokens(message: WireMessage) -> int:
    calls = "".join(f"{call['function']['name']}{call['function']['arguments']}" for call in message.get("tool_calls") or ())
    return FRAME_TOKENS + estimate_tokens(content_text(message.get("content")) + calls)


def _tool_tokens(tool: WireTool) -> int:
    """Of one function: its words, and for each argument what a name with type and description usually takes."""
    function = tool.get("function", {})
    arguments = len(function.get("parameters", {}).get("properties", ()))
    return ARGUMENT_TOKENS * arguments + FRAME_TOKENS + estimate_tokens(f"{function.get('name')}{function.get('description')}")


def _call_id(request: ChatRequest) -> str:
    return f"call_{len(request.messages)}"
