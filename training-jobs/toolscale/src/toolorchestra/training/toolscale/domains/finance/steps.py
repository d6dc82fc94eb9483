"""Steps that intents of the bank share: meet the customer, find the account, the payee, the card payment."""

from typing import Final

from toolorchestra.training.toolscale.composing import Composer, Fits, Row
from toolorchestra.training.toolscale.customers import Customers
from toolorchestra.training.toolscale.wording import Cents
from toolorchestra.worlds.shipped.finance.rules import WINDOWS
from toolorchestra.worlds.state import money_text

PARTY: Final = ("transactions", "party")
PAYEE: Final = ("payees", "name")
SOON: Final = "2026-05-16"  # standing orders of an earlier day cannot be stopped any more
REASONS: Final = {
    "unrecognised": ("I never made that payment", "I don't recognise it", "it wasn't me who paid there"),
    "not_received": ("what I paid for never arrived", "nothing has been delivered", "they never sent me anything"),
    "wrong_amount": ("they charged me another sum than we agreed", "the amount is wrong", "the sum isn't what the till showed"),
}
CUSTOMERS: Final = Customers("customers", "customer_id", "find_customer")
meet, somebody, is_theirs = CUSTOMERS.meet, CUSTOMERS.somebody, CUSTOMERS.owns


def accounts_of(do: Composer, customer_id: str) -> list[Row]:
    """The customer's accounts, listed."""
    do.once("list_accounts", customer_id=customer_id)
    return do.rows("accounts", customer_id=customer_id)


def an_account(do: Composer, customer_id: str, fits: Fits = lambda _: True) -> Row:
    """An open account of the customer, told by its label."""
    found: Row = do.choose([row for row in accounts_of(do, customer_id) if row["status"] == "open" and fits(row)])
    do.say(account=f"{found['label']} account")
    do.unknown("account number")
    return found


def paying_account(do: Composer, customer_id: str) -> Row:
    """An account that money goes through."""
    found = an_account(do, customer_id)
    do.share(found["account_id"])
    return found


def payees_of(do: Composer, customer_id: str) -> list[Row]:
    """The customer's payees, listed."""
    do.once("list_payees", customer_id=customer_id)
    return do.rows("payees", customer_id=customer_id)


def a_payee(do: Composer, customer_id: str, fits: Fits = lambda _: True) -> Row:
    """A payee of the customer, told by name."""
    found: Row = do.choose([row for row in payees_of(do, customer_id) if fits(row)])
    do.say(payee=found["name"])
    do.unknown("payee number")
    return found


def an_amount(do: Composer, least: int, most: int, step: int = 500) -> Cents:
    """A sum between two (in cents) that people would name, said as {amount}."""
    amount = Cents(do.random.randrange(least, most + 1, step))
    do.say(amount=amount)
    return amount


def text_of(amount: int) -> str:
    """Cents as a tool takes them."""
    return money_text(amount)


def open_card_payments(do: Composer, customer_id: str, reason: str) -> list[Row]:
    """Card payments of the customer's open accounts that can be disputed for a reason."""
    today, accounts = do.world.spec.clock.date(), do.rows("accounts", customer_id=customer_id, status="open")
    rows = [
        row for one in accounts for row in do.rows("transactions", account_id=one["account_id"], kind="card", status="booked")
    ]
    first, last = WINDOWS[reason]
    return [row for row in rows if first <= (today - today.fromisoformat(row["booked_at"][:10])).days <= last]


def say_payment(do: Composer, payment: Row) -> None:
    """A card payment told by shop, day and account, and looked up by them; it must be the only one."""
    account = do.row("accounts", payment["account_id"])
    do.say(party=payment["party"], day=payment["booked_at"][:10], account=f"{account['label']} account")
    do.unknown("transaction number")
    alike = do.rows("transactions", account_id=payment["account_id"], party=payment["party"])
    do.need(sum(row["booked_at"][:10] == payment["booked_at"][:10] for row in alike) == 1)
    accounts_of(do, account["customer_id"])
    do.once("search_transactions", account_id=payment["account_id"], words=payment["party"])
