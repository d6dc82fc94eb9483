"""What a result hangs on beside the task, the stage and the policy's name: it belongs to the key of its record.

Otherwise a second start would show the scores of another judge, another training set or another checkpoint as its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from toolorchestra.training.evaluate.benchmarks.questions import Question
from toolorchestra.training.evaluate.benchmarks.tau2 import DialogueTask
from toolorchestra.training.evaluate.judging import JUDGE
from toolorchestra.training.evaluate.plan import EvaluationPlan, ModelPlan, Questions
from toolorchestra.training.evaluate.subjects import Subject


@dataclass(frozen=True, slots=True)
class Circumstances:
    """Where it is played, and who the policies are.

    ``platform`` is empty in memory: records of one are none of the other. ``behind`` holds by policy what its name does not
    say: what it learnt from, or what a platform has under that name.
    """

    platform: str = ""
    behind: Mapping[str, Any] = field(default_factory=dict)

    def policy(self, name: str) -> dict[str, Any]:
        """A policy for the key of a record."""
        return {"policy": name} | ({"behind": self.behind[name]} if name in self.behind else {})

    def knowing(self, behind: Mapping[str, Any]) -> "Circumstances":
        """These, and what is behind more policies."""
        return Circumstances(self.platform, {**self.behind, **behind})


def judged_by(plan: EvaluationPlan, subject: Subject) -> dict[str, Any]:
    """Who decides about a subject beside the policy: the grader's settings or the judge, and the model that plays the user."""
    match subject.source:
        case Question(grader=grader) if grader == JUDGE:
            return {"judge": _model(plan.judge)}
        case Question():
            config = next((one.config for one in plan.suites if one.label == subject.suite and isinstance(one, Questions)), {})
            return {"grader": config} if config else {}
        case DialogueTask() if plan.user:
            return {"user": _model(plan.user)}
        case _:
            return {}


def _model(plan: ModelPlan | None) -> dict[str, Any] | None:
    return None if plan is None else plan.model_dump(mode="json", exclude={"key_env"})
