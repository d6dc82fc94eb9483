"""Tasks of built worlds as scenes: experts, their prices and names, and which tools are on offer are drawn anew for each.

So a policy has to read descriptions and price tags. Experts are simulated (``toolorchestra.worlds.simulation``); whether an
episode was right is the world's own check.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import Any, Final

from typing_extensions import override

from toolorchestra.core.calls import Executor
from toolorchestra.core.loop.facts import Limits, Opened, Sampling
from toolorchestra.core.loop.state import State
from toolorchestra.core.registry import Catalog
from toolorchestra.core.resources import BudgetPolicySpec, ExpertModel, Orchestrator, Resource, Tool
from toolorchestra.core.resources.meta import API_VERSION, DEFAULT_NAMESPACE
from toolorchestra.core.resources.orchestrator import PreferenceSpec, Weights
from toolorchestra.core.revision import Revision, pin
from toolorchestra.core.rewards.episodes import EpisodeOutcome
from toolorchestra.core.rewards.yardstick import Yardstick
from toolorchestra.training.grpo.scenes import Scene, Source
from toolorchestra.training.grpo.settings import WorldTasks
from toolorchestra.training.grpo.worlds.reading import Company
from toolorchestra.worlds.check import check
from toolorchestra.worlds.errors import BrokenToolError
from toolorchestra.worlds.naming import SessionName
from toolorchestra.worlds.serving import WorldExecutor, calls_of, renamed, tools_of, typical_ms
from toolorchestra.worlds.simulation.cases import TaskBook
from toolorchestra.worlds.simulation.ceilings import Taken, taken_alone
from toolorchestra.worlds.simulation.executing import SimulatedExpertExecutor, StageExecutor
from toolorchestra.worlds.simulation.models import SimulatedModels
from toolorchestra.worlds.simulation.profiles import Cast, Profile, Split, draw_cast, repriced
from toolorchestra.worlds.simulation.user import ASK_USER, ASK_USER_TOOL, answering
from toolorchestra.worlds.tasks import Task
from toolorchestra.worlds.world import World

MANAGER: Final = "manager"
MODEL: Final = "worlds"
UNUSED_URL: Final = "http://127.0.0.1:9/v1"  # nothing is sent there: all models are objects in this process
FEWEST_EXPERTS: Final = 3
UNSTATED: Final = Weights(accuracy=1, cost=0.5)  # what is weighed where the user wishes nothing: right, then cheap


@dataclass(frozen=True)
class Stage:
    """One task as drawn: the experts and tools on offer, and the seed of all that happens.

    ``functions``: the world's tools behind functions of other names.
    """

    world: World
    task: Task
    cast: Cast
    tools: Sequence[Tool]
    functions: Mapping[str, str]
    models: SimulatedModels
    seed: int

    def alone(self, expert: Profile) -> Taken:
        """What this expert takes alone. Raises BrokenToolError where a tool of the world fails."""
        return taken_alone(self.task, self.world, expert, lambda tool: typical_ms(self.world.name, tool, self.seed))

    @property
    def best(self) -> Profile:
        """The cheapest expert that is right on the whole task by itself; the strongest where none is."""
        able = (one for one in self.cast if self.models.outcome(one.name, self.task.id).right)
        return next(able, self.cast.strongest)

    @property
    def solvable(self) -> bool:
        """Whether one expert is right on the whole task by itself."""
        return self.models.outcome(self.best.name, self.task.id).right

    def executor(self) -> Executor:
        """Who answers the calls of one episode: a new session of the world."""
        return StageExecutor(SimulatedExpertExecutor(self.models), WorldExecutor(self.world, seed=self.seed))

    def outcome(self, state: State) -> EpisodeOutcome:
        """How an ended run came out, by the world's check."""
        outcomes = [call.outcome for turn in state.turns for call in turn.calls if call.outcome is not None]
        if any(one.error_code == BrokenToolError.code for one in outcomes):
            return EpisodeOutcome.ENVIRONMENT_FAILURE
        if state.ended is None or state.ended.status != "completed":
            return EpisodeOutcome.WRONG
        made = calls_of(state, self.world, functions=self.functions)
        return EpisodeOutcome.OK if check(self.world, self.task, made, state.ended.answer).success else EpisodeOutcome.WRONG


