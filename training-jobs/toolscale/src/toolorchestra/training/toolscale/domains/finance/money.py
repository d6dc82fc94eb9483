"""What customers want of their money: payments, pots, standing orders."""

from typing import Final

from toolorchestra.training.toolscale.composing import Composer, Row
from toolorchestra.training.toolscale.domains.finance.parties import NEW_PAYEES
from toolorchestra.training.toolscale.domains.finance.steps import (
    PAYEE,
    SOON,
    a_payee,
    accounts_of,
    an_account,
    an_amount,
    payees_of,
    paying_account,
    somebody,
    text_of,
)
from toolorchestra.training.toolscale.wording import Cents
from toolorchestra.worlds.shipped.finance.rules import withdrawal_charge
from toolorchestra.worlds.tools import cents
from toolorchestra.worlds.values import Kind

FEW: Final = 2  # standing orders that are stopped at once, at least


def fullest(do: Composer, customer_id: str) -> Row:
    """Of several accounts the one with most on it; each has to be looked at."""
    rows = sorted(accounts_of(do, customer_id), key=lambda row: -int(row["balance"]))
    do.need(len(rows) > 1 and rows[0]["balance"] > rows[1]["balance"] and all(row["status"] == "open" for row in rows))
    for row in sorted(rows, key=lambda row: str(row["account_id"])):
        do.claim(row["account_id"])
        do.once("get_account", account_id=row["account_id"])
    return rows[0]


def tell_balance(do: Composer, account: Row) -> None:
    """What is on an account after a call that showed it; below zero people word it in too many ways."""
    do.need(cents_of(account["balance"]) > 0)
    do.tell("balance", Kind.MONEY, cents_of(account["balance"]), ("accounts", account["account_id"]))


def cents_of(shown: str) -> int:
    """An amount as a tool shows it, which may be below zero."""
    return -cents(shown[1:]) if shown.startswith("-") else cents(shown)


def pay_payee(do: Composer) -> None:
    who = somebody(do)["customer_id"]
    amount = an_amount(do, 2000, 240_000, 250)
    if do.evolve("fullest"):
        account = fullest(do, who)
    else:
        account = paying_account(do, who)
        do.phrase("from_account")
    order = {"account_id": account["account_id"], "payee_id": a_payee(do, who)["payee_id"], "amount": text_of(amount)}
    if do.evolve("fee_limit"):
        fee = cents(do.call("quote_payment", **order)["priority_fee"])
        do.need(fee > 0)
        cheap = do.at_most(fee)
        done = do.call("pay", **order, speed="priority" if cheap else "standard")
        do.tell("priority_fee", Kind.MONEY, fee, ("accounts", order["account_id"]), ("payees", order["payee_id"]))
    else:
        speed = do.random.choice(("standard", "priority"))
        do.phrase(speed)
        done = do.call("pay", **order, speed=speed)
        if cents(done["fee"]):
            do.tell("fee", Kind.MONEY, cents(done["fee"]), ("transactions", done["transaction_id"]))
    do.tell("payment_number", Kind.ID, done["transaction_id"], ("transactions", done["transaction_id"]))
    if do.evolve("balance"):
        tell_balance(do, done)


def pay_new_payee(do: Composer) -> None:
    """Somebody who is not known yet, up to what new payees get."""
    who = somebody(do)["customer_id"]
    name = do.random.choice(NEW_PAYEES)
    do.claim(("payee", name))
    numbers = {
        "sort_code": f"{do.random.randint(20, 79)}-{do.random.randint(10, 99)}-{do.random.randint(10, 99)}",
        "account_number": str(do.random.randint(10_000_000, 99_999_999)),
    }
    do.say(new_payee=name, **numbers)
    amount, account = an_amount(do, 1500, 50_000), paying_account(do, who)
    speed = do.random.choice(("standard", "priority"))
    do.say(speed=speed)
    payee = do.call("add_payee", customer_id=who, name=name, **numbers)["payee_id"]
    order = {"account_id": account["account_id"], "payee_id": payee, "amount": text_of(amount), "speed": speed}
    done = do.call("pay", **order)
    do.tell("payment_number", Kind.ID, done["transaction_id"], ("transactions", done["transaction_id"]))
    if do.evolve("balance"):
        tell_balance(do, done)


