"""PostgreSQL or Valkey go away and come back under running replicas: runs end, and every nano-dollar is accounted for."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.orchestrator.peers import ToolPeer
from tests.support.platform import Platform, expert, manager, tool, wait_until
from tests.support.services import POSTGRES_SETTINGS, running
from toolorchestra.cli.embedded.parts import Part
from toolorchestra.cli.embedded.postgres import postgres_part, postgres_url
from toolorchestra.cli.embedded.valkey import valkey_part
from toolorchestra.executors.testing import Behaviour, CountingProvider
from toolorchestra.ledger.schema import migrate

pytestmark = pytest.mark.timeout(180)

PRICE_NANO_USD = 1_000_000
PATIENCE_S = 60.0


class Server:
    """A server of this module's own, which may go away for a while."""

    def __init__(self, make: Callable[[], Part], log: Path) -> None:
        self._make = make
        self._log = log
        self._stack = ExitStack()
        self.url = ""
        self.start()

    def start(self) -> None:
        self.url = self._stack.enter_context(running(self._make(), log=self._log)).url

    def stop(self) -> None:
        self._stack.close()


@pytest.fixture(scope="module")
def postgres(services_folder: Path) -> Iterator[Server]:
    folder = services_folder / "outage-pg"
    server = Server(lambda: postgres_part(folder, settings=POSTGRES_SETTINGS), services_folder / "outage-pg.log")
    asyncio.run(migrate(postgres_url(folder)))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def valkey(services_folder: Path) -> Iterator[Server]:
    server = Server(lambda: valkey_part(services_folder / "outage-valkey"), services_folder / "outage-valkey.log")
    yield server
    server.stop()


@pytest.fixture(scope="module")
def platform(
    tmp_path_factory: pytest.TempPathFactory,
    services_folder: Path,
    postgres: Server,
    valkey: Server,
    provider: CountingProvider,
    tools: ToolPeer,
) -> Iterator[Platform]:
    allow = [f"127.0.0.1:{peer.port}" for peer in (provider, tools)]
    url = postgres_url(services_folder / "outage-pg")
    settings = {"TOOLORCHESTRA_DRAIN_MS": "1000", "TOOLORCHESTRA_LEASE_MS": "6000"}
    made = Platform(tmp_path_factory.mktemp("outage"), url, valkey.url, allow=allow, extra=settings)
    queued = {"execution": "queued", "sideEffects": "idempotent", "timeout": "40s", "pricing": {"perCall": "0.001"}}
    made.apply(
        expert("small", provider, timeout="40s"),
        manager(),
        tool("put", f"{tools.url}/put", **queued),
        tool("hang-put", f"{tools.url}/hang-put", **queued),
    )
    for replica in [made.launch(), made.launch()]:
        made.wait_for(replica)
    made.start_worker()
    assert made.key
    yield made
    made.close()


def ask(platform: Platform, number: int, content: str, name: str, model: str) -> str:
    """The answer as a patient client gets it: it asks again, as OpenAI's SDK does, until it has one."""
    body = {"model": model, "messages": [{"role": "user", "content": content}], "metadata": {"name": name}}
    deadline = time.monotonic() + PATIENCE_S
    headers: dict[str, str] = {}
    while True:
        try:
            http = platform.http(url=platform.replicas[number % 2].url)
            response = http.post("/v1/chat/completions", json=body, headers=headers)
            if response.status_code == 200:
                return str(response.json()["choices"][0]["message"]["content"])
            said = response.text
        except httpx.TransportError as error:
            said = repr(error)
        assert time.monotonic() < deadline, said
        headers = {"x-stainless-retry-count": "1"}
        time.sleep(0.3)


def script(*turns: dict[str, Any]) -> str:
    return f"[[{json.dumps({'turns': turns})}]]"


