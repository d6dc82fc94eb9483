import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest

from toolorchestra.core.calls import CallRequest, Outcome, Status
from toolorchestra.core.chat import ChatReply, ChatRequest, InterruptedCallError, Meter
from toolorchestra.core.errors import EgressDeniedError, UpstreamError
from toolorchestra.core.experts import expert_messages
from toolorchestra.core.functions import ExpertTarget, Function, ToolTarget
from toolorchestra.core.pricing import Price, Usage
from toolorchestra.core.resources import ExpertModelSpec, ToolSpec
from toolorchestra.executors.dispatch import Executors, backend_of
from toolorchestra.executors.expert import ExpertExecutor
from toolorchestra.executors.slots import Slots

BACKENDS: dict[str, dict[str, Any]] = {
    "http": {"url": "https://h/x"},
    "openapi": {"url": "https://h/x"},
    "mcp": {"url": "https://h/x"},
    "plugin": {"name": "x"},
}
TOOL_PRICE = Price(per_call=1_000, per_second=10_000)
MODEL_PRICE = Price(input=1_000_000, output=2_000_000)  # 1 and 2 nano-USD per token


class Stub:
    """An executor that does one thing."""

    def __init__(self, act: Callable[[CallRequest], Awaitable[Outcome]]) -> None:
        self._act = act
        self.calls: list[CallRequest] = []

    async def execute(self, call: CallRequest) -> Outcome:
        self.calls.append(call)
        return await self._act(call)


class StubModels:
    """A model client that does one thing."""

    def __init__(self, act: Callable[[ChatRequest], Awaitable[ChatReply]]) -> None:
        self._act = act
        self.requests: list[ChatRequest] = []

    async def chat(self, request: ChatRequest) -> ChatReply:
        self.requests.append(request)
        return await self._act(request)


async def fine(_: CallRequest) -> Outcome:
    return Outcome(status=Status.OK, content="fine")


async def answer(_: ChatRequest) -> ChatReply:
    return ChatReply(text="42", usage=Usage(100, 10), latency_ms=5, model="m")


async def hang(_: Any) -> Any:
    await asyncio.sleep(60)


def executors(tool: Stub | None = None, models: StubModels | None = None) -> Executors:
    tool = tool or Stub(fine)
    tools = {"http": tool, "openapi": tool, "mcp": tool, "plugin": tool}
    return Executors(tools, ExpertExecutor(models or StubModels(answer)), slots=Slots())


def tool_call(timeout_ms: int = 1_000, backend: str = "http", **spec: Any) -> CallRequest:
    made = ToolSpec.model_validate({"description": "d", backend: BACKENDS[backend], **spec})
    return call_of(
        Function(
            name="tool", description="d", parameters={}, target=ToolTarget(namespace="default", name="tool", spec=made),
            side_effects="destructive", execution="inline", price=TOOL_PRICE, timeout_ms=1_000,
        ),
        {}, timeout_ms,
    )  # fmt: skip


def expert_call(timeout_ms: int = 1_000, arguments: Mapping[str, Any] | None = None, **spec: Any) -> CallRequest:
    made = ExpertModelSpec.model_validate({"description": "d", "model": "m", "endpoint": {"baseUrl": "http://h/v1"}, **spec})
    target = ExpertTarget(namespace="default", name="sage", spec=made, base_url="http://h/v1", offer="answer")
    return call_of(
        Function(
            name="sage", description="d", parameters={}, target=target, side_effects="readOnly", execution="inline",
            price=MODEL_PRICE, timeout_ms=1_000, max_output_tokens=64,
        ),
        {"question": "why?"} if arguments is None else arguments, timeout_ms,
    )  # fmt: skip


def call_of(function: Function, arguments: Mapping[str, Any], timeout_ms: int) -> CallRequest:
    return CallRequest(
        call_id="c", run_id="r", tenant="t", function=function, arguments=arguments, attempt=1,
        idempotency_key="r/1/1", timeout_ms=timeout_ms,
    )  # fmt: skip


