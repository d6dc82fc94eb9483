"""kill -9 at every boundary of the orchestrator: what was stored counts, what was not is done again or given up, and the money
is right.

One killing serves all cases: each run stops at a boundary of its own (a gate inside the database, or a peer that hangs), then
the process is killed, some transactions are rolled back and the others commit without it, and a second replica goes on.
"""

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from tests.integration.orchestrator.cases import CASES, TOOL_NANO_USD, Case
from tests.integration.orchestrator.gates import Gates
from tests.integration.orchestrator.peers import ToolPeer
from tests.support.platform import Platform, PlatformFactory, expert, manager, tool, wait_until
from toolorchestra.executors.testing import Behaviour, CountingProvider
from toolorchestra.executors.testing.bill import Entry

pytestmark = pytest.mark.timeout(300)


@dataclass(frozen=True)
class Peers:
    """Everything that the platform calls."""

    provider: CountingProvider
    stuck: CountingProvider
    halting: CountingProvider
    tools: ToolPeer
    deaf: ToolPeer

    @property
    def all(self) -> tuple[Any, ...]:
        return self.provider, self.stuck, self.halting, self.tools, self.deaf

    @property
    def entries(self) -> list[Entry]:
        return [e for p in (self.provider, self.stuck, self.halting) for e in p.bill.entries if e.status == 200]

    def recover(self) -> None:
        """From now on all behave."""
        self.stuck.behave(Behaviour())
        self.halting.behave(Behaviour())
        self.tools.release()
        self.deaf.hear()


@dataclass(frozen=True)
class Reply:
    """What a client got in the end; nothing if its connection broke."""

    run_id: str = ""
    content: str = ""
    broke: bool = False


@dataclass(frozen=True)
class Outcome:
    """What became of a case."""

    case: Case
    reply: Reply
    facts: list[dict[str, Any]]
    run: dict[str, Any]
    entries: list[dict[str, Any]]
    attempts: list[dict[str, Any]]
    bill: list[Entry]


def _tool(name: str, url: str, side_effects: str) -> dict[str, object]:
    return tool(name, url, sideEffects=side_effects, pricing={"perCall": "0.001"})


def _manager(name: str, model: str) -> dict[str, object]:
    return manager(name, model, limits={"timeout": "120s"})


def apply(platform: Platform, peers: Peers) -> None:
    platform.apply(
        expert("small", peers.provider),
        expert("stuck", peers.stuck, timeout="90s"),
        expert("halting", peers.halting, timeout="90s"),
        expert("through", peers.provider),
        expert("through-stuck", peers.stuck, timeout="90s"),
        expert("through-halting", peers.halting, timeout="90s"),
        expert("helper", peers.stuck, timeout="90s"),
        _manager("manager", "small"),
        _manager("stuck-manager", "stuck"),
        _manager("halting-manager", "halting"),
        _tool("look", f"{peers.tools.url}/look", "readOnly"),
        _tool("put", f"{peers.tools.url}/put", "idempotent"),
        _tool("pay", f"{peers.tools.url}/pay", "destructive"),
        _tool("hang-look", f"{peers.tools.url}/hang-look", "readOnly"),
        _tool("hang-put", f"{peers.tools.url}/hang-put", "idempotent"),
        _tool("hang-pay", f"{peers.tools.url}/hang-pay", "destructive"),
        _tool("deaf-pay", f"{peers.deaf.url}/pay", "destructive"),
    )


@pytest.fixture(scope="module")
def peers() -> Iterator[Peers]:
    with ExitStack() as stack:
        providers = [stack.enter_context(CountingProvider()) for _ in range(3)]
        tools, deaf = stack.enter_context(ToolPeer()), stack.enter_context(ToolPeer(deaf=True))
        yield Peers(*providers, tools, deaf)


@pytest.fixture(scope="module")
def platform(new_platform: PlatformFactory, peers: Peers) -> Iterator[Platform]:
    settings = {"TOOLORCHESTRA_DATABASE_CONNECTIONS": "48", "TOOLORCHESTRA_DRAIN_MS": "1000"}
    with new_platform(*peers.all, **settings) as made:
        apply(made, peers)
        made.start()
        yield made


