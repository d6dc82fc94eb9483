"""Cancelled or out of time while a model or a tool hangs: what is under way is broken off, and paid for as far as it came."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.integration.orchestrator.peers import ToolPeer
from tests.support.platform import Platform, PlatformFactory, Replica, expert, manager, tool, wait_until
from toolorchestra.executors.testing import Behaviour, CountingProvider

pytestmark = pytest.mark.timeout(120)

PROMPT_S = 1.0
OVERTIME_S = 2.0
PRICE_NANO_USD = 1_000_000
PRICED = {"pricing": {"perCall": "0.001"}}
PLACES = {  # what hangs: the call that the manager makes, and how it is then said to have ended
    "manager": ([], None),
    "expert": (["helper"], "error"),
    "tool": (["hang-look"], "error"),
    "destructive tool": (["hang-pay"], "unknown"),
    "worker": (["hang-queued"], "unknown"),
    "two tools": (["hang-look", "hang-look"], "error"),
}


@pytest.fixture(scope="module")
def stuck() -> Iterator[CountingProvider]:
    """A provider that says two tokens and no more."""
    with CountingProvider(behaviour=Behaviour(hang_after=2)) as running:
        yield running


@pytest.fixture(scope="module")
def platform(
    new_platform: PlatformFactory, provider: CountingProvider, stuck: CountingProvider, tools: ToolPeer
) -> Iterator[Platform]:
    with new_platform(provider, stuck, tools, TOOLORCHESTRA_DRAIN_MS="1000") as made:
        made.apply(
            expert("small", provider),
            expert("stuck", stuck, timeout="60s"),
            expert("helper", stuck, timeout="60s"),
            manager(),
            manager("stuck-manager", "stuck"),
            tool("hang-look", f"{tools.url}/hang-look", timeout="60s", **PRICED),
            tool("hang-pay", f"{tools.url}/hang-pay", timeout="60s", sideEffects="destructive", **PRICED),
            tool("hang-queued", f"{tools.url}/hang", timeout="60s", sideEffects="destructive", execution="queued", **PRICED),
        )
        for replica in [made.launch(), made.launch()]:
            made.wait_for(replica)
        made.start_worker()
        assert made.key
        yield made


@dataclass(frozen=True)
class Hanging:
    """A run that hangs in a call."""

    run_id: str
    answer: Future[httpx.Response]


def ask(platform: Platform, replica: Replica, place: str, name: str, **extension: Any) -> httpx.Response:
    names, _ = PLACES[place]
    calls = [[called, {"question" if called == "helper" else "n": name}] for called in names]
    turns = [{"calls": calls}, {"text": "It is done now."}] if calls else [{"text": "It is done now."}]
    model = "stuck-manager" if place == "manager" else "manager"
    messages = [{"role": "user", "content": f"{name} [[{json.dumps({'turns': turns})}]]"}]
    body = {"model": model, "messages": messages, "metadata": {"name": name}, "toolorchestra": extension}
    return platform.http(url=replica.url).post("/v1/chat/completions", json=body)


def hanging(
    platform: Platform, stuck: CountingProvider, tools: ToolPeer, background: ThreadPoolExecutor, place: str, name: str
) -> Hanging:
    names, _ = PLACES[place]
    asked = len(stuck.bill.entries)
    answer = background.submit(ask, platform, platform.replicas[0], place, name)
    run_id = platform.run_named(name)

    def is_asked() -> bool:
        return len(stuck.bill.entries) == asked + 1 and stuck.bill.entries[-1].output_tokens == 2

    wait_until(is_asked if place in ("manager", "expert") else lambda: tools.count(name) == len(names))
    return Hanging(run_id, answer)


@pytest.mark.parametrize("place", PLACES)
def test_a_hanging_run_is_cancelled_at_once_from_another_replica(
    platform: Platform, stuck: CountingProvider, tools: ToolPeer, background: ThreadPoolExecutor, place: str
) -> None:
    lags = []
    for n in range(3):
        run = hanging(platform, stuck, tools, background, place, f"{place} {n}")
        began = time.monotonic()
        platform.http(url=platform.replicas[1].url).post(f"/v1/runs/{run.run_id}/cancel")
        reply = run.answer.result(timeout=10)
        lags.append(time.monotonic() - began)
        assert reply.json()["toolorchestra"]["status"] == "cancelled"
        assert "cancelled by the user" in reply.json()["toolorchestra"]["reason"]
        _check(platform, stuck, run.run_id, place)
    print(f"\ncancelled in {[round(lag * 1_000) for lag in lags]} ms: {place}")
    assert max(lags) < PROMPT_S


def _check(platform: Platform, stuck: CountingProvider, run_id: str, place: str) -> None:
    names, status = PLACES[place]
    facts = platform.facts(run_id)
    assert facts[-1]["type"] == "ended"
    assert [fact["type"] for fact in facts].count("cancel_requested") == 1
    found = [fact["outcome"] for fact in facts if fact["type"] == "call_finished"]
    assert [outcome["status"] for outcome in found] == [status] * len(names)
    assert all(outcome["error_code"] == "cancelled" for outcome in found)
    estimates = [amount for kind, amount in platform.entries(run_id) if kind == "estimate"]
    if place in ("manager", "expert"):
        assert len(estimates) == 1
        assert estimates[0] >= stuck.bill.entries[-1].cost_nano_usd > 0
        wait_until(lambda: stuck.bill.entries[-1].client_gone, seconds=PROMPT_S)
    else:
        assert estimates == [PRICE_NANO_USD] * len(names)
    shown = platform.http().get(f"/v1/runs/{run_id}").json()
    assert shown["cost_nano_usd"] == platform.charged(run_id)
    assert platform.held_nano_usd() == 0
    assert platform.sql("SELECT count(*) FROM attempts a JOIN calls c ON c.id = a.call WHERE c.run = %s", run_id) == [
        (len(names),)
    ]


def test_a_worker_ends_a_call_that_is_over_at_once(
    platform: Platform, stuck: CountingProvider, tools: ToolPeer, background: ThreadPoolExecutor
) -> None:
    run = hanging(platform, stuck, tools, background, "worker", "told")
    began = time.monotonic()
    platform.http().post(f"/v1/runs/{run.run_id}/cancel")
    wait_until(lambda: f"{run.run_id}/1/1" in _lost_calls(platform), pause=0.01)
    assert time.monotonic() - began < PROMPT_S
    assert run.answer.result().status_code == 200
    ended = "SELECT a.status, a.finished_at IS NOT NULL FROM attempts a JOIN calls c ON c.id = a.call WHERE c.run = %s"
    wait_until(lambda: platform.sql(ended, run.run_id) == [("unknown", True)])


def _lost_calls(platform: Platform) -> str:
    lines = platform.workers[-1].log.read_text().splitlines()
    return "\n".join(line for line in lines if '"call_lost"' in line)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("seconds", [2, 5])
def test_no_run_outlives_its_deadline_by_much(platform: Platform, place: str, seconds: int) -> None:
    name = f"deadline {place} {seconds}"
    reply = ask(platform, platform.replicas[0], place, name, timeout_seconds=seconds)
    assert reply.status_code == 200
    query = "SELECT extract(epoch FROM ended_at - created_at)::float FROM runs WHERE id = %s"
    ((took_s,),) = platform.sql(query, platform.run_named(name))
    assert took_s < seconds + OVERTIME_S
    assert platform.held_nano_usd() == 0


def test_without_signals_a_wish_to_cancel_is_heard_with_the_next_renewal(
    platform: Platform, stuck: CountingProvider, tools: ToolPeer, background: ThreadPoolExecutor
) -> None:
    deaf = platform.start(TOOLORCHESTRA_SIGNAL_URL="redis://127.0.0.1:9/0")
    try:
        answer = background.submit(ask, platform, deaf, "tool", "deaf")
        wait_until(lambda: tools.count("deaf") == 1)
        run_id = platform.run_named("deaf")
        platform.http(url=platform.replicas[0].url).post(f"/v1/runs/{run_id}/cancel")
        wait_until(lambda: platform.ended(run_id), seconds=3)
        assert answer.result().json()["toolorchestra"]["status"] == "cancelled"
    finally:
        deaf.stop()


def test_in_the_end_nothing_is_held(platform: Platform) -> None:
    for replica in platform.replicas:
        assert '"unexpected_error"' not in replica.log.read_text()
        assert '"run_interrupted"' not in replica.log.read_text()
    assert platform.sql("SELECT count(*) FROM holds WHERE state = 'open'") == [(0,)]
    assert platform.violations() == []
