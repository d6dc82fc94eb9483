"""The tour operator: rows are what its rules would have made, and its tools keep to them."""

from datetime import date, timedelta
from itertools import pairwise

import pytest

from toolorchestra.training.toolscale.building import draw_world
from toolorchestra.training.toolscale.domain import find_domain
from toolorchestra.worlds.session import Session

OFF = {"blue": 0, "silver": 3, "gold": 5}
PREMIUM = {"none": 0, "basic": 4, "plus": 7}


@pytest.fixture(scope="module")
def world():
    """The world with rows and no tasks."""
    return draw_world(find_domain("travel"), 11)


@pytest.fixture(scope="module")
def tables(world):
    return world.rows.tables


@pytest.fixture
def session(world):
    return Session(world)


def later(day, days):
    return (date.fromisoformat(day) + timedelta(days=days)).isoformat()


def days_to(day):
    return (date.fromisoformat(day) - date(2026, 6, 8)).days


def cents(amount):
    return round(float(amount) * 100)


def confirmed(tables):
    return [row for row in tables["bookings"].values() if row["status"] == "confirmed"]


def test_bookings_follow_from_rooms_and_tiers(world, tables):
    today = world.spec.today
    for booking in tables["bookings"].values():
        room, customer = tables["rooms"][booking["room_id"]], tables["customers"][booking["customer_id"]]
        hotel = tables["hotels"][room["hotel_id"]]
        assert (booking["hotel_id"], booking["destination_id"]) == (hotel["hotel_id"], hotel["destination_id"])
        assert (booking["starts_on"], booking["ends_on"]) == (room["arrives_on"], room["leaves_on"])
        assert 1 <= booking["travellers"] <= room["sleeps"]
        assert booking["stay"] == room["price"] * (100 - OFF[customer["tier"]]) // 100
        assert booking["pay_by"] == later(booking["starts_on"], -30)
        assert booking["booked_on"] < min(today, booking["starts_on"])
        assert booking["premium"] == booking["total"] * PREMIUM[booking["cover"]] // 100
        assert (booking["status"] == "travelled") == (booking["ends_on"] < today)
        assert (booking["refund"] is None) == (booking["status"] != "cancelled")


def test_what_is_paid_is_the_deposit_or_all_and_the_extras(world, tables):
    for booking in confirmed(tables):
        extras = [row for row in tables["extras"].values() if row["booking_id"] == booking["booking_id"]]
        added = sum(row["price"] for row in extras)
        assert booking["total"] == booking["stay"] + added
        assert booking["paid"] - added in (booking["stay"], booking["stay"] * 20 // 100)
        assert booking["pay_by"] > world.spec.today or booking["paid"] == booking["total"]


def test_extras_belong_to_the_stay(tables):
    for extra in tables["extras"].values():
        booking = tables["bookings"][extra["booking_id"]]
        if extra["flight_id"]:
            flight = tables["flights"][extra["flight_id"]]
            day = booking["starts_on"] if flight["direction"] == "out" else booking["ends_on"]
            assert (flight["destination_id"], flight["departs"][:10]) == (booking["destination_id"], day)
            assert extra["places"] == booking["travellers"]
            assert extra["price"] == flight["fare"] * extra["places"] + 2800 * extra["bags"]
        else:
            excursion = tables["excursions"][extra["excursion_id"]]
            assert excursion["destination_id"] == booking["destination_id"]
            assert booking["starts_on"] <= excursion["takes_place_on"] <= booking["ends_on"]
            assert extra["price"] == excursion["price"] * extra["places"]


def test_nobody_is_in_two_places_at_once(tables):
    trips = {}
    for booking in confirmed(tables):
        trips.setdefault(booking["customer_id"], []).append(booking)
    for mine in trips.values():
        mine.sort(key=lambda row: row["starts_on"])
        assert all(one["ends_on"] < two["starts_on"] for one, two in pairwise(mine))
        assert len({row["destination_id"] for row in mine}) == len(mine)


def test_visas_are_applied_for_where_and_when_they_can_be(tables):
    for visa in tables["visas"].values():
        booking, customer = tables["bookings"][visa["booking_id"]], tables["customers"][visa["customer_id"]]
        place = tables["destinations"][booking["destination_id"]]
        express = visa["speed"] == "express"
        assert place["visa"]
        assert visa["fee"] == place["visa_fee"] * booking["travellers"] * (3 if express else 2) // 2
        assert visa["ready_on"] == later(visa["applied_on"], 3 if express else place["visa_days"])
        assert visa["ready_on"] <= later(booking["starts_on"], -2)
        assert customer["passport_expires_on"] >= later(booking["ends_on"], place["passport_days"])


def test_cancelling_keeps_what_the_terms_say(session, tables):
    for booking in confirmed(tables):
        left = days_to(booking["starts_on"])
        percent = next(percent for days, percent in ((60, 10), (30, 25), (15, 50), (4, 75), (0, 100)) if left >= days)
        percent = min(percent, 10) if booking["cover"] == "plus" else percent
        kept = min(booking["total"] * percent // 100, booking["paid"])
        quote = session.call("quote_cancellation", {"booking_id": booking["booking_id"]}).content
        done = session.call("cancel_booking", {"booking_id": booking["booking_id"], "refund_to": "credit"}).content
        assert cents(quote["kept"]) == kept
        assert cents(done["refund"]) == (booking["paid"] - kept) * 105 // 100


def test_insurance_is_sold_in_time_only(session, tables):
    for booking in (row for row in confirmed(tables) if row["cover"] == "none"):
        in_time = days_to(booking["starts_on"]) >= 30 or days_to(booking["booked_on"]) >= -7
        result = session.call("buy_insurance", {"booking_id": booking["booking_id"], "cover": "plus"})
        assert result.ok == in_time
        assert in_time or result.error_code == "too_late"


def test_a_visa_needs_a_passport_that_is_valid_long_enough(session, tables):
    for booking in confirmed(tables):
        place = tables["destinations"][booking["destination_id"]]
        passport = tables["customers"][booking["customer_id"]]["passport_expires_on"]
        if place["visa"] and passport < later(booking["ends_on"], place["passport_days"]):
            refused = session.call("apply_for_visas", {"booking_id": booking["booking_id"], "speed": "express"})
            assert refused.error_code == "passport"
