from typing import Any

import pytest

from toolorchestra.core.chat import ChatReply, DeltaKind, Meter
from toolorchestra.core.pricing import Usage
from toolorchestra.executors.assembly import ChatAssembly, CompletionAssembly, Tally, whole_as_chunk


def delta(finish: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"model": "m", "choices": [{"index": 0, "delta": fields, "finish_reason": finish}]}


def piece(arguments: str | None = None, **fields: Any) -> dict[str, Any]:
    name = {"name": fields.pop("name")} if "name" in fields else {}
    return {**fields, "function": {**name, **({} if arguments is None else {"arguments": arguments})}}


def reply(*chunks: dict[str, Any]) -> ChatReply:
    assembly, tally = ChatAssembly(), Tally(Meter(), input_bound=100, max_output=1_000)
    tally.sending()
    for chunk in chunks:
        tally.add(chunk)
        list(assembly.add(chunk))
    return assembly.reply(tally.meter, latency_ms=1)


def test_text_and_reasoning_are_joined_and_told_apart() -> None:
    assembly = ChatAssembly()
    chunks = [delta(role="assistant", content=""), delta(reasoning_content="hm"), delta(reasoning="m"), delta(content="a")]
    told = [part for chunk in chunks for part in assembly.add(chunk)]
    assert told == [(DeltaKind.REASONING, "hm"), (DeltaKind.REASONING, "m"), (DeltaKind.CONTENT, "a")]
    whole = assembly.reply(Meter(), latency_ms=1)
    assert (whole.text, whole.reasoning, whole.model) == ("a", "hmm", "m")


def test_tool_calls_are_put_together_by_index() -> None:
    found = reply(
        delta(tool_calls=[piece("", index=0, id="a", name="f"), piece('{"y"', index=1, id="b", name="g")]),
        delta(tool_calls=[piece(":2}", index=1)]),
        delta("tool_calls", tool_calls=[piece('{"x":1}', index=0)]),
    )
    assert [(c.id, c.name, c.arguments) for c in found.tool_calls] == [("a", "f", '{"x":1}'), ("b", "g", '{"y":2}')]


@pytest.mark.parametrize(
    "pieces",
    [
        [piece('{"x":1}', id="a", name="f"), piece('{"y":2}', id="b", name="g")],  # no index at all
        [piece('{"x"', id="a", name="f"), piece(":1}"), piece('{"y":2}', id="b", name="g")],  # parts without both
        [piece('{"x":1}', index=0, id="a", name="f"), piece('{"y":2}', index=0, id="b", name="g")],  # index and id disagree
    ],
)
def test_tool_calls_of_careless_servers_are_told_apart(pieces: list[dict[str, Any]]) -> None:
    found = reply(*(delta(tool_calls=[one]) for one in pieces), delta("stop"))
    assert [(c.id, c.name, c.arguments) for c in found.tool_calls] == [("a", "f", '{"x":1}'), ("b", "g", '{"y":2}')]
    assert found.finish_reason == "tool_calls", "`stop` with tool calls means `tool_calls`"


def test_arguments_that_are_an_object_become_text_and_a_missing_id_is_made() -> None:
    found = reply(delta("stop", tool_calls=[{"index": 0, "function": {"name": "f", "arguments": {"x": 1}}}]))
    assert (found.tool_calls[0].id, found.tool_calls[0].arguments) == ("call_0", '{"x": 1}')


def test_stated_usage_is_exact_zeros_included() -> None:
    usage = {"prompt_tokens": 0, "completion_tokens": 0}
    found = reply(delta("stop", content="text"), {"choices": [], "usage": usage})
    assert (found.usage, found.estimated) == (Usage(0, 0), False)


def test_usage_details_are_read() -> None:
    usage = {
        "prompt_tokens": 9, "completion_tokens": 4,
        "prompt_tokens_details": {"cached_tokens": 5}, "completion_tokens_details": {"reasoning_tokens": 2},
    }  # fmt: skip
    assert reply(delta("stop", content="x"), {"choices": [], "usage": usage}).usage == Usage(9, 4, 5, 2)


def test_without_usage_the_bound_and_the_bytes_received_count() -> None:
    found = reply(delta(content="four"), delta("stop", reasoning="ab"))
    assert (found.usage, found.estimated) == (Usage(100, 6), True)


def test_received_output_is_never_counted_beyond_max_tokens() -> None:
    tally = Tally(Meter(), input_bound=1, max_output=3)
    tally.sending()
    tally.add(delta(content="abcdefgh"))
    assert tally.meter.usage == Usage(1, 3)


def test_a_running_count_is_not_the_bill_until_the_end() -> None:
    tally = Tally(Meter(), input_bound=100, max_output=50)
    tally.sending()
    tally.add({**delta(content="a"), "usage": {"prompt_tokens": 7, "completion_tokens": 1}})
    assert (tally.meter.usage, tally.meter.exact) == (Usage(7, 1), False)
    tally.add({**delta("stop"), "usage": {"prompt_tokens": 7, "completion_tokens": 2}})
    assert (tally.meter.usage, tally.meter.exact) == (Usage(7, 2), True)


def test_an_answer_in_one_piece_reads_like_a_stream() -> None:
    answer = {
        "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 1},
    }
    found = reply(whole_as_chunk(answer))
    assert (found.text, found.usage, found.estimated) == ("hi", Usage(3, 1), False)


def test_other_choices_are_not_mixed_in() -> None:
    other = {"choices": [{"index": 1, "delta": {"content": "B"}, "finish_reason": "stop"}]}
    assert reply(delta("stop", content="A"), other).text == "A"


@pytest.mark.parametrize(
    "logprobs",
    [
        {"tokens": ["a", "b"], "token_logprobs": [None, -0.5]},
        {"content": [{"token": "a", "logprob": 0.0}, {"token": "b", "logprob": -0.5}]},
    ],
)
def test_completions_read_both_shapes_of_logprobs(logprobs: dict[str, Any]) -> None:
    assembly = CompletionAssembly()
    assembly.add({"choices": [{"text": "ab", "logprobs": logprobs, "finish_reason": "length"}]})
    found = assembly.reply(Meter(), latency_ms=1)
    assert (found.text, found.tokens, found.logprobs, found.finish_reason) == ("ab", ("a", "b"), (0.0, -0.5), "length")
