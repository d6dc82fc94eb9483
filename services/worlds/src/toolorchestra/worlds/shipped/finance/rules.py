"""The rules of policy.md as arithmetic and as guards; tools.py and the rows that are drawn use the same ones."""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any, Final, TypeAlias

from toolorchestra.worlds.combinators import Require
from toolorchestra.worlds.errors import ToolRefusal
from toolorchestra.worlds.rows import Scalar
from toolorchestra.worlds.state import Database, money_text
from toolorchestra.worlds.tools import cents

Row: TypeAlias = dict[str, Any]
FEE_LEAST, FEE_MOST = 100, 1200  # of a priority payment
NEW_PAYEE_DAYS, NEW_PAYEE_MOST = 2, 50_000
NOTICE_LEAST: Final = 100  # charge of a notice pot
LAST_DAY, MOST_ORDERS, ORDER_NOTICE = 28, 6, 2  # standing orders: day of the month, per account, days ahead
CARD_FEE, COURIER_FEE, POST_DAYS, CARD_YEARS = 600, 900, 5, 4
WINDOWS: Final = {"unrecognised": (0, 90), "not_received": (14, 60), "wrong_amount": (0, 30)}  # days since the payment
CREDIT_MOST: Final = 15_000
HOLIDAY_FEE, HOLIDAY_DAYS = 500, 365
OVERDRAFT_STEP, OVERDRAFT_AGE = 5000, 180
OVERDRAFT_MOST: Final = {"standard": 50_000, "plus": 150_000}
SMALL_ORDER, SMALL_ORDER_FEE, COLLECT_DAYS = 25_000, 350, 3
WEEKEND, MONTHS = 5, 12


def working_day(day: date, count: int) -> date:
    """The working day that comes ``count`` after a day."""
    while count > 0:
        day += timedelta(days=1)
        count -= day.weekday() < WEEKEND
    return day


