"""Reading a streamed answer, whole and broken."""

import pytest

from toolorchestra.cli.events import read_events
from toolorchestra.core.errors import UnavailableError


def test_events_are_read_up_to_the_end_and_comments_are_passed_over():
    lines = [": keep-alive", "", "id: 3", 'data: {"a": 1}', "", 'data:{"b": "x: y"}', "", "data: [DONE]", "", 'data: {"c": 3}']
    assert list(read_events(lines)) == [{"a": 1}, {"b": "x: y"}]


def test_a_stream_that_breaks_off_is_an_error_after_what_came():
    seen = []
    with pytest.raises(UnavailableError, match="broke off before its end"):
        seen.extend(event for event in _tap(read_events(['data: {"a": 1}', ""]), seen))
    assert seen == [{"a": 1}]


def test_what_is_not_json_is_named_as_such():
    with pytest.raises(UnavailableError, match="not a stream of JSON"):
        list(read_events(["data: <html>"]))


def _tap(events, seen):
    for event in events:
        seen.append(event)
    yield from ()
