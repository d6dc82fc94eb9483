"""A real vLLM as an expert: asked by its name, called as a tool, made the manager, left, and overfed.

What the small model says is never judged; that its answers have the form asked for, and cost what vLLM itself counted, is.
"""

import contextlib
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import jsonschema
import openai
import pytest
from openai.types.chat import ChatCompletionChunk

from tests.support.platform import Platform, wait_until
from tests.support.vllm import MODEL, Counted, Vllm
from tests.vllm.served import CONTEXT_TOKENS, ENDLESS, PRICE, say, state
from toolorchestra.core.money import format_usd
from toolorchestra.core.pricing import Usage, cost, worst_case
from toolorchestra.core.tokens import input_bound_tokens

LEFT_S = 5.0  # after which a call whose client left is ended
WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 20}, "unit": {"enum": ["celsius", "fahrenheit"]}},
    "required": ["city", "unit"],
    "additionalProperties": False,
}
TOOL: Any = {"type": "function", "function": {"name": "weather", "description": "The weather.", "parameters": WEATHER}}
BOTH_FORMS = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


@pytest.fixture
def client(platform: Platform) -> Iterator[openai.OpenAI]:
    with platform.openai(max_retries=0, timeout=100) as one:
        yield one


def price(usage: Any) -> int:
    """What vLLM's own usage costs."""
    cached = usage.prompt_tokens_details.cached_tokens or 0
    return cost(PRICE, usage=Usage(usage.prompt_tokens, usage.completion_tokens, cached))


def check(platform: Platform, answer: Any, counted: Counted) -> None:
    """The answer's usage is what vLLM counted, and the ledger has its price."""
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (counted.prompt_tokens, counted.generated_tokens)
    extension = answer.model_extra["toolorchestra"]
    assert extension["cost_nano_usd"] == price(answer.usage) > 0
    assert {kind for kind, _ in platform.entries(extension["run_id"])} == {"spend"}, "nothing is an estimate"
    assert platform.charged(extension["run_id"]) == price(answer.usage)


def test_its_api_is_found_and_its_model_is_listed(platform: Platform) -> None:
    platform.http().post("/v1/tools/check").raise_for_status()
    found = state(platform, "tiny")
    assert (found["ready"], found["message"]) == (True, "")
    assert found["details"]["modelListed"] is True
    assert found["details"]["models"] == [MODEL]


def test_a_model_that_it_does_not_serve_is_told_apart(platform: Platform, client: openai.OpenAI) -> None:
    found = state(platform, "misnamed")
    assert found["details"]["modelListed"] is False
    assert f"the server lists other models than 'another': {MODEL}" in found["message"]
    with pytest.raises(openai.APIStatusError, match="The model `another` does not exist"):
        client.chat.completions.create(model="misnamed", messages=say("hello"))


def test_a_context_that_it_does_not_have_is_told(platform: Platform) -> None:
    said = f"the server's context has {CONTEXT_TOKENS} tokens, but spec.contextTokens says 8192; lower it"
    assert said in state(platform, "optimistic")["message"]


def test_a_whole_answer_costs_what_vllm_counted(platform: Platform, client: openai.OpenAI, vllm: Vllm) -> None:
    before = vllm.counted()
    answer = client.chat.completions.create(
        model="tiny", messages=say("What is the capital of France?"), max_tokens=40, temperature=0
    )
    assert answer.choices[0].message.content
    check(platform, answer, vllm.counted() - before)


def test_a_streamed_answer_costs_what_vllm_counted(platform: Platform, client: openai.OpenAI, vllm: Vllm) -> None:
    before = vllm.counted()
    chunks = list(
        client.chat.completions.create(
            model="tiny", messages=say("Tell me about the sea."), max_tokens=30, stream=True,
            stream_options={"include_usage": True}, **ENDLESS,
        )
    )  # fmt: skip
    texts = [choice.delta.content for chunk in chunks for choice in chunk.choices if choice.delta.content]
    assert len(texts) > 3, "it came piece by piece"
    assert [choice.finish_reason for chunk in chunks for choice in chunk.choices][-1] == "length"
    assert chunks[-1].usage.completion_tokens == 30
    check(platform, chunks[-1], vllm.counted() - before)


def test_what_vllm_had_in_its_cache_is_cheaper(platform: Platform, client: openai.OpenAI) -> None:
    question = say("The sea is wide. " * 40)
    first, second = (client.chat.completions.create(model="tiny", messages=question, max_tokens=4) for _ in range(2))
    cached = [answer.usage.prompt_tokens_details.cached_tokens for answer in (first, second)]
    assert cached[1] > cached[0]
    amounts = [answer.model_extra["toolorchestra"]["cost_nano_usd"] for answer in (first, second)]
    assert amounts == [price(first.usage), price(second.usage)]
    assert first.usage.prompt_tokens == second.usage.prompt_tokens


