"""Wrenfield College: rows are what its rules would have made, and returns and tuition follow them."""

from collections import Counter, defaultdict
from datetime import date

import pytest

from toolorchestra.training.toolscale.building import draw_world
from toolorchestra.training.toolscale.domain import find_domain
from toolorchestra.worlds.shipped.education.tools import (
    CLOSES,
    CREDIT_PRICE,
    FINE_PER_DAY,
    MOST_BILLED,
    MOST_CREDITS,
    MOST_FINE,
    MOST_HOURS_AHEAD,
    ONLINE_PERCENT,
    OPENS,
    PASSED,
    TERM,
    drop_percent,
    tuition_of,
)


@pytest.fixture(scope="module")
def world():
    """The world with rows and no tasks."""
    return draw_world(find_domain("education"), 11)


@pytest.fixture
def tables(world):
    return world.rows.tables


def by_student(tables, *states):
    """Sections of each student's enrolments in these states."""
    found = defaultdict(list)
    for row in tables["enrolments"].values():
        if row["status"] in states:
            found[row["student_id"]].append((row, tables["sections"][row["section_id"]]))
    return found


def test_tuition_follows_from_credits_mode_and_scholarship(tables):
    for row in tables["enrolments"].values():
        section, student = tables["sections"][row["section_id"]], tables["students"][row["student_id"]]
        percent = ONLINE_PERCENT if section["mode"] == "online" else 100
        full = tables["courses"][section["course_id"]]["credits"] * CREDIT_PRICE * percent
        expected = full * (100 - student["scholarship_percent"]) // 10_000
        assert row["tuition"] == (0 if row["status"] == "waiting" else expected)
        assert (row["grade"] is not None) == (row["status"] == "completed") == (section["term"] != TERM)
    for key, student in tables["students"].items():
        mine = [row for row, _ in by_student(tables, "enrolled")[key] if row["paid_with"] == "bill"]
        assert student["billed"] == sum(row["tuition"] for row in mine) <= MOST_BILLED


def test_nobody_attends_what_the_rules_forbid(tables):
    done = by_student(tables, "completed")
    for student, taken in by_student(tables, "enrolled").items():
        sections = [section for _, section in taken]
        assert sum(tables["courses"][one["course_id"]]["credits"] for one in sections) <= MOST_CREDITS
        assert len({(one["meets"], one["begins"]) for one in sections}) == len(sections)
        passed = {section["course_id"] for row, section in done[student] if row["grade"] in PASSED}
        assert {tables["courses"][one["course_id"]]["prerequisite_id"] for one in sections} <= passed | {None}


def test_sections_of_a_course_meet_on_different_days_and_begin_on_one_of_them(tables):
    weekdays = {"mon_wed": 0, "tue_thu": 1, "friday": 4, "saturday": 5}
    spring = [row for row in tables["sections"].values() if row["term"] == TERM]
    assert all(date.fromisoformat(row["starts_on"]).weekday() == weekdays[row["meets"]] for row in spring)
    assert max(Counter((row["course_id"], row["meets"]) for row in spring).values()) == 1


def test_fines_hours_and_rooms_are_as_the_rules_say(tables):
    for row in tables["loans"].values():
        late = (date.fromisoformat(row["returned_on"]) - date.fromisoformat(row["due_on"])).days if row["returned_on"] else 0
        assert row["fine"] == min(max(0, late) * FINE_PER_DAY, MOST_FINE)
        assert (row["fine_status"] == "none") == (row["fine"] == 0)
    attends = {(who, section["course_id"]) for who, taken in by_student(tables, "enrolled").items() for _, section in taken}
    hours = [row for row in tables["tutoring_sessions"].values() if row["status"] == "booked"]
    for row in hours:
        assert row["paid"] == (row["price"] // 2 if (row["student_id"], row["course_id"]) in attends else row["price"])
    assert max(Counter(row["student_id"] for row in hours).values()) <= MOST_HOURS_AHEAD
    taken = set()
    for row in tables["room_bookings"].values():
        begin, room = int(row["begins"][11:13]), tables["rooms"][row["room_id"]]
        span = {(row["room_id"], row["begins"][:10], hour) for hour in range(begin, begin + row["hours"])}
        assert OPENS <= begin < begin + row["hours"] <= CLOSES
        assert not taken & span
        assert row["people"] <= room["seats"]
        assert row["price"] == room["hourly_price"] * row["hours"]
        taken |= span


@pytest.mark.parametrize(("days", "percent"), [(-1, 100), (0, 80), (7, 80), (8, 40), (21, 40), (22, 0)])
def test_what_dropping_returns_shrinks_with_the_weeks(days, percent):
    assert drop_percent(days) == percent


def test_tuition_is_rounded_down():
    assert tuition_of(3, "campus", 0) == 55_500
    assert tuition_of(3, "online", 25) == 37_462
