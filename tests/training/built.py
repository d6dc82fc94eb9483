"""Small worlds for tests of training, built as ``toolorchestra worlds build`` does, and managers that play them in the format."""

import json
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolorchestra.core.loop.facts import Decision, Intent
from toolorchestra.core.policyformat import output_of
from toolorchestra.training.grpo.policies import PolicyBackend, Written
from toolorchestra.training.grpo.tokens import HfCodec
from toolorchestra.training.grpo.worlds.staging import Stage
from toolorchestra.worlds.simulation.conversation import Made, write_transcript
from toolorchestra.worlds.simulation.profiles import Profile

SOURCES = Path(__file__).parents[2] / "training-jobs/toolscale/src"
TURN = re.compile(r"<\|im_start\|>assistant\n(.*?)<\|im_end\|>\n<\|im_start\|>user\nresult \S+ \S+: (.*?)\n\[left", re.DOTALL)
CALL = re.compile(r"call (\S+) (\{.*\})")


def build_worlds(folder: Path, *, count: int) -> Path:
    """A railway with so many tasks and, all of it held out, a weather service."""
    sys.path.insert(0, str(SOURCES))  # the builder has no place in the environment of training
    from toolorchestra.training.toolscale.building import build_domain, write_domain
    from toolorchestra.training.toolscale.domain import find_domain

    for name in ("railway", "weather"):
        write_domain(build_domain(find_domain(name), seed=3, count=count), folder)
    return folder


@dataclass
class Follower(PolicyBackend):
    """Asks the expert that ``choose`` names until it has an answer, and does what it proposes."""

    codec: HfCodec
    stages: Mapping[str, Stage]  # by request
    choose: Callable[[Stage], Profile]

    def begin(self, step):
        pass

    async def write(self, turns):
        found = [[*self.codec.encode(self.said(self.codec.decode(turn.ids))), self.codec.stop] for turn in turns]
        return [Written(ids, [0.0] * len(ids), 0) for ids in found]

    def said(self, text: str) -> str:
        stage = next(stage for request, stage in self.stages.items() if request in text)
        expert, made, reply = self.choose(stage).name, [], None
        for output, result in TURN.findall(text):
            name, arguments = CALL.match(output).groups()
            if name == expert:
                reply = proposal(result)
            else:
                made.append(Made(world_name(stage, name), json.loads(arguments), result))
                reply = None
        if reply is None:
            asked = {"question": stage.task.user.opening, "context": write_transcript(made)}
            return output_of(Decision(calls=(Intent(function=expert, arguments=asked),)))
        if "answer" in reply:
            return output_of(Decision(text=reply["answer"]))
        call = reply["call"]
        name = next(tool.metadata.name for tool in stage.tools if tool.spec.plugin.config["tool"] == call["name"])
        return output_of(Decision(calls=(Intent(function=name, arguments=call["arguments"]),)))


def proposal(reply: str) -> Mapping[str, Any]:
    """What an expert proposes; a refusal, or a reply that was cut, is taken for the answer."""
    try:
        return json.loads(reply)
    except ValueError:
        return {"answer": reply}


def request_in(stage: Stage) -> str:
    """What tells that a prompt is of this task, staged like this."""
    return f"user\n{stage.task.user.opening}"


def world_name(stage: Stage, function: str) -> str:
    return next(tool.spec.plugin.config["tool"] for tool in stage.tools if tool.metadata.name == function)
