"""What is held out is a fifth of intents and templates, follows from names alone, and stands in no task for learning."""

from hypothesis import given, settings
from hypothesis import strategies as st

from toolorchestra.training.toolscale.splits import TEST, TRAIN, divide

REQUESTS = {f"intent_{number}": 3 + number % 3 for number in range(20)}


def test_a_fifth_of_intents_and_of_templates_is_held_out():
    division = divide("shop", REQUESTS)
    assert len(division.intents) == 4
    assert sum(map(len, division.templates.values())) == round(0.2 * sum(REQUESTS.values()))
    assert all(len(numbers) < REQUESTS[intent] for intent, numbers in division.templates.items())


@settings(max_examples=60, deadline=None)
@given(st.text(min_size=1, max_size=8), st.dictionaries(st.text(min_size=1, max_size=6), st.integers(1, 9), min_size=1))
def test_every_intent_keeps_templates_to_learn_from_and_every_domain_intents(domain, requests):
    division = divide(domain, requests)
    assert len(division.intents) <= max(0, len(requests) - 1)
    for intent, count in requests.items():
        learnt = division.numbers(intent, held_out_template=False)
        assert learnt
        assert sorted([*learnt, *division.numbers(intent, held_out_template=True)]) == list(range(count))


def test_an_intent_more_or_a_template_more_of_one_domain_changes_no_other():
    before = divide("shop", REQUESTS)
    divide("bank", {**REQUESTS, "another": 4})
    assert divide("shop", dict(reversed(REQUESTS.items()))) == before
    assert divide("bank", REQUESTS).intents != before.intents


def test_a_whole_domain_is_held_out_with_all_its_intents_on_one_side():
    division = divide("weather", REQUESTS)
    assert division.whole
    assert division.tags(["intent_1"], held_out_template=False, key="k") == ("heldout-domain",)
    assert len(division.companions("intent_1", held_out_template=False)) == 19


def test_companions_are_of_the_same_side():
    division = divide("shop", REQUESTS)
    for intent in REQUESTS:
        for template in (False, True):
            for other in division.companions(intent, held_out_template=template):
                assert (other in division.intents) == (intent in division.intents)
                assert not template or division.templates[other]


def test_a_tenth_of_what_is_not_held_out_is_for_testing():
    division = divide("shop", REQUESTS)
    (plain,) = [[intent] for intent in REQUESTS if intent not in division.intents][:1]
    tags = [division.tags(plain, held_out_template=False, key=str(number)) for number in range(2000)]
    assert set(tags) == {(TRAIN,), (TEST,)}
    assert 140 < tags.count((TEST,)) < 260
