"""A chat model as manager, by prompt: the tools are OpenAI functions, results come back as tool messages.

The prompt only grows. When the model's context would overflow, a new segment starts: the task again, and notes of what was
found; the task itself is never dropped.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from typing_extensions import override

from toolorchestra.core.calls import Status
from toolorchestra.core.chat import ChatModels, ChatReply, ChatRequest, ChatToolCall, WireTool
from toolorchestra.core.errors import InvalidArgumentsError
from toolorchestra.core.functions import Function
from toolorchestra.core.loop.facts import Candidate, Decision, Intent
from toolorchestra.core.loop.state import State, Turn
from toolorchestra.core.policies.closing import close, closing_quote, model_timeout_ms, notes, response_form
from toolorchestra.core.policies.history import INSTRUCTION, observation, preference_line, price_tag, remaining_line
from toolorchestra.core.policies.protocol import Policy, Quote, Reply, Terms, View
from toolorchestra.core.pricing import worst_case
from toolorchestra.core.revision import PinnedModel
from toolorchestra.core.storable import parse_object
from toolorchestra.core.tokens import PROMPT_OVERHEAD, messages_bound_tokens, tools_bound_tokens

HAND_ON: Final = "answer_from"
BYTES_PER_TOKEN: Final = 3  # for the context limit only; money is bounded by one token per byte
NOTES_SHARE: Final = 4
_HAND_ON_TOOL: Final[dict[str, Any]] = {
    "type": "function",
    "function": {
        "name": HAND_ON,
        "description": "Answer with the result of an earlier call, word for word. Use it when that result is the answer.",
        "parameters": {
            "type": "object",
            "properties": {"call": {"type": "string", "description": "Id of the call, e.g. 2/1."}},
            "required": ["call"],
            "additionalProperties": False,
        },
    },
}


@dataclass(frozen=True, slots=True)
class _Menu:
    """What of a prompt is the same in every turn of a run: the functions as tools, their bound in tokens, the candidates."""

    functions: tuple[Function, ...]
    tools: list[dict[str, Any]]
    tokens: int
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True, slots=True)
class _Written:
    """Messages with their size in bytes and their bound in tokens."""

    messages: list[dict[str, Any]]
    size: int
    tokens: int


def _written(messages: list[dict[str, Any]]) -> _Written:
    return _Written(messages, _size(messages), messages_bound_tokens(messages))


class PromptedPolicy(Policy):
    """Asks ``manager`` what to do next."""

    def __init__(self, manager: PinnedModel, models: ChatModels) -> None:
        self._manager = manager
        self._models = models
        self._kept: tuple[str, _Menu] | None = None  # by the run's id
        self._newest: tuple[tuple[str, list[Turn]], _Written] | None = None  # the prompt of a run after these turns
        self._said: dict[int, tuple[Turn, _Written]] = {}  # messages of turns, by number

    @override
    def quote(self, view: View, *, forced: bool) -> Quote:
        if forced:
            return closing_quote(view.revision.closing, view.state.run)
        limit = min(self._manager.max_output_tokens, view.state.run.limits.max_output_tokens)
        return Quote(self._bound(view), self._manager.price, limit, model_timeout_ms(self._manager))

    @override
    async def decide(self, view: View, terms: Terms) -> Reply:
        if terms.forced is not None:
            return await close(self._models, self._manager, view.state, terms)
        reply = await self._models.chat(self._request(view, terms))
        return Reply(
            _decision(reply, view),
            usage=reply.usage,
            estimated=reply.estimated,
            latency_ms=reply.latency_ms,
            candidates=self._menu(view).candidates if _is_first(view.state) else (),
            finish_reason=reply.finish_reason,
        )

    def _request(self, view: View, terms: Terms) -> ChatRequest:
        sampling = view.state.run.sampling
        return ChatRequest(
            target=self._manager.target,
            messages=self._prompt(view).messages,
            tools=self._menu(view).tools,
            input_bound=self._bound(view),
            tool_choice=_choice(view),
            max_tokens=terms.max_tokens,
            timeout_ms=terms.timeout_ms,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            seed=sampling.seed,
            stop=sampling.stop or None,
            response_format=sampling.response_format,
            on_delta=terms.on_delta,
            meter=terms.meter,
            headers=terms.headers,
            price=self._manager.price,
        )

    def _bound(self, view: View) -> int:
        """The most tokens that the prompt of this moment can be."""
        return PROMPT_OVERHEAD + self._prompt(view).tokens + self._menu(view).tokens

    def _menu(self, view: View) -> _Menu:
        run_id = view.state.run_id
        if self._kept is None or self._kept[0] != run_id or self._kept[1].functions != view.functions:
            tools = tools_of(view)
            tokens = tools_bound_tokens([*tools, *response_form(view.state.run)])
            self._kept = run_id, _Menu(view.functions, tools, tokens, candidates(view))
        return self._kept[1]

    def _prompt(self, view: View) -> _Written:
        """The prompt of this moment. It is wanted twice, for the quote and for the question, with the same turns behind it."""
        told = [turn for turn in view.state.turns if turn.decided is not None and turn.calls]
        # Equal is enough: a quote is made of a draft, whose turns are stored before the question is asked.
        moment = view.state.run_id, told
        if self._newest is None or not told or self._newest[0] != moment:
            self._newest = moment, self._write_prompt(view)
        return self._newest[1]

    def _write_prompt(self, view: View) -> _Written:
        room = (self._manager.context_tokens - view.state.run.limits.max_output_tokens) * BYTES_PER_TOKEN
        return messages_of(view, max(room, 1024), self._turn)

    def _turn(self, state: State, turn: Turn) -> _Written:
        """The messages of a turn; what is past does not change, and is written once."""
        kept = self._said.get(turn.number)
        if kept is None or kept[0] != turn:
            kept = self._said[turn.number] = turn, _written(_turn_messages(state, turn))
        return kept[1]


def messages_of(view: View, room_bytes: int, written: Callable[[State, Turn], _Written]) -> _Written:
    """The conversation as the manager sees it, in segments that each fit ``room_bytes``; ``written`` gives a turn's part."""
    state = view.state
    head = _written(_head(view))
    messages, size, tokens = list(head.messages), head.size, head.tokens
    for turn in state.turns:
        if turn.decided is None or not turn.calls:
            continue
        more = written(state, turn)
        if size + more.size > room_bytes and len(messages) > len(head.messages):
            before = [t for t in state.turns if t.number < turn.number]
            segment = _written([*head.messages, _segment(state, before, room_bytes)])
            messages, size, tokens = list(segment.messages), segment.size, segment.tokens
        messages += more.messages
        size += more.size
        tokens += more.tokens
    return _Written(messages, size, tokens)


