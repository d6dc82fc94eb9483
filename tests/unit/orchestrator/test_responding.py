"""From facts to what an OpenAI client reads."""

import asyncio

import pytest

from tests.unit.orchestrator.making import (
    RUN,
    asked,
    bodies,
    calls,
    deltas,
    ended,
    finished,
    flow,
    log,
    said,
    started,
    wish,
)
from toolorchestra.core.chat import DeltaKind
from toolorchestra.core.errors import UnavailableError
from toolorchestra.core.loop import facts as f
from toolorchestra.core.loop.state import fold
from toolorchestra.orchestrator.services.hub import Delta, Superseded
from toolorchestra.orchestrator.services.responding import DONE, KEEP_ALIVE, ChunkStream, whole, with_keep_alive

CLOSING = log(asked(forced="time"), said("It is 391."), ended("It is 391."))
TOOL = log(asked(), calls("calculator", expression="17*23"), started(1), finished(), ended("391"))
PARKED = log(asked(), calls("weather", "clock", client=True, city="Paris"), f.Parked(turn=1))


def text(piece):
    return Delta(DeltaKind.CONTENT, piece)


async def stream(stored, *items, before=1, **fields):
    """The events of a response that begins with the first ``before`` facts of ``stored``, then sees ``items``."""
    state = fold(RUN, stored[:before])
    return [e async for e in ChunkStream(RUN, wish(stream=True, **fields), state, 60).events(flow(items))]


async def test_a_stream_has_one_id_the_role_first_and_done_last():
    events = await stream(TOOL, *TOOL[1:])
    chunks = bodies(events)
    assert {chunk["id"] for chunk in chunks} == {f"chatcmpl-{RUN}"}
    assert {chunk["created"] for chunk in chunks} == {chunks[0]["created"]}
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert [c["choices"][0]["finish_reason"] for c in chunks if c["choices"][0]["finish_reason"]] == ["stop"]
    assert events[-1] == DONE
    assert deltas(events, "content") == "391"


async def test_progress_is_reasoning_and_can_be_switched_off():
    loud = await stream(TOOL, *TOOL[1:])
    quiet = await stream(TOOL, *TOOL[1:], toolorchestra={"progress": False})
    assert "calculator" in deltas(loud, "reasoning_content")
    assert deltas(quiet, "reasoning_content") == ""
    assert deltas(quiet, "content") == "391"


async def test_chunks_of_stored_facts_carry_their_numbers_in_order():
    events = await stream(TOOL, *TOOL[1:])
    numbers = [int(e.splitlines()[0].removeprefix("id: ")) for e in events if e.startswith("id: ")]
    assert numbers == sorted(numbers)
    assert numbers[-1] == TOOL[-1].seq


async def test_a_closing_answer_that_was_streamed_is_not_repeated():
    events = await stream(CLOSING, CLOSING[1], text("It is "), text("391."), *CLOSING[2:])
    assert deltas(events, "content") == "It is 391."


async def test_what_was_lost_at_the_end_of_a_streamed_answer_follows():
    events = await stream(CLOSING, CLOSING[1], text("It is "), *CLOSING[2:])
    assert deltas(events, "content") == "It is 391."


async def test_an_answer_with_a_gap_follows_as_a_whole():
    events = await stream(CLOSING, CLOSING[1], text("391."), *CLOSING[2:])
    assert deltas(events, "content").endswith("\n\nIt is 391.")


async def test_a_second_try_of_the_closing_answer_is_not_mixed_with_the_first():
    failed = f.AskFailed(turn=1, attempt=1, error_code="upstream_error", message="broke off", retryable=True)
    stored = log(asked(forced="time"), failed, asked(forced="time", attempt=2), said("Right."), ended("Right."))
    items = [stored[1], text("Wro"), stored[2], stored[3], Superseded(1, 2), text("Right."), *stored[4:]]
    events = await stream(stored, *items, stream_options={"include_usage": True})
    content = deltas(events, "content")
    assert content == "Wro\n\nRight."
    finish, usage = [body["toolorchestra"]["superseded"] for body in bodies(events)[-2:]]
    assert content[finish:] == "Right.", "who reads on knows where the answer begins"
    assert usage == finish


async def test_an_answer_of_a_wished_form_is_sent_only_when_it_is_whole():
    form = {"type": "json_object"}
    events = await stream(CLOSING, CLOSING[1], text("It is "), *CLOSING[2:], response_format=form)
    assert [c for c in bodies(events) if c["choices"][0]["delta"].get("content") == "It is "] == []
    assert deltas(events, "content") == "It is 391."
    assert "superseded" not in bodies(events)[-1]["toolorchestra"]