@pytest.mark.parametrize("backend", list(BACKENDS))
async def test_each_backend_has_its_executor(backend: str) -> None:
    stubs = {name: Stub(fine) for name in BACKENDS}
    call = tool_call(backend=backend)
    await Executors(stubs, ExpertExecutor(StubModels(answer)), slots=Slots()).execute(call)
    assert [name for name, stub in stubs.items() if stub.calls] == [backend]
    assert backend_of(call.function.target) == backend


async def test_a_tool_costs_its_call_and_its_seconds() -> None:
    async def slow(_: CallRequest) -> Outcome:
        await asyncio.sleep(0.05)
        return Outcome(status=Status.OK, content="x")

    outcome = await executors(Stub(slow)).execute(tool_call())
    assert outcome.latency_ms >= 50
    assert outcome.cost_nano_usd == 1_000 + outcome.latency_ms * 10


@pytest.mark.parametrize(
    ("status", "sent", "paid"),
    [(Status.ERROR, True, True), (Status.TIMEOUT, True, True), (Status.ERROR, False, False), (Status.DENIED, True, False)],
)
async def test_a_failed_tool_costs_only_what_it_used(status: Status, sent: bool, paid: bool) -> None:
    async def failed(_: CallRequest) -> Outcome:
        return Outcome(status=status, content="x", sent=sent)

    outcome = await executors(Stub(failed)).execute(tool_call())
    assert (outcome.cost_nano_usd > 0) is paid


async def test_an_expert_costs_its_tokens() -> None:
    outcome = await executors().execute(expert_call())
    assert (outcome.status, outcome.content, outcome.cost_nano_usd) == (Status.OK, "42", 100 + 20)
    assert (outcome.usage, outcome.estimated, outcome.latency_ms) == (Usage(100, 10), False, 5)


async def test_an_interrupted_expert_costs_what_its_meter_says_and_is_an_estimate() -> None:
    async def broken(request: ChatRequest) -> ChatReply:
        raise InterruptedCallError("broke off", meter=Meter(sent=True, usage=Usage(30, 4)))

    outcome = await executors(models=StubModels(broken)).execute(expert_call())
    assert (outcome.status, outcome.sent, outcome.estimated, outcome.cost_nano_usd) == (Status.ERROR, True, True, 38)


@pytest.mark.parametrize("error", [UpstreamError("cannot be reached"), EgressDeniedError("no")])
async def test_an_expert_that_was_never_reached_costs_nothing(error: Exception) -> None:
    async def unreachable(_: ChatRequest) -> ChatReply:
        raise error

    outcome = await executors(models=StubModels(unreachable)).execute(expert_call())
    assert (outcome.sent, outcome.cost_nano_usd, outcome.estimated) == (False, 0, False)
    assert outcome.status is (Status.DENIED if isinstance(error, EgressDeniedError) else Status.ERROR)


async def test_a_refused_expert_costs_nothing_not_even_seconds() -> None:
    async def refused(_: ChatRequest) -> ChatReply:
        await asyncio.sleep(0.02)
        raise InterruptedCallError("HTTP 429", meter=Meter(sent=True, exact=True))

    call = expert_call()
    function = call.function.model_copy(update={"price": Price(per_second=1_000_000)})
    outcome = await executors(models=StubModels(refused)).execute(call_of(function, call.arguments, 1_000))
    assert (outcome.sent, outcome.cost_nano_usd) == (True, 0)


async def test_the_deadline_ends_a_tool_that_does_not_mind_it_and_the_grace_is_free() -> None:
    outcome = await executors(Stub(hang)).execute(tool_call(timeout_ms=20))
    assert outcome.status is Status.TIMEOUT
    assert "may have had its effect" in outcome.content
    assert outcome.cost_nano_usd == 1_000 + 20 * 10


async def test_the_deadline_of_an_expert_settles_by_its_meter() -> None:
    async def slow(request: ChatRequest) -> ChatReply:
        request.meter.sent, request.meter.usage = True, Usage(50, 5)
        return await hang(request)

    outcome = await executors(models=StubModels(slow)).execute(expert_call(timeout_ms=20))
    assert (outcome.status, outcome.cost_nano_usd, outcome.estimated) == (Status.TIMEOUT, 60, True)