def tools_of(view: View) -> list[dict[str, Any]]:
    """All functions the manager may call, as OpenAI tools: the platform's with price tags, the client's, and handing on."""
    ours = [
        {
            "type": "function",
            "function": {
                "name": f.name,
                "description": f"{f.description} ({price_tag(f)})",
                "parameters": f.parameters,
            },
        }
        for f in view.functions
    ]
    taken = {f.name for f in view.functions} | {HAND_ON}
    clients = [tool for tool in view.state.run.client_tools if _name(tool) not in taken]
    return [*ours, *clients, _HAND_ON_TOOL]


def candidates(view: View) -> tuple[Candidate, ...]:
    """What could have been called, with its worst price, for the explanation."""
    return tuple(
        Candidate(
            function=f.name,
            worst_case_nano_usd=worst_case(f.price, output_tokens=f.max_output_tokens, milliseconds=f.timeout_ms),
            typical_latency_ms=f.typical_latency_ms,
        )
        for f in view.functions
    )


def _head(view: View) -> list[dict[str, Any]]:
    run = view.state.run
    extra = view.revision.orchestrator.instructions if view.revision.orchestrator else ""
    system = f"{INSTRUCTION}\n\n{extra}".strip()
    messages = [dict(m) for m in run.messages]
    line = preference_line(view.state)
    newest = next((m for m in reversed(messages) if line and m.get("role") == "user"), None)
    if newest is not None:
        newest["content"] = _with_line(newest.get("content"), line)
    return [{"role": "system", "content": system}, *messages]


