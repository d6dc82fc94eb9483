import json

import httpx2
import pytest

from toolorchestra.core.calls import Status
from toolorchestra.executors.outcomes import clip
from toolorchestra.executors.reading import UnreadableAnswerError, decode, pick, read_outcome


def response(status: int = 200, content: bytes = b"", content_type: str = "text/plain", **headers: str) -> httpx2.Response:
    return httpx2.Response(status, content=content, headers={"content-type": content_type, **headers})


async def test_text_is_passed_on_as_it_is() -> None:
    outcome = await read_outcome(response(content="grüß".encode()), max_bytes=100)
    assert (outcome.status, outcome.content, outcome.truncated) == (Status.OK, "grüß", False)
    assert outcome.details == {"httpStatus": 200}


async def test_a_long_answer_is_cut_at_a_character_and_marked() -> None:
    outcome = await read_outcome(response(content="äöü".encode()), max_bytes=5)
    assert (outcome.content, outcome.truncated) == ("äö", True)


async def test_the_declared_charset_is_used_and_an_unknown_one_is_not() -> None:
    latin = response(content="é".encode("latin-1"), content_type="text/plain; charset=iso-8859-1")
    assert (await read_outcome(latin, max_bytes=100)).content == "é"
    strange = response(content=b"x", content_type="text/plain; charset=klingon")
    assert (await read_outcome(strange, max_bytes=100)).content == "x"


async def test_an_empty_answer_is_said_in_words() -> None:
    assert "HTTP 204" in (await read_outcome(response(204), max_bytes=100)).content


@pytest.mark.parametrize(
    ("content", "content_type"),
    [(b"\x89PNG", "image/png"), (b"\xff\xfe\xfa", "text/plain"), (b"a\x00b", "application/json"), (b"PK", "application/zip")],
)
async def test_binary_answers_are_refused(content: bytes, content_type: str) -> None:
    with pytest.raises(UnreadableAnswerError):
        await read_outcome(response(content=content, content_type=content_type), max_bytes=100)


async def test_svg_is_text() -> None:
    assert (await read_outcome(response(content=b"<svg/>", content_type="image/svg+xml"), max_bytes=100)).content == "<svg/>"


async def test_an_error_status_carries_the_servers_words_capped() -> None:
    outcome = await read_outcome(response(404, b"no such city" + b"x" * 9_000), max_bytes=65_536)
    assert outcome.status is Status.ERROR
    assert outcome.error_code == "http_404"
    assert outcome.content.startswith("HTTP 404 Not Found: no such city")
    assert len(outcome.content) < 2_200


async def test_a_redirect_is_an_error_that_says_where_it_points() -> None:
    outcome = await read_outcome(response(307, location="https://other.example/x"), max_bytes=100)
    assert outcome.status is Status.ERROR
    assert "redirects are not followed; it points to https://other.example/x" in outcome.content


@pytest.mark.parametrize(
    ("path", "expected"),
    [("a.b", "text"), ("a.list.1", '{"c": 2}'), ("a.list", '[1, {"c": 2}]'), ("n", "null")],
)
def test_a_path_picks_a_part(path: str, expected: str) -> None:
    document = json.dumps({"a": {"b": "text", "list": [1, {"c": 2}]}, "n": None})
    assert pick(document, path, truncated=False) == expected


@pytest.mark.parametrize(
    ("path", "said"),
    [("a.x", "'x' not found among b, list"), ("a.list.7", "in a list of 1"), ("a.b.c", "in a str"), ("z", "among a")],
)
def test_a_path_that_leads_nowhere_says_what_is_there(path: str, said: str) -> None:
    with pytest.raises(UnreadableAnswerError, match=said):
        pick('{"a": {"b": "text", "list": [1]}}', path, truncated=False)


def test_a_path_needs_the_whole_json_answer() -> None:
    with pytest.raises(UnreadableAnswerError, match="too long"):
        pick('{"a": 1', "a", truncated=True)
    with pytest.raises(UnreadableAnswerError, match="not JSON"):
        pick("<html>", "a", truncated=False)


def test_a_cut_character_is_dropped_only_when_the_answer_was_cut() -> None:
    assert decode("aä".encode()[:-1], None, complete=False) == "a"
    with pytest.raises(UnreadableAnswerError):
        decode("aä".encode()[:-1], None, complete=True)


@pytest.mark.parametrize(("text", "limit", "expected"), [("abc", 3, "abc"), ("abcd", 3, "abc"), ("ää", 3, "ä"), ("😀", 3, "")])
def test_clip_never_cuts_inside_a_character(text: str, limit: int, expected: str) -> None:
    assert clip(text, limit) == (expected, text != expected)
