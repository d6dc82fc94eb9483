"""Orrin House: rows are what its rules would have made, and refunds and discounts follow them."""

from collections import Counter

import pytest

from toolorchestra.training.toolscale.building import draw_world
from toolorchestra.training.toolscale.domain import find_domain
from toolorchestra.worlds.shipped.entertainment.tools import (
    BOOKING_FEE,
    CARD_COST,
    DISCOUNTS,
    PLAYLIST_SIZE,
    rental_price,
    returned_of,
    seats_price,
)


@pytest.fixture(scope="module")
def world():
    """The world with rows and no tasks."""
    return draw_world(find_domain("entertainment"), 11)


@pytest.fixture
def tables(world):
    return world.rows.tables


def levels(tables):
    return {row["patron_id"]: row["level"] for row in tables["memberships"].values() if row["status"] == "active"}


def test_bookings_cost_what_the_rules_say(world, tables):
    prices = {(row["performance_id"], row["category"]): row["price"] for row in tables["seat_blocks"].values()}
    for booking in tables["bookings"].values():
        level, price = levels(tables).get(booking["patron_id"]), prices[booking["performance_id"], booking["category"]]
        percent, most = DISCOUNTS.get(level, (0, 0))
        saved = price * min(booking["seats"], most) * percent // 100
        assert booking["fee"] == (0 if level else BOOKING_FEE)
        assert booking["paid"] == price * booking["seats"] - saved + booking["fee"]
        assert booking["member_rate"] == (level is not None)
        assert booking["booked_at"] < world.spec.now
        performance = tables["performances"][booking["performance_id"]]
        assert (booking["status"] == "attended") == (performance["starts"] < world.spec.now)
        kept = booking["fee"] + (CARD_COST if booking["refunded_to"] == "card" else 0)
        assert booking["refunded"] == (booking["paid"] - kept if booking["status"] == "cancelled" else None)


def test_memberships_gift_cards_rentals_and_playlists_are_as_their_dates_say(world, tables):
    today = world.spec.today
    for row in tables["memberships"].values():
        assert (row["valid_until"] < today) == (row["status"] == "lapsed")
    for row in tables["gift_cards"].values():
        assert (row["expires_on"] < today) == (row["status"] == "expired")
        assert row["bought_on"] < today
        assert row["given_by"] != row["patron_id"]
    for row in tables["rentals"].values():
        full = tables["productions"][row["production_id"]]["rent_price"]
        assert row["price"] == rental_price(full, levels(tables).get(row["patron_id"]))
        assert row["status"] != "ready" or row["watch_until"] > today
    saved = [(row["patron_id"], row["playlist"], row["production_id"]) for row in tables["playlist_items"].values()]
    assert len(saved) == len(set(saved))
    assert max(Counter(saved_in[:2] for saved_in in saved).values()) <= PLAYLIST_SIZE
    assert all(tables["productions"][key]["rent_price"] for _, _, key in saved)


def test_a_run_is_in_one_hall_and_better_seats_cost_more(tables):
    halls = {}
    for row in tables["performances"].values():
        assert halls.setdefault(row["production_id"], row["hall_id"]) == row["hall_id"]
    for key in tables["performances"]:
        prices = {row["category"]: row["price"] for row in tables["seat_blocks"].values() if row["performance_id"] == key}
        assert prices["stalls"] > prices["circle"] > prices["balcony"] > prices["gallery"]


@pytest.mark.parametrize(
    ("days", "refund_to", "returned"),
    [(14, "credit", 10_000), (14, "card", 9800), (13.9, "credit", 5000), (3, "card", 4800), (2.9, "credit", 0), (1, "card", 0)],
)
def test_refunds_shrink_towards_the_evening(days, refund_to, returned):
    assert returned_of(10_250, 250, days, refund_to) == returned


def test_memberships_count_for_a_few_seats_only():
    assert seats_price(1999, 5, None) == 9995
    assert seats_price(1999, 5, "friend") == 9995 - 399
    assert seats_price(1999, 5, "benefactor") == 9995 - 1599
