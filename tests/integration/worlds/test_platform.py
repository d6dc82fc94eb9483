"""Real runs play real tasks: a world's tools by plug-in, on workers, and by MCP, under an orchestrator, and judged from the run."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from mcp import Client
from mcp_types import CallToolRequest, CallToolRequestParams, CallToolResult, TextContent
from pydantic import TypeAdapter

from tests.support.platform import Platform, PlatformFactory, expert, manager, wait_until
from toolorchestra.core.resources import Tool
from toolorchestra.executors.testing import Behaviour, CountingProvider
from toolorchestra.training.toolscale.building import build_domain, write_domain
from toolorchestra.training.toolscale.domain import find_domain
from toolorchestra.worlds.answers import tell
from toolorchestra.worlds.check import Verdict, check, golden_end
from toolorchestra.worlds.loading import load_tasks, load_world
from toolorchestra.worlds.serving import SessionLog, calls_of, mcp_tool_of, tools_of, world_tool
from toolorchestra.worlds.session import Call
from toolorchestra.worlds.tasks import Task
from toolorchestra.worlds.world import World

pytestmark = pytest.mark.timeout(300)

SESSIONS = "TOOLORCHESTRA_WORLD_SESSIONS"
QUEUED = "queued-"  # before the names of the tools that workers call
WAYS: Mapping[str, Callable[[str], str]] = {
    "by-plugin": lambda tool: f"railway-{tool.replace('_', '-')}",
    "by-worker": lambda tool: f"{QUEUED}railway-{tool.replace('_', '-')}",
    "by-mcp": lambda tool: f"railway__{tool}",
}


@dataclass(frozen=True)
class Served:
    """A freshly built world, a task in it that cancels a booking, and where its sessions are kept."""

    folder: Path
    world: World
    task: Task
    sessions: Path

    @property
    def answer(self) -> str:
        return tell(self.task.facts, currency=self.world.spec.currency)

    @property
    def wrong(self) -> list[Call]:
        """The golden calls, but somebody else's booking is cancelled."""
        right = next(one.arguments["booking_id"] for one in self.task.golden if one.tool == "cancel_booking")
        bookings = self.world.database().rows("bookings")
        other = next(row["booking_id"] for row in bookings if row["status"] == "confirmed" and row["booking_id"] != right)
        calls = [one.call for one in self.task.golden]
        return [Call(c.tool, {**c.arguments, "booking_id": other}) if c.tool == "cancel_booking" else c for c in calls]


@dataclass(frozen=True)
class Server:
    """A world's MCP server."""

    url: str

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1].split("/")[0])


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Served:
    folder = write_domain(build_domain(find_domain("railway"), seed=7, count=8), tmp_path_factory.mktemp("worlds"))
    task = next(t for t in load_tasks(folder) if t.facts and any(one.tool == "cancel_booking" for one in t.golden))
    return Served(folder, load_world(folder), task, tmp_path_factory.mktemp("sessions"))


