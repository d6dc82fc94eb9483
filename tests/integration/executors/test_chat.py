"""Model calls against a provider that counts its own bill: what we know of a call is what it cost."""

import asyncio
import gc
import time
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest

from tests.integration.executors.making import expert_target, make_expert
from toolorchestra.core.chat import (
    ChatRequest,
    CompletionRequest,
    DeltaKind,
    InterruptedCallError,
    Meter,
    ModelRefusedError,
    ModelTimeoutError,
)
from toolorchestra.core.errors import (
    EgressDeniedError,
    UnavailableError,
    UpstreamError,
    UpstreamTimeoutError,
)
from toolorchestra.core.pricing import Usage
from toolorchestra.core.tokens import input_bound_tokens
from toolorchestra.executors.assembly import read_usage
from toolorchestra.executors.factory import Toolbox, open_toolbox
from toolorchestra.executors.testing import Behaviour, CountingProvider, Entry, ProviderConfig, SimulatedExpert
from toolorchestra.kit.egress import EgressGuard
from toolorchestra.kit.secrets import EnvironmentSecrets

MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "How many moons has Mars?"}]
TOOL = {"type": "function", "function": {"name": "add", "description": "adds", "parameters": {"type": "object"}}}


def ask(url: str, *, text: str | None = None, max_tokens: int = 100, timeout_ms: int = 5_000, **fields: Any) -> ChatRequest:
    spec = fields.pop("spec", {})
    messages = MESSAGES if text is None else [{"role": "user", "content": text}]
    target = expert_target(make_expert(url, **spec))
    return ChatRequest(target=target, messages=messages, max_tokens=max_tokens, timeout_ms=timeout_ms, **fields)


def billed(entry: Entry) -> Usage:
    return Usage(entry.prompt_tokens, entry.output_tokens, entry.cached_tokens)


async def settled(provider: CountingProvider) -> Entry:
    """The last entry once the provider has noticed that its client left."""
    async with asyncio.timeout(3):
        while not (provider.bill.entries and (provider.bill.entries[-1].client_gone or provider.bill.entries[-1].finished)):
            await asyncio.sleep(0.01)
    return provider.bill.entries[-1]


async def test_an_answer_and_its_exact_usage(toolbox: Toolbox, provider: CountingProvider) -> None:
    provider.behave(Behaviour(text="Mars has two moons.", reasoning=3, cached=2))
    told: list[tuple[DeltaKind, str]] = []

    async def on_delta(kind: DeltaKind, text: str) -> None:
        told.append((kind, text))

    reply = await toolbox.models.chat(ask(provider.url, on_delta=on_delta))
    assert (reply.text, reply.reasoning, reply.finish_reason) == ("Mars has two moons.", "r0 r1 r2 ", "stop")
    assert (reply.model, reply.estimated) == ("counting", False)
    assert replace(reply.usage, reasoning=0) == billed(provider.bill.entries[0])
    assert reply.usage.reasoning == 3
    assert "".join(text for kind, text in told if kind is DeltaKind.CONTENT) == reply.text
    assert "".join(text for kind, text in told if kind is DeltaKind.REASONING) == reply.reasoning


async def test_a_connection_is_used_for_one_call_after_the_other(toolbox: Toolbox, provider: CountingProvider) -> None:
    for _ in range(3):
        await toolbox.models.chat(ask(provider.url))
    assert (len(provider.bill.entries), provider.bill.connections) == (3, 1)


async def test_tool_calls_come_whole(toolbox: Toolbox, provider: CountingProvider) -> None:
    provider.behave(Behaviour(calls=(("add", {"a": 1, "b": [2, "ü"]}), ("add", {}))))
    reply = await toolbox.models.chat(ask(provider.url, tools=[TOOL], tool_choice="auto"))
    assert [(call.id, call.name, call.arguments) for call in reply.tool_calls] == [
        ("call_1_0", "add", '{"a": 1, "b": [2, "\\u00fc"]}'),
        ("call_1_1", "add", "{}"),
    ]
    assert reply.finish_reason == "tool_calls"


async def test_max_tokens_bounds_the_answer_and_an_overrun_is_stated(toolbox: Toolbox, provider: CountingProvider) -> None:
    provider.once(Behaviour(tokens=50), Behaviour(tokens=50, overrun=7))
    reply = await toolbox.models.chat(ask(provider.url, max_tokens=10))
    assert (reply.usage.output, reply.finish_reason) == (10, "length")
    reply = await toolbox.models.chat(ask(provider.url, max_tokens=10))
    assert (reply.usage.output, reply.estimated) == (17, False)


