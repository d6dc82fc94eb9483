"""What real tools and the local model can do with a plan's questions: what is taken for granted, beside what they did.

Labels of questions name the tool that answers them, and the simulation never doubts it; here the tool is really called. The
local model has no drawn skill: the cheapest expert of the cast stands beside it, which has its place in simulations.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from statistics import fmean
from typing import Any, Final, TypeAlias

import httpx

from toolorchestra.core.calls import CallRequest, Outcome, Status
from toolorchestra.core.errors import ToolOrchestraError
from toolorchestra.core.functions import Function
from toolorchestra.core.registry import Catalog
from toolorchestra.core.resources import Tool
from toolorchestra.core.resources.meta import DEFAULT_NAMESPACE
from toolorchestra.core.revision import functions_for
from toolorchestra.training.evaluate.parts import SkillRow
from toolorchestra.training.evaluate.real_tools import PluginExecutor
from toolorchestra.training.evaluate.remote import ask
from toolorchestra.training.evaluate.stages import BUDGET, Stage
from toolorchestra.training.evaluate.staging import Staged
from toolorchestra.worlds.questions import QuestionTask, check_question, says_answer
from toolorchestra.worlds.simulation.drawing import probability

LOCAL: Final = "local"  # the expert that a platform on one machine starts
SEARCH: Final = "search"  # a capability: such a tool takes any question as it is
QUERY: Final = "query"
AS_ASKED: Final = ", as asked"  # with the question, not with a query that somebody made of it
NO_PLATFORM: Final = "it runs on a platform only: add --platform"
Call: TypeAlias = Callable[[str, Mapping[str, Any]], Awaitable[Outcome]]  # a function by name, with arguments


@dataclass(frozen=True, slots=True)
class Routes:
    """How real tools and models are called. ``missing``: by name why one cannot be."""

    call: Call
    missing: Mapping[str, str]
    width: int = 1


@dataclass(frozen=True, slots=True)
class _Route:
    """One tool or model on one topic. ``tries``: the questions it is called for, each with the arguments.

    ``way``: of several in which a tool is called, which one this is.
    """

    name: str
    topic: str
    assumed: float
    tries: Sequence[tuple[QuestionTask, Mapping[str, Any]]]
    remark: str = ""
    way: str = ""

    def row(self, measured: float | None, n: int, told: str) -> SkillRow:
        """What came of it, with what is to be known."""
        note = "; ".join(part for part in (self.remark, told) if part)
        return SkillRow(f"{self.name}{self.way}", self.topic, self.assumed, measured, n, real=True, note=note)


def plugin_routes(staged: Staged) -> Routes:
    """The tools called in this process; there is no local model."""
    functions = {
        name: one for stage in staged.stages.values() if stage.world is None for name, one in _functions(stage).items()
    }
    executor = PluginExecutor()

    async def call(name: str, arguments: Mapping[str, Any]) -> Outcome:
        function = functions[name]
        return await executor.execute(
            CallRequest(
                call_id=f"skills/{name}",
                run_id="skills",
                tenant=DEFAULT_NAMESPACE,
                function=function,
                arguments=arguments,
                attempt=1,
                idempotency_key=f"skills/{name}",
                timeout_ms=function.timeout_ms,
            )
        )

    return Routes(call, {LOCAL: NO_PLATFORM})


async def platform_routes(client: httpx.AsyncClient, width: int) -> Routes:
    """Tools and the local model called through a platform, each call a run of its own."""

    async def call(name: str, arguments: Mapping[str, Any]) -> Outcome:
        try:
            found = await ask(client, "POST", f"/v1/tools/{name}/call", {"arguments": dict(arguments)})
        except ToolOrchestraError as error:
            return Outcome(status=Status.ERROR, content=str(error), error_code=error.code)
        return Outcome(status=Status(found["status"]), content=str(found["content"]), error_code=found["error_code"])

    return Routes(call, await _missing_on(client), width)


async def _missing_on(client: httpx.AsyncClient) -> Mapping[str, str]:
    try:
        listed = (await ask(client, "GET", "/v1/tools"))["data"]
    except ToolOrchestraError as error:
        return {LOCAL: str(error)}
    offered = any(one["name"] == LOCAL and not one["simulated"] for one in listed)
    return {} if offered else {LOCAL: f"the platform offers no model of the name {LOCAL}"}


async def real_rows(staged: Staged, routes: Routes) -> list[SkillRow]:
    """One row per real tool or local model and topic of questions, by name; empty without questions."""
    most = staged.plan.report.skill_questions
    by_topic = _by_topic(staged)
    planned = [*_tool_routes(staged, by_topic, most), *_local_routes(staged, by_topic, most)] if most else []
    gate = asyncio.Semaphore(routes.width)

    async def row(route: _Route) -> SkillRow:
        async with gate:
            return await _row(route, routes)

    return sorted(await asyncio.gather(*map(row, planned)), key=lambda one: (one.expert, one.topic))


async def _row(route: _Route, routes: Routes) -> SkillRow:
    why = routes.missing.get(route.name)
    if why is not None:
        return route.row(None, 0, f"not measured: {why}")
    outcomes = [(task, await routes.call(route.name, arguments)) for task, arguments in route.tries]
    failed = [outcome for _, outcome in outcomes if outcome.status is not Status.OK]
    told = f"{len(failed)} of {len(outcomes)} calls failed: {failed[0].content}" if failed else ""
    if len(failed) == len(outcomes):
        return route.row(None, len(outcomes), f"not measured: {told}")
    right = [outcome.status is Status.OK and _is_right(route, task, outcome.content) for task, outcome in outcomes]
    return route.row(fmean(right), len(outcomes), told)


def _is_right(route: _Route, task: QuestionTask, content: str) -> bool:
    """A tool brings the answer among other things; a model must say it."""
    return check_question(task, content).success if route.name == LOCAL else says_answer(task, content)


def _by_topic(staged: Staged) -> dict[str, list[QuestionTask]]:
    """Every question of the plan once, in an order of its own that no seed moves."""
    found: defaultdict[str, dict[str, QuestionTask]] = defaultdict(dict)
    for subject in staged.subjects:
        if isinstance(subject.source, QuestionTask):
            found[subject.topic][subject.id] = subject.source
    return {topic: sorted(tasks.values(), key=_drawn) for topic, tasks in sorted(found.items())}


def _drawn(task: QuestionTask) -> bytes:
    return blake2b(task.id.encode(), digest_size=8).digest()


def _tool_routes(staged: Staged, by_topic: Mapping[str, Sequence[QuestionTask]], most: int) -> Iterable[_Route]:
    """Tools that a label of the plan names: called as the label says, and a search also with any question as it is."""
    named = {one.tool for tasks in by_topic.values() for task in tasks for one in task.golden}
    tools = {tool.metadata.name: tool for stage in staged.stages.values() for tool in stage.tools}
    for name in sorted(named & tools.keys()):
        for topic, tasks in by_topic.items():
            labelled = [(task, one.arguments) for task in tasks for one in task.golden if one.tool == name]
            share = len({task.id for task, _ in labelled}) / len(tasks)
            if labelled:
                yield _Route(name, topic, share, labelled[:most])
            if _searches(tools[name]):
                yield _Route(name, topic, share, [(task, {QUERY: task.question}) for task in tasks[:most]], way=AS_ASKED)


def _searches(tool: Tool) -> bool:
    return SEARCH in tool.spec.capabilities and QUERY in (tool.spec.parameters or {}).get("properties", {})


def _local_routes(staged: Staged, by_topic: Mapping[str, Sequence[QuestionTask]], most: int) -> Iterable[_Route]:
    cast = next((staged.casts[name] for name, stage in staged.stages.items() if stage.world is None), None)
    if cast is None:
        return
    remark = f"assumed is what was drawn for {cast.cheapest.name}, which has its place in simulations"
    for topic, tasks in by_topic.items():
        chances = [probability(staged.plan.seed, task, cast.cheapest) for task in tasks]
        yield _Route(LOCAL, topic, fmean(chances), [(task, {"question": task.question}) for task in tasks[:most]], remark)


def _functions(stage: Stage) -> dict[str, Function]:
    found, _ = functions_for(Catalog.of(stage.tools), stage.namespace, BUDGET)
    return {function.name: function for function in found}