@dataclass
class Client:
    """An application: asks, answers the calls of its own tool, and asks again when its connection breaks."""

    platform: Platform
    case: Case
    messages: list[dict[str, Any]] = field(default_factory=list)

    def ask(self, url: str, *, again: bool = False) -> Reply:
        headers = {"authorization": f"Bearer {self.platform.key}"}
        body = self.case.body()
        self.messages = self.messages or body["messages"]
        try:
            with httpx.Client(base_url=url, headers=headers, timeout=90) as http:
                return self._converse(http, body, again=again)
        except httpx.TransportError:
            return Reply(broke=True)

    def _converse(self, http: httpx.Client, body: dict[str, Any], *, again: bool) -> Reply:
        while True:
            http.headers["idempotency-key"] = f"{self.case.name} {len(self.messages)}"
            http.headers["x-stainless-retry-count"] = "1" if again else "0"
            answer = self._post(http, body | {"messages": self.messages})
            again = False
            message = answer["choices"][0]["message"]
            if not message.get("tool_calls"):
                return Reply(answer["id"].removeprefix("chatcmpl-"), message["content"])
            results = [{"role": "tool", "tool_call_id": c["id"], "content": "sunny"} for c in message["tool_calls"]]
            self.messages = [*self.messages, message, *results]

    def _post(self, http: httpx.Client, body: dict[str, Any]) -> Any:
        if not body["stream"]:
            response = http.post("/v1/chat/completions", json=body)
            assert response.status_code == 200, response.text
            return response.json()
        text, identity = "", ""
        with http.stream("POST", "/v1/chat/completions", json=body) as response:
            for line in response.iter_lines():
                if line.startswith("data: {"):
                    chunk = json.loads(line.removeprefix("data: "))
                    identity = chunk["id"]
                    text += "".join(c["delta"].get("content") or "" for c in chunk["choices"])
        return {"id": identity, "choices": [{"message": {"content": text}}]}


def _at_its_boundary(case: Case, gates: Gates, peers: Peers) -> bool:
    if case.at is not None:
        return gates.waits(case.name)
    visits = [v for v in peers.tools.visits if v.n.startswith(f"{case.name} ")]
    if case.calls == ("helper",):
        return any(e.model == "counting" for e in peers.stuck.bill.entries if e.prompt_tokens)
    if case.calls and case.calls != ("deaf-pay",):
        return bool(visits)
    return True


@pytest.fixture(scope="module")
def outcomes(platform: Platform, peers: Peers) -> Iterator[dict[str, Outcome]]:
    """Everything up to the boundaries, the kill, and what the second replica makes of it."""
    first = platform.replicas[0]
    peers.stuck.behave(Behaviour(hang_after=0))
    peers.halting.behave(Behaviour(hang_after=2))
    assert platform.key, "one key for all"
    clients = {case.name: Client(platform, case) for case in CASES}
    with Gates(platform) as gates, ThreadPoolExecutor(len(CASES)) as threads:
        for case in CASES:
            if case.at is not None:
                gates.shut(case.name)
        asked = {name: threads.submit(client.ask, first.url) for name, client in clients.items()}
        _until_all_wait(gates, peers, asked)
        first.kill()
        peers.recover()
        for case in CASES:
            if case.at is not None and not case.commits:
                gates.break_off(case.name)
            elif case.at is not None:
                gates.open(case.name)
        broken = {name: future.result() for name, future in asked.items()}
        assert [name for name, reply in broken.items() if not reply.broke] == []
        second = platform.start()
        again = {
            name: threads.submit(client.ask, second.url, again=True)
            for name, client in clients.items()
            if not client.case.passes_through
        }
        replies = broken | {name: future.result() for name, future in again.items()}
        _until_all_ended(platform, replies)
        yield {case.name: _outcome(platform, peers, case, replies[case.name]) for case in CASES}


def _until_all_wait(gates: Gates, peers: Peers, asked: dict[str, Future[Reply]]) -> None:
    def missing() -> list[str]:
        return [case.name for case in CASES if not _at_its_boundary(case, gates, peers)]

    stuck = sum(1 for case in CASES if case.model in ("stuck-manager", "through-stuck") or case.calls == ("helper",))
    halting = sum(1 for case in CASES if "halting" in case.model)

    def all_wait() -> bool:
        early = {name: future.result() for name, future in asked.items() if future.done()}
        if early:
            pytest.fail(f"ended before its boundary: {early}")
        hanging = sum(1 for e in peers.stuck.bill.entries if e.prompt_tokens)
        halted = sum(1 for e in peers.halting.bill.entries if e.output_tokens == 2)
        return not missing() and (hanging, halted) == (stuck, halting)

    try:
        wait_until(all_wait, seconds=60)
    except AssertionError as error:
        raise AssertionError(f"not at their boundaries: {missing()}") from error


def _until_all_ended(platform: Platform, replies: dict[str, Reply]) -> None:
    query = "SELECT metadata->>'case', state, resumes FROM runs WHERE state <> 'ended'"
    try:
        wait_until(lambda: platform.sql(query) == [], seconds=60)
    except AssertionError:
        pytest.fail(f"these runs did not end: {platform.sql(query)} {replies}", pytrace=False)


def _outcome(platform: Platform, peers: Peers, case: Case, reply: Reply) -> Outcome:
    runs = platform.sql(
        "SELECT json_build_object('id', id, 'state', state, 'status', status, 'traceparent', traceparent, 'resumes', resumes)"
        " FROM runs WHERE metadata->>'case' = %s",
        case.name,
    )
    if not case.stored:
        assert runs == []
        return Outcome(case, reply, [], {}, [], [], [])
    assert len(runs) == 1, f"{case.name}: {runs}"
    run = runs[0][0]
    entries = platform.sql(
        "SELECT json_build_object('kind', e.kind, 'amount', e.amount, 'for', h.kind, 'function', h.function, 'hold', h.id)"
        " FROM entries e JOIN holds h ON h.id = e.hold WHERE h.run = %s AND e.unit = 'nano_usd' ORDER BY e.id",
        run["id"],
    )
    attempts = platform.sql(
        "SELECT json_build_object('call', a.call, 'attempt', a.attempt, 'status', a.status, 'finished', a.finished_at,"
        " 'function', c.function) FROM attempts a JOIN calls c ON c.id = a.call WHERE c.run = %s ORDER BY a.call, a.attempt",
        run["id"],
    )
    trace = str(run["traceparent"]).split("-")[1]
    bill = [e for e in peers.entries if e.traceparent and e.traceparent.split("-")[1] == trace]
    facts = platform.facts(run["id"])
    return Outcome(case, reply, facts, run, [e[0] for e in entries], [a[0] for a in attempts], bill)


