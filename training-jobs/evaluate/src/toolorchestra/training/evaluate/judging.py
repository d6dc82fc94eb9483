"""Whether an episode was right: by the end state and the facts of a world, by the value of a question, or by a grader."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from toolorchestra.core.chat import ChatModels
from toolorchestra.core.errors import InvalidRequestError
from toolorchestra.core.functions import ExpertTarget
from toolorchestra.core.resources import ExpertModel
from toolorchestra.core.resources.meta import API_VERSION
from toolorchestra.training.evaluate.benchmarks.questions import Question
from toolorchestra.training.evaluate.benchmarks.tau2 import ACTION, COMMUNICATE, DB, DialogueTask
from toolorchestra.training.evaluate.errors import InvalidPlanError
from toolorchestra.training.evaluate.graders import Case, Grader, find_grader
from toolorchestra.training.evaluate.judge import Judge
from toolorchestra.training.evaluate.plan import EvaluationPlan, ModelPlan, Questions
from toolorchestra.training.evaluate.staging import Staged
from toolorchestra.training.evaluate.subjects import Subject
from toolorchestra.worlds.check import check
from toolorchestra.worlds.questions import QuestionTask, check_question
from toolorchestra.worlds.session import Call, Session
from toolorchestra.worlds.tasks import Task
from toolorchestra.worlds.world import World

JUDGE, USER = "judge", "user"  # of a plan


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
    """What τ²-bench's reward of a task is made of: the end state of the golden actions, each text said in any of the agent's
    messages, and where it asks for it each golden call made (arXiv 2506.07982).
    """
    checks = {DB: _state_fault, COMMUNICATE: _said_fault, ACTION: _calls_fault}
    faults = [checks[name](world, task, calls, said) for name in task.reward_basis]
    reason = "; ".join(fault for fault in faults if fault)
    return Graded(not reason, reason)


def _state_fault(world: World, task: DialogueTask, calls: Sequence[Call], said: str) -> str:
    del said
    wanted = Session.replay(world, [Call(one.name, one.arguments) for one in task.golden])
    same = Session.replay(world, calls).state_hash == wanted.state_hash
    return "" if same else "the end state is not that of the golden actions"


def _said_fault(world: World, task: DialogueTask, calls: Sequence[Call], said: str) -> str:
    del world, calls
    plain = said.replace(",", "").lower()
    missing = [text for text in task.communicate if text.replace(",", "").lower() not in plain]
    return f"it was not said: {', '.join(missing)}" if missing else ""


def _calls_fault(world: World, task: DialogueTask, calls: Sequence[Call], said: str) -> str:
    del world, said
    missing = [one.name for one in task.golden if not any(one.is_call(call.tool, call.arguments) for call in calls)]
    return f"it was not called: {', '.join(missing)}" if missing else ""


def make_jury(staged: Staged, models: ChatModels | None = None) -> Jury:
    """The graders that the plan's questions need. ``models``: what a judge is asked through.

    Raises InvalidPlanError where questions need a judge and the plan names none, or for an unknown grader.
    """
    suites = {suite.label: suite for suite in staged.plan.suites if isinstance(suite, Questions)}
    wanted = {(subject.suite, subject.source.grader) for subject in staged.subjects if isinstance(subject.source, Question)}
    graders = {key: _grader(key[1], suites[key[0]], staged.plan, models) for key in sorted(wanted)}
    return Jury(staged, graders)


def _grader(name: str, suite: Questions, plan: EvaluationPlan, models: ChatModels | None) -> Grader:
    if name != JUDGE:
        try:
            return find_grader(name, suite.config)
        except InvalidRequestError as error:
            error.message = f"suite {suite.label}: {error.message}"
            raise
    if plan.judge is None or models is None:
        raise InvalidPlanError(
            f"suite {suite.label}: its free answers are graded by a model, and the plan names none",
            param="judge",
            hint="write judge: {base_url: …, model: …} into the plan",
        )
    return Judge(models, target_of(plan.judge, JUDGE), seed=plan.seed)


def target_of(plan: ModelPlan, name: str) -> ExpertTarget:
    """A model beside the evaluated ones as a model to call."""
    spec = {
        "description": f"The {name} of an evaluation.",
        "model": plan.model,
        "endpoint": {"baseUrl": plan.base_url},
        "pricing": {"input": "0", "output": "0"},
    }
    body = {"apiVersion": API_VERSION, "kind": "ExpertModel", "metadata": {"name": name}, "spec": spec}
    expert = ExpertModel.model_validate(body)
    return ExpertTarget(namespace="default", name=name, spec=expert.spec, base_url=plan.base_url)


def require_url(plan: ModelPlan, name: str) -> None:
    """Raises InvalidPlanError where such a model's address is none, before every episode fails by it."""
    found = urlsplit(plan.base_url)
    if found.scheme not in ("http", "https") or not found.hostname:
        raise InvalidPlanError(
            f"{name}.base_url: {plan.base_url!r} is no web address",
            param=f"{name}.base_url",
            hint="write it as in http://localhost:8000/v1",
        )


def key_of(plan: ModelPlan, name: str) -> str | None:
    """The key of such a model's server, from the environment variable that the plan names. Raises InvalidPlanError."""
    if plan.key_env is None:
        return None
    key = os.environ.get(plan.key_env)
    if not key:
        raise InvalidPlanError(f"{name}.key_env: {plan.key_env} is not set", param=f"{name}.key_env", hint="export it")
    return key
