"""What Copperbeech Bank's systems can do; the rules are those of policy.md."""

from datetime import date, timedelta
from typing import Annotated, Literal

from pydantic import Field, JsonValue

from toolorchestra.worlds.combinators import Require, create, look_up, search, transition
from toolorchestra.worlds.errors import ToolRefusal
from toolorchestra.worlds.state import Database, money_text
from toolorchestra.worlds.tools import Amount, cents, tool

from .rules import (
    ACTIVE,
    CARD_YEARS,
    COLLECT_DAYS,
    EARLY,
    HOLIDAY_DAYS,
    HOLIDAY_FEE,
    NEW_ORDER,
    NEW_OVERDRAFT,
    NEW_PAYEE,
    POST_DAYS,
    WINDOWS,
    above_zero,
    book,
    card_fee,
    credit_of,
    entering,
    existing,
    free_repayment,
    leaving,
    months_for,
    months_later,
    next_payment,
    open_account,
    orderable,
    overdraft_offered,
    payment_of,
    plan_of,
    priority_fee,
    repayable,
    running_loan,
    same_customer,
    show_account,
    take,
    working_day,
)

Speed = Literal["standard", "priority"]
Units = Annotated[int, Field(ge=1, le=1_000_000)]


@tool(side_effects="readOnly")
def get_account(db: Database, *, account_id: str) -> JsonValue:
    """Get one account with what is available, what may still be paid out today, and the highest overdraft it may have.

    account_id: The account
    """
    account = existing(db, "accounts", account_id)
    return {**show_account(db, account), "overdraft_offered": money_text(overdraft_offered(db, account))}


@tool(side_effects="readOnly")
def list_pots(db: Database, *, customer_id: str) -> JsonValue:
    """List the pots of a customer; to_goal is what a pot can still take.

    customer_id: Whose pots
    """
    pots = db.find("pots", customer_id=customer_id)
    shown: list[JsonValue] = [{**db.show("pots", pot), "to_goal": money_text(pot["goal"] - pot["balance"])} for pot in pots]
    return {"found": len(pots), "pots": shown}


@tool(side_effects="readOnly")
def quote_payment(db: Database, *, account_id: str, payee_id: str, amount: Amount) -> JsonValue:
    """Tell what a payment would cost with priority, without making it; standard ones are free.

    account_id: Account that pays
    payee_id: Who is paid
    amount: How much, e.g. 40.00
    """
    account, payee = payment_of(db, account_id, payee_id, above_zero(amount))
    return {
        **show_account(db, account),
        **db.show("payees", payee, "payee_id", "name", "added_on"),
        "priority_fee": money_text(priority_fee(plan_of(db, account), cents(amount))),
    }


@tool(side_effects="destructive")
def pay(db: Database, *, account_id: str, payee_id: str, amount: Amount, speed: Speed) -> JsonValue:
    """Pay a payee of the customer.

    account_id: Account that pays
    payee_id: Who is paid
    amount: How much, e.g. 40.00
    speed: Standard arrives on the next working day, priority today for a fee
    """
    sent = above_zero(amount)
    account, payee = payment_of(db, account_id, payee_id, sent)
    fee = priority_fee(plan_of(db, account), sent) if speed == "priority" else 0
    take(db, account, sent + fee)
    changed = db.update("accounts", account_id, paid_out_today=account["paid_out_today"] + sent)
    arrives = working_day(db.spec.clock.date(), 0 if speed == "priority" else 1).isoformat()
    paid_to = {"party": payee["name"], "payee_id": payee_id, "arrives_on": arrives}
    new = book(db, account, kind="payment", amount=sent, fee=fee, **paid_to)
    return {**show_account(db, changed), **db.show("transactions", new)}


@tool(side_effects="destructive")
def move_pot_money(
    db: Database, *, pot_id: str, account_id: str, amount: Amount, direction: Literal["into_pot", "out_of_pot"]
) -> JsonValue:
    """Move money between an account and a pot of the same customer.

    pot_id: The pot
    account_id: The account
    amount: How much goes into the pot or comes out of it, before any charge, e.g. 40.00
    direction: Where it goes
    """
    pot, account, moved = existing(db, "pots", pot_id), open_account(db, account_id), above_zero(amount)
    same_customer(pot, account)
    charge, pot_change = entering(pot, moved) if direction == "into_pot" else leaving(db, pot, moved)
    changed = take(db, account, pot_change + charge)
    emptied = db.update("pots", pot_id, balance=pot["balance"] + pot_change)
    return {
        "pot": db.show("pots", emptied),
        "account": show_account(db, changed),
        "moved": money_text(moved),
        "charge": money_text(charge),
    }


