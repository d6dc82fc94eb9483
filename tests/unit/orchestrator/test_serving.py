"""Responses that end early, requests that are counted, and chores that are begun again."""

import asyncio
from contextlib import suppress
from types import SimpleNamespace

import pytest

from tests.unit.orchestrator.making import RUN, asked, ended, log, wish
from toolorchestra.core.errors import ConflictError, InvalidRequestError
from toolorchestra.ledger.runs import RunState
from toolorchestra.orchestrator.handlers.streaming import EventStream
from toolorchestra.orchestrator.main import Instrumented
from toolorchestra.orchestrator.process import keep_running
from toolorchestra.orchestrator.services.chat import ChatService
from toolorchestra.orchestrator.services.continuing import Continuer
from toolorchestra.orchestrator.services.metrics import Metrics
from toolorchestra.orchestrator.services.principal import Principal
from toolorchestra.orchestrator.services.repeating import Attempt, Repeats
from toolorchestra.orchestrator.testing import FixedRegistry, MemoryRuns

CALLER = Principal("default", "key")


class Client:
    """Reads ``most`` pieces of a response, then goes away."""

    def __init__(self, most):
        self.most = most
        self.read = []
        self.gone = asyncio.Event()
        if not most:
            self.gone.set()

    async def receive(self):
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message):
        if not self.most:
            await asyncio.sleep(60)
        if message["type"] == "http.response.body" and message["body"]:
            self.read.append(message["body"])
            if len(self.read) == self.most:
                self.gone.set()
                await asyncio.sleep(60)


@pytest.mark.parametrize("most", [0, 1, 3])
async def test_a_stream_is_closed_wherever_its_client_leaves(most):
    closed = []

    async def source():
        try:
            while True:
                yield "data: x\n\n"
        finally:
            closed.append("source")

    async def close():
        closed.append("response")

    client = Client(most)
    async with asyncio.timeout(5):
        await EventStream(source(), close=close)({"type": "http"}, client.receive, client.send)
    assert closed[-1] == "response"
    assert closed[:-1] == (["source"] if most else [])
    assert len(client.read) == most


async def test_a_stream_that_ends_is_closed_once():
    closed = []

    async def source():
        yield "data: [DONE]\n\n"

    async def close():
        closed.append("response")

    client = Client(9)
    await EventStream(source(), close=close)({"type": "http"}, client.receive, client.send)
    assert client.read == [b"data: [DONE]\n\n"]
    assert closed == ["response"]


def counted(metrics, route, status):
    return metrics.registry.get_sample_value("toolorchestra_http_requests_total", {"route": route, "status": str(status)})


async def test_requests_are_counted_by_route_also_when_they_fail_unexpectedly():
    metrics = Metrics()

    async def app(scope, receive, send):
        if scope["path"] == "/v1/broken":
            raise KeyError("a fault of ours")
        await send({"type": "http.response.start", "status": 404, "headers": []})

    async def ignore(message):
        pass

    def scope(path):
        state = SimpleNamespace(factory=SimpleNamespace(metrics=metrics))
        route = SimpleNamespace(path="/v1/{name}")
        return {
            "type": "http",
            "method": "GET",
            "path": path,
            "headers": [],
            "route": route,
            "app": SimpleNamespace(state=state),
        }

    with pytest.raises(KeyError):
        await Instrumented(app)(scope("/v1/broken"), None, ignore)
    await Instrumented(app)(scope("/v1/other"), None, ignore)
    assert counted(metrics, "/v1/{name}", 500) == 1
    assert counted(metrics, "/v1/{name}", 404) == 1


async def test_chores_that_failed_are_begun_again():
    begun = []

    async def work():
        begun.append(1)
        if len(begun) < 3:
            raise RuntimeError("a fault of ours")
        await asyncio.sleep(60)

    task = asyncio.create_task(keep_running(work, pause_s=0.001))
    async with asyncio.timeout(5):
        while len(begun) < 3:
            await asyncio.sleep(0.001)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert len(begun) == 3


class Listening:
    """Notes who listens."""

    def __init__(self):
        self.listeners = []

    def listen(self, run_id):
        self.listeners.append(run_id)


def chat(runs):
    manager = Listening()
    service = ChatService(
        registry=FixedRegistry(),
        opener=None,
        continuer=Continuer(runs, None, manager),
        manager=manager,
        repeats=Repeats(runs),
        accounts=None,
        keep_alive_s=60,
    )
    return service, manager


class AnyRetry(MemoryRuns):
    """Every repeated request means the one run."""

    async def find_retry(self, tenant, key, body_hash):
        return RUN


async def test_a_clients_own_retry_attaches_to_the_run():
    runs = AnyRetry()
    runs.put(RUN, log(asked(), ended()), RunState.ENDED)
    service, manager = chat(runs)
    started = await service.start(CALLER, wish(), Attempt(retry=True))
    assert started.run_id == RUN
    assert started.state.ended.answer == "391"
    assert manager.listeners == [RUN]


async def test_a_run_whose_content_is_deleted_cannot_be_attached_to():
    runs = AnyRetry()
    runs.put(RUN, [], RunState.ENDED)
    service, manager = chat(runs)
    with pytest.raises(ConflictError, match="deleted"):
        await service.start(CALLER, wish(), Attempt(retry=True))
    assert manager.listeners == []


def test_an_idempotency_key_has_a_bounded_length():
    with pytest.raises(InvalidRequestError, match="255") as caught:
        Attempt(idempotency_key="x" * 256)
    assert caught.value.param == "Idempotency-Key"
