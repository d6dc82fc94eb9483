"""The bank: rows are what its rules would have made, its limits hold, and what they forbid is refused."""

from datetime import date

import pytest

from toolorchestra.training.toolscale.building import draw_world
from toolorchestra.training.toolscale.domain import find_domain
from toolorchestra.worlds.session import Session

TODAY = date(2026, 5, 14)


@pytest.fixture(scope="module")
def world():
    """The world with rows and no tasks."""
    return draw_world(find_domain("finance"), 11)


@pytest.fixture(scope="module")
def tables(world):
    return world.rows.tables


def age(row, column):
    return (TODAY - date.fromisoformat(row[column][:10])).days


def test_accounts_and_pots_keep_their_limits(tables):
    for account in tables["accounts"].values():
        plus = tables["customers"][account["customer_id"]]["plan"] == "plus"
        most = 0 if age(account, "opened_on") < 180 else 150_000 if plus else 50_000
        assert account["overdraft"] <= most
        assert account["overdraft"] % 5000 == 0
        assert account["balance"] >= -account["overdraft"]
        rows = [row for row in tables["transactions"].values() if row["account_id"] == account["account_id"]]
        paid = sum(row["amount"] for row in rows if row["kind"] == "payment" and age(row, "booked_at") == 0)
        assert paid == account["paid_out_today"] <= account["daily_limit"]
    for pot in tables["pots"].values():
        assert 0 < pot["balance"] < pot["goal"]
        assert (pot["locked_until"] is not None) == (pot["kind"] == "locked")


def test_standing_orders_are_paid_next_on_their_day(tables):
    for order in tables["standing_orders"].values():
        owner = tables["accounts"][order["account_id"]]["customer_id"]
        assert tables["payees"][order["payee_id"]]["customer_id"] == owner
        assert date.fromisoformat(order["next_on"]).day == order["day"]
        if order["status"] == "active":
            this_month = TODAY.replace(day=order["day"])
            due = this_month if this_month > TODAY else this_month.replace(month=6)
            assert order["next_on"] == due.isoformat()


def test_disputes_are_opened_in_time_and_credited_by_rule(tables):
    windows = {"unrecognised": (0, 90), "not_received": (14, 60), "wrong_amount": (0, 30)}
    for dispute in tables["disputes"].values():
        payment = tables["transactions"][dispute["transaction_id"]]
        first, last = windows[dispute["reason"]]
        assert payment["kind"] == "card"
        assert first <= age(payment, "booked_at") - age(dispute, "opened_on") <= last
        assert dispute["credited"] == (payment["amount"] if payment["amount"] <= 15_000 else 0)
        assert (payment["status"] == "disputed") == (dispute["status"] == "open")


def test_loans_have_as_many_instalments_left_as_it_takes(tables):
    for loan in tables["loans"].values():
        assert loan["months_left"] * loan["instalment"] >= loan["outstanding"] > (loan["months_left"] - 1) * loan["instalment"]
        assert (loan["status"] == "repaid") == (loan["outstanding"] == 0)
        assert loan["repaid_early"] <= loan["principal"] // 10


@pytest.mark.parametrize(("tool", "find", "rest", "code"), [
    ("cancel_standing_order", ("standing_orders", lambda row: row["status"] == "active" and row["next_on"] == "2026-05-15"),
     {}, "too_late"),
    ("take_payment_holiday", ("loans", lambda row: row["status"] == "arrears"), {"months": 1}, "not_running"),
    ("freeze_card", ("cards", lambda row: row["status"] == "blocked"), {}, "not_active"),
    ("dispute_payment", ("transactions", lambda row: row["status"] == "pending"), {"reason": "unrecognised"}, "not_disputable"),
    ("order_travel_money", ("foreign_notes", lambda row: row["note"] > 1), {"units": 1}, "no_such_notes"),
])  # fmt: skip
def test_what_the_rules_forbid_is_refused(world, tool, find, rest, code):
    table, fits = find
    key = next(key for key, row in world.rows.tables[table].items() if fits(row))
    named = {world.spec.tables[table].key: key, **rest}
    account = next(key for key, row in world.rows.tables["accounts"].items() if row["status"] == "open")
    result = Session(world).call(tool, {**named, **({"account_id": account} if table == "foreign_notes" else {})})
    assert result.error_code == code
