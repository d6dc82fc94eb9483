"""Names of sessions: three parts, written and read alike."""

import pytest

from toolorchestra.core.errors import InvalidRequestError
from toolorchestra.worlds.naming import SessionName


def test_a_name_is_read_as_it_was_written():
    name = SessionName("railway", "railway-74cca6a08e-27b6ccc5", "r1")
    assert SessionName.parse(str(name)) == name
    assert SessionName.find(str(name)) == name


@pytest.mark.parametrize("text", ["", "railway", "a:b", "a:b:c:d", "a::c", "a b:c:d", "a:ü:c", None])
def test_other_texts_are_no_names(text):
    assert SessionName.find(text) is None


@pytest.mark.parametrize(
    ("parts", "field"), [(("", "b", "c"), "suite"), (("a", "b/c", "c"), "task"), (("a", "b", "c:d"), "nonce")]
)
def test_a_wrong_part_is_named(parts, field):
    with pytest.raises(InvalidRequestError, match=rf"session\.{field}"):
        SessionName(*parts)


def test_a_name_that_is_too_long_is_refused():
    with pytest.raises(InvalidRequestError, match="128"):
        SessionName("suite", "t" * 130, "1")
