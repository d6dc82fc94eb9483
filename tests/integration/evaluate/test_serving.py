"""Routers and simulated experts over HTTP say what they say in memory."""

import asyncio
import json

import httpx
import pytest

from tests.support.dialogues import dialogue
from toolorchestra.cli.embedded.parts import free_port
from toolorchestra.core.chat import ChatReply, ChatRequest, ChatToolCall
from toolorchestra.core.errors import NotFoundError, UnavailableError, UpstreamError
from toolorchestra.core.functions import ExpertTarget
from toolorchestra.core.pricing import Usage
from toolorchestra.core.sessions import session_headers
from toolorchestra.core.testing import an_expert
from toolorchestra.training.evaluate.evaluating import Evaluation
from toolorchestra.training.evaluate.http_models import HttpModels
from toolorchestra.training.evaluate.records import read_records
from toolorchestra.training.evaluate.serving import ModelServer
from toolorchestra.worlds.loading import load_tasks

ANSWER = ChatReply("It is 42.", Usage(120, 7, reasoning=3), latency_ms=900)
CALL = ChatReply("", Usage(), tool_calls=(ChatToolCall("call_0", "find", '{"id": "ü"}'),), finish_reason="tool_calls")


class Peer:
    """Answers, or calls if there are tools; ``heard`` are the requests."""

    def __init__(self):
        self.heard = []

    async def chat(self, request):
        self.heard.append(request)
        return CALL if request.tools else ANSWER


def target_at(url, model="router-cheapest"):
    expert = an_expert("router", model=model, endpoint={"baseUrl": url})
    return ExpertTarget(namespace="default", name="router", spec=expert.spec, base_url=url)


@pytest.fixture
def served():
    peer, sessions = Peer(), []

    def find(model, session):
        sessions.append(session)
        if model != "router-cheapest":
            raise NotFoundError(f"the model {model!r} is not served here", param="model")
        return peer, target_at("http://127.0.0.1:9/v1")

    with ModelServer(find, lambda: ["router-cheapest"]) as server:
        yield server, peer, sessions


def ask(target, **fields):
    request = ChatRequest(target=target, messages=[{"role": "user", "content": "?"}], max_tokens=64, timeout_ms=5_000, **fields)

    async def go():
        async with httpx.AsyncClient() as client:
            return await HttpModels(client).chat(request)

    return asyncio.run(go())


def test_a_reply_is_the_same_over_http(served):
    server, peer, sessions = served
    reply = ask(target_at(server.url))
    assert (reply.text, reply.usage.input, reply.usage.output) == ("It is 42.", 120, 7)
    assert peer.heard[0].max_tokens == 64
    assert sessions == [None]


