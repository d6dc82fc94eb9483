"""The official OpenAI SDK against a running orchestrator."""

import json
from collections.abc import Iterator

import openai
import pytest

from tests.support.platform import Platform, PlatformFactory, expert, manifest
from toolorchestra.executors.testing import Behaviour, CountingProvider


def _apply(platform: Platform, provider: CountingProvider) -> None:
    platform.apply(
        expert("small", provider, strength=20),
        manifest("Orchestrator", "cascade", {"policy": {"baseline": "cascade"}}),
        manifest("Orchestrator", "manager", {"policy": {"expertModelRef": {"name": "small"}}, "limits": {"timeout": "30s"}}),
        manifest(
            "Tool",
            "calculator",
            {
                "description": "Evaluates an arithmetic expression.",
                "capabilities": ["arithmetic"],
                "plugin": {"name": "calculator"},
                "sideEffects": "readOnly",
                "parameters": {
                    "type": "object",
                    "properties": {"expression": {"type": "string"}},
                    "required": ["expression"],
                    "additionalProperties": False,
                },
            },
        ),
    )


@pytest.fixture(scope="module")
def peer() -> Iterator[CountingProvider]:
    with CountingProvider() as running:
        yield running


@pytest.fixture(scope="module")
def shared(new_platform: PlatformFactory, peer: CountingProvider) -> Iterator[Platform]:
    """One platform for all tests of this module: starting it takes longer than most of them."""
    with new_platform(peer) as platform:
        _apply(platform, peer)
        platform.start()
        yield platform


@pytest.fixture
def provider(peer: CountingProvider) -> CountingProvider:
    """The shared provider with a clean bill and its default behaviour."""
    peer.behave(Behaviour())
    peer.bill.entries.clear()
    return peer


@pytest.fixture
def running(shared: Platform, provider: CountingProvider) -> Platform:
    return shared


def ask(content: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": content}]


def test_answers_with_its_price(running: Platform, provider: CountingProvider) -> None:
    provider.behave(Behaviour(text="Paris."))
    with running.openai() as client:
        answer = client.chat.completions.create(model="cascade", messages=ask("What is the capital of France?"))
    extension = answer.model_extra["toolorchestra"]
    assert answer.choices[0].message.content == "Paris."
    assert answer.choices[0].finish_reason == "stop"
    assert extension["tools"] == ["small"]
    assert extension["cost_nano_usd"] == provider.bill.total_nano_usd > 0
    assert answer.usage.total_tokens == sum(e.prompt_tokens + e.output_tokens for e in provider.bill.entries)


def test_an_expression_goes_to_the_calculator_and_costs_nothing(running: Platform, provider: CountingProvider) -> None:
    with running.openai() as client:
        answer = client.chat.completions.create(model="cascade", messages=ask("What is 17 * 23?"))
    assert answer.choices[0].message.content == "391"
    assert answer.model_extra["toolorchestra"]["cost_usd"] == "0.00"
    assert provider.bill.entries == []


def test_streams_chunks_that_the_sdk_understands(running: Platform, provider: CountingProvider) -> None:
    provider.behave(Behaviour(text="A longer answer."))
    with running.openai() as client:
        stream = client.chat.completions.create(
            model="cascade", messages=ask("Tell me something"), stream=True, stream_options={"include_usage": True}
        )
        chunks = list(stream)
    assert len({chunk.id for chunk in chunks}) == 1
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "A longer answer."
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage.total_tokens > 0
    assert chunks[-1].model_extra["toolorchestra"]["cost_nano_usd"] == provider.bill.total_nano_usd


def test_a_prompted_manager_calls_tools_and_answers(running: Platform, provider: CountingProvider) -> None:
    turns = [{"call": ["calculator", {"expression": "6*7"}]}, {"text": "It is 42."}]
    question = f"What is six times seven? [[{json.dumps({'turns': turns})}]]"
    with running.openai() as client:
        answer = client.chat.completions.create(model="manager", messages=ask(question))
    assert answer.choices[0].message.content == "It is 42."
    assert answer.model_extra["toolorchestra"]["tools"] == ["calculator"]
    assert answer.model_extra["toolorchestra"]["cost_nano_usd"] == provider.bill.total_nano_usd
    with running.http() as client:
        run = client.get(f"/v1/runs/{answer.model_extra['toolorchestra']['run_id']}").json()
    assert [t["calls"][0]["result"] for t in run["turns"] if t["calls"]] == ["42"]
    assert run["status"] == "completed"


def test_client_tools_come_back_and_the_run_goes_on(running: Platform, provider: CountingProvider) -> None:
    turns = [{"call": ["get_weather", {"city": "Paris"}]}, {"text": "It is sunny in Paris."}]
    messages = ask(f"Weather in Paris? [[{json.dumps({'turns': turns})}]]")
    tool = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}
    with running.openai() as client:
        first = client.chat.completions.create(model="manager", messages=messages, tools=[tool])
        call = first.choices[0].message.tool_calls[0]
        assert first.choices[0].finish_reason == "tool_calls"
        assert json.loads(call.function.arguments) == {"city": "Paris"}
        messages += [
            first.choices[0].message.model_dump(exclude_none=True),
            {"role": "tool", "tool_call_id": call.id, "content": "sunny"},
        ]
        second = client.chat.completions.create(model="manager", messages=messages, tools=[tool])
    assert second.choices[0].message.content == "It is sunny in Paris."
    assert second.id == first.id, "the same run went on"
    run_id = second.model_extra["toolorchestra"]["run_id"]
    assert running.sql("SELECT state FROM runs WHERE id = %s", run_id) == [("ended",)]