@pytest.fixture(params=CASES, ids=lambda case: case.name.replace(" ", "-"))
def outcome(request: pytest.FixtureRequest, outcomes: dict[str, Outcome]) -> Outcome:
    return outcomes[request.param.name]


def test_the_run_ends_and_its_client_gets_the_answer(outcome: Outcome) -> None:
    case = outcome.case
    if not case.stored:
        return
    assert outcome.facts[-1]["type"] == "ended"
    assert outcome.run["status"] == case.status, outcome.facts[-1]
    if not case.passes_through:
        assert outcome.reply.run_id == outcome.run["id"], "the repeated request attached to the same run"
        assert outcome.reply.content == outcome.facts[-1]["answer"] != ""


def test_it_calls_its_peers_no_more_often_than_it_must(outcome: Outcome, peers: Peers) -> None:
    case = outcome.case
    visits = [peers.tools.count(f"{case.name} {tool}") + peers.deaf.count(f"{case.name} {tool}") for tool in case.calls]
    assert tuple(visits[: len(case.visits)]) == case.visits
    assert len(outcome.bill) == case.asks, outcome.facts


def test_a_destructive_peer_counts_at_most_one_and_a_repeated_call_keeps_its_key(outcome: Outcome, peers: Peers) -> None:
    for called in outcome.case.calls:
        keys = peers.tools.keys(f"{outcome.case.name} {called}")
        if "pay" in called:
            assert keys.total() <= 1
        if "look" not in called:
            assert len(keys) <= 1
            assert None not in keys


def test_a_stored_outcome_is_never_asked_for_again(outcome: Outcome) -> None:
    decided: set[int] = set()
    finished: set[tuple[int, int]] = set()
    for fact in outcome.facts:
        match fact["type"]:
            case "asked":
                assert fact["turn"] not in decided
            case "decided":
                decided.add(fact["turn"])
            case "calls_started":
                assert not {(fact["turn"], c["ordinal"]) for c in fact["calls"]} & finished
            case "call_finished":
                finished.add((fact["turn"], fact["ordinal"]))


def test_every_attempt_has_a_row_that_says_how_it_ended(outcome: Outcome) -> None:
    run = outcome.run.get("id")
    started = [
        (f"{run}/{fact['turn']}/{c['ordinal']}", c["attempt"])
        for fact in outcome.facts
        if fact["type"] == "calls_started"
        for c in fact["calls"]
    ]
    assert sorted(started) == [(a["call"], a["attempt"]) for a in outcome.attempts]
    assert all(a["status"] is not None and a["finished"] is not None for a in outcome.attempts)
    visits = sum(visits for visits in outcome.case.visits)
    assert len(outcome.attempts) >= visits


def test_entries_are_the_peers_own_bill_except_for_estimates(outcome: Outcome, peers: Peers) -> None:
    case = outcome.case
    tools = [tool for tool in case.calls if tool != "helper"]
    visits = sum(peers.tools.count(f"{case.name} {tool}") + peers.deaf.count(f"{case.name} {tool}") for tool in tools)
    billed = Counter([*(e.cost_nano_usd for e in outcome.bill if e.cost_nano_usd), *[TOOL_NANO_USD] * visits])
    stated = Counter(e["amount"] for e in outcome.entries if e["kind"] == "spend" and e["amount"])
    estimates = [e["amount"] for e in outcome.entries if e["kind"] == "estimate"]
    assert not stated - billed, "every stated amount is one that a peer charged"
    lost = billed - stated
    assert len(estimates) == case.estimates
    assert lost.total() <= len(estimates)
    assert sum(lost.elements()) <= sum(estimates), "what nobody heard the price of is covered"


def test_the_explained_cost_is_what_was_charged(outcome: Outcome, platform: Platform) -> None:
    if not outcome.case.stored:
        return
    shown = platform.http().get(f"/v1/runs/{outcome.run['id']}").json()
    charged = sum(entry["amount"] for entry in outcome.entries)
    assert shown["cost_nano_usd"] == charged
    assert shown["status"] == outcome.case.status


def test_nothing_is_held_and_the_laws_of_the_ledger_hold(outcomes: dict[str, Outcome], platform: Platform) -> None:
    assert len(outcomes) == len(CASES)
    assert platform.held_nano_usd() == 0
    assert platform.sql("SELECT count(*) FROM holds WHERE state = 'open'") == [(0,)]
    assert platform.violations() == []
