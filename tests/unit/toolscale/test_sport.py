"""The sports club: rows are what its rules would have made, and what they forbid is refused."""

from datetime import datetime, timedelta

import pytest

from toolorchestra.training.toolscale.building import draw_world
from toolorchestra.training.toolscale.domain import find_domain
from toolorchestra.worlds.session import Call, Session


@pytest.fixture(scope="module")
def world():
    """The world with rows and no tasks."""
    return draw_world(find_domain("sport"), 11)


def test_bookings_cost_what_the_policy_says_and_no_court_is_let_twice(world):
    tables, taken = world.rows.tables, set()
    plans = {"junior": 60, "standard": 100, "premium": 80}
    for booking in tables["bookings"].values():
        start = datetime.fromisoformat(booking["starts_at"])
        off_peak = 70 if start.weekday() < 5 and start.hour < 16 else 100
        hourly = tables["courts"][booking["court_id"]]["hourly_price"]
        plan = plans[tables["members"][booking["member_id"]]["plan"]]
        assert booking["price"] == hourly * booking["hours"] * off_peak * plan // 10_000
        assert start.minute == 0
        assert 7 <= start.hour <= 22 - booking["hours"]
        assert booking["guest_fees"] in (0, 600 * booking["guests"])
        assert (booking["status"] == "played") <= (start < world.spec.clock)
        assert (booking["status"] == "booked") <= (world.spec.clock < start)
        slots = {(booking["court_id"], start + timedelta(hours=hour)) for hour in range(booking["hours"])}
        assert taken.isdisjoint(slots)
        taken |= slots


def test_members_are_in_courses_tournaments_and_seats_that_they_may_have(world):
    tables = world.rows.tables
    for enrolment in tables["enrolments"].values():
        course, member = tables["courses"][enrolment["course_id"]], tables["members"][enrolment["member_id"]]
        born, begins = (datetime.fromisoformat(day) for day in (member["birth_date"], course["begins_on"]))
        age = begins.year - born.year - ((begins.month, begins.day) < (born.month, born.day))
        assert course["least_age"] <= age <= course["most_age"]
        early = (begins - datetime.fromisoformat(enrolment["enrolled_on"])).days >= 21
        reduced = course["fee"] * (85 if member["plan"] == "premium" else 100) * (90 if early else 100)
        assert enrolment["paid"] == reduced // 10_000
    for entry in tables["entries"].values():
        tournament, member = tables["tournaments"][entry["tournament_id"]], tables["members"][entry["member_id"]]
        assert tournament["least_rating"] <= member["rating"] <= tournament["most_rating"]
        assert entry["paid"] == tournament["entry_fee"]
        assert entry["entered_on"] <= tournament["enter_by"] < tournament["plays_on"]
    held = [(row["member_id"], row["team"]) for row in tables["season_tickets"].values() if row["status"] == "active"]
    assert len(held) == len(set(held))


def test_fines_that_were_paid_within_a_fortnight_cost_a_quarter_less(world):
    for fine in world.rows.tables["fines"].values():
        assert (fine["paid"] is not None) == (fine["status"] == "paid")
        assert (fine["ground"] is not None) == (fine["status"] == "appealed")
        assert fine["paid"] in (None, fine["amount"], fine["amount"] * 75 // 100)


def test_what_the_policy_forbids_is_refused(world):
    tables = world.rows.tables
    due = {}
    for fine in tables["fines"].values():
        due[fine["member_id"]] = due.get(fine["member_id"], 0) + fine["amount"] * (fine["status"] == "open")
    blocked = next(key for key, amount in due.items() if amount > 2500)
    free = next(key for key in tables["members"] if due.get(key, 0) == 0)
    court = next(iter(tables["courts"]))
    late = next(key for key, row in tables["fines"].items() if row["status"] == "open" and row["issued_on"] < "2026-04-20")
    booked = next(row for row in tables["bookings"].values() if row["status"] == "booked")
    wanted = {"court_id": court, "starts_at": "2026-05-20T10:00", "hours": 1}
    refused = {
        "open_fines": Call("book_court", {"member_id": blocked, **wanted}),
        "not_bookable_then": Call("book_court", {"member_id": free, **wanted, "starts_at": "2026-05-26T10:00"}),
        "invalid_time": Call("book_court", {"member_id": free, **wanted, "starts_at": "2026-05-20T22:00"}),
        "invalid_arguments": Call("book_court", {"member_id": free, **wanted, "starts_at": "2026-13-40T22:00"}),
        "too_late": Call("appeal_fine", {"fine_id": late, "ground": "mistake", "statement": "no"}),
        "has_bookings": Call("freeze_membership", {"member_id": booked["member_id"], "until": "2026-08-01"}),
    }
    assert {code: Session(world).call(call.tool, call.arguments).error_code for code, call in refused.items()} == {
        code: code for code in refused
    }