async def test_the_providers_prompt_count_never_exceeds_the_bound(toolbox: Toolbox, provider: CountingProvider) -> None:
    reply = await toolbox.models.chat(ask(provider.url, tools=[TOOL]))
    assert 0 < reply.usage.input <= input_bound_tokens(MESSAGES, [TOOL])


async def test_raw_chunks_are_passed_through(toolbox: Toolbox, provider: CountingProvider) -> None:
    provider.behave(Behaviour(tokens=3))
    request = ask(provider.url, extra={"user": "u", "stream": False, "model": "other"})
    async with aclosing(toolbox.models.stream(request)) as stream:
        chunks = [chunk async for chunk in stream]
    assert {chunk["id"] for chunk in chunks} == {"answer-1"}
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop"
    assert (chunks[-1]["choices"], read_usage(chunks[-1])) == ([], request.meter.usage)
    assert request.meter.exact


async def test_usage_that_is_not_stated_is_an_estimate(toolbox: Toolbox, provider: CountingProvider) -> None:
    provider.behave(Behaviour(tokens=10, usage=False))
    request = ask(provider.url)
    reply = await toolbox.models.chat(request)
    assert reply.estimated
    assert reply.usage.input == input_bound_tokens(MESSAGES)
    assert provider.bill.entries[0].output_tokens <= reply.usage.output <= request.max_tokens


async def test_a_server_that_cannot_stream_is_understood(toolbox: Toolbox, provider: CountingProvider) -> None:
    provider.behave(Behaviour(text="in one piece", streams=False))
    reply = await toolbox.models.chat(ask(provider.url))
    assert (reply.text, reply.usage, reply.estimated) == ("in one piece", billed(provider.bill.entries[0]), False)


async def test_fields_that_a_server_refuses_are_left_out_once_and_for_all(toolbox: Toolbox, provider: CountingProvider) -> None:
    provider.behave(Behaviour(tokens=5, refuse=("stream_options", "max_tokens")))
    reply = await toolbox.models.chat(ask(provider.url, max_tokens=3))
    assert (reply.estimated, len(provider.bill.entries)) == (True, 3)
    assert provider.bill.entries[-1].max_tokens == 3, "it has its newer name then"
    assert provider.bill.entries[-1].output_tokens == 3
    await toolbox.models.chat(ask(provider.url))
    assert len(provider.bill.entries) == 4


async def test_a_field_of_the_callers_that_is_refused_is_an_error(toolbox: Toolbox, provider: CountingProvider) -> None:
    provider.behave(Behaviour(refuse=("seed",)))
    with pytest.raises(ModelRefusedError, match="HTTP 400: unsupported parameter: 'seed'"):
        await toolbox.models.chat(ask(provider.url, seed=1))


@pytest.mark.parametrize("status", [400, 429, 500, 503])
async def test_a_refusal_is_told_not_repeated_and_costs_nothing(
    toolbox: Toolbox, provider: CountingProvider, status: int
) -> None:
    provider.behave(Behaviour(status=status))
    request = ask(provider.url)
    with pytest.raises(ModelRefusedError, match=f"HTTP {status}") as error:
        await toolbox.models.chat(request)
    assert error.value.status == status
    assert error.value.meter == Meter(sent=True, usage=Usage(), exact=True)
    assert (len(provider.bill.entries), provider.bill.total_nano_usd) == (1, 0)


async def test_a_gateway_that_gave_up_may_have_cost_the_input(toolbox: Toolbox, provider: CountingProvider) -> None:
    provider.behave(Behaviour(status=504))
    with pytest.raises(ModelRefusedError) as error:
        await toolbox.models.chat(ask(provider.url))
    assert error.value.meter == Meter(sent=True, usage=Usage(input_bound_tokens(MESSAGES)), exact=False)


@pytest.mark.parametrize("how", ["abort_after", "error_after"])
async def test_a_stream_that_breaks_is_an_estimate_of_what_arrived(
    toolbox: Toolbox, provider: CountingProvider, how: str
) -> None:
    provider.behave(Behaviour(**{"tokens": 50, how: 5}))
    request = ask(provider.url)
    with pytest.raises(InterruptedCallError) as error:
        await toolbox.models.chat(request)
    assert error.value.meter is request.meter
    assert (request.meter.sent, request.meter.exact) == (True, False)
    assert request.meter.usage.input == input_bound_tokens(MESSAGES)
    assert 5 <= request.meter.usage.output <= 50
    entry = provider.bill.entries[0]
    assert entry.output_tokens == 5
    assert request.meter.usage.input >= entry.prompt_tokens


