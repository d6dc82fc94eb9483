"""The price book: rounding is always up, and a bound is never below the truth."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolorchestra.core.pricing import Price, Usage, affordable_output_tokens, cost, known_price, worst_case

NANO = st.integers(0, 10**12)
PRICES = st.builds(Price, NANO, NANO, st.one_of(st.none(), NANO), NANO, NANO)
TOKENS = st.integers(0, 200_000)


def test_a_call_costs_its_tokens_its_seconds_and_its_fee():
    price = Price(input=3_000_000_000, output=15_000_000_000, cached=300_000_000, per_call=7, per_second=1_000)
    usage = Usage(input=1_000, output=10, cached=400)
    assert cost(price, usage=usage, milliseconds=2_500) == 7 + 600 * 3_000 + 400 * 300 + 10 * 15_000 + 2_500


def test_parts_of_a_nano_dollar_are_rounded_up_once():
    assert cost(Price(input=1), usage=Usage(input=1)) == 1
    assert cost(Price(input=1, output=1), usage=Usage(input=1, output=1)) == 1
    assert cost(Price(per_second=1), milliseconds=1) == 1
    assert cost(Price()) == 0


def test_cached_input_without_its_own_price_costs_as_fresh_input():
    assert cost(Price(input=1_000_000), usage=Usage(input=10, cached=10)) == 10


def test_more_cached_tokens_than_input_are_not_believed():
    assert cost(Price(input=1_000_000, cached=500_000), usage=Usage(input=10, cached=1_000)) == 5


@given(PRICES, TOKENS, TOKENS, TOKENS, st.integers(0, 600_000), st.data())
def test_the_worst_case_is_never_below_the_cost_of_any_use_within_its_bounds(price, most_in, most_out, cached, most_ms, data):
    usage = Usage(data.draw(st.integers(0, most_in)), data.draw(st.integers(0, most_out)), cached)
    spent = cost(price, usage=usage, milliseconds=data.draw(st.integers(0, most_ms)))
    assert spent <= worst_case(price, input_tokens=most_in, output_tokens=most_out, milliseconds=most_ms)


@given(PRICES, NANO, TOKENS, st.integers(0, 600_000))
def test_affordable_output_fits_and_one_token_more_does_not(price, amount, tokens, milliseconds):
    most = affordable_output_tokens(price, amount, input_tokens=tokens, milliseconds=milliseconds)
    if most > 0:
        assert worst_case(price, input_tokens=tokens, output_tokens=most, milliseconds=milliseconds) <= amount
    if price.output > 1_000_000:
        more = worst_case(price, input_tokens=tokens, output_tokens=most + 2, milliseconds=milliseconds)
        assert more > amount


def test_a_free_model_is_affordable_with_nothing_left():
    assert affordable_output_tokens(Price(), 0, input_tokens=100) > 0
    assert affordable_output_tokens(Price(input=1_000_000), 0, input_tokens=100) == 0


@given(st.builds(Usage, TOKENS, TOKENS, TOKENS, TOKENS), st.builds(Usage, TOKENS, TOKENS, TOKENS, TOKENS))
def test_usage_adds_up(one, other):
    assert (one + other).input == one.input + other.input
    assert one + Usage() == one


@pytest.mark.parametrize("model", ["gpt-4o", "gpt-4o-mini", "gpt-5", "claude-haiku-4-5", "gemini-2.5-flash"])
def test_the_makers_flat_price_of_a_well_known_model_is_known(model):
    price = known_price(model)
    assert price is not None
    assert 0 < price.input < price.output
    assert price.cached is not None
    assert price.cached < price.input


def test_the_price_of_gpt_4o_is_that_of_its_maker_not_of_a_reseller():
    assert known_price("gpt-4o") == Price(input=2_500_000_000, output=10_000_000_000, cached=1_250_000_000)


@pytest.mark.parametrize(
    ("model", "why"),
    [
        ("no-such-model", "nobody lists it"),
        ("claude-sonnet-4-5", "its price has tiers"),
        ("meta-llama/Llama-3.1-8B-Instruct", "resellers disagree"),
        ("text-embedding-3-small", "it has no output price"),
        ("sonar", "requests cost extra"),
    ],
)
def test_a_price_that_is_not_plain_is_unknown(model, why):
    assert known_price(model) is None, why
