"""One trace from whoever published the call to the tool that was called."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider

from tests.integration.worker.conftest import Site
from tests.integration.worker.harness import PYTHON, Desk, Peer, WorkerProcess, function_of
from toolorchestra.core.functions import Function
from toolorchestra.kit import semconv
from toolorchestra.kit.telemetry import inject
from toolorchestra.kit.traces import SpanRecord, find_trace


@pytest.fixture(scope="module")
def worker(site: Site) -> Iterator[WorkerProcess]:
    with site.worker() as worker:
        yield worker


@pytest.fixture
async def desk(site: Site) -> AsyncIterator[Desk]:
    async with Desk.open(site.database_url, site.valkey_url) as opened:
        yield opened


@pytest.fixture
def peer(site: Site) -> Iterator[Peer]:
    with site.fresh_peer() as peer:
        yield peer


async def traced(desk: Desk, function: Function, arguments: dict[str, Any]) -> tuple[str, str, str]:
    """Call below a span as the orchestrator does; ids of the call, of the trace and of that span."""
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("test")
    with tracer.start_as_current_span("turn") as span:
        (call_id,) = await desk.store(function, arguments)
        await desk.publish(call_id, execution=function.execution, headers=inject())
        context = span.get_span_context()
    await desk.done(call_id)
    return call_id, f"{context.trace_id:032x}", f"{context.span_id:016x}"


async def spans_of(worker: WorkerProcess, trace_id: str, count: int) -> dict[str, SpanRecord]:
    async with asyncio.timeout(10):
        while len(found := find_trace(worker.traces, trace_id)) < count:
            await asyncio.sleep(0.05)
    return {span.name: span for span in found}


async def test_the_workers_span_is_a_child_of_the_publishers_and_the_tools_of_the_workers(
    desk: Desk, worker: WorkerProcess, peer: Peer
):
    peer.gate.set()
    spec = peer.spec(sideEffects="readOnly", pricing={"perCall": "0.001"})
    call_id, trace_id, parent_id = await traced(desk, function_of("peer", **spec), {})

    spans = await spans_of(worker, trace_id, 2)

    consumed, executed = spans["process toolorchestra.calls"], spans["execute_tool peer"]
    assert (consumed.kind, consumed.parent_id) == ("consumer", parent_id)
    assert executed.parent_id == consumed.span_id
    assert consumed.cost_nano_usd == 1_000_000
    assert consumed.attributes[semconv.TOOL_CALL_ID] == call_id
    assert consumed.attributes[semconv.CALL_STATUS] == "ok"
    assert peer.hits[0]["traceparent"].split("-")[1] == trace_id


async def test_a_forked_child_writes_its_spans_before_it_ends(desk: Desk, site: Site):
    with site.worker(folder="sandbox", worker_class="sandbox", concurrency=1) as worker:
        _, trace_id, parent_id = await traced(desk, function_of("python", **PYTHON), {"code": "1 + 1"})
        spans = await spans_of(worker, trace_id, 2)

    assert spans["process toolorchestra.sandbox"].parent_id == parent_id


async def test_a_message_without_a_trace_continues_the_one_stored_with_the_call(desk: Desk, worker: WorkerProcess, peer: Peer):
    peer.gate.set()
    trace_id, parent_id = "1" * 32, "2" * 16
    function = function_of("peer", **peer.spec(sideEffects="readOnly"))
    await desk.done(await desk.call(function, {}, traceparent=f"00-{trace_id}-{parent_id}-01"))

    spans = await spans_of(worker, trace_id, 2)

    assert spans["process toolorchestra.calls"].parent_id == parent_id
