"""Values are read from text however they are written, and only where they stand."""

from decimal import Decimal

import pytest

from toolorchestra.worlds.values import Kind, scan

YEAR = 2026


@pytest.mark.parametrize(
    "text",
    ["£42.50", "42.50 GBP", "GBP 42.50", "42.5 pounds", "it is 42.50.", "(€42.50)", "**42.50**", "total: $42.50, thanks"],
)
def test_amounts_are_money(text):
    assert scan(text, YEAR).money == {4250}


@pytest.mark.parametrize(
    ("text", "money"),
    [
        ("£1,204", {120400}),
        ("1,204.00", {120400}),
        ("40 pounds or £7", {4000, 700}),
        ("at 12.50 pm", set()),
        ("42.50%", set()),
        ("room 4250", set()),
        ("BK-4250", set()),
        ("14.50.2", set()),
    ],
)
def test_only_amounts_are_money(text, money):
    assert scan(text, YEAR).money == money


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-14",
        "14 March",
        "Saturday 14 March 2026",
        "March 14th",
        "Mar 14, 2026",
        "the 14th of March",
        "14/03/2026",
        "on 14 mar.",
        "2026-03-14T08:05",
    ],
)
def test_dates_are_read_in_every_spelling(text):
    assert scan(text, YEAR).dates == {"2026-03-14"}


def test_a_day_that_does_not_exist_is_no_date():
    assert scan("31 June", YEAR).dates == set()


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-14T20:05",
        "2026-03-14 20:05",
        "14 March at 20:05",
        "8:05 pm on March 14th",
        "20:05 on Saturday, 14 March 2026",
        "March 14, 2026 at 08:05 PM",
    ],
)
def test_a_time_belongs_to_the_date_beside_it(text):
    assert scan(text, YEAR).datetimes == {"2026-03-14T20:05"}


def test_each_time_takes_the_nearest_date():
    found = scan("Out 3 March at 07:10, back 5 March at 18:40.", YEAR)
    assert found.datetimes == {"2026-03-03T07:10", "2026-03-05T18:40"}


def test_numbers_are_what_is_nothing_else():
    found = scan("On 3 March at 07:10 you paid £12.00 for 1,250 points in BK-7701 with three friends, 2.5 hours", YEAR)
    assert found.numbers == {Decimal(1250), Decimal("2.5")}
    assert found.says(Kind.NUMBER, 1250)
    assert found.says(Kind.NUMBER, 3)
    assert not found.says(Kind.NUMBER, 12)


def test_a_telephone_number_is_no_number():
    assert scan("Call 07700 900318 or +44 20 7946 0958: you have 2300 points.", YEAR).numbers == {Decimal(2300)}


@pytest.mark.parametrize(
    ("text", "ids"),
    [("booking BK-7Q2F4C.", {"BK-7Q2F4C"}), ("bk-7q2f4c", {"BK-7Q2F4C"}), ("a well-known non-stop train", set())],
)
def test_ids_are_told_from_words(text, ids):
    assert scan(text, YEAR).ids == ids


def test_texts_are_whole_words_whatever_their_case():
    found = scan("You get to  ASHMERE central.", YEAR)
    assert found.says(Kind.TEXT, "Ashmere Central")
    assert not found.says(Kind.TEXT, "Ash")


@pytest.mark.parametrize(
    ("text", "said"),
    [("Yes.", {True}), ("No, it has not.", {False}), ("Yes, there is no fee.", {True}), ("Yes. No. Who knows", {True, False})],
)
def test_yes_and_no_count_where_sentences_begin(text, said):
    assert scan(text, YEAR).yesno == said
