"""Starting: a worker that cannot work says why and ends; one that can says that it is ready."""

import time
from pathlib import Path

from tests.integration.worker.conftest import StartWorker
from tests.integration.worker.harness import CALCULATOR, Desk, function_of
from toolorchestra.kit.traces import find_trace

TRACE = "0af7651916cd43dd8448eb211c80319c"


def test_a_missing_setting_is_named(new_worker: StartWorker):
    worker = new_worker(broker_url=None)

    assert worker.spawn().wait(30) == 2
    assert "TOOLORCHESTRA_BROKER_URL" in worker.log


def test_an_unknown_dialect_of_traces_is_named(new_worker: StartWorker):
    worker = new_worker(telemetry__dialect="openllmetry")

    assert worker.spawn().wait(30) == 2
    assert "TOOLORCHESTRA_TELEMETRY__DIALECT" in worker.log
    assert "'gen_ai' or 'openinference'" in worker.log


def test_a_database_without_a_schema_ends_the_start(new_worker: StartWorker, empty_database_url: str):
    worker = new_worker(database_url=empty_database_url)

    assert worker.spawn().wait(30) == 1
    (event,) = worker.logged("worker_not_started")
    assert "toolorchestra.ledger migrate" in event["reason"]
    assert not worker.ready_file.exists()


def test_a_ready_file_of_an_earlier_worker_is_not_believed(new_worker: StartWorker, empty_database_url: str):
    worker = new_worker(database_url=empty_database_url)
    worker.ready_file.touch()

    worker.spawn().wait(30)

    assert not worker.ready_file.exists()


async def test_an_idle_worker_shows_signs_of_life(desk: Desk, start_worker: StartWorker, tmp_path: Path):
    file = tmp_path / "alive"
    worker = start_worker(liveness_file=file, heartbeat_s=0.3)
    deadline = time.monotonic() + 20
    while not file.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    first = file.stat().st_mtime_ns
    time.sleep(1)

    assert file.stat().st_mtime_ns > first
    assert worker.terminate() == 0


async def test_a_call_without_signals_is_executed_all_the_same(desk: Desk, start_worker: StartWorker):
    start_worker(signal_url=None)

    call_id = await desk.call(function_of("calculator", **CALCULATOR), {"expression": "2 ** 10"})

    row = await desk.done(call_id)
    assert row.outcome is not None
    assert row.outcome.content == "1024"


async def test_the_spans_of_a_worker_are_in_the_dialect_that_was_chosen(desk: Desk, start_worker: StartWorker):
    worker = start_worker(telemetry__dialect="openinference")
    (call_id,) = await desk.store(function_of("calculator", **CALCULATOR), {"expression": "2 ** 10"})
    await desk.publish(call_id, headers={"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"})
    await desk.done(call_id)

    assert worker.terminate() == 0

    consumed, executed = find_trace(worker.traces, TRACE)
    assert [span.attributes["openinference.span.kind"] for span in (consumed, executed)] == ["CHAIN", "TOOL"]
    assert (executed.attributes["tool.name"], executed.attributes["tool.id"]) == ("calculator", call_id)
    assert not [name for span in (consumed, executed) for name in span.attributes if name.startswith("gen_ai.")]