@dataclass(frozen=True)
class WorldScenes(Source):
    """The tasks with one of ``tags`` and none of ``none_of``, each ``draws`` times with other experts: with ``profiles`` of
    training, or of tests.
    """

    companies: Sequence[Company]
    settings: WorldTasks
    tags: Sequence[str]
    draws: int
    profiles: Split = "train"
    temperature: float = 1.0
    none_of: Sequence[str] = ()

    @override
    def __len__(self) -> int:
        return len(self._tasks) * self.draws

    @override
    def scene(self, number: int) -> Scene:
        stage = self.stage(number)
        revision = _revision(stage, self.settings)
        strongest = stage.alone(stage.cast.strongest)
        names = (*(function.name for function in revision.functions), ASK_USER)
        return Scene(
            id=f"{stage.world.name}/{stage.task.id}/{number // len(self._tasks)}",
            revision=revision,
            opened=self._opened(stage, revision),
            executor=stage.executor,
            judge=stage.outcome,
            yardstick=Yardstick(_weights(stage.task, names), names, strongest.cost_nano_usd, strongest.latency_ms),
            explorable=stage.cast.names,
            user=answering(stage.task.user),
        )

    def stage(self, number: int) -> Stage:
        """Task ``number`` as drawn for it."""
        drawing, place = divmod(number, len(self._tasks))
        company, task = self._tasks[place]
        random = Random(f"worlds/{self.settings.seed}/{self.profiles}/{company.world.name}/{task.id}/{drawing}")
        seed, cast = random.randrange(1 << 31), self._cast(random)
        tools, functions = self._tools(random, company, task, taken=len(cast.profiles), seed=seed)
        return Stage(company.world, task, cast, tools, functions, SimulatedModels(self._book, cast, seed), seed)

    def _cast(self, random: Random) -> Cast:
        fields = tuple(company.world.name for company in self.companies)
        cast = draw_cast(random.randrange(1 << 31), split=self.profiles, fields=fields)
        if random.random() < self.settings.repriced:
            cast = repriced(cast)
        kept = random.sample(cast.names, random.randint(FEWEST_EXPERTS, len(cast.names)))
        return Cast(cast.seed, cast.split, tuple(one for one in cast if one.name in kept))

    def _tools(
        self, random: Random, company: Company, task: Task, *, taken: int, seed: int
    ) -> tuple[Sequence[Tool], Mapping[str, str]]:
        """Those that the reference solution uses, and others beside them."""
        needed = {one.tool for one in task.golden}
        others = [name for name in company.world.tools if name not in needed]
        room = max(0, self.settings.most_tools - taken - len(needed) - 1)  # the user can be asked as well
        needed |= set(random.sample(others, random.randint(0, min(room, len(others)))))
        tools = [tool for tool in tools_of(company.world, seed=seed) if _world_tool(tool) in needed]
        if random.random() < self.settings.renamed:
            return renamed(tools, f"{seed}/{task.id}")
        return tools, {}

    def _opened(self, stage: Stage, revision: Revision) -> Opened:
        session = f"{stage.world.name}:{stage.task.id}:{stage.seed}"
        wish, limits = stage.task.user.preference, self.settings
        return Opened(
            model=MODEL,
            policy=f"expert:{DEFAULT_NAMESPACE}/{MANAGER}",
            tenant=DEFAULT_NAMESPACE,
            key="training",
            revision=revision.id,
            messages=({"role": "user", "content": stage.task.user.opening},),
            client_tools=(dict(ASK_USER_TOOL),),
            preference=PreferenceSpec(words=wish.words or None, weights=wish.weights),
            limits=Limits(max_turns=limits.turns, max_output_tokens=limits.output_tokens, timeout_ms=limits.timeout_s * 1_000),
            sampling=Sampling(temperature=self.temperature),
            session=session if SessionName.find(session) else None,
        )

    @property
    def tasks(self) -> list[Task]:
        """All of them, once."""
        return [task for _, task in self._tasks]

    @cached_property
    def _tasks(self) -> list[tuple[Company, Task]]:
        return [(company, task) for company in self.companies for task in company.tagged(self.tags, none_of=self.none_of)]

    @cached_property
    def _book(self) -> TaskBook:
        return TaskBook([(company.world, company.tasks) for company in self.companies])


def _world_tool(tool: Tool) -> str:
    return str(tool.spec.plugin.config["tool"]) if tool.spec.plugin else ""


def _weights(task: Task, names: Sequence[str]) -> Weights:
    """What is weighed: the user's weights, without those of tools that are not offered here."""
    wish = task.user.preference
    if wish.weights == Weights() and not wish.words:
        return UNSTATED
    return wish.weights.model_copy(update={"tools": {name: one for name, one in wish.weights.tools.items() if name in names}})


def _revision(stage: Stage, settings: WorldTasks) -> Revision:
    """What a run of the task pins."""
    offered: list[Resource] = [*stage.tools, *stage.cast.experts(UNUSED_URL)]
    spec = {
        "policy": {"expertModelRef": {"name": MANAGER}, "format": "signatures"},
        "tools": {"include": [one.metadata.name for one in offered]},
        "instructions": stage.world.instructions,
    }
    orchestrator = Orchestrator.model_validate(_body("Orchestrator", MODEL, spec))
    return pin(Catalog.of([orchestrator, _manager(settings), *offered]), DEFAULT_NAMESPACE, MODEL, BudgetPolicySpec())


def _manager(settings: WorldTasks) -> ExpertModel:
    spec = {
        "description": "The manager.",
        "model": MANAGER,
        "endpoint": {"baseUrl": UNUSED_URL},
        "pricing": {"input": settings.own_input_usd, "output": settings.own_output_usd},
        "maxOutputTokens": settings.output_tokens,
    }
    return ExpertModel.model_validate(_body("ExpertModel", MANAGER, spec))


def _body(kind: str, name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    metadata = {"name": name, "namespace": DEFAULT_NAMESPACE}
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": dict(spec)}
