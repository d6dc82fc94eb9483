"""Whether an episode was right: by the end state and the facts of a world, by the value of a question, or by a grader."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from toolorchestra.core.chat import ChatModels
from toolorchestra.core.functions import ExpertTarget
from toolorchestra.core.resources import ExpertModel
from toolorchestra.core.resources.meta import API_VERSION
from toolorchestra.training.evaluate.benchmarks.questions import Question
from toolorchestra.training.evaluate.benchmarks.tau2 import DialogueTask
from toolorchestra.training.evaluate.errors import InvalidPlanError
from toolorchestra.training.evaluate.graders import Case, Grader, find_grader
from toolorchestra.training.evaluate.judge import Judge
from toolorchestra.training.evaluate.plan import EvaluationPlan, JudgePlan, Questions
from toolorchestra.training.evaluate.staging import Staged
from toolorchestra.training.evaluate.subjects import Subject
from toolorchestra.worlds.check import check
from toolorchestra.worlds.questions import QuestionTask, check_question
from toolorchestra.worlds.session import Call, Session
from toolorchestra.worlds.tasks import Task
from toolorchestra.worlds.world import World

JUDGE: Final = "judge"


@dataclass(frozen=True, slots=True)
class Graded:
    """A verdict; ``reason`` in words, empty for a success."""

    success: bool
    reason: str = ""


@dataclass(frozen=True)
class Jury:
    """Judges the episodes of a plan. ``graders`` are by suite and kind."""

    staged: Staged
    graders: Mapping[tuple[str, str], Grader] = field(default_factory=dict)

    async def judge(self, subject: Subject, calls: Sequence[Call], answer: str) -> Graded:
        """Raises UpstreamError where a judge fails, BrokenToolError where a tool of a world does."""
        world = self.staged.stages[subject.stage].world
        match subject.source:
            case Task() as task if world is not None:
                verdict = check(world, task, calls, answer)
                return Graded(verdict.success, "; ".join(verdict.reasons))
            case QuestionTask() as question:
                found = check_question(question, answer)
                return Graded(found.success, found.reason)
            case DialogueTask() as dialogue if world is not None:
                return check_dialogue(world, dialogue, calls, answer)
            case Question() as asked:
                case = Case(asked.text, asked.reference, answer)
                grade = await self.graders[subject.suite, asked.grader].grade(case)
                return Graded(grade.right, "" if grade.right else grade.reason)
            case _:
                raise InvalidPlanError(f"{subject.id}: there is no world to check it in", param="suites")


def check_dialogue(world: World, task: DialogueTask, calls: Sequence[Call], said: str) -> Graded:
    """τ²-bench's DB and COMMUNICATE: the end state of the golden actions, and each text said (arXiv 2506.07982).

    Assertions in natural language and of its own environments are not checked here.
    """
    wanted = Session.replay(world, [Call(one.name, one.arguments) for one in task.golden if not one.by_user])
    if Session.replay(world, calls).state_hash != wanted.state_hash:
        return Graded(success=False, reason="the end state is not that of the golden actions")
    plain = said.replace(",", "").lower()
    missing = [text for text in task.communicate if text.replace(",", "").lower() not in plain]
    return Graded(not missing, f"it was not said: {', '.join(missing)}" if missing else "")


def make_jury(staged: Staged, models: ChatModels | None = None) -> Jury:
    """The graders that the plan's questions need. ``models``: what a judge is asked through.

    Raises InvalidPlanError where questions need a judge and the plan names none; NotFoundError for an unknown grader.
    """
    suites = {suite.label: suite for suite in staged.plan.suites if isinstance(suite, Questions)}
    wanted = {(subject.suite, subject.source.grader) for subject in staged.subjects if isinstance(subject.source, Question)}
    graders = {key: _grader(key[1], suites[key[0]], staged.plan, models) for key in sorted(wanted)}
    return Jury(staged, graders)


def _grader(name: str, suite: Questions, plan: EvaluationPlan, models: ChatModels | None) -> Grader:
    if name != JUDGE:
        return find_grader(name, suite.config)
    if plan.judge is None or models is None:
        raise InvalidPlanError(
            f"suite {suite.label}: its free answers are graded by a model, and the plan names none",
            param="judge",
            hint="write judge: {base_url: …, model: …} into the plan",
        )
    return Judge(models, judge_target(plan.judge), seed=plan.seed)


def judge_target(plan: JudgePlan) -> ExpertTarget:
    """The judge as a model to call."""
    spec = {
        "description": "Judge of an evaluation.",
        "model": plan.model,
        "endpoint": {"baseUrl": plan.base_url},
        "pricing": {"input": "0", "output": "0"},
    }
    body = {"apiVersion": API_VERSION, "kind": "ExpertModel", "metadata": {"name": JUDGE}, "spec": spec}
    expert = ExpertModel.model_validate(body)
    return ExpertTarget(namespace="default", name=JUDGE, spec=expert.spec, base_url=plan.base_url)


def judge_key(plan: JudgePlan) -> str | None:
    """The key of the judge's server, from the environment variable that the plan names. Raises InvalidPlanError."""
    if plan.key_env is None:
        return None
    key = os.environ.get(plan.key_env)
    if not key:
        raise InvalidPlanError(f"judge.key_env: {plan.key_env} is not set", param="judge.key_env", hint="export it")
    return key