def test_a_stream_has_the_call_the_end_and_the_usage(served):
    server, _, sessions = served
    tool = {"type": "function", "function": {"name": "find", "parameters": {}}}
    body = {
        "model": "router-cheapest",
        "messages": [{"role": "user", "content": "?"}],
        "tools": [tool],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    found = httpx.post(f"{server.url}/chat/completions", json=body, headers=session_headers("railway:t1:2-ab"))
    events = [line.removeprefix("data: ") for line in found.text.split("\n") if line]
    assert events[-1] == "[DONE]"
    first, end, usage = map(json.loads, events[:-1])
    assert json.loads(first["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"]) == {"id": "ü"}
    assert end["choices"][0]["finish_reason"] == "tool_calls"
    assert usage["usage"]["total_tokens"] == 0
    assert sessions == ["railway:t1:2-ab"]
    assert found.headers["x-simulated-latency-ms"] == "0"


def test_models_are_listed_and_an_unknown_one_is_refused_by_name(served):
    server, _, _ = served
    listed = httpx.get(f"{server.url}/models").json()
    assert [model["id"] for model in listed["data"]] == ["router-cheapest"]
    with pytest.raises(UpstreamError, match="404"):
        ask(target_at(server.url, "router-golden"))


@pytest.mark.parametrize("body", ["{", "[]", '{"model": "router-cheapest"}'])
def test_a_body_that_is_no_request_is_told_so(served, body):
    found = httpx.post(f"{served[0].url}/chat/completions", content=body)
    assert found.status_code == 400
    assert found.json()["error"]["code"] == "invalid_request"


def test_a_port_that_is_taken_is_said(served):
    server = served[0]
    with pytest.raises(UnavailableError, match=f"port {server.port}"), ModelServer(lambda *_: None, list, port=server.port):
        pass


class Agreeing:
    """A judge that finds every answer right."""

    async def chat(self, request):
        del request
        return ChatReply('{"reason": "the same", "correct": true}', Usage(20, 5))


def test_a_judge_that_is_not_there_is_told_and_what_it_was_needed_for_is_played_again(a_plan, tmp_path):
    lines = [{"id": f"h{n}", "question": f"Who is {n}?", "answer": f"Ada {n}", "answer_type": "exactMatch"} for n in range(8)]
    (tmp_path / "hle.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    target, heard, port = target_at("http://127.0.0.1:9/v1", "judge"), [], free_port()
    judge = {"base_url": f"http://127.0.0.1:{port}/v1", "model": "judge"}
    suites = [{"kind": "hle", "file": str(tmp_path / "hle.jsonl")}]
    fields = {"suites": suites, "policies": ["golden", "nothing"], "judge": judge}
    report = {"resamples": 100, "policy": "nothing"}

    def play(failures):
        heard.clear()
        plan = a_plan(**fields, limits={"parallel": 1, "failures": failures}, report=report)
        progress = lambda episode, *_: heard.append(episode.policy)  # noqa: E731 - what is heard
        return asyncio.run(Evaluation(plan, tmp_path / "out", progress=progress).run()).report

    stopped = play(3)
    assert heard.count("nothing") == 3
    assert "3 episodes of nothing in a row failed" in stopped.partial.reason
    every = play(20)
    assert "no episode of nothing counts; the newest failure: the model 'judge'" in every.partial.reason
    assert (every.partial.done, [one.policy for one in every.policies]) == (16, ["golden"])
    assert "ConnectError" in (tmp_path / "out" / "report.html").read_text()
    with ModelServer(lambda *_: (Agreeing(), target), lambda: ["judge"], port=port):
        mended = play(20)
    assert heard == ["nothing"] * 8
    assert (mended.partial, {one.policy: one.rates.success.value for one in mended.policies}) == (
        None,
        {"golden": 1.0, "nothing": 1.0},
    )


class Customer:
    """Plays the user of a dialogue: says who they are, and once the agent is done, that this is all."""

    def __init__(self):
        self.heard = []

    async def chat(self, request):
        self.heard.append([one["content"] for one in request.messages])
        return ChatReply("I am the passenger." if len(request.messages) == 3 else "###STOP###", Usage(20, 5))


def test_the_user_of_a_dialogue_is_a_model_behind_http(material, a_plan, tmp_path):
    customer = Customer()
    tasks = [dialogue(task) for task in list(load_tasks(material / "railway"))[:2]]
    (tmp_path / "tasks.json").write_text(json.dumps(tasks))
    suite = {"kind": "tau2", "file": str(tmp_path / "tasks.json"), "world": "railway"}
    with ModelServer(lambda *_: (customer, target_at("http://127.0.0.1:9/v1", "customer")), lambda: ["customer"]) as server:
        plan = a_plan(suites=[suite], policies=["golden"], user={"base_url": server.url, "model": "customer"})
        asyncio.run(Evaluation(plan, tmp_path / "out").run())
    episodes = read_records(tmp_path / "out" / "episodes.jsonl").episodes
    assert [one.success for one in episodes] == [True, True]
    first, *_, last = customer.heard
    assert "You are the passenger." in first[0]  # the scenario
    assert len(customer.heard) == 4  # twice for each dialogue
    assert last[2:4] == ["Could you give me your details?", "I am the passenger."]
