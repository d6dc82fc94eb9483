"""JSON text that PostgreSQL takes, whatever a tool returned."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolorchestra.ledger.jsontext import cleaned, encode, encode_checked

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=())),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(exclude_categories=())), inner, max_size=4)
    ),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b": 1, "a": [True, None, 1.5, "ü"]}, '{"b":1,"a":[true,null,1.5,"ü"]}'),
        ("nul \0", '"nul \ufffd"'),
        ("half \ud83d", '"half \ufffd"'),
        ("whole \ud83d\ude00", '"whole \U0001f600"'),
        ("\\u0000 in words", '"\\\\u0000 in words"'),
        ({"k\0": math.nan, "i": [math.inf, (1,)]}, '{"k\ufffd":null,"i":[null,[1]]}'),
    ],
)
def test_values_are_written_compactly_and_in_their_order(value, text):
    assert encode(value) == text


def test_a_value_that_is_fine_is_said_to_be_unchanged():
    assert encode_checked({"a": "fine"}) == ('{"a":"fine"}', False)
    assert encode_checked({"a": "\0"}) == ('{"a":"\ufffd"}', True)


@given(JSON)
def test_any_value_becomes_text_that_can_be_stored_and_read_again(value):
    text, changed = encode_checked(value)
    assert "\0" not in text
    assert json.loads(text.encode().decode()) == (json.loads(json.dumps(cleaned(value))) if changed else value)
