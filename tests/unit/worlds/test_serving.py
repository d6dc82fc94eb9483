"""A world's tools as Tools of the platform, and episodes that play with them in memory."""

import json

import pytest

from tests.support.library import FACTS, GOLDEN, LIBRARY, task
from toolorchestra.core.calls import CallRequest, Status
from toolorchestra.core.errors import InvalidManifestError, InvalidRequestError
from toolorchestra.core.functions import ToolTarget
from toolorchestra.core.loop.memory import run_episode
from toolorchestra.core.resources.manifest import parse_resource
from toolorchestra.core.testing import Say, ScriptedModels, Use, a_revision, a_tool, an_expert, an_opening
from toolorchestra.worlds.answers import tell
from toolorchestra.worlds.check import check
from toolorchestra.worlds.errors import InvalidWorldError
from toolorchestra.worlds.loading import load_world
from toolorchestra.worlds.serving import (
    WorldExecutor,
    calls_of,
    mcp_tool_of,
    served_world,
    tool_behind,
    tools_of,
    typical_ms,
    world_tool,
)
from toolorchestra.worlds.session import Call, Session

WORLD = load_world(LIBRARY)
TOOLS = tools_of(WORLD, where=str(LIBRARY))
REVISION = a_revision(an_expert("boss"), *TOOLS, manager="boss")
ANSWER = tell(FACTS, currency=WORLD.spec.currency)
USES = tuple(Use(((f"library-{one.tool.replace('_', '-')}", json.dumps(one.arguments)),)) for one in GOLDEN)


def request(name, arguments, **fields):
    function = REVISION.function(name)
    given = {"call_id": "run/1/1", "run_id": "run", "tenant": "default", "attempt": 1, "idempotency_key": "run/1/1"}
    return CallRequest(function=function, arguments=arguments, timeout_ms=1_000, **(given | fields))


async def play(*script, executor=None):
    models = ScriptedModels([*script, Say(ANSWER)])
    opening = an_opening(task().user.opening, limits={"max_turns": 50})
    return await run_episode(opening, REVISION, models=models, executor=executor or WorldExecutor(WORLD))


def test_every_tool_of_a_world_is_a_tool_that_a_manifest_could_say():
    for tool, own in zip(TOOLS, WORLD.tools.values(), strict=True):
        written = tool.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        assert parse_resource(written, source="test") == tool
        assert (tool.spec.description, tool.spec.parameters) == (own.description, dict(own.parameters))
        assert tool.spec.side_effects == own.side_effects
        assert tool.spec.plugin.config == {"world": str(LIBRARY), "tool": own.name}


def test_prices_execution_and_typical_latency_are_as_wished():
    tools = tools_of(WORLD, prices={"lend": "0.02"}, execution="queued", seed=3)
    lend = next(tool for tool in tools if tool.metadata.name == "library-lend")
    assert (lend.spec.pricing.per_call, lend.spec.execution) == ("0.02", "queued")
    assert lend.spec.typical_latency == f"{typical_ms('library', 'lend', 3)}ms"
    assert {tool.spec.pricing.per_call for tool in tools if tool is not lend} == {"0"}
    assert all(tool.spec.typical_latency is None for tool in TOOLS)


def test_the_latency_of_a_tool_is_drawn_once_per_seed():
    drawn = [typical_ms("library", tool, seed) for tool in ("a", "b", "c") for seed in range(50)]
    assert drawn == [typical_ms("library", tool, seed) for tool in ("a", "b", "c") for seed in range(50)]
    assert min(drawn) >= 50
    assert max(drawn) <= 400
    assert len(set(drawn)) > 50


def test_an_mcp_server_is_one_tool_with_the_effects_of_its_most_harmful_one():
    tool = mcp_tool_of(WORLD, "http://127.0.0.1:9/mcp", per_call_usd="0.001")
    assert (tool.metadata.name, tool.spec.mcp.url) == ("library", "http://127.0.0.1:9/mcp")
    assert (tool.spec.side_effects, tool.spec.pricing.per_call) == ("destructive", "0.001")


def test_functions_of_both_backends_lead_back_to_the_tool_and_others_do_not():
    assert world_tool("library-find-member", WORLD) == "find_member"
    assert world_tool("library__find_member", WORLD) == "find_member"
    for other in ("library-fly", "library__fly", "railway-find-member", "find_member", "library", "library-find_member-x"):
        assert world_tool(other, WORLD) is None


def test_a_function_of_another_name_is_known_by_where_it_leads():
    lend = REVISION.function("library-lend")
    assert tool_behind(lend.model_copy(update={"name": "verleihen"}), WORLD) == "lend"
    remote = mcp_tool_of(WORLD, "http://127.0.0.1:9/mcp")
    target = ToolTarget(namespace="default", name="library", spec=remote.spec, operation="lend", details={"remoteName": "lend"})
    assert tool_behind(lend.model_copy(update={"name": "x", "target": target}), WORLD) == "lend"
    assert tool_behind(a_revision(a_tool("lookup")).function("lookup"), WORLD) is None
    assert tool_behind(a_revision(an_expert("sage")).function("sage"), WORLD) is None


async def test_an_episode_in_memory_that_plays_the_golden_calls_succeeds():
    state = await play(*USES)
    assert calls_of(state, WORLD) == [one.call for one in GOLDEN]
    assert check(WORLD, task(), calls_of(state, WORLD), state.ended.answer).success