def pay_several(do: Composer) -> None:
    """Two to four payees at once."""
    who = somebody(do)["customer_id"]
    account, known = paying_account(do, who), payees_of(do, who)
    do.need(len(known) > 1)
    chosen = do.random.sample(known, do.random.randint(2, min(4, len(known))))
    amounts = [do.random.randrange(1000, 40_000, 250) for _ in chosen]
    parts = [f"£{text_of(amount)} to {row['name']}" for amount, row in zip(amounts, chosen, strict=True)]
    do.say(payments=f"{', '.join(parts[:-1])} and {parts[-1]}")
    done: Row = {}
    for amount, row in zip(amounts, chosen, strict=True):
        order = {"account_id": account["account_id"], "payee_id": row["payee_id"], "amount": text_of(amount)}
        done = do.call("pay", **order, speed="standard")
    tell_balance(do, done)
    do.tell("left_today", Kind.MONEY, cents(done["left_today"]), ("accounts", account["account_id"]))


def a_pot(do: Composer, customer_id: str, *kinds: str) -> Row:
    """A pot of the customer of one of these kinds, told by name."""
    do.once("list_pots", customer_id=customer_id)
    found: Row = do.choose([row for row in do.rows("pots", customer_id=customer_id) if row["kind"] in kinds])
    do.claim(found["pot_id"])
    do.say(pot=found["name"])
    do.unknown("pot number")
    return found


def fill_pot(do: Composer) -> None:
    who = somebody(do)["customer_id"]
    account, pot = paying_account(do, who), a_pot(do, who, "easy", "notice", "locked")
    ends = {"pot_id": pot["pot_id"], "account_id": account["account_id"], "direction": "into_pot"}
    me = ("pots", pot["pot_id"])
    if do.evolve("to_goal"):
        amount = pot["goal"] - pot["balance"]
        done = do.call("move_pot_money", **ends, amount=text_of(amount))
        do.tell("moved", Kind.MONEY, amount, me)
    else:
        do.phrase("this_much")
        done = do.call("move_pot_money", **ends, amount=text_of(an_amount(do, 1000, 60_000)))
        do.tell("pot_balance", Kind.MONEY, cents(done["pot"]["balance"]), me)
    if do.evolve("balance"):
        tell_balance(do, done["account"])


def take_from_pot(do: Composer) -> None:
    who = somebody(do)["customer_id"]
    limited = do.evolve("charge_limit")
    kinds = ("notice",) if limited else ("easy", "notice")
    pot, account = a_pot(do, who, *kinds), paying_account(do, who)
    amount = an_amount(do, 2000, 90_000)
    do.need(amount < pot["balance"])
    charge, me = withdrawal_charge(pot["kind"], amount), ("pots", pot["pot_id"])
    if charge:
        do.tell("charge", Kind.MONEY, charge, me)
    if limited:
        cheap = do.at_most(charge)
        if not cheap:
            return
    ends = {"pot_id": pot["pot_id"], "account_id": account["account_id"], "direction": "out_of_pot"}
    done = do.call("move_pot_money", **ends, amount=text_of(amount))
    if not limited:
        do.tell("pot_balance", Kind.MONEY, cents(done["pot"]["balance"]), me)


def empty_pots(do: Composer) -> None:
    """All pots that give money back free, and none of the others."""

    def easy(customer_id: str) -> list[Row]:
        return do.rows("pots", customer_id=customer_id, kind="easy")

    def fits(customer_id: str) -> bool:
        return len(do.rows("pots", customer_id=customer_id)) > len(easy(customer_id)) > 1

    who = somebody(do, lambda row: fits(row["customer_id"]))["customer_id"]
    pots, account = easy(who), paying_account(do, who)
    do.claim(*(row["pot_id"] for row in do.rows("pots", customer_id=who)))
    do.unknown("pot numbers", "which pots are easy ones")
    do.once("list_pots", customer_id=who)
    for pot in pots:
        ends = {"pot_id": pot["pot_id"], "account_id": account["account_id"], "direction": "out_of_pot"}
        do.call("move_pot_money", **ends, amount=text_of(pot["balance"]))
    do.tell("total", Kind.MONEY, sum(row["balance"] for row in pots), *(("pots", row["pot_id"]) for row in pots))


