"""Rows of Copperbeech Bank: members with accounts, and what goes in and out of them."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from random import Random
from typing import Any, Final, TypeAlias

from toolorchestra.training.toolscale.domains.finance.parties import COMPANIES, EMPLOYERS, SHOPS
from toolorchestra.training.toolscale.draws import chance, some, weighted
from toolorchestra.training.toolscale.names import draw_people
from toolorchestra.worlds.shipped.finance.rules import (
    LAST_DAY,
    OVERDRAFT_AGE,
    OVERDRAFT_MOST,
    WINDOWS,
    credit_of,
    months_for,
    months_later,
    next_payment,
    working_day,
)

Row: TypeAlias = dict[str, Any]
Tables: TypeAlias = dict[str, list[Row]]
NOW: Final = datetime.fromisoformat("2026-05-14T11:20")
TODAY: Final = NOW.date()
CUSTOMERS: Final = 110
POTS: Final = ("holiday", "rainy day", "new car", "wedding", "kitchen", "birthday", "tax", "school", "garden", "moving house")
CURRENCIES: Final = (  # code, name, price of 100 in pence, smallest note
    ("NOK", "Norwegian krone", 745, 50),
    ("SEK", "Swedish krona", 792, 20),
    ("DKK", "Danish krone", 1158, 50),
    ("PLN", "Polish zloty", 2034, 10),
    ("CZK", "Czech koruna", 347, 100),
    ("TRY", "Turkish lira", 185, 50),
    ("JPY", "Japanese yen", 53, 1000),
    ("THB", "Thai baht", 228, 20),
    ("MAD", "Moroccan dirham", 811, 20),
    ("ZAR", "South African rand", 436, 10),
)
BUSY: Final = 45  # days of card payments before today
PENDING_DAYS: Final = 1


def draw_rows(random: Random) -> Tables:
    """All tables; every reference leads to a row, every amount follows from the bank's rules."""
    tables: Tables = {"foreign_notes": list(_currencies(random)), "customers": list(_customers(random))}
    tables["accounts"] = list(_accounts(random, tables["customers"]))
    tables["pots"] = list(_pots(random, tables["customers"]))
    tables["cards"] = list(_cards(random, tables["accounts"]))
    tables["payees"] = list(_payees(random, tables["customers"]))
    tables["standing_orders"] = list(_standing_orders(random, tables))
    tables["transactions"] = list(_transactions(random, tables))
    tables["loans"] = list(_loans(random, tables["customers"]))
    tables["disputes"] = list(_disputes(random, tables))
    return tables


def _keys(random: Random, prefix: str, count: int) -> Iterator[str]:
    return (f"{prefix}-{number}" for number in random.sample(range(10_000, 99_999), count))


def _day(days: int) -> str:
    return (TODAY + timedelta(days=days)).isoformat()


def _currencies(random: Random) -> Iterator[Row]:
    for key, (code, name, price, note) in zip(_keys(random, "FX", len(CURRENCIES)), CURRENCIES, strict=True):
        about = {"currency_id": key, "code": code, "name": name, "price_per_100": price, "note": note}
        yield {**about, "stock": note * random.randint(400, 2000)}


def _customers(random: Random) -> Iterator[Row]:
    for key, person in zip(_keys(random, "CU", CUSTOMERS), draw_people(random, CUSTOMERS), strict=True):
        yield {
            "customer_id": key,
            "name": person.name,
            "email": person.email,
            "phone": f"07700 90{random.randint(0, 9999):04d}",
            "plan": weighted(random, ("standard", 0.7), ("plus", 0.3)),
            "joined_on": _day(-random.randint(1400, 5000)),
        }