async def test_an_episode_with_one_argument_wrong_fails():
    wrong = json.dumps(GOLDEN[-1].arguments | {"due": "2026-03-17"})
    state = await play(*USES[:-1], Use((("library-lend", wrong),)))
    verdict = check(WORLD, task(), calls_of(state, WORLD), state.ended.answer)
    assert not verdict.success
    assert not verdict.state_equal


async def test_what_never_left_is_no_call():
    """Unknown functions, arguments against the schema, and what belongs to no world."""
    bad = Use((("library-lend", "{}"), ("library-fly", "{}"), ("library-lend", "no json")))
    state = await play(bad, *USES)
    assert len([call for turn in state.turns for call in turn.calls]) == 3 + len(GOLDEN)
    assert calls_of(state, WORLD) == [one.call for one in GOLDEN]


async def test_a_refused_call_is_an_error_whose_text_is_its_json():
    executor = WorldExecutor(WORLD, seed=4)
    outcome = await executor.execute(request("library-find-member", {"email": "nobody@post.example"}))
    assert (outcome.status, outcome.error_code) == (Status.ERROR, "tool_error")
    assert json.loads(outcome.content)["error"]["code"] == "not_found"
    assert outcome.details == {"world": "library", "refusal": "not_found"}
    assert outcome.latency_ms == typical_ms("library", "find_member", 4)


async def test_results_are_those_of_a_session_at_the_pinned_price():
    dear = a_revision(*tools_of(WORLD, prices={"find_member": "0.002"})).function("library-find-member")
    session = Session(WORLD)
    executor = WorldExecutor(WORLD, session)
    call = CallRequest("r/1/1", "r", "default", dear, {"email": "ada@post.example"}, 1, "r/1/1", 1_000)
    outcome = await executor.execute(call)
    assert json.loads(outcome.content) == session.results[0].content
    assert outcome.cost_nano_usd == 2_000_000


async def test_a_further_attempt_of_a_call_is_not_played_again():
    executor = WorldExecutor(WORLD)
    pay = request("library-pay-fine", {"member_id": "ME-100", "amount": "1.00"})
    first = await executor.execute(pay)
    again = request("library-pay-fine", {"member_id": "ME-100", "amount": "1.00"}, attempt=2)
    assert await executor.execute(again) is first
    assert executor.session.calls == [Call("pay_fine", {"member_id": "ME-100", "amount": "1.00"})]


async def test_a_long_result_is_cut_as_on_the_platform():
    listing = REVISION.function("library-list-loans")
    spec = listing.target.spec.model_copy(update={"max_result_bytes": 100})
    short = listing.model_copy(update={"target": listing.target.model_copy(update={"spec": spec})})
    one, other = (
        CallRequest("r/1/1", "r", "default", listed, {"member_id": "ME-100"}, 1, "r/1/1", 1_000) for listed in (listing, short)
    )
    whole, cut = await WorldExecutor(WORLD).execute(one), await WorldExecutor(WORLD).execute(other)
    assert len(whole.content) > 100
    assert (cut.truncated, cut.content) == (True, whole.content[:100])


async def test_a_function_of_something_else_is_no_tool_of_the_world():
    other = a_revision(a_tool("lookup")).function("lookup")
    with pytest.raises(InvalidManifestError, match="lookup is no tool of the world 'library'"):
        await WorldExecutor(WORLD).execute(CallRequest("r/1/1", "r", "default", other, {}, 1, "r/1/1", 1_000))


def document(*calls):
    return {"id": "run-1", "turns": [{"calls": [{"id": "1/1", **call} for call in calls]}]}


def test_calls_are_read_from_the_document_of_a_run():
    lend = {"member_id": "ME-100", "book_id": "BO-4", "due": "2026-03-16"}
    run = document(
        {"function": "library__find_member", "arguments": {"email": "ada@post.example"}, "sent": True},
        {"function": "library__lend", "arguments": lend, "sent": False},
        {"function": "sage", "arguments": {"question": "?"}, "sent": True},
        {"function": "verleihen", "arguments": lend, "sent": True},
    )
    found = calls_of(run, WORLD, functions={"verleihen": "lend"})
    assert found == [Call("find_member", {"email": "ada@post.example"}), Call("lend", lend)]


def test_a_document_without_its_content_cannot_be_judged():
    with pytest.raises(InvalidRequestError, match="run run-1: the arguments of call 1/1 are deleted"):
        calls_of(document({"function": "library__lend", "arguments": None, "sent": True}), WORLD)


def test_a_world_is_found_by_folder_and_by_name(monkeypatch):
    assert served_world(str(LIBRARY)) is WORLD
    monkeypatch.setenv("TOOLORCHESTRA_WORLDS", str(LIBRARY.parent))
    assert served_world("library") is WORLD


def test_a_shipped_world_without_rows_says_how_to_make_them(monkeypatch):
    monkeypatch.delenv("TOOLORCHESTRA_WORLDS", raising=False)
    with pytest.raises(InvalidWorldError, match="toolorchestra worlds build --out FOLDER"):
        served_world("railway")
    with pytest.raises(InvalidWorldError, match="there is no such file"):
        served_world("atlantis")