def check(platform: Platform, provider: CountingProvider, names: list[str], *, tools: int = 0) -> None:
    """One run for each client, ended; entries are the provider's bill, but for estimates of what nobody heard."""
    for name in names:
        assert len(platform.sql("SELECT id FROM runs WHERE metadata->>'name' = %s", name)) == 1, "one run, however often asked"
        assert platform.status(platform.run_named(name)) == "completed"
    entries = [entry for name in names for entry in platform.entries(platform.run_named(name))]
    billed = sorted([*(entry.cost_nano_usd for entry in provider.bill.entries), *[PRICE_NANO_USD] * tools])
    stated = [amount for kind, amount in entries if kind == "spend"]
    for amount in stated:
        billed.remove(amount)
    assert sum(billed) <= sum(amount for kind, amount in entries if kind == "estimate")
    wait_until(lambda: platform.held_nano_usd() == 0)
    assert platform.violations() == []


def test_runs_end_and_the_money_is_right_when_postgres_was_away(
    platform: Platform, postgres: Server, provider: CountingProvider, background: ThreadPoolExecutor
) -> None:
    provider.behave(Behaviour(text="In spite of all.", first_delay_ms=2_000))
    provider.bill.entries.clear()
    names = [f"postgres {n}" for n in range(6)]
    models = ["manager", "manager", "manager", "manager", "small", "small"]
    answers = [
        background.submit(ask, platform, n, f"question {n}", name, model)
        for n, (name, model) in enumerate(zip(names, models, strict=True))
    ]
    wait_until(lambda: len(provider.bill.entries) == len(names))
    postgres.stop()
    time.sleep(3.0)  # the answers come while nobody can store them
    postgres.start()
    assert {answer.result() for answer in answers} == {"In spite of all."}
    check(platform, provider, names)
    for name in names[-2:]:
        kinds = [kind for kind, _ in platform.entries(platform.run_named(name))]
        assert kinds == ["spend"], "the end of a pass-through waits for the database"
    for replica in platform.replicas:
        assert replica.process.poll() is None


def test_runs_end_and_the_money_is_exact_when_valkey_was_away(
    platform: Platform, valkey: Server, provider: CountingProvider, tools: ToolPeer, background: ThreadPoolExecutor
) -> None:
    provider.behave(Behaviour(needs_tools=True, first_delay_ms=300))
    provider.bill.entries.clear()
    names = ["valkey at a worker", "valkey to come", "valkey passing"]
    first = script({"call": ["hang-put", {"n": "at a worker"}]}, {"text": "Done."})
    second = script({"first_delay_ms": 1_500, "call": ["put", {"n": "to come"}]}, {"text": "Done."})
    asked = [(first, "manager"), (second, "manager"), ('Done? [[{"text": "Done.", "delay_ms": 2500}]]', "small")]
    answers = [
        background.submit(ask, platform, n, content, name, model)
        for n, (name, (content, model)) in enumerate(zip(names, asked, strict=True))
    ]
    wait_until(lambda: tools.count("at a worker") == 1)
    valkey.stop()
    time.sleep(2.5)
    tools.release()
    time.sleep(0.5)
    valkey.start()
    assert {answer.result() for answer in answers} == {"Done."}
    check(platform, provider, names, tools=2)
    assert (tools.count("at a worker"), tools.count("to come")) == (1, 1)
    kinds = {kind for name in names for kind, _ in platform.entries(platform.run_named(name))}
    assert kinds == {"spend"}, "a lost signal and a lost message cost nothing but time"


def test_after_that_a_wish_to_cancel_is_heard_at_once_again(
    platform: Platform, provider: CountingProvider, background: ThreadPoolExecutor
) -> None:
    provider.behave(Behaviour(hang_after=1))
    asked = len(provider.bill.entries)
    background.submit(ask, platform, 0, "hang", "cancelled", "small")
    wait_until(lambda: len(provider.bill.entries) == asked + 1 and provider.bill.entries[-1].output_tokens == 1)
    run_id = platform.run_named("cancelled")
    began = time.monotonic()
    platform.http(url=platform.replicas[1].url).post(f"/v1/runs/{run_id}/cancel")
    wait_until(lambda: platform.ended(run_id), pause=0.02)
    assert time.monotonic() - began < 1.5