@tool(side_effects="destructive")
def replace_card(
    db: Database, *, card_id: str, reason: Literal["lost", "stolen", "damaged"], delivery: Literal["post", "courier"]
) -> JsonValue:
    """Block a card and order a new one; the fee is taken from the card's account.

    card_id: The old card
    reason: What happened to it
    delivery: How the new one comes: by post in five working days, by courier in one for more
    """
    card = existing(db, "cards", card_id)
    if card["status"] not in ("active", "frozen"):
        raise ToolRefusal("not_replaceable", f"card {card_id} is {card['status']}")
    account = open_account(db, card["account_id"])
    fee = card_fee(plan_of(db, card), reason, delivery)
    changed = take(db, account, fee)
    db.update("cards", card_id, status="blocked", blocked_for=reason)
    today = db.spec.clock.date()
    arrives = working_day(today, 1 if delivery == "courier" else POST_DAYS)
    owner = {"customer_id": card["customer_id"], "account_id": card["account_id"], "replaces": card_id}
    expires = today.replace(year=today.year + CARD_YEARS).isoformat()
    when = {"expires_on": expires, "arrives_on": arrives.isoformat()}
    new = db.insert("cards", "CD", **owner, **when, last_four=None, blocked_for=None, status="ordered")
    return {**db.show("cards", new), "fee": money_text(fee), "account": show_account(db, changed)}


@tool(side_effects="destructive")
def dispute_payment(
    db: Database, *, transaction_id: str, reason: Literal["unrecognised", "not_received", "wrong_amount"]
) -> JsonValue:
    """Dispute a card payment; small amounts are put back on the account at once.

    transaction_id: The card payment
    reason: The customer did not make it, did not get what was paid for, or was charged another sum than agreed
    """
    payment = existing(db, "transactions", transaction_id)
    if payment["kind"] != "card" or payment["status"] != "booked":
        raise ToolRefusal(
            "not_disputable", f"{transaction_id} is no booked card payment: {payment['kind']}, {payment['status']}"
        )
    days = (db.spec.clock.date() - date.fromisoformat(payment["booked_at"][:10])).days
    first, last = WINDOWS[reason]
    if not first <= days <= last:
        raise ToolRefusal("outside_window", f"{reason} is accepted from day {first} to day {last}; this is day {days}")
    account, credited = open_account(db, payment["account_id"]), credit_of(payment["amount"])
    changed = take(db, account, -credited)
    db.update("transactions", transaction_id, status="disputed")
    if reason == "unrecognised" and db.at("cards", payment["card_id"])["status"] == "active":
        db.update("cards", payment["card_id"], status="frozen")
    about = {"customer_id": account["customer_id"], "transaction_id": transaction_id, "reason": reason}
    new = db.insert(
        "disputes", "DP", **about, amount=payment["amount"], credited=credited, opened_on=db.spec.today, status="open"
    )
    return {**db.show("disputes", new), "account": show_account(db, changed)}


@tool(side_effects="readOnly")
def quote_early_repayment(db: Database, *, loan_id: str, amount: Amount) -> JsonValue:
    """Tell what an early repayment would cost, without making it.

    loan_id: The loan
    amount: How much is repaid, without the charge, e.g. 300.00
    """
    loan, charge = repayable(db, loan_id, above_zero(amount))
    left = loan["outstanding"] - cents(amount)
    return {
        **db.show("loans", loan),
        "free_this_year": money_text(free_repayment(loan)),
        "charge": money_text(charge),
        "total": money_text(cents(amount) + charge),
        "outstanding_after": money_text(left),
        "months_left_after": months_for(left, loan["instalment"]),
    }


@tool(side_effects="destructive")
def repay_loan_early(db: Database, *, loan_id: str, account_id: str, amount: Amount) -> JsonValue:
    """Repay a part of a loan, or all of it, before it is due; a charge is taken on top.

    loan_id: The loan
    account_id: Account of the customer that pays
    amount: How much is repaid, without the charge, e.g. 300.00
    """
    repaid = above_zero(amount)
    (loan, charge), account = repayable(db, loan_id, repaid), open_account(db, account_id)
    same_customer(loan, account)
    changed = take(db, account, repaid + charge)
    left = loan["outstanding"] - repaid
    loan = db.update(
        "loans",
        loan_id,
        outstanding=left,
        months_left=months_for(left, loan["instalment"]),
        repaid_early=loan["repaid_early"] + repaid,
        status="running" if left else "repaid",
    )
    paid = {"charge": money_text(charge), "total": money_text(repaid + charge)}
    return {**db.show("loans", loan), **paid, "account": show_account(db, changed)}


@tool(side_effects="destructive")
def take_payment_holiday(db: Database, *, loan_id: str, months: Annotated[int, Field(ge=1, le=3)]) -> JsonValue:
    """Put off the next instalments of a loan; a fee per month is added to what is outstanding.

    loan_id: The loan
    months: For how many months, 1 to 3
    """
    loan, today = running_loan(db, loan_id), db.spec.clock.date()
    last = loan["last_holiday"]
    if last is not None and date.fromisoformat(last) + timedelta(days=HOLIDAY_DAYS) > today:
        raise ToolRefusal("too_soon", f"the last payment holiday of loan {loan_id} was granted on {last}")
    outstanding = loan["outstanding"] + HOLIDAY_FEE * months
    changed = db.update(
        "loans",
        loan_id,
        outstanding=outstanding,
        months_left=months_for(outstanding, loan["instalment"]),
        next_due=months_later(date.fromisoformat(loan["next_due"]), months).isoformat(),
        last_holiday=db.spec.today,
    )
    return {**db.show("loans", changed), "fee": money_text(HOLIDAY_FEE * months)}