async def test_a_stream_that_hangs_ends_at_the_deadline(toolbox: Toolbox, provider: CountingProvider) -> None:
    provider.behave(Behaviour(tokens=50, hang_after=5))
    request = ask(provider.url, timeout_ms=300)
    began = time.monotonic()
    with pytest.raises(ModelTimeoutError, match="within 300 ms"):
        await toolbox.models.chat(request)
    assert time.monotonic() - began < 2
    entry = await settled(provider)
    assert entry.client_gone
    assert request.meter.usage.output >= entry.output_tokens == 5


async def test_cancelling_stops_the_provider_and_the_meter_knows_what_came(
    toolbox: Toolbox, provider: CountingProvider
) -> None:
    provider.behave(Behaviour(tokens=1_000, delay_ms=10))
    meter = Meter()
    arrived = asyncio.Event()

    async def on_delta(_kind: DeltaKind, _text: str) -> None:
        if meter.usage.output > 20:
            arrived.set()

    task = asyncio.create_task(toolbox.models.chat(ask(provider.url, max_tokens=1_000, meter=meter, on_delta=on_delta)))
    await asyncio.wait_for(arrived.wait(), 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    entry = await settled(provider)
    assert entry.client_gone
    assert entry.output_tokens < 100
    assert (meter.sent, meter.exact) == (True, False)
    assert meter.usage.output >= entry.output_tokens - 1
    assert meter.usage.input >= entry.prompt_tokens


async def test_a_consumer_that_leaves_a_stream_stops_the_provider(toolbox: Toolbox, provider: CountingProvider) -> None:
    provider.behave(Behaviour(tokens=1_000, delay_ms=10))
    async with aclosing(toolbox.models.stream(ask(provider.url, max_tokens=1_000))) as stream:
        async for _ in stream:
            break
    assert (await settled(provider)).client_gone


async def test_a_model_that_is_not_there_was_never_sent_to(toolbox: Toolbox) -> None:
    request = ask("http://127.0.0.1:9/v1")
    with pytest.raises(UpstreamError, match="cannot be reached") as error:
        await toolbox.models.chat(request)
    assert not isinstance(error.value, InterruptedCallError)
    assert request.meter == Meter(sent=False, usage=Usage(), exact=True)


async def test_a_model_at_a_refused_address_was_never_sent_to(toolbox: Toolbox) -> None:
    request = ask("http://169.254.169.254/v1")
    with pytest.raises(EgressDeniedError):
        await toolbox.models.chat(request)
    assert not request.meter.sent


@pytest.mark.parametrize("path", ["nested", "image", "echo", "drip", "broken"])
async def test_a_server_that_is_no_model_is_an_error(toolbox: Toolbox, http_peer: str, path: str) -> None:
    with pytest.raises(UpstreamError):
        await toolbox.models.chat(ask(f"{http_peer}/{path}", timeout_ms=500))
    with pytest.raises(UpstreamError):
        await toolbox.models.chat(ask(f"{http_peer}/echo/{path}?", timeout_ms=500))


async def test_the_key_is_read_when_it_is_sent_and_never_repeated() -> None:
    key = {"apiKeySecretRef": {"name": "model", "key": "api-key"}}
    environ = {"MODEL_API_KEY": " sk-right\n"}
    with CountingProvider(ProviderConfig(api_key="sk-right")) as provider:
        async with open_toolbox(EgressGuard(["127.0.0.1"]), EnvironmentSecrets(environ)) as toolbox:
            request = ask(provider.url, spec={"endpoint": {"baseUrl": provider.url, **key}})
            await toolbox.models.chat(request)
            environ["MODEL_API_KEY"] = "sk-wrong-secret"
            with pytest.raises(ModelRefusedError, match="HTTP 401: wrong API key: Bearer \\*\\*\\*") as error:
                await toolbox.models.chat(request)
            assert "sk-wrong" not in str(error.value)
            del environ["MODEL_API_KEY"]
            with pytest.raises(UnavailableError, match="set the environment variable MODEL_API_KEY"):
                await toolbox.models.chat(request)


async def test_nothing_of_this_processs_environment_reaches_a_model(http_peer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = {"OPENAI_API_KEY": "own-1", "OPENAI_ORG_ID": "own-2", "OPENAI_PROJECT_ID": "own-3", "OPENAI_ADMIN_KEY": "own-4",
               "OPENAI_CUSTOM_HEADERS": "X-Own: own-5\nAuthorization: own-6"}  # fmt: skip
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    async with (
        open_toolbox(EgressGuard(["127.0.0.1"]), EnvironmentSecrets({})) as toolbox,
        aclosing(toolbox.models.stream(ask(f"{http_peer}/echo"))) as stream,
    ):
        seen = await anext(stream)
    headers = seen["headers"]
    assert "own-" not in str(headers)
    assert "authorization" not in headers
    assert "openai-organization" not in headers


async def test_completions_by_text_and_by_token_ids(toolbox: Toolbox, provider: CountingProvider) -> None:
    provider.behave(Behaviour(text="raw text"))
    target = expert_target(make_expert(provider.url))
    reply = await toolbox.models.complete(CompletionRequest(target, "one two three", max_tokens=9, timeout_ms=5_000))
    assert (reply.text, reply.usage, reply.estimated) == ("raw text", Usage(3, 2), False)
    request = CompletionRequest(target, [5, 6, 7, 8], max_tokens=9, timeout_ms=5_000, logprobs=True)
    reply = await toolbox.models.complete(request)
    assert (reply.usage, provider.bill.entries[-1].path) == (Usage(4, 2), "/v1/completions")


async def test_an_adapter_is_asked_for_by_its_name() -> None:
    with CountingProvider(ProviderConfig(models=["adapter"])) as provider:
        async with open_toolbox(EgressGuard(["127.0.0.1"]), EnvironmentSecrets({})) as toolbox:
            target = expert_target(make_expert(provider.url))
            request = CompletionRequest(target, "x", max_tokens=9, timeout_ms=5_000, adapter="adapter")
            await toolbox.models.complete(request)
    assert provider.bill.entries[0].model == "adapter"


async def test_no_more_calls_at_once_than_the_model_allows(toolbox: Toolbox, provider: CountingProvider) -> None:
    provider.behave(Behaviour(tokens=1, first_delay_ms=100))
    spec = {"concurrency": 2}
    began = time.monotonic()
    replies = await asyncio.gather(*(toolbox.models.chat(ask(provider.url, spec=spec)) for _ in range(6)))
    assert time.monotonic() - began >= 0.3
    assert max(reply.latency_ms for reply in replies) < 300, "waiting for a place is not the model's latency"
    hold = asyncio.create_task(toolbox.models.chat(ask(provider.url, spec={"concurrency": 1})))
    await asyncio.sleep(0.02)
    request = ask(provider.url, spec={"concurrency": 1}, timeout_ms=30)
    with pytest.raises(UpstreamTimeoutError, match=r"raise spec\.concurrency"):
        await toolbox.models.chat(request)
    assert not request.meter.sent
    await hold


async def test_two_hundred_streams_at_once_and_the_bills_agree(toolbox: Toolbox, provider: CountingProvider) -> None:
    provider.behave(Behaviour(tokens=20, delay_ms=5))
    spec = {"concurrency": 500}
    requests = [ask(provider.url, spec=spec, timeout_ms=30_000) for _ in range(200)]
    replies = await asyncio.gather(*(toolbox.models.chat(request) for request in requests))
    assert sum(reply.usage.output for reply in replies) == sum(entry.output_tokens for entry in provider.bill.entries)
    assert sum(reply.usage.input for reply in replies) == sum(entry.prompt_tokens for entry in provider.bill.entries)
    assert not any(reply.estimated for reply in replies)


async def test_a_simulated_expert_always_says_that_it_is_one() -> None:
    simulated = SimulatedExpert([(["mars", "moons"], "Two.")])
    with CountingProvider(ProviderConfig(simulated=simulated)) as provider:
        async with open_toolbox(EgressGuard(["127.0.0.1"]), EnvironmentSecrets({})) as toolbox:
            assert (await toolbox.models.chat(ask(provider.url))).text == "[simulated] Two."
            assert (await toolbox.models.chat(ask(provider.url, text="?"))).text == "[simulated] I do not know."
            async with aclosing(toolbox.models.stream(ask(provider.url))) as stream:
                assert all([chunk["simulated"] async for chunk in stream])


async def test_nothing_is_left_open(provider: CountingProvider) -> None:
    async with open_toolbox(EgressGuard(["127.0.0.1"]), EnvironmentSecrets({})) as toolbox:
        await toolbox.models.chat(ask(provider.url))
    gc.collect()
