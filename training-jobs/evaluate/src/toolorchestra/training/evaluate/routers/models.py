"""Routers as chat models: they see messages and functions like any manager, and reply with calls or with an answer.

So the real loop, the real prompted policy and the real ledger play their runs, in memory and behind HTTP alike. They are rules:
free, and of no latency of their own.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeAlias

from typing_extensions import override

from toolorchestra.core.chat import (
    ChatModels,
    ChatReply,
    ChatRequest,
    ChatToolCall,
    CompletionReply,
    CompletionRequest,
    WireTool,
)
from toolorchestra.core.errors import InvalidRequestError, NotFoundError
from toolorchestra.core.pricing import Usage
from toolorchestra.training.evaluate.routers.acting import GIVE_UP, Action, Ask, Chooser, Make, Say, next_action
from toolorchestra.training.evaluate.routers.situation import Card, Situation, read_situation

Actor: TypeAlias = Callable[[Situation], Action]
NOTHING: Final = "…"
_CALL_ID: Final = "call_0"


@dataclass(frozen=True, slots=True)
class Solution:
    """The reference solution of one request: calls by the world's own names, then the answer.

    ``question``: what is asked first where the user has more to say.
    """

    calls: Sequence[tuple[str, Mapping[str, Any]]]
    answer: str
    question: str = ""


def acting(chooser: Chooser) -> Actor:
    """The actor of a router that chooses experts."""
    return partial(next_action, chooser)


def nothing(situation: Situation) -> Action:  # noqa: ARG001 - that is the point of it
    """Answers at once, with nothing."""
    return Say(NOTHING)


@dataclass(frozen=True, slots=True)
class Golden:
    """Plays the reference solution; ``solutions`` are by request."""

    solutions: Mapping[str, Solution]

    def __call__(self, situation: Situation) -> Action:
        solution = self.solutions.get(situation.opening)
        if solution is None:
            raise NotFoundError("no reference solution is known for this request", hint="evaluate tasks of the plan only")
        if solution.question and not situation.answered:
            return Say(solution.question)
        made = len(situation.made)
        if made < len(solution.calls) and not situation.closing:
            return Make(*solution.calls[made])
        return Say(solution.answer)


class RouterModels(ChatModels):
    """``actors`` are by the name of the model; ``cards`` by the name of the expert's function; ``plain`` from the name of a
    function to the name that experts know it by.
    """

    def __init__(self, actors: Mapping[str, Actor], cards: Mapping[str, Card], plain: Mapping[str, str]) -> None:
        self._actors = actors
        self._cards = cards
        self._plain = plain

    @override
    async def chat(self, request: ChatRequest) -> ChatReply:
        """Raises NotFoundError for a model that is no router."""
        name = request.target.spec.model
        actor = self._actors.get(name)
        if actor is None:
            raise NotFoundError(f"there is no router {name!r}", param="model", hint=f"there are {', '.join(self._actors)}")
        seen = read_situation(request.messages, request.tools, self._cards, plain=self._plain)
        action = actor(seen)
        return _reply(action, seen, self._function(action, request.tools))

    @override
    async def complete(self, request: CompletionRequest) -> CompletionReply:
        """Raises InvalidRequestError: a router reads messages."""
        raise InvalidRequestError(f"{request.target.name!r} answers chat requests only", param="model")

    def _function(self, action: Action, tools: Sequence[WireTool]) -> str:
        """The function that is offered here for the tool that an action calls."""
        if not isinstance(action, Make):
            return ""
        names = (str(tool.get("function", {}).get("name", "")) for tool in tools)
        return next((name for name in names if self._plain.get(name, name) == action.name), action.name)


def _reply(action: Action, seen: Situation, function: str) -> ChatReply:
    match action:
        case Say(text=text):
            return ChatReply(text or GIVE_UP, Usage())
        case Ask(expert=expert):
            context = seen.transcript
            asked = {"question": seen.opening, **({"context": context} if context else {})}
            return _calling(expert, asked)
        case Make(arguments=arguments):
            return _calling(function, arguments)


def _calling(name: str, arguments: Mapping[str, Any]) -> ChatReply:
    call = ChatToolCall(_CALL_ID, name, json.dumps(arguments, ensure_ascii=False))
    return ChatReply("", Usage(), tool_calls=(call,), finish_reason="tool_calls")
