"""Two replicas at once: one is frozen, told to stop, loses its database or meets a run that it cannot read; the other goes on."""

import json
import signal
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.integration.orchestrator.gates import Gates
from tests.integration.orchestrator.peers import ToolPeer
from tests.support.platform import Platform, PlatformFactory, Replica, expert, manager, tool, wait_until
from toolorchestra.executors.testing import Behaviour, CountingProvider
from toolorchestra.orchestrator.settings import OrchestratorSettings

pytestmark = pytest.mark.timeout(180)

DRAIN_S = 2.0


@pytest.fixture(scope="module")
def deaf() -> Iterator[ToolPeer]:
    with ToolPeer(deaf=True) as peer:
        yield peer


PAYS = {"sideEffects": "destructive", "pricing": {"perCall": "0.001"}}


@pytest.fixture(scope="module")
def platform(new_platform: PlatformFactory, provider: CountingProvider, tools: ToolPeer, deaf: ToolPeer) -> Iterator[Platform]:
    with new_platform(provider, tools, deaf, TOOLORCHESTRA_DRAIN_MS=str(int(DRAIN_S * 1_000))) as made:
        made.apply(
            expert("small", provider),
            manager(),
            tool("pay", f"{deaf.url}/pay", **PAYS),
            tool("look", f"{tools.url}/look"),
            tool("pay-slowly", f"{tools.url}/hang-pay", **PAYS),
        )
        starting = [made.launch(), made.launch()]
        for replica in starting:
            made.wait_for(replica)
        assert made.key, "one key for all threads"
        yield made


@pytest.fixture
def replicas(platform: Platform) -> tuple[Replica, Replica]:
    """Two living replicas; dead ones are replaced."""
    while len(alive := [r for r in platform.replicas if r.process.poll() is None]) < 2:
        platform.start()
    return alive[-2], alive[-1]


def ask(platform: Platform, replica: Replica, content: str, **fields: Any) -> httpx.Response:
    body = {"model": "manager", "messages": [{"role": "user", "content": content}], **fields}
    return platform.http(url=replica.url).post("/v1/chat/completions", json=body)


def money(platform: Platform) -> list[tuple[Any, ...]]:
    """All that a stale process could still change."""
    entries = platform.sql("SELECT id, hold, amount, kind FROM entries ORDER BY id")
    return [*entries, *platform.sql("SELECT account, unit, kind, spent, held FROM windows ORDER BY 1, 2, 3")]


def test_a_frozen_replica_that_wakes_up_touches_nothing(
    platform: Platform, replicas: tuple[Replica, Replica], provider: CountingProvider, background: ThreadPoolExecutor
) -> None:
    first, _ = replicas
    asked = len(provider.bill.entries)
    provider.once(Behaviour(first_delay_ms=700, text="The frozen one's answer."))
    provider.behave(Behaviour(text="The other one's answer."))
    answer = background.submit(ask, platform, first, "Question", metadata={"name": "frozen"})
    run_id = platform.run_named("frozen")
    wait_until(lambda: len(provider.bill.entries) == asked + 1)
    first.freeze()
    try:
        wait_until(lambda: platform.ended(run_id))
        facts, before = platform.facts(run_id), money(platform)
    finally:
        first.thaw()
    assert answer.result().json()["choices"][0]["message"]["content"] == "The other one's answer."
    wait_until(lambda: "run_lost" in first.log.read_text())
    assert platform.facts(run_id) == facts
    assert money(platform) == before
    assert [f["type"] for f in facts] == ["opened", "asked", "resumed", "ask_failed", "asked", "decided", "ended"]
    assert platform.held_nano_usd() == 0
    assert platform.violations() == []
    assert ask(platform, first, "Still there?").status_code == 200, "a replica that lost a run serves on"