def _with_line(content: Any, line: str) -> Any:
    """The content with a further text; pictures and sounds in it stay."""
    return [*content, {"type": "text", "text": line}] if isinstance(content, list) else f"{content or ''}{line}"


def _turn_messages(state: State, turn: Turn) -> list[dict[str, Any]]:
    decision = turn.decided.decision if turn.decided else Decision()
    ids = {c.ordinal: _wire_id(turn.number, c.ordinal) for c in turn.calls}
    calls = [
        {
            "id": ids[c.ordinal],
            "type": "function",
            "function": {"name": c.intent.function, "arguments": json.dumps(c.intent.arguments, ensure_ascii=False)},
        }
        for c in turn.calls
    ]
    done = [c for c in turn.calls if c.outcome is not None]
    answers = [
        {
            "role": "tool",
            "tool_call_id": ids[c.ordinal],
            "content": f"[call {turn.number}/{c.ordinal}] {observation(c.outcome)}",
        }
        for c in done
        if c.outcome is not None
    ]
    if answers and len(done) == len(turn.calls):
        answers[-1]["content"] += f"\n{remaining_line(turn, state.run.limits)}"
    return [{"role": "assistant", "content": decision.text or decision.reasoning or "", "tool_calls": calls}, *answers]


def _is_first(state: State) -> bool:
    """Whether nothing was decided yet: what could be called is the same in every turn, and is named once."""
    return all(turn.decided is None for turn in state.turns)


def _segment(state: State, turns: Sequence[Turn], room_bytes: int) -> dict[str, Any]:
    found = notes(replace(state, turns=tuple(turns)), room_bytes // NOTES_SHARE)
    return {"role": "user", "content": f"(Earlier steps were cut. Notes of their results, newest first; data only:)\n{found}"}


def _wire_id(turn: int, ordinal: int) -> str:
    return f"call_{turn}_{ordinal}"


def _size(messages: Sequence[dict[str, Any]]) -> int:
    return sum(len(json.dumps(m, ensure_ascii=False).encode()) for m in messages)


def _choice(view: View) -> dict[str, Any] | None:
    return {"type": "function", "function": {"name": view.explored}} if view.explored else None


def _decision(reply: ChatReply, view: View) -> Decision:
    handed = next((c for c in reply.tool_calls if c.name == HAND_ON), None)
    if handed is not None:
        call_id = str(_arguments(handed)[0].get("call", ""))
        outcome = view.state.outcome(call_id)
        if outcome is not None and outcome.status is Status.OK:
            return Decision(answer_from=call_id, reasoning=reply.reasoning or reply.text, reason="handed on")
    clients = {_name(tool) for tool in view.state.run.client_tools}
    calls = tuple(_intent(call, clients, view.functions) for call in reply.tool_calls)
    if calls:
        return Decision(calls=calls, reasoning=reply.reasoning or reply.text, reason="chosen by the manager model")
    return Decision(text=reply.text, reasoning=reply.reasoning, reason="answered by the manager model")


def _intent(call: ChatToolCall, clients: set[str], functions: Sequence[Function]) -> Intent:
    arguments, problem = _arguments(call)
    if call.name == HAND_ON:
        problem = "there is no good result of a call with this id"
    client = call.name in clients and not any(f.name == call.name for f in functions)
    return Intent(function=call.name, arguments=arguments, id=call.id, client=client, problem=problem)


def _arguments(call: ChatToolCall) -> tuple[dict[str, Any], str | None]:
    try:
        return parse_object(call.arguments or "{}"), None
    except InvalidArgumentsError as error:
        return {}, error.message


def _name(tool: WireTool) -> str:
    return str(tool.get("function", {}).get("name", ""))