@BOTH_FORMS
@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "weather"}}], ids=["any", "named"])
def test_a_forced_call_of_the_clients_tool_fits_its_schema(
    platform: Platform, client: openai.OpenAI, vllm: Vllm, choice: Any, stream: bool
) -> None:
    before = vllm.counted()
    options = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
    answer = client.chat.completions.create(
        model="tiny",
        messages=say("Weather in Paris?"),
        tools=[TOOL],
        tool_choice=choice,
        max_tokens=150,
        temperature=0,
        **options,
    )
    name, arguments, finish, last = assembled(list(answer)) if stream else whole(answer)
    assert (name, finish) == ("weather", "tool_calls"), "also where vLLM says stop"
    jsonschema.validate(json.loads(arguments), WEATHER)
    check(platform, last, vllm.counted() - before)


def whole(answer: Any) -> tuple[str, str, str, Any]:
    (call,) = answer.choices[0].message.tool_calls
    return call.function.name, call.function.arguments, answer.choices[0].finish_reason, answer


def assembled(chunks: list[ChatCompletionChunk]) -> tuple[str, str, str, Any]:
    choices = [choice for chunk in chunks for choice in chunk.choices]
    pieces = [piece for choice in choices for piece in choice.delta.tool_calls or ()]
    assert {piece.index for piece in pieces} == {0}
    name = "".join(piece.function.name or "" for piece in pieces)
    arguments = "".join(piece.function.arguments or "" for piece in pieces)
    return name, arguments, next(c.finish_reason for c in choices if c.finish_reason), chunks[-1]


def test_the_result_of_a_tool_is_sent_back(platform: Platform, client: openai.OpenAI, vllm: Vllm) -> None:
    function = {"name": "weather", "arguments": '{"city": "Paris", "unit": "celsius"}'}
    messages = [
        *say("Weather in Paris?"),
        {"role": "assistant", "content": None, "tool_calls": [{"id": "call_1", "type": "function", "function": function}]},
        {"role": "tool", "tool_call_id": "call_1", "content": "21 degrees and sunny"},
    ]
    before = vllm.counted()
    answer = client.chat.completions.create(
        model="tiny", messages=messages, tools=[TOOL], tool_choice="none", max_tokens=40, temperature=0
    )
    assert answer.choices[0].message.content
    check(platform, answer, vllm.counted() - before)


def test_an_answer_has_the_structure_asked_for(client: openai.OpenAI) -> None:
    schema = {
        "type": "object",
        "properties": {"city": {"enum": ["Paris", "Rome"]}, "visits": {"type": "integer", "minimum": 1, "maximum": 9}},
        "required": ["city", "visits"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "trip", "schema": schema, "strict": True}}
    answer = client.chat.completions.create(
        model="tiny", messages=say("A trip."), response_format=form, max_tokens=100, temperature=0
    )
    jsonschema.validate(json.loads(answer.choices[0].message.content), schema)


def test_an_answer_is_as_long_as_the_money_allows(platform: Platform, client: openai.OpenAI, vllm: Vllm) -> None:
    question = say("Tell me everything.")
    most = worst_case(PRICE, input_tokens=input_bound_tokens(question), output_tokens=70)
    wish = {"toolorchestra": {"max_cost_usd": format_usd(most)}}
    before = vllm.counted()
    answer = client.chat.completions.create(model="tiny", messages=question, extra_body=wish, **ENDLESS)
    assert (answer.choices[0].finish_reason, answer.usage.completion_tokens) == ("length", 70)
    check(platform, answer, vllm.counted() - before)
    assert platform.charged(answer.model_extra["toolorchestra"]["run_id"]) <= most


@BOTH_FORMS
def test_vllm_stops_when_its_client_left(platform: Platform, vllm: Vllm, stream: bool) -> None:
    before, known = vllm.counted(), platform.runs()
    body = {"model": "tiny", "messages": say(f"Go on and on, {stream}."), "stream": stream, **ENDLESS}
    with (
        contextlib.suppress(httpx.ReadTimeout),
        platform.http().stream("POST", "/v1/chat/completions", json=body, timeout=1.5) as response,
    ):
        next(response.iter_bytes())
    wait_until(lambda: vllm.at_work() == 0, seconds=LEFT_S + 10)
    check_broken_off(platform, platform.new_run(known), lambda: vllm.counted() - before)


