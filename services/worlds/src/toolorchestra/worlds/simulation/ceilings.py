"""What one expert alone takes on a task, computed from the reference solution: C* and L* where it is the strongest.

At each step the expert reads its instructions, the request and all results so far, and writes the next call or the answer;
lengths are those of the real texts, tokens and latencies as the simulation estimates them.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from toolorchestra.core.money import NanoUsd
from toolorchestra.core.pricing import Usage, cost
from toolorchestra.worlds.answers import tell
from toolorchestra.worlds.questions import QuestionTask
from toolorchestra.worlds.session import Session
from toolorchestra.worlds.simulation.models import estimate_tokens
from toolorchestra.worlds.simulation.profiles import INSTRUCTIONS, Profile
from toolorchestra.worlds.tasks import Task
from toolorchestra.worlds.world import World


@dataclass(frozen=True, slots=True)
class Taken:
    """Money and time of one episode."""

    cost_nano_usd: NanoUsd
    latency_ms: int


def taken_alone(source: Task | QuestionTask, world: World | None, expert: Profile, tool_ms: Callable[[str], int]) -> Taken:
    """What the expert takes; ``tool_ms`` is the latency of a tool. Raises BrokenToolError where a tool of the world fails."""
    nano_usd = latency_ms = 0
    for asked, said in _exchanges(source, world):
        usage = Usage(estimate_tokens(INSTRUCTIONS + asked), estimate_tokens(said) + expert.thinking_tokens)
        nano_usd += cost(expert.price, usage=usage)
        latency_ms += expert.base_ms + expert.ms_per_token * usage.output
    if isinstance(source, Task):
        latency_ms += sum(tool_ms(one.tool) for one in source.golden)
    return Taken(nano_usd, latency_ms)


def _exchanges(source: Task | QuestionTask, world: World | None) -> Iterator[tuple[str, str]]:
    """What the expert is asked and what it says, step by step."""
    if isinstance(source, QuestionTask) or world is None:
        yield (source.question if isinstance(source, QuestionTask) else source.user.opening), "The answer is so and so."
        return
    asked = source.user.opening
    for one, result in zip(source.golden, Session.replay(world, source.calls).results, strict=True):
        call = {"name": one.tool, "arguments": one.arguments}
        yield asked, _json({"call": call})
        asked += "\n" + _json({"call": call, "result": result.content})
    yield asked, _json({"answer": tell(source.facts, currency=world.spec.currency)})


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
