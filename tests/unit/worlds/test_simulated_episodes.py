"""Simulated experts in the loop that serves: as the manager over a world's tools, and as a function that a manager calls."""

import json

import pytest

from tests.support.library import LIBRARY, task
from toolorchestra.core.calls import CallRequest, Status
from toolorchestra.core.errors import InvalidManifestError
from toolorchestra.core.loop.memory import run_episode
from toolorchestra.core.pricing import cost
from toolorchestra.core.testing import a_revision, an_opening
from toolorchestra.worlds.check import check
from toolorchestra.worlds.loading import load_world
from toolorchestra.worlds.serving import WorldExecutor, calls_of, tools_of
from toolorchestra.worlds.simulation.cases import TaskBook
from toolorchestra.worlds.simulation.drawing import Fault
from toolorchestra.worlds.simulation.executing import SimulatedExpertExecutor
from toolorchestra.worlds.simulation.models import REFUSAL, SimulatedModels
from toolorchestra.worlds.simulation.profiles import draw_cast

WORLD = load_world(LIBRARY)
CAST = draw_cast(1)
TASKS = [task(id=f"library-{number}") for number in range(150)]
MODELS = SimulatedModels(TaskBook([(WORLD, TASKS)]), CAST, 5)
REVISION = a_revision(*tools_of(WORLD, where=str(LIBRARY)), *CAST.experts("http://127.0.0.1:9/v1"), manager=CAST.strongest.name)
DRAWS = {one.id: MODELS.outcome(CAST.cheapest.name, one.id) for one in TASKS}


def on(fault):
    """The first task on which the cheapest expert does so; None: is right."""
    return next(one for one in TASKS if DRAWS[one.id].fault is fault)


async def call(one, *, question=None, timeout_ms=60_000):
    """The cheapest expert, called as a tool."""
    function = REVISION.function(CAST.cheapest.name)
    return await SimulatedExpertExecutor(MODELS).execute(
        CallRequest(
            call_id="run/1/0", run_id="run", tenant="default", function=function, attempt=1, idempotency_key="run/1/0",
            arguments={"question": one.user.opening if question is None else question}, timeout_ms=timeout_ms,
            session=f"library:{one.id}:1",
        )
    )  # fmt: skip


async def test_an_expert_manages_the_real_loop():
    models = SimulatedModels(TaskBook([(WORLD, [TASKS[0]])]), CAST, 5)
    name = next(p.name for p in reversed(CAST.profiles) if models.outcome(p.name, TASKS[0].id).right)
    revision = a_revision(*tools_of(WORLD, where=str(LIBRARY)), *CAST.experts("http://127.0.0.1:9/v1"), manager=name)
    opening = an_opening(TASKS[0].user.opening, limits={"max_turns": 50})
    state = await run_episode(opening, revision, models=models, executor=WorldExecutor(WORLD))
    assert check(WORLD, TASKS[0], calls_of(state, WORLD), state.ended.answer).success
    assert state.spent_nano_usd > 0


async def test_an_expert_as_a_tool_is_priced_and_labelled():
    one = on(None)
    outcome = await call(one)
    assert outcome.status is Status.OK
    assert json.loads(outcome.content)["call"]["name"] == "find_member"
    assert outcome.details["simulated"] is True
    assert outcome.cost_nano_usd == cost(CAST.cheapest.price, usage=outcome.usage, milliseconds=outcome.latency_ms) > 0
    assert outcome.latency_ms > 0


async def test_its_failures_are_outcomes():
    refused = await call(on(Fault.REFUSED))
    assert (refused.status, refused.content) == (Status.OK, REFUSAL)
    late = next(one for one in TASKS if DRAWS[one.id].fault is Fault.LATE and DRAWS[one.id].step == 0)
    outcome = await call(late, timeout_ms=9_000)
    assert (outcome.status, outcome.error_code, outcome.latency_ms) == (Status.TIMEOUT, "upstream_timeout", 9_000)
    assert outcome.cost_nano_usd > 0
    assert outcome.details["simulated"] is True


async def test_a_call_without_a_question_says_what_is_missing():
    outcome = await call(TASKS[0], question=" ")
    assert (outcome.status, outcome.error_code, outcome.sent) == (Status.ERROR, "invalid_arguments", False)
    assert "question" in outcome.content


async def test_only_experts_are_called():
    tool = next(function for function in REVISION.functions if not function.is_expert)
    request = CallRequest("c", "r", "default", tool, {"question": "x"}, 1, "c", 1_000)
    with pytest.raises(InvalidManifestError):
        await SimulatedExpertExecutor(MODELS).execute(request)
