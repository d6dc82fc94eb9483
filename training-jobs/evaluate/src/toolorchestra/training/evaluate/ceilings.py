"""C* and L* of an evaluation's subjects, each computed once."""

from collections.abc import MutableMapping

from toolorchestra.training.evaluate.benchmarks.questions import Question
from toolorchestra.training.evaluate.benchmarks.tau2 import DialogueTask
from toolorchestra.training.evaluate.records import Ceiling
from toolorchestra.training.evaluate.stages import Stage
from toolorchestra.training.evaluate.subjects import Source
from toolorchestra.worlds.errors import BrokenToolError
from toolorchestra.worlds.simulation.ceilings import taken_alone
from toolorchestra.worlds.simulation.profiles import Profile

Known = MutableMapping[tuple[str, str], Ceiling]


def ceiling_of(source: Source, stage: Stage, strongest: Profile, known: Known) -> Ceiling | None:
    """The ceiling of a task on a stage; None for benchmarks, whose experts are real ones, and where a tool is broken."""
    if isinstance(source, Question | DialogueTask):
        return None
    key = (stage.name, source.id)
    if key not in known:
        try:
            taken = taken_alone(source, stage.world, strongest, stage.tool_ms)
        except BrokenToolError:  # every episode of the task fails by it, and tells
            return None
        known[key] = Ceiling(cost_nano_usd=taken.cost_nano_usd, latency_ms=taken.latency_ms)
    return known[key]
