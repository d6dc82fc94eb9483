"""The restaurants: rows are what their rules would have made, and what they forbid is refused."""

from datetime import datetime, timedelta

import pytest

from toolorchestra.training.toolscale.building import draw_world
from toolorchestra.training.toolscale.domain import find_domain
from toolorchestra.worlds.session import Call, Session

TIERS = {"regular": 100, "friend": 50, "insider": 0}
MENU = {"regular": 100, "friend": 95, "insider": 90}


@pytest.fixture(scope="module")
def world():
    """The world with rows and no tasks."""
    return draw_world(find_domain("restaurant"), 11)


def stay(party):
    return timedelta(minutes=150 if party >= 5 else 120)


def test_reservations_are_at_times_and_tables_that_the_policy_allows(world):
    tables, taken = world.rows.tables, {}
    for row in tables["reservations"].values():
        venue, start = tables["venues"][row["venue_id"]], datetime.fromisoformat(row["starts_at"])
        table, tier = tables["dining_tables"][row["table_id"]], tables["guests"][row["guest_id"]]["tier"]
        assert table["venue_id"] == row["venue_id"]
        assert 0 <= table["seats"] - row["party"] <= 2
        assert f"{start:%A}" != venue["closed_on"]
        assert venue["opens"] <= f"{start:%H:%M}" <= venue["last_seating"]
        asked = row["party"] >= 5 or (start.weekday() in (4, 5) and start.hour >= 18)
        assert row["deposit"] == (venue["deposit"] * row["party"] * TIERS[tier] // 100 if asked else 0)
        assert (row["status"] == "dined") <= (start < world.spec.clock)
        assert (row["refunded"] is not None) == (row["status"] == "cancelled")
        if row["status"] != "cancelled":
            others = taken.setdefault(row["table_id"], [])
            assert all(start + stay(row["party"]) <= since or until <= start for since, until in others)
            others.append((start, start + stay(row["party"])))


def test_orders_and_seats_cost_what_the_policy_says(world):
    tables = world.rows.tables
    for order in tables["orders"].values():
        dish, guest = tables["dishes"][order["dish_id"]], tables["guests"][order["guest_id"]]
        if order["reservation_id"] is None:
            assert dish["takeaway"]
            assert order["price"] == (dish["price"] * 85 // 100 + 50) * order["portions"]
        else:
            reservation = tables["reservations"][order["reservation_id"]]
            assert (dish["venue_id"], order["guest_id"]) == (reservation["venue_id"], reservation["guest_id"])
            assert order["portions"] <= reservation["party"]
            assert order["price"] == dish["price"] * order["portions"] * MENU[guest["tier"]] // 100
    for booking in tables["event_bookings"].values():
        event, guest = tables["events"][booking["event_id"]], tables["guests"][booking["guest_id"]]
        percent = (95 if booking["seats"] >= 4 else 100) * (90 if guest["tier"] == "insider" else 100)
        assert booking["paid"] == event["price"] * booking["seats"] * percent // 10_000


def test_a_menu_names_each_dish_and_each_price_once(world):
    dishes = world.rows.tables["dishes"].values()
    assert len({(row["venue_id"], row["name"]) for row in dishes}) == len(dishes)
    assert len({(row["venue_id"], row["price"]) for row in dishes}) == len(dishes)


def test_what_the_policy_forbids_is_refused(world):
    tables = world.rows.tables
    guest, venue = (
        next(iter(tables["guests"])),
        next(key for key, row in tables["venues"].items() if row["closed_on"] == "Monday"),
    )
    wanted = {"guest_id": guest, "venue_id": venue, "starts_at": "2026-12-02T19:00", "party": 4}
    spoilt = next(key for key, row in tables["vouchers"].items() if row["expires_on"] < world.spec.today)
    kept = next(key for key, row in tables["dishes"].items() if not row["takeaway"])
    dined = next(key for key, row in tables["reservations"].items() if row["status"] == "dined")
    refused = {
        "closed": Call("reserve_table", {**wanted, "starts_at": "2026-11-30T19:00", "place": "booth"}),
        "too_soon_or_far": Call("reserve_table", {**wanted, "starts_at": "2027-01-13T19:00", "place": "booth"}),
        "no_table": Call("reserve_table", {**wanted, "party": 8, "place": "window"}),
        "tables_free": Call("join_waiting_list", wanted),
        "invalid_arguments": Call("join_waiting_list", {**wanted, "starts_at": "2026-13-40T19:00"}),
        "not_changeable": Call("cancel_reservation", {"reservation_id": dined}),
        "not_valid": Call("redeem_voucher", {"voucher_id": spoilt}),
        "not_to_take_away": Call(
            "order_takeaway",
            {"guest_id": guest, "dish_id": kept, "portions": 1, "ready_at": "2026-10-15T19:00", "pay_with": "card"},
        ),
    }
    assert {code: Session(world).call(call.tool, call.arguments).error_code for code, call in refused.items()} == {
        code: code for code in refused
    }
