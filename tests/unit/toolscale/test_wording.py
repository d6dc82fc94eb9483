"""Templates are expanded with all their choices, values are spelt in many ways, and every spelling is read back."""

from datetime import date
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolorchestra.training.toolscale.domain import domain_names, find_domain
from toolorchestra.training.toolscale.wording import Cents, Part, Wording, Writer, expand, spell
from toolorchestra.worlds.errors import InvalidWorldError
from toolorchestra.worlds.values import Kind, scan


def test_choices_nest_and_may_be_empty():
    found = {expand("[a|b[c|]]d", Random(seed)) for seed in range(50)}
    assert found == {"ad", "bcd", "bd"}


@pytest.mark.parametrize("template", ["[a|b", "a]b"])
def test_a_template_whose_brackets_do_not_match_is_refused(template):
    with pytest.raises(InvalidWorldError, match="without"):
        expand(template, Random(1))


@settings(max_examples=80, deadline=None)
@given(st.dates(min_value=date(2026, 1, 1), max_value=date(2026, 12, 31)), st.integers())
def test_every_spelling_of_a_day_is_read_as_that_day(day, seed):
    assert scan(f"on {spell(day.isoformat(), Random(seed), 'GBP')}, please", 2026).dates == {day.isoformat()}


@settings(max_examples=80, deadline=None)
@given(st.integers(min_value=1, max_value=900_000), st.integers(), st.sampled_from(["GBP", "EUR", "USD"]))
def test_every_spelling_of_an_amount_is_read_as_that_amount(cents, seed, currency):
    assert scan(f"at most {spell(Cents(cents), Random(seed), currency)} in all", 2026).money == {cents}


@settings(max_examples=40, deadline=None)
@given(st.integers(min_value=0, max_value=5000), st.integers())
def test_every_spelling_of_a_number_is_read_as_that_number(number, seed):
    assert scan(f"seats: {spell(number, Random(seed), 'GBP')}.", 2026).says(Kind.NUMBER, number)


@pytest.mark.parametrize("name", domain_names())
def test_every_intent_has_wording_for_itself_and_its_steps(name):
    domain = find_domain(name)
    assert domain.wording.intents.keys() == {intent.name for intent in domain.intents}
    for intent in domain.intents:
        assert domain.wording.intents[intent.name].phrases.keys() >= set(intent.steps)
        assert len(domain.wording.intents[intent.name].request) >= 3


GRAMMAR = {
    "greeting": ["Hi."],
    "identity": ["I'm {name}."],
    "closing": ["Thanks!"],
    "chatter": ["It rains."],
    "connect": ["Also, {part}"],
    "ask": ["Tell me {asks}."],
    "personas": {"plain": {"frame": ["{body}"]}},
}


def written(*requests, frame="{body}", seed=1, **slots):
    """An opening of one wish per request, each a template, by a persona with this frame."""
    intents = {f"wish_{number}": {"request": [request]} for number, request in enumerate(requests)}
    wording = Wording.model_validate(GRAMMAR | {"intents": intents, "personas": {"plain": {"frame": [frame]}}})
    parts = [Part(name, slots, (), (), ()) for name in intents]
    return Writer(wording, Random(seed), "GBP").write(parts, {"name": "Ada"}).text


@pytest.mark.parametrize(
    ("second", "joined"),
    [
        ("Cancel it.", "Also, cancel it."),
        ("A friend of mine waits.", "Also, a friend of mine waits."),
        ("It's late.", "Also, it's late."),
        ("May I pay?", "Also, may I pay?"),
        ("{place} is where I go.", "Also, Larkfield is where I go."),
        ("[{place}|{place}] is where I go.", "Also, Larkfield is where I go."),
        ("[|] Pay {place}.", "Also, pay Larkfield."),
        ("I pay {place}.", "Also, I pay Larkfield."),
        ("I'd pay.", "Also, I'd pay."),
        ("Friday is best.", "Also, Friday is best."),
        ("Dr Ghosh knows.", "Also, Dr Ghosh knows."),
        ("PIN and card are gone.", "Also, PIN and card are gone."),
    ],
)
def test_a_wish_that_follows_another_goes_on_in_small_letters_and_names_keep_theirs(second, joined):
    assert written("Book it.", second, place="Larkfield") == f"Book it. {joined}"


def test_a_frame_has_choices_like_any_template():
    frame = "[{greeting} |]{identity} {body}[ {closing}| {chatter} {closing}]"
    found = {written("Book it.", frame=frame, seed=seed) for seed in range(40)}
    assert found == {
        f"{before}I'm Ada. Book it. {after}" for before in ("Hi. ", "") for after in ("Thanks!", "It rains. Thanks!")
    }


def test_what_a_frame_cannot_arrange_is_named():
    with pytest.raises(InvalidWorldError, match=r"nobody fills \{weather\}"):
        written("Book it.", frame="{weather} {body}")


def test_what_nobody_fills_or_words_is_named():
    writer = Writer(find_domain("railway").wording, Random(1), "GBP")
    with pytest.raises(InvalidWorldError, match=r"nobody fills \{origin\}|nobody fills"):
        writer.write([Part("cancel_booking", {}, (), (), ())], {})
    with pytest.raises(InvalidWorldError, match=r"intents\.fly: has no wording"):
        writer.write([Part("fly", {}, (), (), ())], {})
    with pytest.raises(InvalidWorldError, match=r"intents\.total_spent\.asks\.weight"):
        writer.write([Part("total_spent", {}, (), (), ("weight",))], {})
