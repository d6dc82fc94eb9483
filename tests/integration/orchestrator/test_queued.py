"""Calls that a worker makes, when the orchestrator, the worker, the broker or all of them go away in the middle."""

import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import httpx
import pytest

from tests.integration.orchestrator.gates import Gates
from tests.integration.orchestrator.peers import ToolPeer
from tests.support.platform import Platform, PlatformFactory, Replica, expert, manager, tool, wait_until
from toolorchestra.core.money import format_usd
from toolorchestra.executors.testing import Behaviour, CountingProvider

pytestmark = pytest.mark.timeout(180)

NOWHERE = "redis://127.0.0.1:9/0"
PRICE_NANO_USD = 1_000_000


@pytest.fixture(scope="module")
def provider() -> Iterator[CountingProvider]:
    with CountingProvider(behaviour=Behaviour(needs_tools=True)) as running:
        yield running


@pytest.fixture(scope="module")
def held() -> Iterator[ToolPeer]:
    """The peer of tools that take their time: ``/hang`` until released."""
    with ToolPeer() as peer:
        yield peer


@pytest.fixture(scope="module")
def prompt() -> Iterator[ToolPeer]:
    with ToolPeer() as peer:
        yield peer


@pytest.fixture(scope="module")
def lost() -> Iterator[ToolPeer]:
    """A peer that never answers."""
    with ToolPeer() as peer:
        yield peer


def queued(name: str, url: str, **spec: object) -> dict[str, object]:
    wanted = {"execution": "queued", "sideEffects": "destructive", "pricing": {"perCall": "0.001"}, **spec}
    return tool(name, url, **wanted)


@pytest.fixture(scope="module")
def platform(
    new_platform: PlatformFactory, provider: CountingProvider, held: ToolPeer, prompt: ToolPeer, lost: ToolPeer
) -> Iterator[Platform]:
    with new_platform(provider, held, prompt, lost, TOOLORCHESTRA_DRAIN_MS="1000") as made:
        made.apply(
            expert("small", provider),
            manager(),
            queued("pay-slowly", f"{held.url}/hang"),
            queued("pay", f"{prompt.url}/pay"),
            queued("pay-briefly", f"{prompt.url}/pay", timeout="2s"),
            queued("pay-lost", f"{lost.url}/hang", timeout="8s"),
            queued("look-lost", f"{lost.url}/hang", timeout="20s", sideEffects="readOnly"),
        )
        made.wait_for(made.launch())
        assert made.key
        yield made


def ask(platform: Platform, replica: Replica, tool: str, name: str, **metadata: str) -> httpx.Response:
    turns = [{"call": [tool, {"n": name}]}, {"text": f"Done with {name}."}]
    messages = [{"role": "user", "content": f"[[{json.dumps({'turns': turns})}]]"}]
    body = {"model": "manager", "messages": messages, "metadata": {"name": name, **metadata}}
    return platform.http(url=replica.url).post("/v1/chat/completions", json=body)


def kill_while_asked(replica: Replica, answer: Future[httpx.Response]) -> None:
    replica.kill()
    with suppress(httpx.TransportError):
        answer.result()
        raise AssertionError("it was answered before the kill")


def outcome_of(platform: Platform, name: str) -> dict[str, Any]:
    """The first call's outcome once the run has ended; checks what holds for every run here."""

    def rows() -> list[tuple[Any, ...]]:
        return platform.sql("SELECT id, state, status FROM runs WHERE metadata->>'name' = %s", name)

    wait_until(lambda: [row[1] for row in rows()] == ["ended"], seconds=40)
    facts = platform.facts(rows()[0][0])
    assert rows()[0][2] == "completed"
    assert facts[-1]["answer"] == f"Done with {name}."
    assert platform.held_nano_usd() == 0
    assert platform.violations() == []
    outcome: dict[str, Any] = next(f["outcome"] for f in facts if f["type"] == "call_finished")
    return outcome


def attempts(platform: Platform, name: str) -> list[tuple[int, str | None]]:
    query = (
        "SELECT a.attempt, a.status FROM attempts a JOIN calls c ON c.id = a.call JOIN runs r ON r.id = c.run"
        " WHERE r.metadata->>'name' = %s ORDER BY a.attempt"
    )
    return platform.sql(query, name)  # type: ignore[return-value]


def charges(platform: Platform, name: str) -> list[tuple[str, int]]:
    query = (
        "SELECT e.kind, e.amount FROM entries e JOIN holds h ON h.id = e.hold JOIN runs r ON r.id = h.run"
        " WHERE r.metadata->>'name' = %s AND h.kind = 'call' ORDER BY e.id"
    )
    return platform.sql(query, name)  # type: ignore[return-value]


