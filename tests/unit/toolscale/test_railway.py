"""The railway: rows are what its rules would have made."""

import pytest

from toolorchestra.training.toolscale.building import draw_world
from toolorchestra.training.toolscale.domain import find_domain
from toolorchestra.worlds.shipped.railway.tools import EXTRA_PERCENT


@pytest.fixture(scope="module")
def world():
    """The world with rows and no tasks."""
    return draw_world(find_domain("railway"), 11)


def test_rows_follow_the_companys_rules(world):
    tables = world.rows.tables
    cards = {row["passenger_id"]: row["discount_percent"] for row in tables["railcards"].values() if row["status"] == "active"}
    for booking in tables["bookings"].values():
        train = tables["trains"][booking["train_id"]]
        full = train[f"{booking['travel_class']}_fare"] * booking["seats"] * (100 + EXTRA_PERCENT[booking["ticket_type"]])
        assert booking["fare"] == full * (100 - cards.get(booking["passenger_id"], 0)) // 10_000
        assert (booking["status"] == "travelled") == (train["departs"] < world.spec.now)
        assert booking["booked_at"] < world.spec.now
    assert all(
        row["origin_id"] != row["destination_id"] and row["departs"] < row["arrives"] for row in tables["trains"].values()
    )
