"""Conversations in the policy's format: the golden calls of shipped worlds' tasks, made in a session, as a manager would see them."""

import json
from collections.abc import Callable, Iterator
from typing import Any, Final

from toolorchestra.core.functions import Function
from toolorchestra.core.loop.facts import Decision, Intent
from toolorchestra.core.policyformat import STOP, Segment, opening, output_of, render, results, signature, written
from toolorchestra.training.toolscale.domain import domain_names
from toolorchestra.worlds.session import Session
from toolorchestra.worlds.tasks import Task
from toolorchestra.worlds.tools import WorldTool
from toolorchestra.worlds.world import World

TAG: Final = "$0.001 a call, about 20 ms"
LEFT: Final = "[left: 9 turns, $0.50]"


def conversations(count: int, built_domain: Callable[[str], Any]) -> Iterator[str]:
    """So many, evenly from all shipped domains."""
    names = domain_names()
    for number in range(count):
        built = built_domain(names[number % len(names)])
        yield conversation(built.world, built.tasks[number // len(names)])


def conversation(world: World, task: Task) -> str:
    """One task from its opening to its answer."""
    session = Session(world)
    tools = [signature(_function(one), TAG) for one in world.tools.values()]
    segments = [opening(world.instructions, tools, task.user.text)]
    for turn, golden in enumerate(task.golden, 1):
        found = session.call(golden.tool, golden.arguments)
        said = output_of(Decision(calls=(Intent(function=golden.tool, arguments=golden.arguments),)))
        shown = json.dumps(found.content, ensure_ascii=False)
        segments += [written(said), results([(f"{turn}/1", golden.tool, shown)], LEFT)]
    answer = "; ".join(f"{fact.name}: {fact.value}" for fact in task.facts) or "It is done."
    return render([*segments, written(output_of(Decision(text=answer))), Segment(STOP)])


def _function(tool: WorldTool) -> Function:
    """As much of one as a signature shows."""
    return Function.model_construct(name=tool.name, description=tool.description, parameters=dict(tool.parameters))
