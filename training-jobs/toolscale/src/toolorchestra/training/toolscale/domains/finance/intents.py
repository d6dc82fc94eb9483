"""What customers of Copperbeech Bank want: each intent does it once, and so becomes a task."""

from typing import Final

from toolorchestra.training.toolscale.composing import MOSTLY, Composer, Intent, Row
from toolorchestra.training.toolscale.domain import make_domain
from toolorchestra.training.toolscale.domains.finance.money import (
    cents_of,
    change_order,
    empty_pots,
    fill_pot,
    new_order,
    pay_new_payee,
    pay_payee,
    pay_several,
    stop_order,
    stop_orders,
    take_from_pot,
    tell_balance,
)
from toolorchestra.training.toolscale.domains.finance.rows import draw_rows
from toolorchestra.training.toolscale.domains.finance.steps import (
    PARTY,
    REASONS,
    accounts_of,
    an_account,
    an_amount,
    open_card_payments,
    paying_account,
    say_payment,
    somebody,
    text_of,
)
from toolorchestra.training.toolscale.draws import chance
from toolorchestra.worlds.tools import cents
from toolorchestra.worlds.values import Kind

LOANS: Final = {"car": "car", "kitchen": "kitchen", "studies": "study", "boat": "boat", "wedding": "wedding"}
MONTHS: Final = {1: "one month", 2: "two months", 3: "three months"}
SPENDING: Final = {
    "groceries": "groceries",
    "dining": "eating out",
    "transport": "transport",
    "home": "things for the home",
    "health": "health",
    "leisure": "leisure",
}
RECENT: Final = "2026-05-06"
PERIODS: Final = (
    ("2026-04-01", "2026-04-30"),
    ("2026-04-10", "2026-05-10"),
    ("2026-04-15", "2026-05-13"),
    ("2026-05-01", "2026-05-13"),
)
MOST_LISTED: Final = 20
ROUND, MANY = 500, 2000  # units of a currency from which people order round sums


def replace_card(do: Composer) -> None:
    """A card that is gone or broken; whoever had it may have paid with it."""
    who = somebody(do)["customer_id"]
    cards = [row for row in do.rows("cards", customer_id=who) if row["status"] in ("active", "frozen")]
    card = do.choose([row for row in cards if do.row("accounts", row["account_id"])["status"] == "open"])
    misused = do.evolve("misused")
    reason = "stolen" if misused else do.random.choice(("lost", "stolen", "damaged"))
    delivery = do.random.choice(("post", "courier"))
    do.claim(card["card_id"])
    do.share(card["account_id"])
    do.say(digits=card["last_four"], what={"lost": "lost", "stolen": "stolen", "damaged": "damaged"}[reason], delivery=delivery)
    do.unknown("card number")
    do.once("list_cards", customer_id=who)
    done = do.call("replace_card", card_id=card["card_id"], reason=reason, delivery=delivery)
    do.tell("new_card", Kind.ID, done["card_id"], ("cards", done["card_id"]))
    if cents(done["fee"]):
        do.tell("fee", Kind.MONEY, cents(done["fee"]), ("cards", done["card_id"]))
    if misused:
        payment = do.choose([row for row in open_card_payments(do, who, "unrecognised") if row["card_id"] == card["card_id"]])
        do.claim(payment["transaction_id"])
        say_payment(do, payment)
        dispute = do.call("dispute_payment", transaction_id=payment["transaction_id"], reason="unrecognised")
        do.tell("disputed", Kind.MONEY, payment["amount"], ("transactions", payment["transaction_id"]))
        do.tell("dispute_number", Kind.ID, dispute["dispute_id"], ("disputes", dispute["dispute_id"]))


def freeze_cards(do: Composer) -> None:
    """Every card that works, perhaps but one; and what was paid last."""

    def active(customer_id: str) -> list[Row]:
        return do.rows("cards", customer_id=customer_id, status="active")

    who = somebody(do, lambda row: len(active(row["customer_id"])) > 1)["customer_id"]
    cards = active(who)
    do.claim("frozen", *(row["card_id"] for row in cards))
    do.unknown("card numbers")
    do.once("list_cards", customer_id=who)
    if do.evolve("but_one"):
        kept = do.choose(cards)
        do.say(digits=kept["last_four"])
        cards = [row for row in cards if row != kept]
    for card in cards:
        do.call("freeze_card", card_id=card["card_id"])
    key = an_account(do, who)["account_id"]
    paid = [row for row in do.rows("transactions", account_id=key, kind="card") if row["booked_at"] >= RECENT]
    do.need(1 < len(paid) <= MOST_LISTED)
    last = max(paid, key=lambda row: str(row["booked_at"]))
    do.once("search_transactions", account_id=key, kind="card", first_day=RECENT)
    do.need(sum(row["booked_at"] == last["booked_at"] for row in paid) == 1)
    do.tell("last_amount", Kind.MONEY, last["amount"], ("transactions", last["transaction_id"]))
    do.tell("last_party", Kind.TEXT, last["party"], ("transactions", last["transaction_id"]), column=PARTY)


