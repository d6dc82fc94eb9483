"""A model asked by its own name: repeated, left, cancelled and followed like any run, and paid for once."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx
import openai
import pytest

from tests.support.platform import Platform, PlatformFactory, expert, manager, wait_until
from toolorchestra.executors.testing import Behaviour, CountingProvider

pytestmark = pytest.mark.timeout(120)

GRACE_S = 5.0  # after which a call whose client left is ended
PROMPT_S = 1.0
RETRY = {"x-stainless-retry-count": "1"}
HERE_AND_THERE = pytest.mark.parametrize("replica", [0, 1], ids=["at the same replica", "at another replica"])
BOTH_FORMS = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


@pytest.fixture(scope="module")
def platform(new_platform: PlatformFactory, provider: CountingProvider) -> Iterator[Platform]:
    with new_platform(provider, TOOLORCHESTRA_DRAIN_MS="1000") as made:
        made.apply(expert("small", provider, timeout="60s"), manager())
        for replica in [made.launch(), made.launch()]:
            made.wait_for(replica)
        assert made.key
        yield made


@dataclass(frozen=True)
class Reply:
    """What a client read."""

    status: int
    run_id: str
    text: str
    finish: str | None
    extension: dict[str, Any]


@dataclass(frozen=True)
class User:
    """Somebody at one of the replicas."""

    http: httpx.Client

    def ask(self, content: str, *, stream: bool, headers: dict[str, str] | None = None, **fields: Any) -> Reply:
        response = self.http.post("/v1/chat/completions", json=_body(content, stream, fields), headers=headers or {})
        run_id = response.headers.get("x-toolorchestra-run-id", "")
        if response.status_code != 200:
            return Reply(response.status_code, run_id, response.json()["error"]["message"], None, dict(response.headers))
        if not stream:
            (choice,) = response.json()["choices"]
            found = response.json()["toolorchestra"]
            return Reply(200, run_id, choice["message"]["content"], choice["finish_reason"], found)
        lines = [line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith("data: ")]
        assert lines[-1] == "[DONE]"
        chunks = [json.loads(line) for line in lines[:-1]]
        choices = [choice for chunk in chunks for choice in chunk["choices"]]
        text = "".join(choice["delta"].get("content") or "" for choice in choices)
        return Reply(200, run_id, text, choices[-1]["finish_reason"], chunks[-1]["toolorchestra"])

    def leave(self, content: str, *, stream: bool, after_s: float = 0.4, **fields: Any) -> None:
        """Ask and go away before the answer, or in the middle of it."""
        body = _body(content, stream, fields)
        with (
            pytest.raises(httpx.ReadTimeout),
            self.http.stream("POST", "/v1/chat/completions", json=body, timeout=after_s) as r,
        ):
            r.read()


def _body(content: str, stream: bool, fields: dict[str, Any]) -> dict[str, Any]:
    options = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
    return {"model": "small", "messages": [{"role": "user", "content": content}], **options, **fields}


@pytest.fixture
def users(platform: Platform, provider: CountingProvider) -> tuple[User, User]:
    """The same user at both replicas; the provider begins anew."""
    provider.behave(Behaviour())
    provider.bill.entries.clear()
    first, second = platform.replicas
    return User(platform.http(url=first.url)), User(platform.http(url=second.url))


def check(platform: Platform, provider: CountingProvider, run_id: str) -> None:
    """One run, one bill."""
    assert len(provider.bill.entries) == 1
    assert platform.entries(run_id) == [("spend", provider.bill.total_nano_usd)]
    assert platform.held_nano_usd() == 0


@HERE_AND_THERE
@BOTH_FORMS
def test_a_client_that_comes_back_in_time_gets_the_answer_of_the_one_call(
    platform: Platform, users: tuple[User, User], provider: CountingProvider, replica: int, stream: bool
) -> None:
    provider.behave(Behaviour(text="It took a while.", first_delay_ms=300, delay_ms=400))
    known = platform.runs()
    question = f"back {replica} {stream}"
    users[0].leave(question, stream=stream, after_s=0.2 if stream else 0.4)
    reply = users[replica].ask(question, stream=stream, headers=RETRY)
    assert (reply.text, reply.finish, reply.extension["status"]) == ("It took a while.", "stop", "completed")
    assert platform.runs() - known == {reply.run_id}
    check(platform, provider, reply.run_id)
    again = users[replica].ask(question, stream=stream, headers=RETRY)
    assert (again.run_id, again.text, again.extension["cost_nano_usd"]) == (
        reply.run_id,
        reply.text,
        provider.bill.total_nano_usd,
    )
    assert users[replica].ask(question, stream=stream).run_id != reply.run_id, "it did not say that it repeats anything"


def test_the_sdks_own_retries_are_one_call(platform: Platform, users: tuple[User, User], provider: CountingProvider) -> None:
    provider.behave(Behaviour(text="One answer.", first_delay_ms=1_600))
    known = platform.runs()
    with platform.openai(timeout=1.0) as client:
        answer = client.chat.completions.create(model="small", messages=[{"role": "user", "content": "the SDK"}])
    assert answer.choices[0].message.content == "One answer."
    (run_id,) = platform.runs() - known
    check(platform, provider, run_id)


def test_an_idempotency_key_attaches_to_its_call(
    platform: Platform, users: tuple[User, User], provider: CountingProvider, background: ThreadPoolExecutor
) -> None:
    provider.behave(Behaviour(text="The same for all.", first_delay_ms=500, delay_ms=50))
    headers = {"idempotency-key": "one call"}
    for stream in (False, True):
        provider.bill.entries.clear()
        key = {"idempotency-key": f"one call {stream}"}
        asked = [background.submit(user.ask, "together", stream=stream, headers=key) for user in users * 3]
        replies = [one.result() for one in asked]
        assert {reply.text for reply in replies} == {"The same for all."}
        assert len({reply.run_id for reply in replies}) == 1
        check(platform, provider, replies[0].run_id)
    assert users[0].ask("together", stream=False, headers=headers).status == 200
    conflict = users[1].ask("something else", stream=False, headers=headers)
    assert (conflict.status, "another request" in conflict.text) == (409, True)
    assert users[1].ask("together", stream=False, headers={"idempotency-key": "x" * 256}).status == 400


def test_tools_of_the_client_are_told_again_as_they_were_called(users: tuple[User, User], provider: CountingProvider) -> None:
    provider.behave(Behaviour(calls=(("weather", {"city": "Paris"}),)))
    tools = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
    body = _body("tools", stream=False, fields={"tools": tools})
    first = users[0].http.post("/v1/chat/completions", json=body, headers={"idempotency-key": "tools"}).json()
    again = users[1].http.post("/v1/chat/completions", json=body, headers={"idempotency-key": "tools"}).json()
    assert first["choices"] == again["choices"]
    assert first["choices"][0]["finish_reason"] == "tool_calls"
    assert json.loads(first["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"]) == {"city": "Paris"}
    assert first["usage"] == again["usage"]
    assert len(provider.bill.entries) == 1


@BOTH_FORMS
def test_what_failed_without_a_bill_is_asked_again(
    platform: Platform, users: tuple[User, User], provider: CountingProvider, stream: bool
) -> None:
    provider.once(Behaviour(status=503))
    question = f"free {stream}"
    failed = users[0].ask(question, stream=stream)
    assert failed.status == 502
    assert "x-should-retry" not in failed.extension
    assert users[0].ask(question, stream=stream, headers=RETRY).status == 200


@BOTH_FORMS
def test_what_failed_at_a_price_is_not_paid_for_twice(
    platform: Platform, users: tuple[User, User], provider: CountingProvider, stream: bool
) -> None:
    provider.once(Behaviour(abort_after=0))
    question = f"dear {stream}"
    known = platform.runs()
    for user, headers in ((users[0], {}), (users[1], RETRY)):
        failed = user.ask(question, stream=stream, headers=headers)
        assert failed.status == 502
        assert failed.extension["x-should-retry"] == "false"
        assert "new request" in failed.text
    (run_id,) = platform.runs() - known
    assert [kind for kind, _ in platform.entries(run_id)] == ["estimate"]
    assert len(provider.bill.entries) == 1


@HERE_AND_THERE
@BOTH_FORMS
def test_a_call_is_cancelled_at_once_from_any_replica(
    platform: Platform,
    users: tuple[User, User],
    provider: CountingProvider,
    background: ThreadPoolExecutor,
    replica: int,
    stream: bool,
) -> None:
    provider.behave(Behaviour(tokens=20, hang_after=3))
    known = platform.runs()
    answer = background.submit(users[0].ask, f"cancel {replica} {stream}", stream=stream)
    run_id = platform.new_run(known)
    wait_until(lambda: provider.bill.entries != [] and provider.bill.entries[0].output_tokens == 3)
    began = time.monotonic()
    assert users[replica].http.post(f"/v1/runs/{run_id}/cancel").json()["cancel_requested"] is True
    wait_until(lambda: provider.bill.entries[0].client_gone, pause=0.01)
    assert time.monotonic() - began < PROMPT_S
    reply = answer.result()
    assert (reply.text, reply.finish) == ("w0 w1 w2 ", "length")
    assert (reply.extension["status"], reply.extension["reason"]) == ("cancelled", "cancelled by the user")
    ((kind, amount),) = platform.entries(run_id)
    assert kind == "estimate"
    assert amount >= provider.bill.total_nano_usd
    assert reply.extension["cost_nano_usd"] == amount
    assert platform.held_nano_usd() == 0
    assert platform.fact_types(run_id) == ["opened", "asked", "ask_failed", "cancel_requested", "ended"]


@BOTH_FORMS
def test_a_call_whose_client_left_is_ended_after_a_grace_and_paid_for_as_far_as_it_came(
    platform: Platform, users: tuple[User, User], provider: CountingProvider, stream: bool
) -> None:
    provider.behave(Behaviour(tokens=20, hang_after=2))
    known = platform.runs()
    users[0].leave(f"left {stream}", stream=stream)
    run_id = platform.new_run(known)
    time.sleep(GRACE_S - 2)
    assert not platform.ended(run_id)
    wait_until(lambda: platform.ended(run_id), seconds=4)
    wait_until(lambda: provider.bill.entries[0].client_gone)
    assert platform.status(run_id) == "cancelled"
    ((kind, amount),) = platform.entries(run_id)
    assert (kind, amount >= provider.bill.total_nano_usd > 0) == ("estimate", True)
    assert platform.held_nano_usd() == 0


def test_a_call_may_go_on_without_its_client(platform: Platform, users: tuple[User, User], provider: CountingProvider) -> None:
    provider.behave(Behaviour(text="Read it later.", first_delay_ms=int(GRACE_S * 1_000) + 1_500))
    known = platform.runs()
    users[0].leave("later", stream=False, toolorchestra={"on_disconnect": "continue"})
    run_id = platform.new_run(known)
    wait_until(lambda: platform.ended(run_id), seconds=GRACE_S + 5)
    assert users[1].http.get(f"/v1/runs/{run_id}").json()["answer"]["answer"] == "Read it later."
    check(platform, provider, run_id)


def test_the_facts_of_a_call_are_followed_from_both_replicas(
    platform: Platform, users: tuple[User, User], provider: CountingProvider, background: ThreadPoolExecutor
) -> None:
    provider.behave(Behaviour(text="Followed.", first_delay_ms=700))
    known = platform.runs()
    answer = background.submit(users[0].ask, "follow", stream=False)
    run_id = platform.new_run(known)
    following = [background.submit(user.http.get, f"/v1/runs/{run_id}/events") for user in users]
    for one in following:
        numbers = [line for line in one.result().text.splitlines() if line.startswith("id: ")]
        assert numbers == ["id: 1", "id: 2", "id: 3", "id: 4"]
    assert answer.result().text == "Followed."


def test_in_the_end_nothing_is_held(platform: Platform) -> None:
    wait_until(lambda: platform.sql("SELECT count(*) FROM runs WHERE state = 'running'") == [(0,)], seconds=30)
    for replica in platform.replicas:
        assert '"unexpected_error"' not in replica.log.read_text()
    assert platform.sql("SELECT count(*) FROM holds WHERE state = 'open'") == [(0,)]
    assert platform.violations() == []


def test_the_sdk_raises_what_the_model_refused(
    platform: Platform, users: tuple[User, User], provider: CountingProvider
) -> None:
    provider.behave(Behaviour(abort_after=0))
    known = platform.runs()
    with platform.openai() as client, pytest.raises(openai.InternalServerError, match="new request"):
        client.chat.completions.create(model="small", messages=[{"role": "user", "content": "broken"}])
    assert len(platform.runs() - known) == 1, "it was told not to try again"
