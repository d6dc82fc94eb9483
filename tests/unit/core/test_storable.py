"""What models, tools and clients write is made fit to be stored, or refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolorchestra.core.calls import Outcome, Status
from toolorchestra.core.errors import InvalidArgumentsError
from toolorchestra.core.loop.facts import Decided, Decision, Intent, dump, load
from toolorchestra.core.storable import MAX_DEPTH, clean_json, clean_text, parse_object

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=40)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), ANY_TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(ANY_TEXT, inner, max_size=4)),
    max_leaves=12,
)


@given(ANY_TEXT)
def test_any_text_becomes_text_that_every_encoder_and_database_takes(text):
    clean = clean_text(text)
    clean.encode()
    assert "\0" not in clean
    assert clean_text(clean) == clean


def test_good_text_is_left_as_it_is_and_halves_that_belong_together_are_joined():
    assert clean_text("naïve 😀") == "naïve 😀"
    assert clean_text("\ud83d\ude00") == "😀"
    assert clean_text("a\ud83db\0") == "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}"


@given(JSON)
def test_any_json_becomes_json_that_reads_back_as_itself(value):
    clean = clean_json(value)
    text = json.dumps(clean, allow_nan=False, ensure_ascii=False)
    text.encode()
    assert json.loads(text) == clean


@given(st.dictionaries(ANY_TEXT, JSON, max_size=4), ANY_TEXT)
def test_a_fact_made_of_anything_is_stored_and_read_back_the_same(arguments, text):
    call = Intent(function=text, arguments=arguments, problem=text)
    fact = Decided(turn=1, attempt=1, decision=Decision(calls=(call,), text=text, reasoning=text))
    stored = json.dumps(dump(fact), allow_nan=False, ensure_ascii=False).encode()
    assert load(json.loads(stored)) == fact


def test_an_outcome_is_clean_however_a_tool_writes():
    assert Outcome(status=Status.OK, content="a\0\ud800").content == "a\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "not valid JSON"),
        ("{", "not valid JSON"),
        ('{"a": NaN}', "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ('{"a": ' + "9" * 5_000 + "}", "not valid JSON"),
        ("[1]", "must be a JSON object"),
        ("null", "must be a JSON object"),
        ('{"a":' * (MAX_DEPTH + 1) + "1" + "}" * (MAX_DEPTH + 1), "nested more than"),
    ],
)
def test_what_is_no_object_of_arguments_is_refused(text, problem):
    with pytest.raises(InvalidArgumentsError, match=problem):
        parse_object(text)


def test_numbers_that_json_does_not_have_become_null():
    assert parse_object('{"a": 1e999, "b": [1]}') == {"a": None, "b": [1]}