def orders_of(do: Composer, account: Row) -> list[Row]:
    """The active standing orders of an account, listed; no other part of the request is about them."""
    do.claim(("orders", account["account_id"]))
    do.once("list_standing_orders", account_id=account["account_id"], status="active")
    return do.rows("standing_orders", account_id=account["account_id"], status="active")


def stoppable(row: Row) -> bool:
    return str(row["next_on"]) >= SOON


def stop_order(do: Composer) -> None:
    """One standing order, told by its payee, or the largest."""
    who = somebody(do)["customer_id"]
    account = an_account(do, who)
    orders = sorted(orders_of(do, account), key=lambda row: -int(row["amount"]))
    do.need(bool(orders))
    payees = {row["payee_id"]: row["name"] for row in payees_of(do, who)}
    if len(orders) > 1 and do.evolve("largest"):
        order = orders[0]
        do.need(order["amount"] > orders[1]["amount"] and stoppable(order))
        do.tell("payee", Kind.TEXT, payees[order["payee_id"]], ("payees", order["payee_id"]), column=PAYEE)
    else:
        order = do.choose([row for row in orders if stoppable(row)])
        do.say(payee=payees[order["payee_id"]])
        do.phrase("by_payee")
    do.call("cancel_standing_order", order_id=order["order_id"])
    me = ("standing_orders", order["order_id"])
    do.tell("amount", Kind.MONEY, order["amount"], me)
    do.tell("was_next", Kind.DATE, order["next_on"], me)


def change_order(do: Composer) -> None:
    who = somebody(do)["customer_id"]
    account = an_account(do, who)
    order = do.choose([row for row in orders_of(do, account) if stoppable(row)])
    payee = next(row for row in payees_of(do, who) if row["payee_id"] == order["payee_id"])
    do.say(payee=payee["name"])
    amount = an_amount(do, 1000, 45_000)
    do.need(amount != order["amount"])
    do.call("change_standing_order", order_id=order["order_id"], amount=text_of(amount))
    me = ("standing_orders", order["order_id"])
    do.tell("old_amount", Kind.MONEY, order["amount"], me)
    do.tell("next_on", Kind.DATE, order["next_on"], me)


def new_order(do: Composer) -> None:
    """A new standing order, perhaps only if all of them together stay within a budget."""
    who = somebody(do)["customer_id"]
    account = an_account(do, who)
    served = {row["payee_id"] for row in do.rows("standing_orders", account_id=account["account_id"], status="active")}
    payee = a_payee(do, who, lambda row: row["payee_id"] not in served)
    amount, day = an_amount(do, 1000, 40_000), do.random.randint(1, 28)
    do.say(day_number=str(day))
    order = {"account_id": account["account_id"], "payee_id": payee["payee_id"], "amount": text_of(amount), "day": day}
    if do.evolve("ceiling"):
        orders = orders_of(do, account)
        do.need(bool(orders))
        total = sum(int(row["amount"]) for row in orders) + amount
        within = do.at_most(total)
        do.tell("total", Kind.MONEY, total, *(("standing_orders", row["order_id"]) for row in orders))
        if within:
            do.call("set_up_standing_order", **order)
        return
    do.claim(("orders", account["account_id"]))
    done = do.call("set_up_standing_order", **order)
    me = ("standing_orders", done["order_id"])
    do.tell("first_on", Kind.DATE, done["next_on"], me)
    do.tell("order_number", Kind.ID, done["order_id"], me)


def stop_orders(do: Composer) -> None:
    """All standing orders of an account from an amount on, as far as it is not too late."""
    who = somebody(do)["customer_id"]
    account = an_account(do, who)
    orders = sorted(orders_of(do, account), key=lambda row: -int(row["amount"]))
    do.need(len(orders) > FEW)
    count = do.random.randint(FEW, len(orders) - 1)
    least = int(orders[count - 1]["amount"]) // 500 * 500
    do.need(int(orders[count]["amount"]) < least)
    do.say(least=Cents(least))
    do.unknown("numbers of the standing orders")
    chosen = sorted((row for row in orders[:count] if stoppable(row)), key=lambda row: str(row["order_id"]))
    do.need(len(chosen) > 1)
    for order in chosen:
        do.call("cancel_standing_order", order_id=order["order_id"])
    rows = (("standing_orders", row["order_id"]) for row in chosen)
    do.tell("saved", Kind.MONEY, sum(int(row["amount"]) for row in chosen), *rows)