def test_a_destructive_call_of_a_frozen_replica_happens_at_most_once(
    platform: Platform,
    replicas: tuple[Replica, Replica],
    provider: CountingProvider,
    deaf: ToolPeer,
    background: ThreadPoolExecutor,
) -> None:
    first, _ = replicas
    turns = [{"call": ["pay", {"n": "once"}]}, {"text": "Done."}]
    question = f"Pay [[{json.dumps({'turns': turns})}]]"
    answer = background.submit(ask, platform, first, question, metadata={"name": "paying"})
    run_id = platform.run_named("paying")
    wait_until(lambda: "calls_started" in platform.fact_types(run_id))
    first.freeze()
    try:
        wait_until(lambda: platform.ended(run_id))
        facts, before = platform.facts(run_id), money(platform)
        assert deaf.count("once") == 0, "nobody repeated it"
        deaf.hear()
    finally:
        first.thaw()
    assert answer.result().json()["choices"][0]["message"]["content"] == "Done."
    wait_until(lambda: first.log.read_text().count("run_lost") >= 1)
    wait_until(lambda: deaf.count("once") == 1, seconds=10)
    time.sleep(0.5)  # whatever else the stale one would do
    assert deaf.count("once") == 1
    assert platform.facts(run_id) == facts
    assert money(platform) == before
    outcome = next(f["outcome"] for f in facts if f["type"] == "call_finished")
    assert outcome["status"] == "unknown"


def test_a_passed_stream_of_a_frozen_replica_reaches_its_client_and_is_charged_once(
    platform: Platform, replicas: tuple[Replica, Replica], provider: CountingProvider, background: ThreadPoolExecutor
) -> None:
    first, _ = replicas
    provider.once(Behaviour(text="all of it arrives", delay_ms=150))
    body = {"model": "small", "stream": True, "metadata": {"name": "passing"}, "messages": [{"role": "user", "content": "Go"}]}

    def read() -> str:
        text = ""
        with platform.http(url=first.url).stream("POST", "/v1/chat/completions", json=body) as response:
            for line in response.iter_lines():
                if line.startswith("data: {"):
                    chunk = json.loads(line.removeprefix("data: "))
                    text += "".join(c["delta"].get("content") or "" for c in chunk["choices"])
                elif line == "data: [DONE]":
                    text += "|"
        return text

    reading = background.submit(read)
    run_id = platform.run_named("passing")
    wait_until(lambda: provider.bill.entries[-1].output_tokens >= 1)
    first.freeze()
    try:
        wait_until(lambda: platform.ended(run_id))
    finally:
        first.thaw()
    assert reading.result() == "all of it arrives|"
    truth = provider.bill.entries[-1].cost_nano_usd
    wait_until(lambda: platform.charged(run_id) == truth)
    kinds = [kind for kind, _ in platform.entries(run_id)]
    assert kinds == ["estimate", "adjust"], "the survivor assumed the worst, the late truth corrected it"
    assert platform.violations() == []


def test_a_run_whose_database_connection_broke_goes_on(
    platform: Platform, replicas: tuple[Replica, Replica], provider: CountingProvider, background: ThreadPoolExecutor
) -> None:
    first, _ = replicas
    provider.behave(Behaviour(text="In spite of all."))
    with Gates(platform) as gates:
        gates.shut("broken")
        metadata = {"name": "broken", "gate": "broken", "at": "ended"}
        answer = background.submit(ask, platform, first, "Question", metadata=metadata)
        wait_until(lambda: gates.waits("broken"))
        gates.break_off("broken")
    assert answer.result().json()["choices"][0]["message"]["content"] == "In spite of all."
    assert platform.ended(platform.run_named("broken"))
    assert first.process.poll() is None
    assert platform.held_nano_usd() == 0


