"""The railway: rows are what its rules would have made, and the wrong booking is found out."""

import pytest

from toolorchestra.training.toolscale.building import build_domain
from toolorchestra.training.toolscale.domain import find_domain
from toolorchestra.worlds.session import Session
from toolorchestra.worlds.shipped.railway.tools import EXTRA_PERCENT


@pytest.fixture(scope="module")
def built():
    return build_domain(find_domain("railway"), seed=11, count=40)


def test_rows_follow_the_companys_rules(built):
    tables = built.world.rows.tables
    cards = {row["passenger_id"]: row["discount_percent"] for row in tables["railcards"].values() if row["status"] == "active"}
    for booking in tables["bookings"].values():
        train = tables["trains"][booking["train_id"]]
        full = train[f"{booking['travel_class']}_fare"] * booking["seats"] * (100 + EXTRA_PERCENT[booking["ticket_type"]])
        assert booking["fare"] == full * (100 - cards.get(booking["passenger_id"], 0)) // 10_000
        assert (booking["status"] == "travelled") == (train["departs"] < built.world.spec.now)
        assert booking["booked_at"] < built.world.spec.now
    assert all(
        row["origin_id"] != row["destination_id"] and row["departs"] < row["arrives"] for row in tables["trains"].values()
    )


def test_a_wrong_booking_is_found_out(built):
    cancelling = [(task, one) for task in built.tasks for one in task.golden if one.tool == "cancel_booking"]
    assert cancelling
    for task, one in cancelling:
        others = [key for key in built.world.rows.tables["bookings"] if key != one.arguments["booking_id"]]
        wrong = one.model_copy(update={"arguments": {**one.arguments, "booking_id": others[0]}})
        calls = [wrong.call if call.id == one.id else call.call for call in task.golden]
        assert Session.replay(built.world, calls).state_hash != Session.replay(built.world, task.calls).state_hash
