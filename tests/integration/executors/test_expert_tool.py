"""Experts as tools through the one door: outcomes, prices and traces, against a provider that counts its own bill."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from tests.integration.executors.making import expert_call, make_expert, make_tool, tool_call
from toolorchestra.core.calls import Status
from toolorchestra.core.sessions import session_headers
from toolorchestra.executors.factory import Toolbox, open_toolbox
from toolorchestra.executors.testing import Behaviour, CountingProvider
from toolorchestra.executors.testing.provider import DEFAULT_PRICE
from toolorchestra.kit import semconv
from toolorchestra.kit.egress import EgressGuard
from toolorchestra.kit.secrets import EnvironmentSecrets

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def test_an_experts_cost_is_the_providers_bill_to_the_nano_dollar(toolbox: Toolbox, provider: CountingProvider) -> None:
    told: list[str] = []

    async def sink(text: str) -> None:
        told.append(text)

    provider.behave(Behaviour(text="Two moons.", cached=1))
    call = expert_call(make_expert(provider.url), "How many?", price=DEFAULT_PRICE, on_delta=sink)
    outcome = await toolbox.executors.execute(call)
    assert (outcome.status, outcome.content, outcome.estimated) == (Status.OK, "Two moons.", False)
    assert outcome.cost_nano_usd == provider.bill.total_nano_usd > 0
    assert outcome.details == {"model": "counting", "finishReason": "stop"}
    assert "".join(told) == outcome.content


@pytest.mark.parametrize(
    ("behaviour", "status", "estimated"),
    [
        (Behaviour(tokens=50, overrun=20), Status.OK, False),
        (Behaviour(status=429), Status.ERROR, False),
        (Behaviour(status=500), Status.ERROR, False),
        (Behaviour(tokens=30, abort_after=4), Status.ERROR, True),
        (Behaviour(tokens=30, error_after=4), Status.ERROR, True),
        (Behaviour(tokens=30, hang_after=4), Status.TIMEOUT, True),
        (Behaviour(tokens=30, usage=False), Status.OK, True),
        (Behaviour(tokens=30, hang_after=0), Status.TIMEOUT, True),
    ],
)
async def test_every_ending_has_a_cost_that_is_right_or_an_estimate_above_the_bill(
    toolbox: Toolbox, provider: CountingProvider, behaviour: Behaviour, status: Status, estimated: bool
) -> None:
    provider.behave(behaviour)
    call = expert_call(make_expert(provider.url), price=DEFAULT_PRICE, timeout_ms=400, max_tokens=40)
    outcome = await toolbox.executors.execute(call)
    assert (outcome.status, outcome.estimated, outcome.sent) == (status, estimated, True)
    if estimated:
        assert outcome.cost_nano_usd >= provider.bill.total_nano_usd
    else:
        assert outcome.cost_nano_usd == provider.bill.total_nano_usd


async def test_an_expert_that_is_cut_off_is_marked(toolbox: Toolbox, provider: CountingProvider) -> None:
    provider.behave(Behaviour(tokens=100))
    outcome = await toolbox.executors.execute(expert_call(make_expert(provider.url), max_tokens=8))
    assert (outcome.status, outcome.truncated) == (Status.OK, True)


async def test_an_expert_that_is_not_there_costs_nothing(toolbox: Toolbox) -> None:
    call = expert_call(make_expert("http://127.0.0.1:9/v1"), price=DEFAULT_PRICE)
    outcome = await toolbox.executors.execute(call)
    assert (outcome.status, outcome.sent, outcome.cost_nano_usd) == (Status.ERROR, False, 0)
    denied = await toolbox.executors.execute(expert_call(make_expert("http://10.0.0.1/v1"), price=DEFAULT_PRICE))
    assert (denied.status, denied.sent) == (Status.DENIED, False)


async def test_a_cancelled_expert_stops_and_leaves_its_meter(toolbox: Toolbox, provider: CountingProvider) -> None:
    provider.behave(Behaviour(tokens=1_000, delay_ms=10))
    call = expert_call(make_expert(provider.url))
    meter = call.meter
    task = asyncio.create_task(toolbox.executors.execute(call))
    async with asyncio.timeout(3):
        while not meter.usage.output:
            await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(3):
        while not provider.bill.entries[0].client_gone:
            await asyncio.sleep(0.01)
    assert (meter.sent, meter.exact) == (True, False)


async def test_a_simulated_experts_outcome_says_so(toolbox: Toolbox, provider: CountingProvider) -> None:
    outcome = await toolbox.executors.execute(expert_call(make_expert(provider.url, simulated=True)))
    assert outcome.details["simulated"] is True


@pytest.fixture
async def spans() -> AsyncIterator[tuple[Toolbox, InMemorySpanExporter]]:
    exporter, tracing = InMemorySpanExporter(), TracerProvider()
    tracing.add_span_processor(SimpleSpanProcessor(exporter))
    guard, secrets = EgressGuard(["127.0.0.1"]), EnvironmentSecrets({})
    async with open_toolbox(guard, secrets, tracer=tracing.get_tracer("test")) as toolbox:
        yield toolbox, exporter
    tracing.shutdown()


async def test_the_session_reaches_the_provider_as_baggage(toolbox: Toolbox, provider: CountingProvider) -> None:
    for session in ("library:1:a", None):
        await toolbox.executors.execute(expert_call(make_expert(provider.url), headers=session_headers(session)))
    assert [entry.baggage for entry in provider.bill.entries] == ["toolorchestra.session=library:1:a", None]


async def test_one_trace_runs_from_the_caller_through_the_call_to_the_provider(
    spans: tuple[Toolbox, InMemorySpanExporter], provider: CountingProvider
) -> None:
    toolbox, exporter = spans
    call = expert_call(make_expert(provider.url), price=DEFAULT_PRICE, headers={"traceparent": TRACEPARENT})
    outcome = await toolbox.executors.execute(call)
    chat, tool = exporter.get_finished_spans()
    assert (tool.name, chat.name, chat.kind) == ("execute_tool sage", "chat counting", SpanKind.CLIENT)
    assert tool.attributes is not None
    assert chat.attributes is not None
    assert f"{tool.context.trace_id:032x}" == TRACEPARENT.split("-")[1]
    assert tool.parent is not None
    assert f"{tool.parent.span_id:016x}" == TRACEPARENT.split("-")[2]
    assert chat.parent is not None
    assert chat.parent.span_id == tool.context.span_id
    assert provider.bill.entries[0].traceparent == f"00-{chat.context.trace_id:032x}-{chat.context.span_id:016x}-01"
    assert tool.attributes[semconv.COST_NANO_USD] == outcome.cost_nano_usd
    assert tool.attributes[semconv.TOOL_CALL_ID] == "call-1"
    assert tool.attributes[semconv.CALL_STATUS] == "ok"
    assert chat.attributes[semconv.USAGE_OUTPUT_TOKENS] == provider.bill.entries[0].output_tokens
    assert not [key for span in (chat, tool) for key in span.attributes or {} if "message" in key or "content" in key]


async def test_a_tools_span_is_what_its_server_sees_and_failures_are_marked(
    spans: tuple[Toolbox, InMemorySpanExporter], http_peer: str
) -> None:
    toolbox, exporter = spans
    tool = make_tool("echo", http={"url": f"{http_peer}/echo"})
    outcome = await toolbox.executors.execute(tool_call(tool, headers={"traceparent": TRACEPARENT}))
    (span,) = exporter.get_finished_spans()
    seen = json.loads(outcome.content)["headers"]["traceparent"]
    assert seen == f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}-01"
    exporter.clear()
    await toolbox.executors.execute(tool_call(make_tool("bad", http={"url": f"{http_peer}/status/500"})))
    (span,) = exporter.get_finished_spans()
    assert span.attributes is not None
    assert span.attributes[semconv.ERROR_TYPE] == "http_500"
    assert not span.status.is_ok
