"""What a model's server streams, however its bytes arrive."""

from collections.abc import AsyncIterator, Sequence
from itertools import pairwise

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolorchestra.executors.upstream import chunks_of, said_in

STREAM = (
    b': keep-alive\r\n\r\ndata: {"id": "1", "choices": []}\r\n\r\n'
    b'event: x\ndata:{"text": "a\xe2\x80\xa8b\xc3\xbc"}\n\n'
    b'data: {"two":\ndata: "lines"}\n\n'
    b'data: "no object"\n\n'
    b"data: [DONE]\n\ndata: not read\n\n"
)
CHUNKS = [{"id": "1", "choices": []}, {"text": "a\u2028bü"}, {"two": "lines"}]


def response(parts: Sequence[bytes], kind: str = "text/event-stream") -> httpx2.Response:
    async def content() -> AsyncIterator[bytes]:
        for part in parts:
            yield part

    return httpx2.Response(200, headers={"content-type": kind}, content=content())


async def read(*parts: bytes, kind: str = "text/event-stream") -> list[object]:
    return [chunk async for chunk in chunks_of(response(parts, kind))]


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
async def test_a_stream_may_be_cut_anywhere(places: list[int]) -> None:
    edges = [0, *sorted(places), len(STREAM)]
    assert await read(*(STREAM[a:b] for a, b in pairwise(edges))) == CHUNKS


async def test_a_stream_without_an_end_mark_ends_with_its_last_whole_event() -> None:
    assert await read(b'data: {"a": 1}\n\ndata: {"b"') == [{"a": 1}]


async def test_an_error_in_a_stream_is_told() -> None:
    with pytest.raises(ValueError, match="too long"):
        await read(b'data: {"a": 1}\n\ndata: {"error": {"message": "too long"}}\n\n')


async def test_an_answer_in_one_piece_is_one_chunk_unless_it_is_no_answer() -> None:
    whole = b'{"choices": [{"index": 0, "message": {"content": "x"}}]}'
    assert await read(whole, kind="application/json; charset=utf-8") == [
        {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": "x"}}]}
    ]
    assert await read(b"[1]", kind="application/json") == []


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"error": {"message": "a"}}, "a"), ({"message": "b"}, "b"), ({"detail": "c"}, "c"), ({"error": "d"}, "d"),
        ("e", "e"), ({}, None), ("", None), (None, None),
    ],
)  # fmt: skip
def test_what_an_error_says(body: object, said: str | None) -> None:
    assert said_in(body) == said
