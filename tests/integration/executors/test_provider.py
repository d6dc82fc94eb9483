"""The counting provider itself, in its own process and with the official client."""

import json
import sys
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from openai import AsyncOpenAI

from tests.integration.executors.making import process
from toolorchestra.executors.testing import Behaviour, CountingProvider, ProviderConfig

MODULE = (sys.executable, "-m", "toolorchestra.executors.testing", "--watch-stdin")


def client(url: str, key: str = "k") -> AsyncOpenAI:
    return AsyncOpenAI(base_url=url, api_key=key, max_retries=0)


def user(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


async def test_a_process_serves_prints_its_url_and_shows_its_bill(tmp_path: Path) -> None:
    answers = tmp_path / "answers.json"
    answers.write_text(json.dumps({"answers": [{"facts": ["mars"], "answer": "Two moons."}]}))
    command = (*MODULE, "--model", "m1", "--price-input", "10", "--price-output", "20", "--simulated", str(answers))
    with process(*command) as url:
        async with client(url) as official:
            assert [model.id async for model in await official.models.list()] == ["m1"]
            answer = await official.chat.completions.create(model="m1", messages=user("Mars?"))
        assert answer.choices[0].message.content == "[simulated] Two moons."
        bill = httpx2.get(f"{url.removesuffix('/v1')}/bill").json()
        assert answer.usage is not None
        assert bill["total_nano_usd"] == answer.usage.prompt_tokens * 10_000 + answer.usage.completion_tokens * 20_000
        assert bill["entries"][0]["finished"] is True
        httpx2.delete(f"{url.removesuffix('/v1')}/bill")
        assert httpx2.get(f"{url.removesuffix('/v1')}/bill").json()["requests"] == 0
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(url)


async def test_behaviour_is_set_from_outside(provider: CountingProvider) -> None:
    httpx2.put(f"{provider.origin}/behaviour", json={"text": "set from outside"})
    async with client(provider.url) as official:
        answer = await official.chat.completions.create(model="counting", messages=user("?"))
    assert answer.choices[0].message.content == "set from outside"
    refused = httpx2.put(f"{provider.origin}/behaviour", json={"colour": "blue"})
    assert (refused.status_code, "unknown behaviour colour" in refused.text) == (400, True)


@pytest.mark.parametrize("stream", [False, True])
async def test_one_question_scripts_a_whole_run(provider: CountingProvider, stream: bool) -> None:
    script = {"turns": [{"call": ["add", {"a": 1}]}, {"calls": [["mul", {}], ["sub", {}]]}, {"text": "done", "usage": True}]}
    messages = user(f"Please work. [[{json.dumps(script)}]]")
    names: list[list[str]] = []
    async with client(provider.url) as official:
        for _ in range(3):
            message = await _message(official, messages, stream)
            names.append([call["function"]["name"] for call in message.get("tool_calls") or ()])
            messages += [
                message,
                *({"role": "tool", "tool_call_id": c["id"], "content": "1"} for c in message.get("tool_calls") or ()),
            ]
    assert names == [["add"], ["mul", "sub"], []]
    assert messages[-1]["content"] == "done"
    assert json.loads(messages[1]["tool_calls"][0]["function"]["arguments"]) == {"a": 1}


async def _message(official: AsyncOpenAI, messages: list[Any], stream: bool) -> dict[str, Any]:
    if not stream:
        answer = await official.chat.completions.create(model="counting", messages=messages)
        return answer.choices[0].message.model_dump(exclude_none=True)
    async with official.chat.completions.stream(model="counting", messages=messages) as events:
        return (await events.get_final_completion()).choices[0].message.model_dump(exclude_none=True, exclude={"parsed"})


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [
        (Behaviour(status=500), openai.InternalServerError),
        (Behaviour(status=429, retry_after_s=1), openai.RateLimitError),
        (Behaviour(abort_after=0), openai.APIConnectionError),
    ],
)
async def test_the_official_client_sees_failures_as_such(
    provider: CountingProvider, behaviour: Behaviour, error: type[Exception]
) -> None:
    provider.behave(behaviour)
    async with client(provider.url) as official:
        with pytest.raises(error):
            await official.chat.completions.create(model="counting", messages=user("?"))


async def test_wrong_models_keys_and_bodies_are_refused() -> None:
    with CountingProvider(ProviderConfig(api_key="right")) as provider:
        async with client(provider.url, "wrong") as official:
            with pytest.raises(openai.AuthenticationError):
                await official.chat.completions.create(model="counting", messages=user("?"))
        async with client(provider.url, "right") as official:
            with pytest.raises(openai.NotFoundError):
                await official.chat.completions.create(model="other", messages=user("?"))
        bad = httpx2.post(f"{provider.url}/chat/completions", content=b"{nope", headers={"authorization": "Bearer right"})
        assert bad.status_code == 400
        assert httpx2.get(f"{provider.origin}/nowhere").status_code == 404
    assert provider.bill.total_nano_usd == 0


def test_two_providers_cannot_have_one_port(provider: CountingProvider) -> None:
    other = CountingProvider()
    with pytest.raises(Exception, match="cannot be listened on"):
        other.start(provider.port)


@pytest.mark.parametrize("max_tokens", [0, 1, 5])
async def test_it_never_writes_more_than_it_may(provider: CountingProvider, max_tokens: int) -> None:
    provider.behave(Behaviour(tokens=50))
    async with client(provider.url) as official:
        answer = await official.completions.create(model="counting", prompt="a b c", max_tokens=max_tokens)
    assert answer.usage is not None
    assert (answer.usage.completion_tokens, answer.choices[0].finish_reason) == (max_tokens, "length")
    assert (answer.usage.prompt_tokens, provider.bill.entries[0].output_tokens) == (3, max_tokens)