def test_a_call_that_no_worker_takes_in_time_is_free_and_the_run_goes_on(platform: Platform, prompt: ToolPeer) -> None:
    answer = ask(platform, platform.replicas[-1], "pay-briefly", "nobody")
    assert answer.json()["choices"][0]["message"]["content"] == "Done with nobody."
    outcome = outcome_of(platform, "nobody")
    assert (outcome["status"], outcome["error_code"]) == ("timeout", "no_worker")
    assert sum(amount for _, amount in charges(platform, "nobody")) == 0
    assert prompt.count("nobody") == 0


def test_a_call_under_way_at_a_worker_survives_the_orchestrator(
    platform: Platform, held: ToolPeer, background: ThreadPoolExecutor
) -> None:
    platform.start_worker()
    first = platform.replicas[-1]
    answer = background.submit(ask, platform, first, "pay-slowly", "survived")
    wait_until(lambda: held.count("survived") == 1)
    kill_while_asked(first, answer)
    platform.start()
    held.release()
    outcome = outcome_of(platform, "survived")
    # Released, the peer hangs up without an answer: an error, which the worker stored and the new owner read.
    assert outcome["status"] == "error"
    assert held.count("survived") == 1
    assert [attempt for attempt, _ in attempts(platform, "survived")] == [1]
    assert charges(platform, "survived") == [("spend", PRICE_NANO_USD)]


def test_an_outcome_that_a_worker_stored_is_used_by_whoever_goes_on(
    platform: Platform, prompt: ToolPeer, background: ThreadPoolExecutor
) -> None:
    first = platform.replicas[-1]
    platform.start()
    with Gates(platform) as gates:
        gates.shut("heard")
        answer = background.submit(ask, platform, first, "pay", "stored", gate="heard", at="call_finished/1")
        wait_until(lambda: gates.waits("heard"))
        kill_while_asked(first, answer)
        gates.break_off("heard")
    assert outcome_of(platform, "stored")["status"] == "ok"
    assert prompt.count("stored") == 1
    assert [attempt for attempt, _ in attempts(platform, "stored")] == [1]
    assert charges(platform, "stored") == [("spend", PRICE_NANO_USD)]


def test_a_call_whose_announcement_was_lost_is_announced_again(
    platform: Platform, prompt: ToolPeer, background: ThreadPoolExecutor
) -> None:
    mute = platform.start(TOOLORCHESTRA_BROKER_URL=NOWHERE)
    answer = background.submit(ask, platform, mute, "pay", "announced")
    wait_until(lambda: "calls_not_published" in mute.log.read_text())
    assert prompt.count("announced") == 0
    kill_while_asked(mute, answer)
    assert outcome_of(platform, "announced")["status"] == "ok"
    assert prompt.count("announced") == 1
    assert charges(platform, "announced") == [("spend", PRICE_NANO_USD)]


def test_without_signals_everything_still_works(platform: Platform, prompt: ToolPeer) -> None:
    deaf = platform.start(TOOLORCHESTRA_SIGNAL_URL=NOWHERE)
    try:
        answer = ask(platform, deaf, "pay", "unsignalled")
        assert answer.json()["choices"][0]["message"]["content"] == "Done with unsignalled."
        assert outcome_of(platform, "unsignalled")["status"] == "ok"
    finally:
        deaf.stop()


@pytest.mark.parametrize(
    ("tool", "status", "count"), [("pay-lost", "unknown", 1), ("look-lost", "error", 2)], ids=["destructive", "read-only"]
)
def test_when_worker_and_orchestrator_are_killed_together(
    platform: Platform, lost: ToolPeer, background: ThreadPoolExecutor, tool: str, status: str, count: int
) -> None:
    name = f"both {tool}"
    first = next(replica for replica in reversed(platform.replicas) if replica.process.poll() is None)
    platform.start()
    answer = background.submit(ask, platform, first, tool, name)
    wait_until(lambda: lost.count(name) == 1)
    platform.workers[-1].kill()
    kill_while_asked(first, answer)
    platform.start_worker()
    if count > 1:
        wait_until(lambda: lost.count(name) == count, seconds=30)
        lost.release()
    outcome = outcome_of(platform, name)
    assert outcome["status"] == status
    assert lost.count(name) == count
    assert len(lost.keys(name)) == 1, "each attempt under the same Idempotency-Key, if under any"
    assert len(attempts(platform, name)) == count
    assert all(ended is not None for _, ended in attempts(platform, name))
    kinds = [kind for kind, _ in charges(platform, name)]
    assert kinds.count("estimate") == 1, "the lost attempt was charged as an estimate"
    assert sum(amount for _, amount in charges(platform, name)) == PRICE_NANO_USD * count
    shown = platform.http().get(f"/v1/runs/{platform.run_named(name)}").json()
    (call,) = shown["turns"][0]["calls"]
    assert (call["cost_usd"], call["estimated"]) == (format_usd(PRICE_NANO_USD * count), True), "lost attempts and all"
    assert shown["cost_nano_usd"] == platform.charged(platform.run_named(name))