async def test_a_cancelled_expert_leaves_its_meter_to_the_caller() -> None:
    async def slow(request: ChatRequest) -> ChatReply:
        request.meter.sent, request.meter.usage = True, Usage(50, 5)
        return await hang(request)

    call = expert_call()
    meter = call.meter
    task = asyncio.create_task(executors(models=StubModels(slow)).execute(call))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (meter.sent, meter.usage, meter.exact) == (True, Usage(50, 5), False)


async def test_no_more_calls_at_once_than_the_tool_allows_and_waiting_is_not_billed() -> None:
    running = most = 0

    async def counted(_: CallRequest) -> Outcome:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.02)
        running -= 1
        return Outcome(status=Status.OK, content="x")

    door = executors(Stub(counted))
    outcomes = await asyncio.gather(*(door.execute(tool_call(concurrency=2)) for _ in range(6)))
    assert most == 2
    assert max(outcome.latency_ms for outcome in outcomes) < 40
    assert max(outcome.details["queuedMs"] for outcome in outcomes) >= 35


async def test_a_call_that_waits_past_its_deadline_was_never_sent() -> None:
    door = executors(Stub(hang))
    first = asyncio.create_task(door.execute(tool_call(concurrency=1)))
    await asyncio.sleep(0.01)
    outcome = await door.execute(tool_call(timeout_ms=30, concurrency=1))
    assert (outcome.status, outcome.sent, outcome.cost_nano_usd) == (Status.TIMEOUT, False, 0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_the_time_in_the_queue_counts_towards_the_deadline() -> None:
    tool = Stub(fine)
    door = executors(tool)
    await asyncio.gather(door.execute(tool_call()), door.execute(tool_call()))
    assert all(0 < call.timeout_ms <= 1_000 for call in tool.calls)


async def test_a_long_answer_is_cut_to_the_tools_cap() -> None:
    async def long(_: CallRequest) -> Outcome:
        return Outcome(status=Status.OK, content="ä" * 1_000)

    outcome = await executors(Stub(long)).execute(tool_call(maxResultBytes=257))
    assert (outcome.content, outcome.truncated) == ("ä" * 128, True)


async def test_the_experts_prompt_has_its_instructions_the_context_and_the_question() -> None:
    models = StubModels(answer)
    offers = [{"name": "answer", "instructions": "Be brief."}]
    arguments = {"question": "How many?", "context": "There are 3."}
    await executors(models=models).execute(expert_call(arguments=arguments, offers=offers, temperature=0.5))
    request = models.requests[0]
    assert [message["role"] for message in request.messages] == ["system", "user"]
    assert request.messages[0]["content"] == "Be brief."
    assert request.messages == expert_messages(request.target, arguments), "the hold was taken for these messages"
    assert "There are 3." in request.messages[1]["content"]
    assert request.messages[1]["content"].endswith("How many?")
    assert (request.max_tokens, request.temperature) == (64, 0.5)


@pytest.mark.parametrize("arguments", [{}, {"question": ""}, {"question": 5}])
async def test_an_expert_needs_a_question(arguments: Mapping[str, Any]) -> None:
    outcome = await executors().execute(expert_call(arguments=arguments))
    assert (outcome.status, outcome.error_code, outcome.sent) == (Status.ERROR, "invalid_arguments", False)


@pytest.mark.parametrize(("finish", "said"), [("length", "used all of its output tokens"), ("stop", "empty answer")])
async def test_an_empty_answer_is_an_error_that_is_paid(finish: str, said: str) -> None:
    async def empty(_: ChatRequest) -> ChatReply:
        return ChatReply(text=" ", usage=Usage(10, 64), finish_reason=finish)

    outcome = await executors(models=StubModels(empty)).execute(expert_call())
    assert (outcome.status, outcome.error_code, outcome.cost_nano_usd) == (Status.ERROR, "empty_answer", 138)
    assert said in outcome.content
