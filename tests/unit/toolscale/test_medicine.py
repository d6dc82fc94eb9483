"""The clinics: rows are what their rules would have made, and their tools keep to them."""

from collections import Counter
from datetime import date, timedelta

import pytest

from toolorchestra.training.toolscale.building import draw_world
from toolorchestra.training.toolscale.domain import find_domain
from toolorchestra.worlds.session import Session

NO_REFERRAL = ("general practice", "eye care")


@pytest.fixture(scope="module")
def world():
    """The world with rows and no tasks."""
    return draw_world(find_domain("medicine"), 11)


@pytest.fixture(scope="module")
def tables(world):
    return world.rows.tables


@pytest.fixture
def session(world):
    return Session(world)


def share_of(tables, visit):
    fee = tables["doctors"][visit["doctor_id"]]["visit_fee"]
    plan = tables["plans"][tables["patients"][visit["patient_id"]]["plan_id"]]
    return fee * (100 - plan["visit_percent"]) * (80 if visit["kind"] == "video" else 100) // 10_000


def days_between(one, two):
    return (date.fromisoformat(two[:10]) - date.fromisoformat(one[:10])).days


def test_a_slot_is_taken_exactly_if_one_visit_has_it(world, tables):
    having = Counter(row["slot_id"] for row in tables["appointments"].values() if row["status"] != "cancelled")
    assert set(having.values()) == {1}
    assert having.keys() == {key for key, row in tables["slots"].items() if row["status"] == "taken"}
    for visit in tables["appointments"].values():
        slot = tables["slots"][visit["slot_id"]]
        assert (visit["doctor_id"], visit["begins"], visit["kind"]) == (slot["doctor_id"], slot["begins"], slot["kind"])
        assert visit["share"] == share_of(tables, visit)
        assert visit["booked_on"] < min(visit["begins"][:10], world.spec.today)
        assert visit["status"] == "cancelled" or (visit["status"] == "booked") == (visit["begins"] > world.spec.now)


def test_nobody_is_booked_twice_with_a_doctor_or_at_one_time(tables):
    booked = [row for row in tables["appointments"].values() if row["status"] == "booked"]
    for column in ("doctor_id", "begins"):
        assert max(Counter((row["patient_id"], row[column]) for row in booked).values()) == 1
    missed = Counter(row["patient_id"] for row in tables["appointments"].values() if row["status"] == "missed")
    assert all(row["missed"] == missed[key] for key, row in tables["patients"].items())


def test_specialists_are_seen_on_a_referral_that_is_valid_on_the_day(world, tables):
    for visit in tables["appointments"].values():
        specialty = tables["doctors"][visit["doctor_id"]]["specialty"]
        assert (visit["referral_id"] is None) == (specialty in NO_REFERRAL)
        if visit["referral_id"] is not None:
            referral = tables["referrals"][visit["referral_id"]]
            assert (referral["patient_id"], referral["specialty"]) == (visit["patient_id"], specialty)
            assert referral["issued_on"] <= visit["booked_on"]
            assert visit["begins"][:10] <= referral["valid_until"]
    for referral in tables["referrals"].values():
        assert days_between(referral["issued_on"], referral["valid_until"]) == (240 if referral["extended"] else 180)
        assert (referral["status"] == "active") == (referral["valid_until"] >= world.spec.today)


def test_invoices_follow_from_visits(world, tables):
    billed = Counter(row["appointment_id"] for row in tables["invoices"].values())
    made = {key for key, row in tables["appointments"].items() if row["status"] in ("completed", "missed")}
    assert billed == Counter(made)
    for invoice in tables["invoices"].values():
        visit = tables["appointments"][invoice["appointment_id"]]
        assert invoice["share"] == (4000 if visit["status"] == "missed" else visit["share"])
        assert days_between(visit["begins"], invoice["issued_on"]) == 3
        assert days_between(invoice["issued_on"], invoice["due_on"]) == 30
        assert invoice["issued_on"] <= world.spec.today
        share = invoice["share"]
        assert invoice["paid"] in ({share, share * 97 // 100, share + 500} if invoice["status"] == "paid" else {None})
        if invoice["status"] == "instalments":
            assert share >= 5000
            assert -(-(share + 300) // invoice["months"]) >= 1000


def test_samples_are_collected_where_and_when_they_can_be(tables):
    for order in tables["lab_orders"].values():
        plan = tables["plans"][tables["patients"][order["patient_id"]]["plan_id"]]
        assert order["share"] == order["price"] * (100 - plan["laboratory_percent"]) // 100
        if order["status"] != "ordered":
            assert tables["clinics"][order["clinic_id"]]["laboratory"]
            assert order["ordered_on"] <= order["collect_on"] <= order["valid_until"]
            assert date.fromisoformat(order["collect_on"]).weekday() != 6
            assert order["part"] == "morning" or not order["fasting"]


def test_a_specialist_is_not_booked_without_a_referral(session, tables):
    doctors = {key for key, row in tables["doctors"].items() if row["specialty"] == "neurology"}
    slots = (row for row in tables["slots"].values() if row["status"] == "free" and row["begins"] > "2026-05-20")
    slot = next(row for row in slots if row["doctor_id"] in doctors)
    patient = next(key for key, row in tables["patients"].items() if row["missed"] == 0)
    refused = session.call("book_appointment", {"patient_id": patient, "slot_id": slot["slot_id"]})
    assert refused.error_code in ("referral_required", "already_booked")


def test_cancelling_late_costs_and_in_time_does_not(session, tables):
    for visit in (row for row in tables["appointments"].values() if row["status"] == "booked"):
        late = visit["begins"] < "2026-05-19T08:30"
        balance = session.call("find_patient", {"email": tables["patients"][visit["patient_id"]]["email"]}).content["balance"]
        result = session.call("cancel_appointment", {"appointment_id": visit["appointment_id"]})
        if result.ok:
            assert result.content["fee"] == ("25.00" if late else "0.00")
            assert float(balance) - float(result.content["balance"]) == pytest.approx(25 if late else 0)
        else:
            assert late
            assert result.error_code == "insufficient_balance"


def test_refills_are_not_given_early(session, tables):
    for one in (row for row in tables["prescriptions"].values() if row["status"] == "active" and row["refills_left"]):
        opens = date.fromisoformat(one["last_filled_on"]) + timedelta(days=one["supply_days"] - 7)
        result = session.call("request_refill", {"prescription_id": one["prescription_id"]})
        assert (result.error_code == "too_early") == (opens > date(2026, 5, 18))