@contextmanager
def serving(served: Served) -> Iterator[Server]:
    """``python -m toolorchestra.worlds.mcp_server`` until the block ends."""
    command = [sys.executable, "-m", "toolorchestra.worlds.mcp_server", str(served.folder)]
    environment = {**os.environ, SESSIONS: str(served.sessions)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Server(process.stdout.readline().strip())
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def server(served: Served) -> Iterator[Server]:
    with serving(served) as running:
        yield running


@pytest.fixture(scope="module")
def provider() -> Iterator[CountingProvider]:
    with CountingProvider(behaviour=Behaviour(needs_tools=True)) as running:
        yield running


@pytest.fixture(scope="module")
def platform(new_platform: PlatformFactory, provider: CountingProvider, served: Served, server: Server) -> Iterator[Platform]:
    plugins = tools_of(served.world, where=str(served.folder))
    queued = [renamed(tool) for tool in tools_of(served.world, where=str(served.folder), execution="queued")]
    managers = [manager("by-plugin", tools={"include": ["railway-*"]}), manager("by-worker", tools={"include": [f"{QUEUED}*"]})]
    with new_platform(provider, server, **{SESSIONS: str(served.sessions)}) as made:
        made.apply(
            expert("small", provider, contextTokens=131_072),
            *managers,
            manager("by-mcp", tools={"include": ["railway__*"]}),
            *(written(tool) for tool in [*plugins, *queued, mcp_tool_of(served.world, server.url)]),
        )
        made.start()
        made.start_worker()
        wait_until(lambda: "railway__cancel_booking" in made.http().get("/v1/tools").text)
        yield made


def renamed(tool: Tool) -> Tool:
    return tool.model_copy(update={"metadata": tool.metadata.model_copy(update={"name": f"{QUEUED}{tool.metadata.name}"})})


def written(tool: Tool) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(tool.model_dump_json(by_alias=True, exclude_defaults=True))
    return document


def play(
    platform: Platform, way: str, calls: Sequence[Call], *, answer: str = "Done.", session: str | None = None
) -> dict[str, Any]:
    """A run whose manager makes these calls, one a turn, and then answers; as the platform tells of it."""
    turns = [{"call": [WAYS[way](call.tool), dict(call.arguments)]} for call in calls]
    script = json.dumps({"turns": [*turns, {"text": answer}]})
    body: dict[str, Any] = {"model": way, "messages": [{"role": "user", "content": f"Play this. [[{script}]]"}]}
    if session is not None:
        body["toolorchestra"] = {"session": session}
    answered = platform.http().post("/v1/chat/completions", json=body)
    assert answered.status_code == 200, answered.text
    found: dict[str, Any] = platform.http().get(f"/v1/runs/{answered.json()['toolorchestra']['run_id']}").json()
    return found


def made(served: Served, *runs: Mapping[str, Any]) -> list[Call]:
    own = {WAYS["by-worker"](tool): tool for tool in served.world.tools}
    return [call for run in runs for call in calls_of(run, served.world, functions=own)]


def verdict(served: Served, *runs: Mapping[str, Any]) -> Verdict:
    return check(served.world, served.task, made(served, *runs), runs[-1]["answer"]["answer"])


@pytest.mark.parametrize("way", WAYS)
def test_a_run_that_plays_the_golden_calls_meets_its_task(
    platform: Platform, served: Served, provider: CountingProvider, way: str
) -> None:
    session = f"railway:{served.task.id}:{way}"
    run = play(platform, way, served.task.calls, answer=served.answer, session=session)
    assert (run["session"], run["status"]) == (session, "completed")
    assert made(served, run) == list(served.task.calls)
    assert verdict(served, run).reasons == ()
    owner = "_mcp" if way == "by-mcp" else "default"
    stored = SessionLog(served.sessions).session(served.world, session, owner=owner)
    assert (stored.calls, stored.state_hash) == (list(served.task.calls), golden_end(served.world, served.task))
    executions = {call["execution"] for turn in run["turns"] for call in turn["calls"]}
    assert executions == ({"queued"} if way == "by-worker" else {"inline"})
    assert provider.bill.entries[-1].baggage == f"toolorchestra.session={session}", "the manager model knows it, too"


@pytest.mark.parametrize("way", WAYS)
def test_a_run_with_one_argument_wrong_does_not(platform: Platform, served: Served, way: str) -> None:
    run = play(platform, way, served.wrong, answer=served.answer, session=f"railway:{served.task.id}:{way}-wrong")
    assert made(served, run) == served.wrong
    found = verdict(served, run)
    assert (found.success, found.state_equal) == (False, False)


@pytest.mark.parametrize("way", WAYS)
def test_a_refusal_is_the_same_text_whichever_way_it_comes(platform: Platform, way: str) -> None:
    refused = [Call("get_booking", {"booking_id": "BK-00000"})]
    run = play(platform, way, refused, session=f"refused-{way}")
    (call,) = run["turns"][0]["calls"]
    assert (call["status"], call["error_code"]) == ("error", "tool_error")
    assert json.loads(call["result"])["error"]["code"] == "not_found"


@pytest.mark.parametrize("way", WAYS)
def test_a_run_outside_of_a_session_is_told_to_send_one(platform: Platform, served: Served, way: str) -> None:
    run = play(platform, way, served.task.calls[:1])
    (call,) = run["turns"][0]["calls"]
    assert (run["session"], run["status"], call["status"]) == (None, "completed", "error")
    assert 'send "toolorchestra": {"session": "any-name"}' in call["result"]


def test_a_tool_called_directly_plays_in_the_session_that_is_named(platform: Platform, served: Served) -> None:
    first = served.task.calls[0]
    body = {"arguments": dict(first.arguments), "session": "direct"}
    told = platform.http().post(f"/v1/tools/{WAYS['by-plugin'](first.tool)}/call", json=body).json()
    assert told["status"] == "ok"
    assert platform.http().get(f"/v1/runs/{told['run_id']}").json()["session"] == "direct"
    assert SessionLog(served.sessions).session(served.world, "direct", owner="default").calls == [first]


def test_a_session_goes_on_at_a_worker_and_at_another_replica(platform: Platform, served: Served) -> None:
    calls, session = served.task.calls, f"railway:{served.task.id}:moved"
    first = play(platform, "by-plugin", calls[:2], session=session)
    second = play(platform, "by-worker", calls[2:4], session=session)
    platform.replicas[-1].kill()
    platform.start()
    third = play(platform, "by-plugin", calls[4:], answer=served.answer, session=session)
    assert verdict(served, first, second, third).reasons == ()
    stored = SessionLog(served.sessions).session(served.world, session, owner="default")
    assert stored.state_hash == golden_end(served.world, served.task)


async def remote(server: Server, call: Call, **meta: str) -> CallToolResult:
    answer: TypeAdapter[CallToolResult] = TypeAdapter(CallToolResult)
    asked = CallToolRequestParams.model_validate({"name": call.tool, "arguments": dict(call.arguments), "_meta": meta})
    async with Client(server.url, mode="auto") as client:
        return await client.session.send_request(CallToolRequest(params=asked), answer)


def said(result: CallToolResult) -> str:
    (block,) = result.content
    assert isinstance(block, TextContent)
    return block.text


async def test_an_mcp_server_lists_schemas_and_effects(served: Served, server: Server) -> None:
    async with Client(server.url, mode="auto") as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert set(tools) == set(served.world.tools)
    for name, tool in served.world.tools.items():
        hints = tools[name].annotations
        assert hints is not None
        assert (tools[name].description, tools[name].input_schema) == (tool.description, dict(tool.parameters))
        assert (hints.read_only_hint, hints.destructive_hint) == (not tool.writes, tool.side_effects == "destructive")
        assert hints.idempotent_hint is (tool.side_effects != "destructive")
        assert world_tool(f"railway__{name}", served.world) == name


async def test_a_session_goes_on_at_another_mcp_server_and_repeats_nothing(served: Served, server: Server) -> None:
    session = {"toolorchestra.dev/session": "two-servers"}
    with serving(served) as other:
        for place, call in enumerate(served.task.calls):
            key = {"toolorchestra.dev/idempotency-key": f"call-{place}"}
            first = await remote(server if place % 2 else other, call, **session, **key)
            again = await remote(other if place % 2 else server, call, **session, **key)
            assert said(first) == said(again)
    stored = SessionLog(served.sessions).session(served.world, "two-servers", owner="_mcp")
    assert (stored.calls, stored.state_hash) == (list(served.task.calls), golden_end(served.world, served.task))


async def test_an_mcp_server_tells_errors_as_results(served: Served, server: Server) -> None:
    unnamed = await remote(server, served.task.calls[0])
    assert (unnamed.is_error, "session" in said(unnamed)) == (True, True)
    unknown = await remote(server, Call("fly", {}), **{"toolorchestra.dev/session": "errors"})
    assert (unknown.is_error, json.loads(said(unknown))["error"]["code"]) == (True, "unknown_tool")


def test_a_world_that_is_not_there_cannot_be_served() -> None:
    command = [sys.executable, "-m", "toolorchestra.worlds.mcp_server", "atlantis"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert "there is no such file" in ended.stderr
