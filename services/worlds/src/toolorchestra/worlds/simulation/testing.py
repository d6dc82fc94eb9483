"""A bare loop for tests of simulated experts: an expert as manager over a session of a world, without money or a platform."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from toolorchestra.core.chat import ChatReply, ChatRequest
from toolorchestra.core.errors import UpstreamTimeoutError
from toolorchestra.core.functions import ExpertTarget
from toolorchestra.worlds.session import Session
from toolorchestra.worlds.simulation.models import SimulatedModels
from toolorchestra.worlds.simulation.user import ASK_USER, ASK_USER_TOOL, SimulatedUser
from toolorchestra.worlds.tasks import Task
from toolorchestra.worlds.world import World

TURNS = 40


@dataclass(slots=True)
class Played:
    """An episode as it went: messages in full, the session, and the answer (empty if none came)."""

    session: Session
    messages: list[dict[str, Any]]
    answer: str = ""
    asked: list[str] = field(default_factory=list)
    replies: list[ChatReply] = field(default_factory=list)


def target_of(models: SimulatedModels, expert: str) -> ExpertTarget:
    """The expert as a target of requests."""
    spec = models.cast.profile(expert).expert("http://127.0.0.1:9/v1").spec
    return ExpertTarget(namespace="default", name=expert, spec=spec, base_url="http://127.0.0.1:9/v1")


def request_of(
    models: SimulatedModels, expert: str, messages: Sequence[dict[str, Any]], tools: Sequence[dict[str, Any]] = (), **more: Any
) -> ChatRequest:
    """A request to an expert."""
    sizes = {"max_tokens": 2_048, "timeout_ms": 120_000} | more
    return ChatRequest(target=target_of(models, expert), messages=messages, tools=tools, **sizes)


def wire_tools(world: World, *, prefix: str = "") -> list[dict[str, Any]]:
    """The tools of a world as a manager is offered them."""
    return [
        {
            "type": "function",
            "function": {
                "name": f"{prefix}{tool.name}",
                "description": f"{tool.description} (free)",
                "parameters": tool.parameters,
            },
        }
        for tool in world.tools.values()
    ]


async def play(models: SimulatedModels, world: World, task: Task, expert: str, *, opening: str | None = None) -> Played:
    """The episode of an expert that manages alone. Another ``opening`` than the task's says less, for asking back."""
    text = task.user.opening if opening is None else opening
    played = Played(Session(world), [{"role": "user", "content": text}])
    tools = [*wire_tools(world), dict(ASK_USER_TOOL)]
    headers = {"baggage": f"toolorchestra.session=test:{task.id}:1"}
    for turn in range(TURNS):
        try:
            reply = await models.chat(request_of(models, expert, played.messages, tools, headers=headers))
        except UpstreamTimeoutError:
            return played
        played.replies.append(reply)
        if not reply.tool_calls:
            played.answer = reply.text
            return played
        _make(played, reply, task, turn)
    return played


def _make(played: Played, reply: ChatReply, task: Task, turn: int) -> None:
    """Do the call of a reply, and note it as the loop does."""
    call = reply.tool_calls[0]
    arguments = json.loads(call.arguments)
    if call.name == ASK_USER:
        played.asked.append(arguments["question"])
        content = SimulatedUser(task.user).answer(arguments["question"])
    else:
        result = played.session.call(call.name, arguments)
        content = ("" if result.ok else "[error] ") + json.dumps(result.content, ensure_ascii=False)
    function = {"name": call.name, "arguments": call.arguments}
    played.messages += [
        {"role": "assistant", "content": "", "tool_calls": [{"id": call.id, "type": "function", "function": function}]},
        {
            "role": "tool",
            "tool_call_id": call.id,
            "content": f"[call {turn + 1}/0] {content}\n[left: 9 turns, 99 s]",
        },
    ]
