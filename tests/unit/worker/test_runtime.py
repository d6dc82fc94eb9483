"""Where coroutines run: one loop for many threads, or a loop of its own for one call."""

import threading
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import pytest
from opentelemetry.sdk.trace import TracerProvider

from tests.unit.worker.making import CALL, OK, Bench, Tool, claim, hang
from toolorchestra.core.errors import UnavailableError
from toolorchestra.kit.telemetry import Telemetry
from toolorchestra.worker import runtime
from toolorchestra.worker.runtime import OwnProcess, SharedLoop, StopGate
from toolorchestra.worker.services.execution import CallService, Handling


class Place:
    """Opens a service over stand-ins, in whatever loop asks."""

    def __init__(self, tool: Tool | None = None) -> None:
        self.tool = tool
        self.closed = False
        self.bench: Bench | None = None
        self.thread = ""

    @asynccontextmanager
    async def open(self) -> AsyncIterator[CallService]:
        self.thread = threading.current_thread().name
        self.bench = Bench(claim(), tool=self.tool or Tool(), lease_ms=60_000)
        yield self.bench.service
        self.closed = True


@asynccontextmanager
async def no_database() -> AsyncIterator[CallService]:
    raise UnavailableError("the database is away")
    yield


def test_threads_share_one_loop_and_one_service():
    place = Place()
    with SharedLoop(place.open, drain_ms=100) as shared, ThreadPoolExecutor(8) as threads:
        handled = list(threads.map(lambda _: shared.run(CALL, {}), range(8)))
        shared.ping()

    assert handled == [Handling.DONE] * 8
    assert place.bench is not None
    assert place.bench.calls.finished == [OK] * 8
    assert (place.thread, place.closed) == ("calls", True)


def test_a_loop_that_cannot_connect_leaves_no_thread_behind():
    with pytest.raises(UnavailableError), SharedLoop(no_database, drain_ms=100):
        pass

    assert "calls" not in [thread.name for thread in threading.enumerate()]


def test_a_loop_told_to_stop_gives_back_what_takes_too_long():
    place = Place(Tool(hang))
    with SharedLoop(place.open, drain_ms=50) as shared:
        threading.Timer(0.1, shared.stop_soon).start()

        assert shared.run(CALL, {}) is Handling.GIVEN_BACK


def test_a_loop_that_is_blocked_does_not_answer(monkeypatch):
    monkeypatch.setattr(runtime, "PING_S", 0.05)

    async def block(_: object) -> object:
        time.sleep(0.3)  # what a plug-in must never do
        return OK

    with SharedLoop(Place(Tool(block)).open, drain_ms=50) as shared, ThreadPoolExecutor(1) as threads:
        running = threads.submit(shared.run, CALL, {})
        time.sleep(0.05)
        with pytest.raises(TimeoutError):
            shared.ping()
        assert running.result() is Handling.DONE


def own_process(place: Place, gate: StopGate, drain_ms: int = 50) -> OwnProcess:
    provider = TracerProvider(shutdown_on_exit=False)
    return OwnProcess(place.open, gate=gate, telemetry=lambda: Telemetry(provider), drain_ms=drain_ms)


def test_a_call_in_its_own_process_has_its_own_loop():
    place = Place()

    assert own_process(place, StopGate()).run(CALL, {}) is Handling.DONE

    assert (place.thread, place.closed) == (threading.main_thread().name, True)


def test_a_gate_that_shuts_ends_what_runs_behind_it():
    gate = StopGate()
    threading.Timer(0.1, gate.shut).start()

    assert own_process(Place(Tool(hang)), gate).run(CALL, {}) is Handling.GIVEN_BACK

    gate.shut()


def test_a_process_that_finds_no_database_gives_its_message_back(monkeypatch):
    monkeypatch.setattr(runtime, "AWAY_PAUSE_S", 0.01)
    child = OwnProcess(no_database, gate=StopGate(), telemetry=lambda: Telemetry(TracerProvider()), drain_ms=50)

    assert child.run(CALL, {}) is Handling.GIVEN_BACK