def test_runs_go_on_when_all_connections_to_the_database_break(
    platform: Platform, replicas: tuple[Replica, Replica], provider: CountingProvider, background: ThreadPoolExecutor
) -> None:
    provider.behave(Behaviour(text="After the storm.", first_delay_ms=800))
    answers = [
        background.submit(ask, platform, replica, "Question", metadata={"name": f"storm {n}"})
        for n, replica in enumerate(replicas * 2)
    ]
    names = [f"storm {n}" for n in range(4)]
    wait_until(lambda: all("asked" in platform.fact_types(platform.run_named(name)) for name in names))
    platform.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    texts = {answer.result().json()["choices"][0]["message"]["content"] for answer in answers}
    assert texts == {"After the storm."}
    provider.behave(Behaviour())
    assert all(platform.ended(platform.run_named(name)) for name in names)
    assert platform.held_nano_usd() == 0
    assert platform.violations() == []


def test_a_run_that_cannot_be_read_holds_nobody_up_and_is_ended(
    platform: Platform, replicas: tuple[Replica, Replica], provider: CountingProvider, background: ThreadPoolExecutor
) -> None:
    first, second = replicas
    provider.behave(Behaviour(text="Fine."))
    with platform.connect() as connection:
        for name, body in (("strange", '{"type": "strange", "v": 1}'), ("lost", None)):
            connection.execute(
                "INSERT INTO runs (id, tenant, key, model, policy, state, owner, lease_until, seq, event_version, deadline_at)"
                " VALUES (%s, 'default', 'k', 'manager', 'p', 'running', 'gone', now() - interval '1 day', 1, 1, now())",
                (name,),
            )
            if body is not None:
                connection.execute(
                    "INSERT INTO events (run, seq, tenant, type, v, body, at) VALUES (%s, 1, 'default', 'strange', 1, %s, now())",
                    (name, body),
                )
    asked = len(provider.bill.entries)
    provider.once(Behaviour(hang_after=0))
    with pytest.raises(httpx.TransportError):
        _ask_and_kill(platform, first, provider, asked, background)
    run_id = platform.run_named("killed")
    wait_until(lambda: platform.ended(run_id), seconds=15)
    wait_until(lambda: platform.ended("strange") and platform.ended("lost"), seconds=40)
    assert platform.sql("SELECT DISTINCT status FROM runs WHERE id IN ('strange', 'lost')") == [("failed",)]
    assert ask(platform, second, "Still there?").status_code == 200


def _ask_and_kill(
    platform: Platform, replica: Replica, provider: CountingProvider, asked: int, background: ThreadPoolExecutor
) -> None:
    answer: Future[httpx.Response] = background.submit(ask, platform, replica, "Question", metadata={"name": "killed"})
    wait_until(lambda: len(provider.bill.entries) == asked + 1)
    replica.kill()
    answer.result()


def test_a_direct_call_under_way_is_not_repeated_when_its_process_is_killed(
    platform: Platform, replicas: tuple[Replica, Replica], tools: ToolPeer, background: ThreadPoolExecutor
) -> None:
    first, second = replicas
    path, body = "/v1/tools/pay-slowly/call", {"arguments": {"n": "direct"}}
    call = background.submit(lambda: platform.http(url=first.url).post(path, json=body))
    wait_until(lambda: tools.count("direct") == 1)
    first.kill()
    with pytest.raises(httpx.TransportError):
        call.result()
    tools.release()
    ((run_id,),) = platform.sql("SELECT id FROM runs WHERE model = 'pay-slowly'")
    wait_until(lambda: platform.ended(run_id))
    run = platform.http(url=second.url).get(f"/v1/runs/{run_id}").json()
    assert tools.count("direct") == 1
    assert run["turns"][0]["calls"][0]["status"] == "unknown"
    assert run["turns"][0]["calls"][0]["estimated"] is True
    assert run["cost_nano_usd"] == 1_000_000
    assert platform.held_nano_usd() == 0