def dispute_one(do: Composer) -> None:
    who, reason = somebody(do)["customer_id"], do.random.choice(sorted(REASONS))
    payment = do.choose(open_card_payments(do, who, reason))
    do.claim(payment["transaction_id"], payment["card_id"])
    do.share(payment["account_id"])
    do.say(reason=do.random.choice(REASONS[reason]))
    say_payment(do, payment)
    done = do.call("dispute_payment", transaction_id=payment["transaction_id"], reason=reason)
    do.tell("disputed", Kind.MONEY, payment["amount"], ("transactions", payment["transaction_id"]))
    do.tell("dispute_number", Kind.ID, done["dispute_id"], ("disputes", done["dispute_id"]))
    if cents(done["credited"]) and do.evolve("balance"):
        tell_balance(do, done["account"])


def dispute_all(do: Composer) -> None:
    """Every payment at one shop."""
    who = somebody(do)["customer_id"]
    payments = open_card_payments(do, who, "unrecognised")
    sample = do.choose(payments)
    same = [row for row in payments if (row["account_id"], row["party"]) == (sample["account_id"], sample["party"])]
    do.need(len(same) > 1)
    do.claim(sample["card_id"], *(row["transaction_id"] for row in same))
    do.share(sample["account_id"])
    label = do.row("accounts", sample["account_id"])["label"]
    do.say(party=sample["party"], account=f"{label} account")
    do.unknown("transaction numbers", "how many there are")
    accounts_of(do, who)
    do.once("search_transactions", account_id=sample["account_id"], words=sample["party"])
    for payment in same:
        do.call("dispute_payment", transaction_id=payment["transaction_id"], reason="unrecognised")
    rows = [("transactions", row["transaction_id"]) for row in same]
    do.tell("total", Kind.MONEY, sum(row["amount"] for row in same), *rows)


def a_loan(do: Composer, customer_id: str) -> Row:
    """A running loan of the customer, told by what it is for."""
    do.once("list_loans", customer_id=customer_id)
    found: Row = do.choose(do.rows("loans", customer_id=customer_id, status="running"))
    say_loan(do, found)
    return found


def say_loan(do: Composer, loan: Row) -> None:
    do.claim(loan["loan_id"])
    do.say(loan=LOANS[loan["purpose"]])
    do.unknown("loan number")


def repay_loan(do: Composer) -> None:
    who = somebody(do)["customer_id"]
    loan, account = a_loan(do, who), paying_account(do, who)
    amount, me = an_amount(do, 5000, 250_000, 5000), ("loans", loan["loan_id"])
    quote = do.call("quote_early_repayment", loan_id=loan["loan_id"], amount=text_of(amount))
    charge = cents(quote["charge"])
    limited = do.evolve("charge_limit")
    if limited:
        do.need(charge > 0)
        cheap = do.at_most(charge)
    if charge:
        do.tell("charge", Kind.MONEY, charge, me)
    if limited and not cheap:
        return
    order = {"loan_id": loan["loan_id"], "account_id": account["account_id"], "amount": text_of(amount)}
    done = do.call("repay_loan_early", **order)
    if not limited:
        do.need(cents(done["outstanding"]) > 0)
        do.tell("outstanding", Kind.MONEY, cents(done["outstanding"]), me)
        do.tell("months_left", Kind.NUMBER, done["months_left"], me)


def settle_loan(do: Composer) -> None:
    """All of a loan: one that is named, or that of which least is left."""

    def running(customer_id: str) -> list[Row]:
        return do.rows("loans", customer_id=customer_id, status="running")

    who = somebody(do, lambda row: bool(running(row["customer_id"])))["customer_id"]
    loans = sorted(running(who), key=lambda row: int(row["outstanding"]))
    if len(loans) > 1 and do.evolve("smallest"):
        do.need(loans[0]["outstanding"] < loans[1]["outstanding"])
        loan = loans[0]
        do.claim(*(row["loan_id"] for row in loans))
        do.once("list_loans", customer_id=who)
    else:
        loan = a_loan(do, who)
        do.phrase("this_loan")
    account = an_account(do, who)
    what = {"loan_id": loan["loan_id"], "amount": text_of(loan["outstanding"])}
    total = cents(do.call("quote_early_repayment", **what)["total"])
    me = ("loans", loan["loan_id"])
    if do.evolve("reserve"):
        do.claim(account["account_id"])
        do.once("get_account", account_id=account["account_id"])
        do.need(account["balance"] - total > 0)
        enough = do.at_least(account["balance"] - total)
        do.tell("total", Kind.MONEY, total, me)
        if enough:
            do.call("repay_loan_early", **what, account_id=account["account_id"])
        return
    do.share(account["account_id"])
    done = do.call("repay_loan_early", **what, account_id=account["account_id"])
    do.tell("total", Kind.MONEY, total, me)
    tell_balance(do, done["account"])


