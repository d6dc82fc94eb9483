"""Intents around what a patient owes."""

from typing import Final

from toolorchestra.training.toolscale.composing import Composer, Row
from toolorchestra.training.toolscale.domains.medicine.steps import an_invoice, somebody
from toolorchestra.training.toolscale.wording import Cents
from toolorchestra.worlds.shipped.medicine.tools import DISPUTE_DAYS, later, offers_of, payable
from toolorchestra.worlds.tools import cents
from toolorchestra.worlds.values import Kind

TODAY: Final = "2026-05-18"
DISPUTES: Final = {
    "not_attended": "that visit never took place",
    "wrong_amount": "the amount is wrong",
    "billed_twice": "I was billed twice for it",
    "plan_not_applied": "my insurance plan was not applied",
}


def a_purse(do: Composer) -> str:
    found = do.random.choice(("card", "balance"))
    do.say(purse={"card": "card", "balance": "account balance"}[found])
    return found


def pay_invoice(do: Composer) -> None:
    """With discount or late fee as it falls."""
    invoice = an_invoice(do)
    key, paid_with = invoice["invoice_id"], a_purse(do)
    row = ("invoices", key)
    if do.evolve("limit"):
        amount = cents(do.call("quote_payment", invoice_id=key)["payable_today"])
        if not do.at_most(amount):
            do.tell("paid", Kind.MONEY, amount, row)
            do.tell("due_on", Kind.DATE, invoice["due_on"], row)
            return
    done = do.call("pay_invoice", invoice_id=key, paid_with=paid_with)
    do.tell("paid", Kind.MONEY, cents(done["paid"]), row)
    do.tell("due_on", Kind.DATE, invoice["due_on"], row)
    if paid_with == "balance":
        do.tell("balance", Kind.MONEY, cents(done["balance"]), ("patients", invoice["patient_id"]))


def open_invoices(do: Composer, patient_id: str) -> list[Row]:
    return do.rows("invoices", patient_id=patient_id, status="open")


def pay_overdue(do: Composer) -> None:
    """All invoices past their due date."""
    do.go_by("invoices")

    def overdue(patient_id: str) -> list[Row]:
        return [row for row in open_invoices(do, patient_id) if row["due_on"] < TODAY]

    patient = somebody(do, lambda row: len(overdue(row["patient_id"])) > 1)
    who, chosen, paid_with = patient["patient_id"], overdue(patient["patient_id"]), a_purse(do)
    do.unknown("invoice numbers")
    do.once("list_invoices", patient_id=who, status="open")
    done = [do.call("pay_invoice", invoice_id=row["invoice_id"], paid_with=paid_with) for row in chosen]
    do.tell("total", Kind.MONEY, sum(cents(one["paid"]) for one in done), *(("invoices", row["invoice_id"]) for row in chosen))
    if paid_with == "balance" and do.evolve("balance"):
        do.tell("balance", Kind.MONEY, cents(done[-1]["balance"]), ("patients", who))


def instalments(do: Composer) -> None:
    """A number of months, or as few as keep a month below a limit."""
    invoice = an_invoice(do, lambda row: len(offers_of(dict(row), TODAY)) > 1)
    offers = offers_of(invoice, TODAY)
    do.call("quote_payment", invoice_id=invoice["invoice_id"])
    if do.evolve("rate"):
        months = do.choose(sorted(offers)[1:])
        most = -(-offers[months] // 100) * 100
        do.need(min(number for number, rate in offers.items() if rate <= most) == months and offers[months] != most)
        do.say(most=Cents(most))
    else:
        months = do.choose(sorted(offers))
        do.say(months=months)
        do.phrase("months")
    done = do.call("set_up_instalments", invoice_id=invoice["invoice_id"], months=months)
    do.tell("monthly", Kind.MONEY, cents(done["monthly"]), ("invoices", invoice["invoice_id"]))
    do.tell("issued_on", Kind.DATE, invoice["issued_on"], ("invoices", invoice["invoice_id"]))


def dispute(do: Composer) -> None:
    """An invoice with which the patient does not agree."""
    invoice = an_invoice(do, lambda row: later(row["issued_on"], DISPUTE_DAYS) >= TODAY)
    reason = do.random.choice(sorted(DISPUTES))
    do.say(reason=DISPUTES[reason])
    row = ("invoices", invoice["invoice_id"])
    do.call("dispute_invoice", invoice_id=invoice["invoice_id"], dispute=reason)
    do.tell("share", Kind.MONEY, invoice["share"], row)
    do.tell("issued_on", Kind.DATE, invoice["issued_on"], row)


def total_due(do: Composer) -> None:
    """What it would take to settle everything today."""
    do.go_by("invoices")
    patient = somebody(do, lambda row: len(open_invoices(do, row["patient_id"])) > 1)
    invoices = open_invoices(do, patient["patient_id"])
    do.once("list_invoices", patient_id=patient["patient_id"], status="open")
    for invoice in invoices:
        do.call("quote_payment", invoice_id=invoice["invoice_id"])
    total = sum(payable(invoice, TODAY) for invoice in invoices)
    do.unknown("invoice numbers")
    do.tell("total", Kind.MONEY, total, *(("invoices", row["invoice_id"]) for row in invoices))