def _accounts(random: Random, customers: list[Row]) -> Iterator[Row]:
    keys = _keys(random, "AC", CUSTOMERS * 4)
    for customer in customers:
        others = some(random, ("bills", "family", "business"), weighted(random, (0, 0.2), (1, 0.5), (2, 0.3)))
        for label in ("everyday", *others):
            age = random.randint(60, 170) if label != "everyday" and chance(random, 0.15) else random.randint(200, 1400)
            most = OVERDRAFT_MOST[customer["plan"]] if age >= OVERDRAFT_AGE else 0
            overdraft = random.randrange(0, most // 2 + 1, 5000)
            in_red = overdraft > 0 and chance(random, 0.08)
            yield {
                "account_id": next(keys),
                "customer_id": customer["customer_id"],
                "label": label,
                "balance": -random.randint(100, overdraft) if in_red else random.randint(18_000, 920_000),
                "overdraft": overdraft,
                "daily_limit": random.choice((150_000, 250_000, 500_000)),
                "paid_out_today": random.randrange(1500, 30_000, 50) if chance(random, 0.08) else 0,
                "opened_on": _day(-age),
                "status": weighted(random, ("open", 0.95), ("blocked", 0.05)),
            }


def _pots(random: Random, customers: list[Row]) -> Iterator[Row]:
    keys = _keys(random, "PT", CUSTOMERS * 5)
    for customer in customers:
        for name in some(random, POTS, weighted(random, (0, 0.15), (1, 0.25), (2, 0.25), (3, 0.25), (4, 0.1))):
            kind, goal = (
                weighted(random, ("easy", 0.5), ("notice", 0.3), ("locked", 0.2)),
                random.randrange(50_000, 600_000, 5000),
            )
            locked = {"locked": _day(random.randint(-60, 300))}
            yield {
                "pot_id": next(keys),
                "customer_id": customer["customer_id"],
                "name": name,
                "kind": kind,
                "balance": random.randint(goal // 8, goal * 19 // 20),
                "goal": goal,
                "locked_until": locked.get(kind),
            }


def _cards(random: Random, accounts: list[Row]) -> Iterator[Row]:
    """One per account that works; some have just been replaced, and some accounts have a second one."""
    keys, numbers = _keys(random, "CD", len(accounts) * 4), iter(random.sample(range(1000, 9999), len(accounts) * 3))
    for account in accounts:
        states = weighted(
            random, (("active",), 0.66), (("frozen",), 0.1), (("active", "active"), 0.17), (("blocked", "ordered"), 0.07)
        )
        last = None
        for status in states:
            new = status == "ordered"
            key = next(keys)
            yield {
                "card_id": key,
                "customer_id": account["customer_id"],
                "account_id": account["account_id"],
                "last_four": None if new else str(next(numbers)),
                "expires_on": _day(random.randint(1440, 1460) if new else random.randint(60, 1200)),
                "replaces": last if new else None,
                "arrives_on": working_day(TODAY, random.randint(1, 4)).isoformat() if new else None,
                "blocked_for": random.choice(("lost", "stolen", "damaged")) if status == "blocked" else None,
                "status": status,
            }
            last = key


def _payees(random: Random, customers: list[Row]) -> Iterator[Row]:
    keys, people = _keys(random, "PY", CUSTOMERS * 8), [person.name for person in draw_people(random, 400)]
    for customer in customers:
        for name in [*some(random, COMPANIES, random.randint(2, 4)), *some(random, people, random.randint(1, 3))]:
            yield {
                "payee_id": next(keys),
                "customer_id": customer["customer_id"],
                "name": name,
                "sort_code": f"{random.randint(20, 79)}-{random.randint(10, 99)}-{random.randint(10, 99)}",
                "account_number": str(random.randint(10_000_000, 99_999_999)),
                "added_on": _day(-random.randint(0, 1)) if chance(random, 0.05) else _day(-random.randint(100, 1300)),
            }


def _standing_orders(random: Random, tables: Tables) -> Iterator[Row]:
    keys = _keys(random, "SO", len(tables["accounts"]) * 6)
    for account in tables["accounts"]:
        known = _old_payees(account, tables)
        for payee in some(random, known, weighted(random, (0, 0.1), (1, 0.2), (2, 0.3), (3, 0.25), (4, 0.15))):
            day = random.randint(1, LAST_DAY)
            active = chance(random, 0.86)
            due = next_payment(TODAY, day)
            yield {
                "order_id": next(keys),
                "account_id": account["account_id"],
                "payee_id": payee["payee_id"],
                "amount": random.randrange(800, 42_000, 25),
                "day": day,
                "next_on": (due if active else months_later(due, -random.randint(2, 4))).isoformat(),
                "status": "active" if active else "cancelled",
            }


def _old_payees(account: Row, tables: Tables) -> list[Row]:
    """Payees of the account's customer who have been there for a while."""
    return [row for row in tables["payees"] if row["customer_id"] == account["customer_id"] and row["added_on"] < _day(-BUSY)]


def _transactions(random: Random, tables: Tables) -> Iterator[Row]:
    names = {row["payee_id"]: row["name"] for row in tables["payees"]}
    cards = {row["account_id"]: row for row in tables["cards"] if row["status"] in ("active", "frozen")}
    keys = _keys(random, "TX", len(tables["accounts"]) * 40)
    orders: dict[str, list[Row]] = {}
    for order in tables["standing_orders"]:
        orders.setdefault(order["account_id"], []).append(order)
    for account in tables["accounts"]:
        drawn = [
            *_salaries(random, account),
            *_payments(random, account, tables),
            *_regular(orders.get(account["account_id"], [])),
        ]
        if account["account_id"] in cards:
            drawn += _card_payments(random, cards[account["account_id"]])
        for row in drawn:
            party = names[row["payee_id"]] if "payee_id" in row else row["party"]
            rest = {"fee": 0, "category": "other", "card_id": None, "payee_id": None, "currency_id": None, "units": None}
            where = {"transaction_id": next(keys), "account_id": account["account_id"]}
            yield {"direction": "out", "status": "booked", "arrives_on": None, **rest, **where, **row, "party": party}


def _salaries(random: Random, account: Row) -> Iterator[Row]:
    if account["label"] == "everyday":
        amount, party = random.randrange(140_000, 420_000, 100), random.choice(EMPLOYERS)
        for month in (3, 4):
            yield {
                "kind": "salary",
                "direction": "in",
                "amount": amount,
                "party": party,
                "booked_at": f"2026-{month:02d}-28T06:00",
            }


def _payments(random: Random, account: Row, tables: Tables) -> Iterator[Row]:
    """What was paid today, and some payments of the last weeks."""
    payees = _old_payees(account, tables)
    if account["paid_out_today"]:
        when = f"{TODAY.isoformat()}T0{random.randint(7, 9)}:{random.randint(10, 59)}"
        payee = random.choice(payees)["payee_id"]
        yield _payment(payee, account["paid_out_today"], when)
    for payee in some(random, payees, random.randint(0, 2)):
        when = f"{_day(-random.randint(1, BUSY))}T{random.randint(8, 21):02d}:{random.randint(10, 59)}"
        yield _payment(payee["payee_id"], random.randrange(900, 60_000, 50), when)


def _payment(payee_id: str, amount: int, when: str) -> Row:
    arrives = working_day(date.fromisoformat(when[:10]), 1).isoformat()
    return {"kind": "payment", "amount": amount, "payee_id": payee_id, "booked_at": when, "arrives_on": arrives}


def _regular(orders: list[Row]) -> Iterator[Row]:
    """The last payment of every standing order that still runs."""
    for order in orders:
        if order["status"] == "active":
            paid = months_later(date.fromisoformat(order["next_on"]), -1)
            what = {"kind": "standing_order", "amount": order["amount"], "payee_id": order["payee_id"]}
            yield {**what, "booked_at": f"{paid.isoformat()}T05:30"}


def _card_payments(random: Random, card: Row) -> Iterator[Row]:
    """Some shops once, some again and again; the last ones may still be pending."""
    for party, (category, least, most) in some(random, list(SHOPS.items()), random.randint(5, 8)):
        times = weighted(random, (1, 0.6), (2, 0.2), (3, 0.15), (4, 0.05))
        for days in random.sample(range(BUSY), times):
            pending = days <= PENDING_DAYS and chance(random, 0.6)
            hour = random.randint(7, 10) if days == 0 else random.randint(7, 21)
            yield {
                "kind": "card",
                "amount": random.randint(least, most),
                "party": party,
                "category": category,
                "card_id": card["card_id"],
                "booked_at": f"{_day(-days)}T{hour:02d}:{random.randint(10, 59)}",
                "status": "pending" if pending else "booked",
            }


def _loans(random: Random, customers: list[Row]) -> Iterator[Row]:
    keys = _keys(random, "LN", CUSTOMERS * 3)
    for customer in customers:
        for purpose in some(
            random, ("car", "kitchen", "studies", "boat", "wedding"), weighted(random, (0, 0.3), (1, 0.4), (2, 0.3))
        ):
            yield {"loan_id": next(keys), "customer_id": customer["customer_id"], "purpose": purpose, **_loan(random)}


def _loan(random: Random) -> Row:
    principal, months = random.randrange(120_000, 1_200_000, 10_000), random.choice((24, 36, 48, 60))
    instalment = principal * random.randint(108, 125) // 100 // months
    status = weighted(random, ("running", 0.88), ("arrears", 0.07), ("repaid", 0.05))
    outstanding = 0 if status == "repaid" else instalment * random.randint(3, months - 6) + random.randint(1, instalment)
    due = TODAY + timedelta(days=random.randint(-200, -40) if status == "repaid" else random.randint(2, 28))
    return {
        "principal": principal,
        "outstanding": outstanding,
        "instalment": instalment,
        "months_left": months_for(outstanding, instalment),
        "repaid_early": weighted(random, (0, 0.5), (random.randrange(1000, principal // 10, 500), 0.5)),
        "next_due": due.replace(day=min(due.day, LAST_DAY)).isoformat(),
        "last_holiday": _day(-random.randint(40, 900)) if chance(random, 0.4) else None,
        "status": status,
    }


def _disputes(random: Random, tables: Tables) -> Iterator[Row]:
    """Some card payments within the time that their reason allows; undecided ones are marked."""
    owners = {row["account_id"]: row["customer_id"] for row in tables["accounts"]}
    old = [
        row
        for row in tables["transactions"]
        if row["kind"] == "card" and row["status"] == "booked" and row["booked_at"] < _day(-16)
    ]
    keys, cards = _keys(random, "DP", len(old)), {row["card_id"]: row for row in tables["cards"]}
    for payment in some(random, old, 36):
        reason, status = random.choice(sorted(WINDOWS)), weighted(random, ("open", 0.6), ("upheld", 0.25), ("rejected", 0.15))
        made = date.fromisoformat(payment["booked_at"][:10])
        opened = made + timedelta(days=random.randint(WINDOWS[reason][0], 16))
        if status == "open":
            payment["status"] = "disputed"
        if status == "open" and reason == "unrecognised":
            cards[payment["card_id"]]["status"] = "frozen"
        yield {
            "dispute_id": next(keys),
            "customer_id": owners[payment["account_id"]],
            "transaction_id": payment["transaction_id"],
            "reason": reason,
            "amount": payment["amount"],
            "credited": credit_of(payment["amount"]),
            "opened_on": opened.isoformat(),
            "status": status,
        }