def payment_holiday(do: Composer) -> None:
    who, months = somebody(do)["customer_id"], do.random.randint(1, 3)
    loan = a_loan(do, who)
    do.say(months=MONTHS[months])
    me = ("loans", loan["loan_id"])
    order = {"loan_id": loan["loan_id"], "months": months}
    if do.evolve("due_before"):
        soon = chance(do.random, MOSTLY)
        day = do.random.randint(19, 31) if soon else do.random.randint(16, 28)
        do.say(day=f"2026-05-{day:02d}")
        do.need((loan["next_due"] < f"2026-05-{day:02d}") == soon)
        do.tell("instalment", Kind.MONEY, loan["instalment"], me)
        if soon:
            do.call("take_payment_holiday", **order)
        return
    done = do.call("take_payment_holiday", **order)
    do.tell("next_due", Kind.DATE, done["next_due"], me)
    do.tell("outstanding", Kind.MONEY, cents(done["outstanding"]), me)


def travel_money(do: Composer) -> None:
    who, currency = somebody(do)["customer_id"], do.pick("foreign_notes")
    account = paying_account(do, who)
    pence = do.random.randint(8000, 60_000)
    units = pence * 100 // currency["price_per_100"] // currency["note"] * currency["note"]
    if units > MANY and ROUND % currency["note"] == 0:
        units = units // ROUND * ROUND
    do.need(0 < units <= currency["stock"])
    do.claim(currency["currency_id"])
    do.say(units=units, code=currency["code"])
    do.once("find_currency", code=currency["code"])
    order = {"currency_id": currency["currency_id"], "units": units}
    me = ("foreign_notes", currency["currency_id"])
    if do.evolve("limit"):
        total = cents(do.call("quote_travel_money", **order)["total"])
        do.tell("cost", Kind.MONEY, total, me)
        cheap = do.at_most(total)
        if cheap:
            do.call("order_travel_money", **order, account_id=account["account_id"])
        return
    done = do.call("order_travel_money", **order, account_id=account["account_id"])
    do.tell("cost", Kind.MONEY, cents(done["total"]), me)
    do.tell("order_number", Kind.ID, done["transaction_id"], ("transactions", done["transaction_id"]))


def overdraft(do: Composer) -> None:
    """A certain overdraft, or the highest that is offered."""
    who = somebody(do)["customer_id"]
    account = an_account(do, who)
    do.claim(("overdraft", account["account_id"]))
    do.share(account["account_id"])
    found = do.call("get_account", account_id=account["account_id"])
    if do.evolve("highest"):
        new = cents(found["overdraft_offered"])
    else:
        new = an_amount(do, 5000, 150_000, 5000)
        do.phrase("this_much")
    do.need(new not in (0, account["overdraft"]))
    done = do.call("set_overdraft", account_id=account["account_id"], overdraft=text_of(new))
    available = cents_of(done["balance"]) + new
    do.need(available > 0)
    do.tell("available", Kind.MONEY, available, ("accounts", account["account_id"]))


def spending(do: Composer) -> None:
    """What the card paid for one kind of thing in a while."""
    who = somebody(do)["customer_id"]
    category, (first, last) = do.random.choice(sorted(SPENDING)), do.random.choice(PERIODS)
    key = an_account(do, who)["account_id"]
    rows = do.rows("transactions", account_id=key, kind="card", category=category)
    paid = [row for row in rows if first <= row["booked_at"][:10] <= last]
    do.need(1 < len(paid) <= MOST_LISTED)
    do.say(category=SPENDING[category], first=first, last=last)
    do.claim(("spending", key))
    do.once("search_transactions", account_id=key, kind="card", category=category, first_day=first, last_day=last)
    do.tell("total", Kind.MONEY, sum(row["amount"] for row in paid), *(("transactions", row["transaction_id"]) for row in paid))
    dearest = sorted(paid, key=lambda row: -int(row["amount"]))
    do.need(dearest[0]["amount"] > dearest[1]["amount"])
    do.tell("dearest", Kind.TEXT, dearest[0]["party"], ("transactions", dearest[0]["transaction_id"]), column=PARTY)


INTENTS: Final = (
    Intent("pay_payee", pay_payee, ("fullest", "fee_limit", "balance")),
    Intent("pay_new_payee", pay_new_payee, ("balance",)),
    Intent("pay_several", pay_several),
    Intent("fill_pot", fill_pot, ("to_goal", "balance")),
    Intent("take_from_pot", take_from_pot, ("charge_limit",)),
    Intent("empty_pots", empty_pots),
    Intent("stop_order", stop_order, ("largest",)),
    Intent("change_order", change_order),
    Intent("new_order", new_order, ("ceiling",)),
    Intent("stop_orders", stop_orders),
    Intent("replace_card", replace_card, ("misused",)),
    Intent("freeze_cards", freeze_cards, ("but_one",)),
    Intent("dispute_one", dispute_one, ("balance",)),
    Intent("dispute_all", dispute_all),
    Intent("repay_loan", repay_loan, ("charge_limit",)),
    Intent("settle_loan", settle_loan, ("smallest", "reserve")),
    Intent("payment_holiday", payment_holiday, ("due_before",)),
    Intent("travel_money", travel_money, ("limit",)),
    Intent("overdraft", overdraft, ("highest",)),
    Intent("spending", spending),
)
DOMAIN: Final = make_domain(__file__, INTENTS, draw_rows)
