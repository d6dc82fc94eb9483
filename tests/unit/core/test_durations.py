"""Durations in manifests."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolorchestra.core.durations import parse_duration_ms

UNITS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


@given(st.integers(0, 999_999_999), st.sampled_from(sorted(UNITS)))
def test_a_duration_is_its_number_times_its_unit(number, unit):
    assert parse_duration_ms(f"{number}{unit}") == number * UNITS[unit]


@pytest.mark.parametrize("text", ["", "5", "s", "1.5s", "-1s", "5 m", "5m\n", "1h30m", "1w", "٣s", "1234567890s"])
def test_anything_else_is_refused_with_an_example(text):
    with pytest.raises(ValueError, match="is not a duration; write"):
        parse_duration_ms(text)