@BOTH_FORMS
def test_vllm_stops_when_the_call_is_cancelled(
    platform: Platform, vllm: Vllm, background: ThreadPoolExecutor, stream: bool
) -> None:
    before, known = vllm.counted(), platform.runs()
    body = {"model": "tiny", "messages": say(f"On and on, {stream}."), "stream": stream, **ENDLESS}
    asked = background.submit(platform.http().post, "/v1/chat/completions", json=body, timeout=100)
    run_id = platform.new_run(known)
    wait_until(lambda: (vllm.counted() - before).generated_tokens > 3, seconds=60)
    assert platform.http().post(f"/v1/runs/{run_id}/cancel").json()["cancel_requested"] is True
    wait_until(lambda: vllm.at_work() == 0, seconds=10)
    assert asked.result().status_code == 200
    check_broken_off(platform, run_id, lambda: vllm.counted() - before)


def check_broken_off(platform: Platform, run_id: str, used: Callable[[], Counted]) -> None:
    """vLLM works no more, and the estimate covers what it did."""
    wait_until(lambda: platform.ended(run_id))
    assert platform.status(run_id) == "cancelled"
    in_the_end = used()
    assert 0 < in_the_end.generated_tokens < 1400
    ((kind, amount),) = platform.entries(run_id)
    assert kind == "estimate"
    assert amount >= cost(PRICE, usage=Usage(in_the_end.prompt_tokens, in_the_end.generated_tokens))
    assert used() == in_the_end


def test_it_is_called_as_a_tool(platform: Platform, client: openai.OpenAI, vllm: Vllm) -> None:
    before = vllm.counted()
    answer = client.chat.completions.create(model="by-price", messages=say("What is the capital of France?"))
    assert answer.choices[0].message.content
    assert answer.model_extra["toolorchestra"]["tools"] == ["brief"]
    check(platform, answer, vllm.counted() - before)


def test_a_question_that_is_too_long_becomes_an_observation(platform: Platform, client: openai.OpenAI, vllm: Vllm) -> None:
    before = vllm.counted()
    turns = [{"call": ["tiny", {"question": "word " * CONTEXT_TOKENS}]}, {"text": "It was too long."}]
    answer = client.chat.completions.create(model="scripted", messages=say(f"Ask it [[{json.dumps({'turns': turns})}]]"))
    assert answer.choices[0].message.content == "It was too long."
    run = platform.http().get(f"/v1/runs/{answer.model_extra['toolorchestra']['run_id']}").json()
    call = run["turns"][0]["calls"][0]
    assert call["status"] == "error"
    assert f"maximum context length is {CONTEXT_TOKENS} tokens" in call["result"]
    assert answer.model_extra["toolorchestra"]["cost_nano_usd"] == 0
    assert (vllm.counted() - before).generated_tokens == 0


def test_a_request_that_is_too_long_is_refused_in_vllms_words(platform: Platform, client: openai.OpenAI) -> None:
    known = platform.runs()
    with platform.openai() as patient, pytest.raises(openai.APIStatusError) as refused:
        patient.chat.completions.create(model="tiny", messages=say("word " * CONTEXT_TOKENS), max_tokens=5)
    assert f"maximum context length is {CONTEXT_TOKENS} tokens" in refused.value.message
    assert len(platform.runs() - known) == 1, "the SDK was told not to try again"
    assert platform.charged((platform.runs() - known).pop()) == 0


def test_it_can_be_the_manager(platform: Platform, client: openai.OpenAI, vllm: Vllm) -> None:
    """Whether it calls a tool is its own affair; the run ends with an answer, and both turns are paid for."""
    before = vllm.counted()
    answer = client.chat.completions.create(model="self-made", messages=say("What is 6 times 7?"), temperature=0)
    extension = answer.model_extra["toolorchestra"]
    assert extension["status"] == "completed"
    counted = vllm.counted() - before
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (counted.prompt_tokens, counted.generated_tokens)
    assert platform.charged(extension["run_id"]) == extension["cost_nano_usd"] > 0


def test_eight_at_once_are_told_apart_and_paid_for(
    platform: Platform, client: openai.OpenAI, vllm: Vllm, background: ThreadPoolExecutor
) -> None:
    def ask(number: int) -> Any:
        return client.chat.completions.create(model="tiny", messages=say(f"Number {number}"), max_tokens=10 + number, **ENDLESS)

    before = vllm.counted()
    answers = list(background.map(ask, range(8)))
    assert [answer.usage.completion_tokens for answer in answers] == [10 + number for number in range(8)]
    counted = vllm.counted() - before
    assert sum(answer.usage.prompt_tokens for answer in answers) == counted.prompt_tokens
    assert sum(answer.usage.completion_tokens for answer in answers) == counted.generated_tokens
    for answer in answers:
        assert platform.charged(answer.model_extra["toolorchestra"]["run_id"]) == price(answer.usage)