def test_a_replica_that_is_told_to_stop_hands_its_runs_over(
    platform: Platform, replicas: tuple[Replica, Replica], provider: CountingProvider, background: ThreadPoolExecutor
) -> None:
    first, _ = replicas
    asked = len(provider.bill.entries)
    provider.behave(Behaviour(text="Handed over."))
    provider.once(Behaviour(hang_after=0), Behaviour(first_delay_ms=700, text="Passed on to the end."))
    answer = background.submit(ask, platform, first, "Question", metadata={"name": "handed"})
    wait_until(lambda: len(provider.bill.entries) == asked + 1)
    run_id = platform.run_named("handed")
    passed = background.submit(ask, platform, first, "Question", model="small")
    wait_until(lambda: len(provider.bill.entries) == asked + 2)
    began = time.monotonic()
    first.stop()
    stopped_s = time.monotonic() - began
    wait_until(lambda: platform.ended(run_id))
    assert first.process.returncode == -signal.SIGTERM, "it ends by the signal, after it has cleaned up"
    assert stopped_s < DRAIN_S + 3, "runs and connections share the time"
    assert platform.facts(run_id)[-1]["answer"] == "Handed over."
    assert platform.sql("SELECT count(*) FROM holds WHERE state = 'open'") == [(0,)]
    assert answer.result().json()["choices"][0]["message"]["content"] == "Handed over.", "the old one followed the run"
    assert passed.result().json()["choices"][0]["message"]["content"] == "Passed on to the end."
    assert platform.violations() == []


def test_a_replica_that_stops_closes_the_connection_of_whoever_still_asks_it(
    platform: Platform, replicas: tuple[Replica, Replica], provider: CountingProvider, background: ThreadPoolExecutor
) -> None:
    first, _ = replicas
    asked = len(provider.bill.entries)
    provider.behave(Behaviour(text="Handed over."))
    provider.once(Behaviour(hang_after=0))
    background.submit(ask, platform, first, "Question", metadata={"name": "lingering"})
    wait_until(lambda: len(provider.bill.entries) == asked + 1)
    client = platform.http(url=first.url)
    stopping = background.submit(first.stop)
    wait_until(lambda: client.get("/readyz").status_code == 503)
    refused = client.post("/v1/chat/completions", json={"model": "manager", "messages": [{"role": "user", "content": "?"}]})
    assert (refused.status_code, refused.headers["connection"]) == (503, "close"), "so that a retry reaches another replica"
    stopping.result()
    wait_until(lambda: platform.ended(platform.run_named("lingering")))


def test_a_run_under_way_is_handed_over_at_its_next_transition(
    platform: Platform, replicas: tuple[Replica, Replica], provider: CountingProvider, background: ThreadPoolExecutor
) -> None:
    first, _ = replicas
    provider.behave(Behaviour(needs_tools=True))
    turns = [{"call": ["look", {"n": "handed"}], "first_delay_ms": 600} for _ in range(6)]
    question = f"Look [[{json.dumps({'turns': [*turns, {'text': 'All the way.'}]})}]]"
    answer = background.submit(ask, platform, first, question, metadata={"name": "under way"})
    run_id = platform.run_named("under way")
    wait_until(lambda: "call_finished" in platform.fact_types(run_id))
    first.process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    wait_until(lambda: "resumed" in platform.fact_types(run_id), pause=0.02)
    assert time.monotonic() - began < DRAIN_S, "its lease was given back before the drain was over"
    wait_until(lambda: platform.ended(run_id))
    assert platform.status(run_id) == "completed"
    assert platform.fact_types(run_id).count("resumed") == 1
    assert "ask_failed" not in platform.fact_types(run_id), "nothing was torn out of the model's hands"
    assert {kind for kind, _ in platform.entries(run_id)} == {"spend"}
    assert first.process.wait(timeout=DRAIN_S + 3) == -signal.SIGTERM
    reply = answer.result()
    if reply.status_code != 200:  # the old one's time was up before the run's end
        assert (reply.status_code, "send the request again" in reply.text) == (503, True)
    assert platform.violations() == []


def test_no_two_processes_share_a_name() -> None:
    """Leases are kept by name, and in a container each start has the same host and process id."""
    owner = OrchestratorSettings.model_fields["owner"].get_default(call_default_factory=True)
    assert owner != OrchestratorSettings.model_fields["owner"].get_default(call_default_factory=True)
