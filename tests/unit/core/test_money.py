"""Money is exact at the edges, or refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolorchestra.core.errors import InvalidRequestError
from toolorchestra.core.money import MAX_NANO_USD, format_usd, parse_usd


@pytest.mark.parametrize(
    ("text", "nano"),
    [("0", 0), ("12.50", 12_500_000_000), ("0.000000001", 1), ("0012", 12_000_000_000), ("9000000", MAX_NANO_USD)],
)
def test_an_amount_is_read_exactly(text, nano):
    assert parse_usd(text) == nano


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-1",
        "+1",
        "1.",
        ".5",
        "1e3",
        "1_000",
        "1,000",
        " 1",
        "1\n",
        "$1",
        "NaN",
        "Infinity",
        "١",
        "0.0000000001",
        "9000000.000000001",
        "9" * 60,
    ],
)
def test_anything_but_a_plain_amount_is_refused_by_name_of_the_field(text):
    with pytest.raises(InvalidRequestError) as caught:
        parse_usd(text, param="spec.pricing.perCall")
    assert caught.value.param == "spec.pricing.perCall"
    assert caught.value.hint
    assert len(str(caught.value)) < 200


@given(st.integers(0, MAX_NANO_USD))
def test_what_is_written_reads_back(nano):
    assert parse_usd(format_usd(nano)) == nano


@pytest.mark.parametrize(
    ("nano", "text"), [(12_500_000_000, "12.50"), (1, "0.000000001"), (-1_500_000_000, "-1.50"), (0, "0.00")]
)
def test_amounts_have_at_least_two_places(nano, text):
    assert format_usd(nano) == text