def test_a_model_by_name_is_passed_through(running: Platform, provider: CountingProvider) -> None:
    provider.behave(Behaviour(text="Directly.", calls=()))
    with running.openai() as client:
        whole = client.chat.completions.create(model="small", messages=ask("hello"))
        chunks = list(client.chat.completions.create(model="small", messages=ask("hello"), stream=True))
    assert whole.choices[0].message.content == "Directly."
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "Directly."
    run_ids = [whole.id.removeprefix("chatcmpl-"), chunks[0].id.removeprefix("chatcmpl-")]
    query = "SELECT sum(e.amount) FROM entries e JOIN holds h ON h.id = e.hold WHERE h.run = ANY(%s) AND e.unit = 'nano_usd'"
    assert running.sql(query, run_ids) == [(provider.bill.total_nano_usd,)]


def test_errors_are_the_sdks_own(running: Platform) -> None:
    with running.openai() as client:
        with pytest.raises(openai.NotFoundError) as unknown:
            client.chat.completions.create(model="nobody", messages=ask("hello"))
        assert unknown.value.code == "model_not_found"
        with pytest.raises(openai.BadRequestError) as bad:
            client.chat.completions.create(model="cascade", messages=ask("hello"), temperature=9)
        assert bad.value.param == "temperature"
        with pytest.raises(openai.BadRequestError) as unsupported:
            client.chat.completions.create(model="cascade", messages=ask("hello"), logprobs=True)
        assert "logprobs" in str(unsupported.value)
    with running.openai(api_key="to_0000000000000000.wrong") as stranger, pytest.raises(openai.AuthenticationError):
        stranger.models.list()


def test_no_money_is_refused_once_and_not_retried(running: Platform, provider: CountingProvider) -> None:
    poor = running.new_key(limits={"limits": {"day": "0.000001"}})
    with running.openai(api_key=poor) as client, pytest.raises(openai.RateLimitError) as refused:
        client.chat.completions.create(model="manager", messages=ask("hello"))
    assert refused.value.code == "insufficient_quota"
    assert refused.value.response.headers["x-should-retry"] == "false"
    assert provider.bill.entries == []


def test_models_are_listed_with_prices(running: Platform) -> None:
    with running.openai() as client:
        models = {model.id: model.model_extra["toolorchestra"] for model in client.models.list()}
    assert models["cascade"]["is_baseline"] is True
    assert models["small"]["price_usd_per_million_tokens"] == {"input": "1.00", "output": "2.00"}


def test_the_sdks_retries_after_a_lost_connection_mean_one_run(running: Platform, provider: CountingProvider) -> None:
    provider.behave(Behaviour(text="Slow but sure.", first_delay_ms=1500))
    with running.openai(timeout=0.7) as impatient:
        answer = impatient.chat.completions.create(model="cascade", messages=ask("Something slow"))
    assert answer.choices[0].message.content == "Slow but sure."
    assert len(provider.bill.entries) == 1, "three posts, one run"