async def test_text_of_a_manager_that_does_not_answer_yet_is_reasoning():
    events = await stream(TOOL, TOOL[1], text("Let me see"), *TOOL[2:])
    assert "Let me see" in deltas(events, "reasoning_content")
    assert deltas(events, "content") == "391"


async def test_the_rest_of_an_answer_that_began_before_the_client_came_is_no_content():
    events = await stream(CLOSING, text("391."), *CLOSING[2:], before=2)
    assert deltas(events, "content") == "It is 391."


@pytest.mark.parametrize("stored", [TOOL, CLOSING])
async def test_a_run_that_ended_before_the_client_came_is_answered_from_what_is_stored(stored):
    events = await stream(stored, before=len(stored))
    chunks = bodies(events)
    assert deltas(events, "content") == stored[-1].fact.answer
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert chunks[-1]["toolorchestra"]["status"] == "completed"


@pytest.mark.parametrize("before", [1, len(PARKED)])
async def test_calls_of_the_clients_tools_have_an_index_and_an_id_that_leads_back(before):
    events = await stream(PARKED, *PARKED[before:], before=before)
    (chunk,) = [c for c in bodies(events) if "tool_calls" in c["choices"][0]["delta"]]
    found = chunk["choices"][0]["delta"]["tool_calls"]
    assert [(c["index"], c["id"], c["function"]["name"]) for c in found] == [
        (0, f"call_{RUN}_1_1", "weather"),
        (1, f"call_{RUN}_1_2", "clock"),
    ]
    assert found[0]["function"]["arguments"] == '{"city": "Paris"}'
    assert bodies(events)[-1]["choices"][0]["finish_reason"] == "tool_calls"


async def test_usage_stands_in_a_chunk_without_choices_if_it_is_wished():
    with_usage = await stream(TOOL, *TOOL[1:], stream_options={"include_usage": True})
    assert bodies(with_usage)[-1]["choices"] == []
    assert bodies(with_usage)[-1]["usage"]["total_tokens"] == 0
    assert bodies(with_usage)[-1]["toolorchestra"]["cost_nano_usd"] == 1_000_005
    assert not any("usage" in body for body in bodies(await stream(TOOL, *TOOL[1:])))


async def test_an_error_inside_a_stream_is_an_event_and_the_stream_still_ends():
    events = await stream(TOOL, TOOL[1], UnavailableError("the database is away"))
    assert bodies(events)[-1]["error"]["code"] == "unavailable"
    assert events[-1] == DONE


async def test_a_stream_whose_run_goes_on_elsewhere_says_so():
    events = await stream(TOOL, TOOL[1])
    assert "another process" in bodies(events)[-1]["error"]["message"]


async def test_a_long_answer_comes_in_pieces():
    stored = log(ended("x" * 1_000))
    events = await stream(stored, *stored[1:])
    assert deltas(events, "content") == "x" * 1_000
    assert len([b for b in bodies(events) if b["choices"][0]["delta"].get("content")]) > 1


async def test_an_idle_stream_is_kept_alive():
    async def slow():
        await asyncio.sleep(0.05)
        yield TOOL[-1]

    state = fold(RUN, TOOL[:-1])
    events = [e async for e in ChunkStream(RUN, wish(stream=True), state, 0.01).events(slow())]
    assert KEEP_ALIVE in events
    assert deltas(events, "content") == "391"


async def test_a_source_that_still_waits_is_closed_when_the_client_goes():
    closed = asyncio.Event()

    async def endless():
        try:
            yield TOOL[1]
            await asyncio.sleep(60)
        finally:
            closed.set()

    items = with_keep_alive(endless(), 0.01)
    assert [await anext(items), await anext(items)] == [TOOL[1], None]
    await items.aclose()
    assert closed.is_set()


def test_a_whole_answer_has_its_usage_and_price():
    body = whole(RUN, fold(RUN, TOOL))
    assert body["choices"][0]["message"] == {"role": "assistant", "content": "391", "refusal": None}
    assert body["choices"][0]["finish_reason"] == "stop"
    assert body["toolorchestra"]["cost_usd"] == "0.001000005"
    assert body["toolorchestra"]["tools"] == ["calculator"]


def test_a_whole_answer_with_calls_has_no_content():
    (choice,) = whole(RUN, fold(RUN, PARKED))["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    assert [c["function"]["name"] for c in choice["message"]["tool_calls"]] == ["weather", "clock"]


def test_a_run_that_is_not_over_has_no_whole_answer():
    with pytest.raises(UnavailableError):
        whole(RUN, fold(RUN, TOOL[:3]))