def months_later(day: date, months: int) -> date:
    """The same day of a later month; days above 28 do not occur."""
    number = day.month - 1 + months
    return day.replace(year=day.year + number // MONTHS, month=number % MONTHS + 1)


def next_payment(today: date, day: int) -> date:
    """When a standing order on a day of the month is paid next."""
    this_month = today.replace(day=day)
    return this_month if this_month > today else months_later(this_month, 1)


def priority_fee(plan: str, amount: int) -> int:
    return 0 if plan == "plus" else min(FEE_MOST, max(FEE_LEAST, amount // 400))


def withdrawal_charge(kind: str, amount: int) -> int:
    """What taking money out of a pot costs."""
    return max(NOTICE_LEAST, amount // 100) if kind == "notice" else 0


def card_fee(plan: str, reason: str, delivery: str) -> int:
    card = 0 if plan == "plus" or reason == "stolen" else CARD_FEE
    return card + (COURIER_FEE if delivery == "courier" else 0)


def credit_of(amount: int) -> int:
    """What is put back at once for a disputed payment."""
    return amount if amount <= CREDIT_MOST else 0


def free_repayment(loan: Mapping[str, Any]) -> int:
    """How much more can be repaid early this year without charge."""
    return max(0, int(loan["principal"]) // 10 - int(loan["repaid_early"]))


def repayment_charge(loan: Mapping[str, Any], amount: int) -> int:
    return max(0, amount - free_repayment(loan)) * 15 // 1000


def months_for(outstanding: int, instalment: int) -> int:
    """Instalments that are left, the last one perhaps smaller."""
    return -(-outstanding // instalment)


def travel_price(currency: Mapping[str, Any], units: int) -> tuple[int, int]:
    """What foreign notes cost, and the fee of a small order."""
    price = int(currency["price_per_100"]) * units // 100
    return price, SMALL_ORDER_FEE if price < SMALL_ORDER else 0


def overdraft_offered(db: Database, account: Mapping[str, Any]) -> int:
    """The highest overdraft that an account may have."""
    old_enough = date.fromisoformat(account["opened_on"]) + timedelta(days=OVERDRAFT_AGE) <= db.spec.clock.date()
    return OVERDRAFT_MOST[plan_of(db, account)] if old_enough else 0


def existing(db: Database, table: str, key: str) -> Row:
    row = db.get(table, key)
    if row is None:
        raise ToolRefusal("not_found", f"there is no {key!r} in {table.replace('_', ' ')}")
    return row


def plan_of(db: Database, row: Mapping[str, Any]) -> str:
    return str(db.at("customers", row["customer_id"])["plan"])


def open_account(db: Database, account_id: str) -> Row:
    account = existing(db, "accounts", account_id)
    if account["status"] != "open":
        raise ToolRefusal("account_blocked", f"account {account_id} is {account['status']}")
    return account


def above_zero(amount: str) -> int:
    """An amount in cents."""
    if cents(amount) == 0:
        raise ToolRefusal("invalid_amount", "the amount must be above zero")
    return cents(amount)


def take(db: Database, account: Row, amount: int) -> Row:
    """Take money from an open account, or put it there where the amount is negative."""
    available = account["balance"] + account["overdraft"]
    if available < amount:
        raise ToolRefusal("insufficient_funds", f"{money_text(available)} are available, {money_text(amount)} are needed")
    return db.update("accounts", account["account_id"], balance=account["balance"] - amount)


def same_customer(one: Row, other: Row) -> None:
    """Refuse what would mix the things of two people."""
    if one["customer_id"] != other["customer_id"]:
        raise ToolRefusal("not_theirs", "the two belong to different customers")


def show_account(db: Database, account: Row) -> Row:
    """An account with what can be spent."""
    return {
        **db.show("accounts", account),
        "available": money_text(account["balance"] + account["overdraft"]),
        "left_today": money_text(account["daily_limit"] - account["paid_out_today"]),
    }


def book(db: Database, account: Row, **values: Any) -> Row:
    """A new transaction out of an account."""
    rest: dict[str, Scalar] = {"direction": "out", "category": "other", "card_id": None, "payee_id": None, "currency_id": None}
    when: dict[str, Scalar] = {"booked_at": db.spec.now, "arrives_on": None, "status": "booked"}
    return db.insert("transactions", "TX", **{**rest, "units": None, **when, "account_id": account["account_id"], **values})


def payment_of(db: Database, account_id: str, payee_id: str, amount: int) -> tuple[Row, Row]:
    """The account and the payee of a payment that the rules allow."""
    account, payee = open_account(db, account_id), existing(db, "payees", payee_id)
    same_customer(account, payee)
    known_from = date.fromisoformat(payee["added_on"]) + timedelta(days=NEW_PAYEE_DAYS)
    if known_from > db.spec.clock.date() and amount > NEW_PAYEE_MOST:
        raise ToolRefusal("new_payee_limit", f"payee {payee_id} is new and gets at most {money_text(NEW_PAYEE_MOST)} a payment")
    left = account["daily_limit"] - account["paid_out_today"]
    if amount > left:
        raise ToolRefusal("daily_limit", f"{money_text(left)} of the daily limit are left")
    return account, payee


def repayable(db: Database, loan_id: str, amount: int) -> tuple[Row, int]:
    """A loan of which so much can be repaid early, and the charge."""
    loan = running_loan(db, loan_id)
    if amount > loan["outstanding"]:
        raise ToolRefusal("too_much", f"{money_text(loan['outstanding'])} are outstanding on loan {loan_id}")
    return loan, repayment_charge(loan, amount)


def running_loan(db: Database, loan_id: str) -> Row:
    loan = existing(db, "loans", loan_id)
    if loan["status"] != "running":
        raise ToolRefusal("not_running", f"loan {loan_id} is {loan['status']}")
    return loan


def orderable(db: Database, currency_id: str, units: int) -> tuple[Row, int, int]:
    """A currency of which so much can be ordered, its price and the fee."""
    currency = existing(db, "foreign_notes", currency_id)
    if units % currency["note"]:
        raise ToolRefusal("no_such_notes", f"{currency['code']} is ordered in multiples of {currency['note']}")
    if units > currency["stock"]:
        raise ToolRefusal("out_of_stock", f"{currency['stock']} {currency['code']} can be ordered")
    return currency, *travel_price(currency, units)


def still_early(db: Database, row: Mapping[str, Any]) -> bool:
    return date.fromisoformat(row["next_on"]) >= db.spec.clock.date() + timedelta(days=ORDER_NOTICE)


def active_orders(db: Database, row: Mapping[str, Any]) -> list[Row]:
    return db.find("standing_orders", account_id=row["account_id"], status="active")


def entering(pot: Row, amount: int) -> tuple[int, int]:
    """The charge for putting money into a pot, and what it changes there."""
    if pot["balance"] + amount > pot["goal"]:
        raise ToolRefusal("above_goal", f"pot {pot['pot_id']} takes at most {money_text(pot['goal'] - pot['balance'])} more")
    return 0, amount


def leaving(db: Database, pot: Row, amount: int) -> tuple[int, int]:
    """The charge for taking money out of a pot, and what it changes there."""
    key = pot["pot_id"]
    if pot["kind"] == "locked" and pot["locked_until"] > db.spec.today:
        raise ToolRefusal("locked", f"pot {key} is locked until {pot['locked_until']}")
    if pot["balance"] < amount:
        raise ToolRefusal("insufficient_funds", f"pot {key} holds {money_text(pot['balance'])}")
    charge = withdrawal_charge(pot["kind"], amount)
    if charge >= amount:
        raise ToolRefusal("charge_too_high", f"the charge of {money_text(charge)} would take all of it")
    return charge, -amount


ABOVE_ZERO: Final = Require(lambda _, row: row["amount"] > 0, "invalid_amount", "the amount must be above zero")
ACTIVE: Final = Require(lambda _, row: row["status"] == "active", "not_active", "standing order {order_id} is {status}")
EARLY: Final = Require(still_early, "too_late", "standing order {order_id} is paid on {next_on}; that is too soon")
NEW_ORDER: Final = (
    ABOVE_ZERO,
    Require(lambda _, row: 1 <= row["day"] <= LAST_DAY, "no_such_day", "the day is from 1 to 28"),
    Require(
        lambda db, row: db.at("accounts", row["account_id"])["customer_id"] == db.at("payees", row["payee_id"])["customer_id"],
        "not_theirs",
        "payee {payee_id} belongs to another customer",
    ),
    Require(
        lambda db, row: db.at("accounts", row["account_id"])["status"] == "open",
        "account_blocked",
        "account {account_id} is blocked",
    ),
    Require(
        lambda db, row: all(one["payee_id"] != row["payee_id"] for one in active_orders(db, row)),
        "already_there",
        "{payee_id} is paid by a standing order of this account",
    ),
    Require(lambda db, row: len(active_orders(db, row)) < MOST_ORDERS, "too_many", "{account_id} has six standing orders"),
)
NEW_PAYEE: Final = (
    Require(
        lambda db, row: not db.find("payees", **{name: row[name] for name in ("customer_id", "sort_code", "account_number")}),
        "already_there",
        "account {sort_code} {account_number} is a payee already",
    ),
)
NEW_OVERDRAFT: Final = (
    Require(lambda _, row: row["new_overdraft"] % OVERDRAFT_STEP == 0, "wrong_step", "steps are 50.00"),
    Require(
        lambda db, row: row["new_overdraft"] <= max(overdraft_offered(db, row), row["overdraft"]),
        "not_offered",
        "account {account_id} is not offered so much",
    ),
    Require(
        lambda _, row: row["balance"] + row["new_overdraft"] >= 0,
        "in_use",
        "account {account_id} is further below zero",
    ),
)
