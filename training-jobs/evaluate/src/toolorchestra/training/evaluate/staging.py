"""From a plan to its stages and subjects: every folder and file of it is read here, before anything is played."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b

from toolorchestra.core.errors import ToolOrchestraError
from toolorchestra.core.resources import Tool
from toolorchestra.training.evaluate.casting import Variant, cast_of
from toolorchestra.training.evaluate.errors import InvalidPlanError
from toolorchestra.training.evaluate.plan import EVERY, EvaluationPlan, Questions, Suite, Tau2, Worlds
from toolorchestra.training.evaluate.real_tools import real_tools
from toolorchestra.training.evaluate.records import Ceiling
from toolorchestra.training.evaluate.stages import MONOLITH, UNUSED_URL, Stage, slug
from toolorchestra.training.evaluate.subjects import Subject, dialogue_subjects, question_subjects, world_subjects
from toolorchestra.worlds.loading import load_world
from toolorchestra.worlds.questions import QuestionTask
from toolorchestra.worlds.serving import renamed, tools_of
from toolorchestra.worlds.simulation.cases import TaskBook
from toolorchestra.worlds.simulation.profiles import Cast
from toolorchestra.worlds.tasks import Task
from toolorchestra.worlds.world import World


@dataclass(frozen=True)
class Staged:
    """All that is played. ``casts`` are by stage."""

    plan: EvaluationPlan
    stages: Mapping[str, Stage]
    casts: Mapping[str, Cast]
    subjects: tuple[Subject, ...]
    ceilings: dict[tuple[str, str], Ceiling] = field(default_factory=dict)  # computed as they are needed
    left_out: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # by suite and reason how many are not played

    @cached_property
    def book(self) -> TaskBook:
        """What simulated experts know tasks by."""
        worlds: dict[str, tuple[World, dict[str, Task]]] = {}
        questions: dict[str, QuestionTask] = {}
        for subject in self.subjects:
            world = self.stages[subject.stage].world
            match subject.source:
                case Task() as task if world is not None:
                    worlds.setdefault(world.name, (world, {}))[1][task.id] = task
                case QuestionTask() as question:
                    questions[question.id] = question
                case _:
                    pass
        return TaskBook([(world, list(tasks.values())) for world, tasks in worlds.values()], questions.values())


def stage_plan(plan: EvaluationPlan, *, base_url: str = UNUSED_URL, namespace: str = "default") -> Staged:
    """Read everything that the plan names. Raises what the loaders raise, with the suite in the message."""
    builder = _Builder(plan, base_url, namespace)
    subjects: list[Subject] = []
    for suite in plan.suites:
        try:
            subjects.extend(_once(suite, builder.suite(suite)))
        except ToolOrchestraError as error:
            error.message = f"suite {suite.label}: {error.message}"
            raise
    staged = Staged(plan, builder.stages, builder.casts, tuple(subjects), left_out=builder.left_out)
    _check_experts(staged)
    return staged


def _check_experts(staged: Staged) -> None:
    """Raises InvalidPlanError for an expert that is named and in no cast that plays: who is in one is known only now."""
    stages = {subject.stage for subject in staged.subjects if subject.is_simulated}
    known = {f"{MONOLITH}{name}" for stage in stages for name in staged.casts[stage].names}
    for where, policy in staged.plan.named:
        if policy.startswith(MONOLITH) and policy not in {*known, EVERY}:
            hint = f"with cast.seed {staged.plan.cast.seed} there are {', '.join(sorted(known))}"
            raise InvalidPlanError(f"{where}: there is no {policy!r}", param=where, hint=hint)


def _once(suite: Suite, subjects: Iterable[Subject]) -> Iterator[Subject]:
    """Each subject of a suite. Raises InvalidPlanError for one that stands twice: nothing would tell its records apart."""
    seen: set[bytes] = set()
    for subject in subjects:
        content = blake2b(json.dumps([subject.stage, subject.content], sort_keys=True).encode(), digest_size=16).digest()
        if content in seen:
            field_name = "suites.folders" if isinstance(suite, Worlds) else "suites.file"
            hint = "name each folder once, and leave out a copy of another one"
            raise InvalidPlanError(f"the task {subject.id!r} stands twice", param=field_name, hint=hint)
        seen.add(content)
        yield subject


class _Builder:
    """Makes stages as suites need them; suites that need the same one share it."""

    def __init__(self, plan: EvaluationPlan, base_url: str, namespace: str) -> None:
        self._plan, self._base_url, self._namespace = plan, base_url, namespace
        self.stages: dict[str, Stage] = {}
        self.casts: dict[str, Cast] = {}
        self.left_out: dict[str, Counter[str]] = {}

    def suite(self, suite: Suite) -> Iterator[Subject]:
        seed = self._plan.seed
        match suite:
            case Worlds():
                for folder in suite.folders:
                    world = load_world(folder)
                    stage = self._world(suite.kind, folder, world)
                    yield from world_subjects(suite, folder, world.name, stage=stage, seed=seed)
            case Questions():
                left_out = self.left_out.setdefault(suite.label, Counter())
                yield from question_subjects(suite, stage=self._questions(), seed=seed, left_out=left_out)
            case Tau2():
                world = load_world(suite.world)
                stage = self._world("worlds", suite.world, world)
                left_out = self.left_out.setdefault(suite.label, Counter())
                yield from dialogue_subjects(suite, world, stage=stage, seed=seed, left_out=left_out)

    def _world(self, kind: str, folder: str, world: World) -> str:
        variant = Variant.PLAIN if kind == "preferences" else Variant(kind)
        name = slug(world.name if variant is Variant.PLAIN else f"{world.name}-{variant}")
        if name not in self.stages:
            salt = f"{self._plan.seed}/{world.name}" if variant is Variant.RENAMED else ""
            seed = self._plan.seed
            tools = tools_of(world, where=folder, namespace=self._namespace, seed=seed)
            tools, functions = renamed(tools, salt) if salt else (tools, {})
            self._add(name, variant, tools=tools, world=world, functions=functions)
        return name

    def _questions(self) -> str:
        if "questions" not in self.stages:
            self._add("questions", Variant.PLAIN, tools=real_tools(self._plan.tools, namespace=self._namespace))
        return "questions"

    def _add(
        self,
        name: str,
        variant: Variant,
        *,
        tools: Sequence[Tool],
        world: World | None = None,
        functions: Mapping[str, str] | None = None,
    ) -> None:
        cast = cast_of(self._plan.cast, variant)
        self.casts[name] = cast
        self.stages[name] = Stage(
            name=name,
            experts=cast.experts(self._base_url, namespace=self._namespace) if self._plan.cast.offered else (),
            tools=tools,
            limits=self._plan.limits.episode,
            world=world,
            functions=functions or {},
            base_url=self._base_url,
            namespace=self._namespace,
            latency_seed=self._plan.seed,
        )
