"""Runs as their tenant sees them: followed without gaps from any replica, cancelled, judged, deleted, repeated, left, and theirs
alone."""

import itertools
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.integration.orchestrator.peers import ToolPeer
from tests.support.platform import Platform, PlatformFactory, expert, inside, manager, tool, wait_until
from toolorchestra.executors.testing import Behaviour, CountingProvider

pytestmark = pytest.mark.timeout(120)

GRACE_S = 5.0  # after which a run whose client left is cancelled
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def platform(new_platform: PlatformFactory, provider: CountingProvider, tools: ToolPeer) -> Iterator[Platform]:
    with new_platform(provider, tools, TOOLORCHESTRA_DRAIN_MS="1000") as made:
        own = [expert("small", provider, allowedNamespaces={"from": "Same"}), manager(), tool("look", f"{tools.url}/look")]
        made.apply(*own, *inside("other", *own))
        for replica in [made.launch(), made.launch()]:
            made.wait_for(replica)
        assert made.key
        yield made


@dataclass(frozen=True)
class User:
    """Somebody with a key, at one of the replicas."""

    http: httpx.Client

    def ask(self, content: str = "hello", *, headers: dict[str, str] | None = None, **fields: Any) -> httpx.Response:
        messages = [{"role": "user", "content": content}]
        body = {"model": "manager", "messages": messages, **fields}
        return self.http.post("/v1/chat/completions", json=body, headers=headers or {})

    def run(self, run_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.http.get(f"/v1/runs/{run_id}").json()
        return found

    def events(self, run_id: str, *, after: int = 0, most: int = 1_000) -> list[int]:
        """The numbers of the facts after one; breaks off after ``most``."""
        headers = {"last-event-id": str(after)} if after else {}
        found: list[int] = []
        with self.http.stream("GET", f"/v1/runs/{run_id}/events", headers=headers) as response:
            assert response.status_code == 200
            for line in response.iter_lines():
                if line.startswith("id: "):
                    found.append(int(line.removeprefix("id: ")))
                    if len(found) == most:
                        break
        return found


@pytest.fixture
def users(platform: Platform, provider: CountingProvider) -> tuple[User, User]:
    """The same user at both replicas."""
    provider.behave(Behaviour(needs_tools=True))
    first, second = platform.replicas
    return User(platform.http(url=first.url)), User(platform.http(url=second.url))


@pytest.fixture
def user(users: tuple[User, User]) -> User:
    return users[0]


@pytest.fixture
def stranger(platform: Platform) -> User:
    """Somebody of another tenant."""
    return User(platform.http(platform.new_key("other")))


def script(*turns: dict[str, Any]) -> str:
    return f"{next(_numbers)} [[{json.dumps({'turns': turns})}]]"


def slowly(turns: int, delay_ms: int = 150) -> str:
    """A question that takes some turns, a little slowly."""
    looks = [{"call": ["look", {"n": "1"}], "first_delay_ms": delay_ms}] * turns
    return script(*looks, {"text": "Done.", "first_delay_ms": delay_ms})


def run_id_of(response: httpx.Response) -> str:
    assert response.status_code == 200, response.text
    return str(response.json()["id"].removeprefix("chatcmpl-"))


def test_events_resume_anywhere_without_gaps_or_repeats(platform: Platform, users: tuple[User, User]) -> None:
    run_id = run_id_of(users[0].ask(slowly(2, 0)))
    whole = list(range(1, len(platform.facts(run_id)) + 1))
    assert len(whole) >= 6
    for after, user in itertools.product(range(len(whole) + 1), users):
        assert user.events(run_id, after=after) == whole[after:]
    assert users[0].events(run_id, after=10_000) == []


def test_a_run_under_way_is_followed_from_both_replicas_in_turn(
    platform: Platform, users: tuple[User, User], background: ThreadPoolExecutor
) -> None:
    known = platform.runs()
    answer = background.submit(users[0].ask, slowly(6))
    run_id = platform.new_run(known)
    seen: list[int] = []
    for user in itertools.cycle(reversed(users)):
        seen += user.events(run_id, after=seen[-1] if seen else 0, most=2)
        if platform.ended(run_id) and len(seen) >= len(platform.facts(run_id)):
            break
    assert seen == list(range(1, len(platform.facts(run_id)) + 1))
    assert answer.result().status_code == 200


def test_a_follower_at_the_other_replica_hears_at_once(
    platform: Platform, users: tuple[User, User], background: ThreadPoolExecutor
) -> None:
    """Without signals it would look once a second only."""
    known = platform.runs()
    answer = background.submit(users[0].ask, slowly(20, 50))
    run_id = platform.new_run(known)
    whole = users[1].events(run_id)
    lag_s = time.monotonic()
    assert answer.result().status_code == 200
    assert time.monotonic() - lag_s < 0.5
    assert whole == list(range(1, len(platform.facts(run_id)) + 1))


def test_the_numbers_in_a_stream_are_those_of_the_events(platform: Platform, users: tuple[User, User]) -> None:
    response = users[0].ask(slowly(2, 0), stream=True)
    numbers = [int(line.removeprefix("id: ")) for line in response.text.splitlines() if line.startswith("id: ")]
    run_id = response.headers["x-toolorchestra-run-id"]
    assert numbers == sorted(set(numbers)), "each number once"
    assert numbers[-1] == len(platform.facts(run_id))
    assert users[1].events(run_id, after=numbers[0]) == list(range(numbers[0] + 1, numbers[-1] + 1))


def test_a_lost_stream_is_taken_up_by_its_last_number(platform: Platform, users: tuple[User, User]) -> None:
    body = {"model": "manager", "messages": [{"role": "user", "content": slowly(6)}], "stream": True}
    last = 0
    with users[0].http.stream("POST", "/v1/chat/completions", json=body) as response:
        run_id = response.headers["x-toolorchestra-run-id"]
        for line in response.iter_lines():
            if line.startswith("id: "):
                last = int(line.removeprefix("id: "))
                break
    rest = users[1].events(run_id, after=last)
    assert rest == list(range(last + 1, len(platform.facts(run_id)) + 1))
    assert platform.status(run_id) == "completed", "within the grace nothing is cancelled"


def _park(user: User) -> tuple[str, dict[str, Any]]:
    """A run that waits for the client's tool, and the message that asks for it."""
    response = user.ask(script({"call": ["weather", {}]}, {"text": "Sunny."}), tools=[WEATHER])
    message = response.json()["choices"][0]["message"]
    assert response.json()["choices"][0]["finish_reason"] == "tool_calls"
    return run_id_of(response), message


def _answer(user: User, message: dict[str, Any], **fields: Any) -> httpx.Response:
    call = message["tool_calls"][0]
    messages = [
        {"role": "user", "content": "Weather?"},
        message,
        {"role": "tool", "tool_call_id": fields.pop("call_id", call["id"]), "content": "sunny"},
    ]
    body = {"model": "manager", "messages": messages, "tools": [WEATHER], **fields}
    return user.http.post("/v1/chat/completions", json=body)


def test_events_of_a_run_that_waited_are_told_to_the_end(platform: Platform, users: tuple[User, User]) -> None:
    run_id, message = _park(users[0])
    parked = users[1].events(run_id)
    assert platform.fact_types(run_id)[-1] == "parked"
    assert parked == list(range(1, len(platform.facts(run_id)) + 1)), "it rests, so the stream ends"
    assert _answer(users[1], message).json()["choices"][0]["message"]["content"] == "Sunny."
    for user in users:
        assert user.events(run_id) == list(range(1, len(platform.facts(run_id)) + 1))


def test_the_first_continuation_wins_and_any_other_is_a_new_run(platform: Platform, users: tuple[User, User]) -> None:
    run_id, message = _park(users[0])
    assert run_id_of(_answer(users[1], message)) == run_id
    again = run_id_of(_answer(users[0], message))
    assert again != run_id
    assert platform.fact_types(run_id).count("continued") == 1


def test_a_repeated_continuation_is_not_a_new_run(platform: Platform, users: tuple[User, User]) -> None:
    run_id, message = _park(users[0])
    assert run_id_of(_answer(users[0], message)) == run_id
    users[1].http.headers["x-stainless-retry-count"] = "1"
    assert run_id_of(_answer(users[1], message)) == run_id
    assert platform.fact_types(run_id).count("continued") == 1


@pytest.mark.parametrize("change", ["another ordinal", "another turn", "another run", "no call of ours"])
def test_an_answer_to_a_call_that_nobody_made_is_a_new_run(platform: Platform, user: User, change: str) -> None:
    run_id, message = _park(user)
    call_id = {
        "another ordinal": f"call_{run_id}_1_2",
        "another turn": f"call_{run_id}_2_1",
        "another run": f"call_run-{'0' * 20}_1_1",
        "no call of ours": "call_abc",
    }[change]
    assert run_id_of(_answer(user, message, call_id=call_id)) != run_id
    assert platform.sql("SELECT state FROM runs WHERE id = %s", run_id) == [("waiting",)]
    user.http.post(f"/v1/runs/{run_id}/cancel")
    wait_until(lambda: platform.ended(run_id))


def test_a_run_is_cancelled_from_any_replica(
    platform: Platform, users: tuple[User, User], background: ThreadPoolExecutor
) -> None:
    known = platform.runs()
    answer = background.submit(users[0].ask, slowly(45))
    run_id = platform.new_run(known)
    assert users[1].http.post(f"/v1/runs/{run_id}/cancel").json()["cancel_requested"] is True
    wait_until(lambda: platform.ended(run_id), seconds=5)
    assert platform.status(run_id) == "cancelled"
    assert answer.result().json()["toolorchestra"]["status"] == "cancelled"
    assert "cancelled by the user" in answer.result().json()["toolorchestra"]["reason"]
    assert users[0].http.post(f"/v1/runs/{run_id}/cancel").json()["status"] == "cancelled", "once more does nothing"
    assert platform.held_nano_usd() == 0


def test_a_waiting_run_is_cancelled_at_once(platform: Platform, user: User) -> None:
    run_id, message = _park(user)
    assert user.http.post(f"/v1/runs/{run_id}/cancel").status_code == 200
    assert platform.status(run_id) == "cancelled"
    assert run_id_of(_answer(user, message)) != run_id


def test_feedback_is_kept_with_its_author(platform: Platform, user: User, stranger: User) -> None:
    run_id = run_id_of(user.ask())
    path = f"/v1/runs/{run_id}/feedback"
    assert user.http.post(path, json={"score": 0.5, "comment": "well"}).json()["stored"] is True
    for body in ({}, {"score": 2}, {"score": "good"}, {"stars": 5}, [], None):
        refused = user.http.post(path, json=body)
        assert refused.status_code == 400, body
        assert refused.json()["error"]["message"]
    assert stranger.http.post(path, json={"score": 0}).status_code == 404
    assert platform.sql("SELECT score, comment FROM feedback WHERE run = %s", run_id) == [(0.5, "well")]


def test_deleting_removes_what_was_said_and_keeps_what_was_paid(
    platform: Platform, users: tuple[User, User], background: ThreadPoolExecutor
) -> None:
    user, other = users
    known = platform.runs()
    answer = background.submit(user.ask, slowly(4), headers={"idempotency-key": "deleted"})
    run_id = platform.new_run(known)
    early = user.http.delete(f"/v1/runs/{run_id}")
    assert (early.status_code, early.json()["error"]["code"]) == (409, "conflict")
    assert answer.result().status_code == 200
    paid = platform.sql("SELECT sum(e.amount) FROM entries e JOIN holds h ON h.id = e.hold WHERE h.run = %s", run_id)
    assert user.http.delete(f"/v1/runs/{run_id}").json()["deleted"] is True
    assert user.http.delete(f"/v1/runs/{run_id}").status_code == 200, "twice is once"
    assert platform.facts(run_id) == []
    assert platform.sql("SELECT sum(e.amount) FROM entries e JOIN holds h ON h.id = e.hold WHERE h.run = %s", run_id) == paid
    shown = other.run(run_id)
    assert (shown["status"], shown["turns"]) == ("completed", [])
    assert shown["content_deleted_at"]
    for one in users:
        assert one.events(run_id) == [], "there is nothing to wait for"
    assert user.http.post(f"/v1/runs/{run_id}/cancel").status_code == 200
    assert user.http.post(f"/v1/runs/{run_id}/feedback", json={"score": 1}).status_code == 200
    assert "Done." not in json.dumps(user.http.get("/v1/runs").json())


def test_the_key_of_a_deleted_run_says_so(platform: Platform, user: User) -> None:
    question, headers = slowly(1, 0), {"idempotency-key": f"gone-{next(_numbers)}"}
    run_id = run_id_of(user.ask(question, headers=headers))
    user.http.delete(f"/v1/runs/{run_id}")
    again = user.ask(question, headers=headers)
    assert again.status_code == 409
    assert "deleted" in again.json()["error"]["message"]


def test_an_idempotency_key_attaches_to_its_run(
    platform: Platform, users: tuple[User, User], provider: CountingProvider, background: ThreadPoolExecutor
) -> None:
    question, headers = slowly(3), {"idempotency-key": f"same-{next(_numbers)}"}
    asked = len(provider.bill.entries)
    answers = [background.submit(user.ask, question, headers=headers) for user in users * 3]
    assert len({run_id_of(answer.result()) for answer in answers}) == 1
    assert len({answer.result().json()["choices"][0]["message"]["content"] for answer in answers}) == 1
    later = users[1].ask(question, headers=headers)
    assert run_id_of(later) == run_id_of(answers[0].result())
    streamed = users[0].ask(question, headers=headers)
    assert run_id_of(streamed) == run_id_of(later)
    assert len(provider.bill.entries) == asked + 4
    conflict = users[0].ask("something else", headers=headers)
    assert (conflict.status_code, conflict.json()["error"]["param"]) == (409, "Idempotency-Key")
    assert "new key" in conflict.json()["error"]["message"]
    other_key = User(platform.http(platform.new_key()))
    assert run_id_of(other_key.ask(question, headers=headers)) != run_id_of(later), "the key is one API key's own"


def test_an_ended_run_is_streamed_again(user: User) -> None:
    question, headers = slowly(1, 0), {"idempotency-key": f"streamed-{next(_numbers)}"}
    texts = []
    for _ in range(2):
        response = user.ask(question, headers=headers, stream=True)
        lines = [line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith("data: ")]
        assert lines[-1] == "[DONE]"
        chunks = [json.loads(line) for line in lines[:-1]]
        texts.append("".join(c["delta"].get("content") or "" for chunk in chunks for c in chunk["choices"]))
        assert [c["finish_reason"] for chunk in chunks for c in chunk["choices"]][-1] == "stop"
    assert texts == ["Done.", "Done."]


def _leave(user: User, content: str, *, stream: bool, **fields: Any) -> None:
    """Ask and go away before the answer."""
    body = {"model": "manager", "messages": [{"role": "user", "content": content}], "stream": stream, **fields}
    if stream:
        with user.http.stream("POST", "/v1/chat/completions", json=body) as response:
            next(response.iter_lines())
        return
    with pytest.raises(httpx.ReadTimeout):
        user.http.post("/v1/chat/completions", json=body, timeout=0.4)


@pytest.mark.parametrize("stream", [False, True])
def test_a_run_whose_client_left_is_cancelled_after_a_grace(platform: Platform, user: User, stream: bool) -> None:
    known = platform.runs()
    _leave(user, slowly(45), stream=stream)
    run_id = platform.new_run(known)
    time.sleep(GRACE_S - 2)
    assert not platform.ended(run_id)
    wait_until(lambda: platform.ended(run_id), seconds=5)
    assert platform.status(run_id) == "cancelled"
    assert "went away" in user.run(run_id)["answer"]["reason"]
    assert platform.held_nano_usd() == 0


def test_a_run_may_go_on_without_its_client(platform: Platform, user: User) -> None:
    known = platform.runs()
    _leave(user, slowly(20, 400), stream=False, toolorchestra={"on_disconnect": "continue"})
    run_id = platform.new_run(known)
    wait_until(lambda: platform.ended(run_id), seconds=20)
    assert platform.status(run_id) == "completed"
    assert user.run(run_id)["answer"]["answer"] == "Done."


@pytest.mark.parametrize("replica", [0, 1], ids=["at the same replica", "at another replica"])
def test_a_client_that_comes_back_in_time_finds_its_run(platform: Platform, users: tuple[User, User], replica: int) -> None:
    known = platform.runs()
    question = slowly(14, 600)
    _leave(users[0], question, stream=False)
    time.sleep(GRACE_S / 2)
    again = users[replica].ask(question, headers={"x-stainless-retry-count": "1"})
    assert again.json()["choices"][0]["message"]["content"] == "Done."
    assert platform.runs() - known == {run_id_of(again)}


def test_a_client_that_leaves_the_other_replica_too_cancels_its_run(platform: Platform, users: tuple[User, User]) -> None:
    known = platform.runs()
    question = slowly(45, 400)
    _leave(users[0], question, stream=False)
    users[1].http.headers["x-stainless-retry-count"] = "1"
    _leave(users[1], question, stream=True)
    run_id = platform.new_run(known)
    wait_until(lambda: platform.ended(run_id), seconds=GRACE_S + 5)
    assert platform.status(run_id) == "cancelled"


def test_a_repeated_request_is_the_same_run_only_when_it_says_so(platform: Platform, users: tuple[User, User]) -> None:
    question = slowly(1, 0)
    first = run_id_of(users[0].ask(question))
    assert run_id_of(users[1].ask(question, headers={"x-stainless-retry-count": "2"})) == first
    assert run_id_of(users[1].ask(question)) != first


def test_a_run_is_its_tenants_alone(platform: Platform, user: User, stranger: User) -> None:
    run_id = run_id_of(user.ask("a secret"))
    waiting, message = _park(user)
    for method, path, body in (
        ("GET", f"/v1/runs/{run_id}", None),
        ("GET", f"/v1/runs/{run_id}/events", None),
        ("POST", f"/v1/runs/{run_id}/cancel", None),
        ("POST", f"/v1/runs/{run_id}/feedback", {"score": 1}),
        ("DELETE", f"/v1/runs/{run_id}", None),
    ):
        response = stranger.http.request(method, path, json=body)
        assert response.status_code == 404, path
        assert "secret" not in response.text
    assert stranger.http.get("/v1/runs").json()["data"] == []
    for unknown in (run_id, "run-nothing"):
        refused = stranger.http.get(f"/v1/runs?after={unknown}")
        assert (refused.status_code, refused.json()["error"]["param"]) == (404, "after")
        assert unknown in refused.json()["error"]["message"]
    foreign = _answer(stranger, message)
    assert run_id_of(foreign) != waiting, "a foreign call id leads nowhere"
    assert platform.sql("SELECT state, tenant FROM runs WHERE id = %s", waiting) == [("waiting", "default")]
    assert stranger.ask(model="default/small").status_code == 404, "a model that is not lent"
    assert len(stranger.http.get("/v1/runs").json()["data"]) == 1
    user.http.post(f"/v1/runs/{waiting}/cancel")


def test_a_key_sees_only_the_models_and_tools_of_its_scope(platform: Platform, provider: CountingProvider) -> None:
    narrow = User(platform.http(platform.new_key(models=["small"], tools=["nothing*"])))
    assert [m["id"] for m in narrow.http.get("/v1/models").json()["data"]] == ["small"]
    refused = narrow.ask("hello")
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "model_not_found")
    assert narrow.http.post("/v1/tools/look/call", json={"arguments": {"n": "1"}}).status_code == 404
    assert narrow.ask("hello", model="small").status_code == 200
    managed = User(platform.http(platform.new_key(models=["manager"], tools=["nothing*"])))
    answer = managed.ask(script({"call": ["look", {"n": "scoped"}]}, {"text": "Without it."}))
    run = managed.run(run_id_of(answer))
    assert run["turns"][0]["calls"][0]["status"] == "error", "the key's scope holds inside a run too"


def test_in_the_end_nothing_is_held(platform: Platform) -> None:
    for replica in platform.replicas:
        assert '"unexpected_error"' not in replica.log.read_text()
    wait_until(lambda: platform.sql("SELECT count(*) FROM runs WHERE state = 'running'") == [(0,)], seconds=30)
    assert platform.held_nano_usd() == 0
    assert platform.sql("SELECT count(*) FROM holds WHERE state = 'open'") == [(0,)]
    assert platform.violations() == []
