import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolorchestra.core.errors import InvalidArgumentsError, InvalidManifestError
from toolorchestra.core.resources.tool import HttpBackend
from toolorchestra.executors.templates import Arguments, HttpRequest, check_template, header_value, render

PARAMETERS = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "days": {"type": "integer"},
        "tags": {"type": "array"},
        "units": {"type": "string", "default": "metric"},
        "note": {"type": "string"},
    },
}


def request(arguments: dict[str, Any], **backend: Any) -> HttpRequest:
    backend.setdefault("url", "https://api.example.org/v1")
    return render(HttpBackend(**backend), Arguments.of(arguments, PARAMETERS))


def body(arguments: dict[str, Any], **backend: Any) -> Any:
    content = request(arguments, method="POST", **backend).content
    return None if content is None else json.loads(content)


def test_an_argument_in_the_path_is_encoded_and_not_sent_again() -> None:
    made = request({"city": "São Paulo/x?y#z"}, url="https://h/w/{city}/now")
    assert made.url == "https://h/w/S%C3%A3o%20Paulo%2Fx%3Fy%23z/now"
    assert made.query == (("units", "metric"),)


def test_get_sends_all_other_arguments_as_query_and_lists_repeat() -> None:
    made = request({"city": "Oslo", "days": 3, "tags": ["a", "b"], "units": "si"})
    assert sorted(made.query) == [("city", "Oslo"), ("days", "3"), ("tags", "a"), ("tags", "b"), ("units", "si")]
    assert made.content is None


def test_an_explicit_query_sends_only_itself_and_leaves_out_what_is_missing() -> None:
    query = {"q": "{city}", "n": "{days}", "fixed": "1", "text": "in {note}", "t": "{tags}"}
    assert request({"city": "Oslo", "tags": [1, True]}, query=query).query == (
        ("q", "Oslo"), ("fixed", "1"), ("t", "1"), ("t", "true"),
    )  # fmt: skip


def test_a_query_in_the_url_is_filled_and_a_missing_part_is_left_out() -> None:
    made = request({"city": "A&B"}, url="https://h/s?q={city}&n={days}&k=1", query={})
    assert made.url == "https://h/s"
    assert made.query == (("q", "A&B"), ("k", "1"))


def test_post_sends_all_arguments_but_those_of_the_url_as_json() -> None:
    assert body({"city": "Oslo", "days": 3, "tags": ["a"]}, url="https://h/{city}") == {
        "days": 3, "tags": ["a"], "units": "metric",
    }  # fmt: skip


def test_an_exact_placeholder_in_a_body_keeps_the_json_type() -> None:
    template = {"where": {"city": "{city}", "n": "{days}"}, "tags": "{tags}", "text": "for {days} days", "k": [1, "{note}"]}
    assert body({"city": "Oslo", "days": 3, "tags": [{"a": 1}]}, body=template) == {
        "where": {"city": "Oslo", "n": 3}, "tags": [{"a": 1}], "text": "for 3 days", "k": [1],
    }  # fmt: skip


def test_braces_that_name_no_argument_stay_in_a_body() -> None:
    assert body({"city": "Oslo"}, body={"query": "query {weather(city: $c) {temp}}", "c": "{city}"}) == {
        "query": "query {weather(city: $c) {temp}}", "c": "Oslo",
    }  # fmt: skip


def test_null_is_kept_in_a_body_and_left_out_of_a_query() -> None:
    assert body({"note": None}, body={"note": "{note}"}) == {"note": None}
    assert request({"note": None}, query={"note": "{note}"}).query == ()


def test_a_missing_argument_of_the_path_is_named() -> None:
    with pytest.raises(InvalidArgumentsError, match="'city' is needed"):
        request({}, url="https://h/{city}")


@pytest.mark.parametrize("value", [".", ".."])
def test_a_value_cannot_climb_out_of_the_path(value: str) -> None:
    with pytest.raises(InvalidArgumentsError, match="cannot be part of a URL's path"):
        request({"city": value}, url="https://h/users/{city}/public")


@given(st.text(min_size=1))
def test_no_value_adds_a_segment_a_query_or_a_host(value: str) -> None:
    try:
        url = request({"city": value}, url="https://h/a/{city}/b").url
    except (InvalidArgumentsError, UnicodeEncodeError):
        return
    assert url.count("/") == 5
    assert not set(url) & set("?#@ \\")


@pytest.mark.parametrize(
    "backend",
    [
        {"url": "https://h/{town}"},
        {"url": "https://h/", "query": {"q": "{town}"}},
        {"url": "https://h/", "headers": [{"name": "X-Town", "value": "{town}"}]},
    ],
)
def test_a_template_that_names_an_unknown_argument_says_where_and_what_to_do(backend: dict[str, Any]) -> None:
    with pytest.raises(InvalidManifestError, match=r"spec\.http\.\w+: \{town\}.*add 'town' to spec\.parameters"):
        check_template(HttpBackend(**backend), PARAMETERS)


def test_a_header_is_filled_left_out_or_refused() -> None:
    arguments = Arguments.of({"city": "Oslo", "note": "a\r\nX-Evil: 1"}, PARAMETERS)
    assert header_value("in {city}", arguments, field="f") == "in Oslo"
    assert header_value("{days}", arguments, field="f") is None
    with pytest.raises(InvalidArgumentsError, match="does not fit into a header"):
        header_value("{note}", arguments, field="f")
