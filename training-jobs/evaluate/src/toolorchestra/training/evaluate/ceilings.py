"""C* and L*: what always asking the strongest expert takes on a task, computed from the reference solution.

At each step the expert reads its instructions, the request and all results so far, and writes the next call or the answer;
lengths are those of the real texts, tokens and latencies as the simulation estimates them.
"""

import json
from collections.abc import Iterator, MutableMapping
from typing import Any

from toolorchestra.core.pricing import Usage, cost
from toolorchestra.training.evaluate.benchmarks.questions import Question
from toolorchestra.training.evaluate.benchmarks.tau2 import DialogueTask
from toolorchestra.training.evaluate.records import Ceiling
from toolorchestra.training.evaluate.stages import Stage
from toolorchestra.training.evaluate.subjects import Source
from toolorchestra.worlds.answers import tell
from toolorchestra.worlds.errors import BrokenToolError
from toolorchestra.worlds.questions import QuestionTask
from toolorchestra.worlds.session import Session
from toolorchestra.worlds.simulation.models import estimate_tokens
from toolorchestra.worlds.simulation.profiles import INSTRUCTIONS, Profile
from toolorchestra.worlds.tasks import Task

Known = MutableMapping[tuple[str, str], Ceiling]


def ceiling_of(source: Source, stage: Stage, strongest: Profile, known: Known) -> Ceiling | None:
    """The ceiling of a task on a stage; None for benchmarks, whose experts are real ones, and where a tool is broken."""
    if isinstance(source, Question | DialogueTask):
        return None
    key = (stage.name, source.id)
    if key not in known:
        try:
            known[key] = _ceiling(source, stage, strongest)
        except BrokenToolError:  # every episode of the task fails by it, and tells
            return None
    return known[key]


def _ceiling(source: Task | QuestionTask, stage: Stage, strongest: Profile) -> Ceiling:
    nano_usd = latency_ms = 0
    for asked, said in _exchanges(source, stage):
        usage = Usage(estimate_tokens(INSTRUCTIONS + asked), estimate_tokens(said) + strongest.thinking_tokens)
        nano_usd += cost(strongest.price, usage=usage)
        latency_ms += strongest.base_ms + strongest.ms_per_token * usage.output
    if isinstance(source, Task):
        latency_ms += sum(stage.tool_ms(one.tool) for one in source.golden)
    return Ceiling(cost_nano_usd=nano_usd, latency_ms=latency_ms)


def _exchanges(source: Task | QuestionTask, stage: Stage) -> Iterator[tuple[str, str]]:
    """What the expert is asked and what it says, step by step."""
    if isinstance(source, QuestionTask) or stage.world is None:
        yield (source.question if isinstance(source, QuestionTask) else source.user.opening), "The answer is so and so."
        return
    asked = source.user.opening
    for one, result in zip(source.golden, Session.replay(stage.world, source.calls).results, strict=True):
        call = {"name": one.tool, "arguments": one.arguments}
        yield asked, _json({"call": call})
        asked += "\n" + _json({"call": call, "result": result.content})
    yield asked, _json({"answer": tell(source.facts, currency=stage.world.spec.currency)})


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