@tool(side_effects="readOnly")
def quote_travel_money(db: Database, *, currency_id: str, units: Units) -> JsonValue:
    """Tell what foreign notes would cost, without ordering them.

    currency_id: The currency
    units: How much of it, in whole units
    """
    currency, price, fee = orderable(db, currency_id, units)
    costs = {"price": money_text(price), "fee": money_text(fee), "total": money_text(price + fee)}
    return {**db.show("foreign_notes", currency), "units": units, **costs}


@tool(side_effects="destructive")
def order_travel_money(db: Database, *, account_id: str, currency_id: str, units: Units) -> JsonValue:
    """Order foreign notes to be collected at the customer's branch.

    account_id: Account that pays
    currency_id: The currency
    units: How much of it, in whole units
    """
    (currency, price, fee), account = orderable(db, currency_id, units), open_account(db, account_id)
    changed = take(db, account, price + fee)
    db.update("foreign_notes", currency_id, stock=currency["stock"] - units)
    foreign = {"currency_id": currency_id, "units": units, "party": "Copperbeech travel desk"}
    new = book(db, account, kind="travel_money", amount=price, fee=fee, **foreign)
    ready = working_day(db.spec.clock.date(), COLLECT_DAYS).isoformat()
    total = money_text(price + fee)
    return {**show_account(db, changed), **db.show("transactions", new), "total": total, "collect_from": ready}


TOOLS = (
    look_up("find_customer", "customers", by="email"),
    look_up("find_currency", "foreign_notes", by="code"),
    search(
        "list_accounts",
        "accounts",
        {"customer_id": ("customer_id", "is")},
        description="List the accounts of a customer in short; balances are in get_account.",
        required=("customer_id",),
        show=("account_id", "label", "status"),
    ),
    search(
        "list_cards",
        "cards",
        {"customer_id": ("customer_id", "is"), "account_id": ("account_id", "is"), "status": ("status", "is")},
        description="List the cards of a customer.",
        required=("customer_id",),
    ),
    search(
        "list_payees",
        "payees",
        {"customer_id": ("customer_id", "is"), "words": ("name", "contains")},
        description="List those whom a customer has saved to pay.",
        required=("customer_id",),
        order="name",
    ),
    search(
        "list_standing_orders",
        "standing_orders",
        {"account_id": ("account_id", "is"), "status": ("status", "is")},
        description="List the standing orders of an account, the next to be paid first.",
        required=("account_id",),
        order="next_on",
    ),
    search(
        "search_transactions",
        "transactions",
        {
            "account_id": ("account_id", "is"),
            "kind": ("kind", "is"),
            "category": ("category", "is"),
            "words": ("party", "contains"),
            "first_day": ("booked_at", "from"),
            "last_day": ("booked_at", "until"),
        },
        description="Find transactions of an account, the oldest first; at most 20 are listed, so narrow it down.",
        required=("account_id",),
        order="booked_at",
    ),
    search(
        "list_loans",
        "loans",
        {"customer_id": ("customer_id", "is"), "status": ("status", "is")},
        description="List the loans of a customer.",
        required=("customer_id",),
    ),
    get_account,
    list_pots,
    quote_payment,
    quote_early_repayment,
    quote_travel_money,
    pay,
    move_pot_money,
    replace_card,
    dispute_payment,
    repay_loan_early,
    take_payment_holiday,
    order_travel_money,
    create(
        "add_payee",
        "payees",
        "PY",
        ("customer_id", "name", "sort_code", "account_number"),
        description="Save somebody whom the customer can pay from then on.",
        values={"added_on": lambda db, _: db.spec.today},
        requires=NEW_PAYEE,
    ),
    create(
        "set_up_standing_order",
        "standing_orders",
        "SO",
        ("account_id", "payee_id", "amount", "day"),
        description="Pay a payee the same amount every month, from the next such day on.",
        values={"next_on": lambda db, row: next_payment(db.spec.clock.date(), row["day"]).isoformat(), "status": "active"},
        requires=NEW_ORDER,
    ),
    transition(
        "change_standing_order",
        "standing_orders",
        description="Change the monthly amount of a standing order.",
        arguments=("amount",),
        to={},
        requires=(
            ACTIVE,
            EARLY,
            Require(lambda _, row: row["new_amount"] > 0, "invalid_amount", "the amount must be above zero"),
        ),
    ),
    transition(
        "cancel_standing_order",
        "standing_orders",
        description="End a standing order for good.",
        to={"status": "cancelled"},
        requires=(ACTIVE, EARLY),
    ),
    transition(
        "freeze_card",
        "cards",
        description="Stop a card for the time being; nothing can be paid with it.",
        to={"status": "frozen"},
        requires=(Require(lambda _, row: row["status"] == "active", "not_active", "card {card_id} is {status}"),),
    ),
    transition(
        "set_overdraft",
        "accounts",
        description="Set how far an account may go below zero, in steps of 50.00.",
        arguments=("overdraft",),
        to={},
        requires=NEW_OVERDRAFT,
    ),
)
