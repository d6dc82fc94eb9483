"""What Alderwick Clinics' systems can do; the rules are those of policy.md."""

from datetime import date, datetime, timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import Field, JsonValue

from toolorchestra.worlds.combinators import Match, look_up, search, transition
from toolorchestra.worlds.errors import ToolRefusal
from toolorchestra.worlds.state import Database, money_text
from toolorchestra.worlds.tools import Day, Declared, tool

Assistance = Literal["none", "interpreter", "wheelchair"]
Part = Literal["morning", "afternoon"]
Dispute = Literal["not_attended", "wrong_amount", "billed_twice", "plan_not_applied"]
Months = Annotated[int, Field(ge=2, le=6)]
NO_REFERRAL: Final = ("general practice", "eye care")
NOTICE: Final = timedelta(hours=2)  # between booking and visit
FREE_CHANGE: Final = timedelta(hours=24)
LATE_MOVE, LATE_CANCEL = 1500, 2500
MOST_MOVES, MOST_MISSED = 2, 2
VIDEO_PERCENT: Final = 80  # of the price in person
VALID_DAYS, EXTENSION_DAYS, EXTENDABLE_DAYS = 180, 60, 30  # of referrals
EARLY_REFILL_DAYS: Final = 7
COURIER_FEE, PICKUP_DAYS, COURIER_DAYS = 450, 1, 2
LAB_AHEAD_DAYS, SUNDAY = 30, 6
EARLY_DAYS, EARLY_PERCENT, OVERDUE_FEE = 10, 3, 500
LEAST_SHARE, LEAST_RATE, SET_UP_FEE, MONTHS = 5000, 1000, 300, range(2, 7)
DISPUTE_DAYS: Final = 60


def share_of(fee: int, percent: int, kind: str = "in_person") -> int:
    """What a plan that pays ``percent`` leaves to the patient, in cents."""
    return fee * (100 - percent) * (VIDEO_PERCENT if kind == "video" else 100) // 10_000


def later(day: str, days: int) -> str:
    return (date.fromisoformat(day) + timedelta(days=days)).isoformat()


def payable(invoice: dict[str, Any], today: str) -> int:
    """What settles an invoice today: less for the quick, more for the late."""
    if today > invoice["due_on"]:
        return int(invoice["share"] + OVERDUE_FEE)
    if today <= later(invoice["issued_on"], EARLY_DAYS):
        return int(invoice["share"] * (100 - EARLY_PERCENT) // 100)
    return int(invoice["share"])


def rate_of(invoice: dict[str, Any], months: int) -> int:
    """A monthly instalment, rounded up to a cent."""
    return int(-(-(invoice["share"] + SET_UP_FEE) // months))


def offers_of(invoice: dict[str, Any], today: str) -> dict[int, int]:
    """The instalments on offer: months and the monthly amount of each."""
    if invoice["share"] < LEAST_SHARE or today > invoice["due_on"]:
        return {}
    return {months: rate for months in MONTHS if (rate := rate_of(invoice, months)) >= LEAST_RATE}


def existing(db: Database, table: str, key: str) -> dict[str, Any]:
    row = db.get(table, key)
    if row is None:
        raise ToolRefusal("not_found", f"there is no {key!r} in {table.replace('_', ' ')}")
    return row


def charge(db: Database, patient_id: str, amount: int) -> str:
    """Take from the balance; what it is then."""
    balance = db.at("patients", patient_id)["balance"]
    if balance < amount:
        raise ToolRefusal("insufficient_balance", f"the balance is {money_text(balance)}, {money_text(amount)} are needed")
    if amount:
        db.update("patients", patient_id, balance=balance - amount)
    return money_text(balance - amount)


def plan_of(db: Database, patient_id: str) -> dict[str, Any]:
    return db.at("plans", db.at("patients", patient_id)["plan_id"])


def free_slot(db: Database, slot_id: str) -> dict[str, Any]:
    """A slot that can be had now."""
    slot = existing(db, "slots", slot_id)
    if slot["status"] != "free":
        raise ToolRefusal("slot_taken", f"slot {slot_id} is taken")
    if datetime.fromisoformat(slot["begins"]) < db.spec.clock + NOTICE:
        raise ToolRefusal("too_soon", f"slot {slot_id} begins at {slot['begins']}; visits need two hours' notice")
    return slot


def terms_of(db: Database, patient_id: str, slot: dict[str, Any]) -> dict[str, Any]:
    """What a visit takes from its slot, and the patient's share of its price."""
    fee, percent = db.at("doctors", slot["doctor_id"])["visit_fee"], plan_of(db, patient_id)["visit_percent"]
    return {**{name: slot[name] for name in ("slot_id", "begins", "kind")}, "share": share_of(fee, percent, slot["kind"])}


def booked(db: Database, appointment_id: str) -> dict[str, Any]:
    appointment = existing(db, "appointments", appointment_id)
    if appointment["status"] != "booked":
        raise ToolRefusal("not_booked", f"appointment {appointment_id} is {appointment['status']}")
    return appointment


def late_fee(db: Database, begins: str, fee: int) -> int:
    """The fee, if the visit begins too soon to change it freely."""
    return fee if datetime.fromisoformat(begins) - db.spec.clock < FREE_CHANGE else 0


def covering(db: Database, referral_id: str, day: str) -> dict[str, Any]:
    referral = existing(db, "referrals", referral_id)
    if referral["status"] != "active" or referral["valid_until"] < day:
        raise ToolRefusal("referral_not_valid", f"referral {referral_id} is valid until {referral['valid_until']}")
    return referral


def check_referral(db: Database, patient_id: str, specialty: str, referral_id: str | None, day: str) -> None:
    """Refuses a booking whose specialty and referral do not go together; takes a visit off the referral."""
    if specialty in NO_REFERRAL:
        if referral_id is not None:
            raise ToolRefusal("no_referral_needed", f"{specialty} needs no referral; leave it out")
        return
    if referral_id is None:
        raise ToolRefusal("referral_required", f"{specialty} needs a referral")
    referral = covering(db, referral_id, day)
    if referral["patient_id"] != patient_id or referral["specialty"] != specialty:
        raise ToolRefusal("referral_does_not_fit", f"referral {referral_id} is of another patient or for another specialty")
    if referral["visits_left"] < 1:
        raise ToolRefusal("referral_used_up", f"referral {referral_id} has no visit left")
    db.update("referrals", referral_id, visits_left=referral["visits_left"] - 1)


def open_invoice(db: Database, invoice_id: str) -> dict[str, Any]:
    invoice = existing(db, "invoices", invoice_id)
    if invoice["status"] != "open":
        raise ToolRefusal("not_open", f"invoice {invoice_id} is {invoice['status']}")
    return invoice


@tool(side_effects="readOnly")
def quote_visit(db: Database, *, patient_id: str, slot_id: str) -> JsonValue:
    """Tell what a visit in a slot would cost this patient, and whether it needs a referral.

    patient_id: Who would come
    slot_id: Slot that may be booked
    """
    patient, slot = existing(db, "patients", patient_id), existing(db, "slots", slot_id)
    doctor, plan = db.at("doctors", slot["doctor_id"]), plan_of(db, patient_id)
    return {
        **db.show("patients", patient, "patient_id"),
        **db.show("doctors", doctor, "doctor_id", "specialty", "visit_fee"),
        **db.show("slots", slot, "slot_id", "begins", "kind", "status"),
        "plan": plan["name"],
        "plan_pays_percent": plan["visit_percent"],
        "share": money_text(share_of(doctor["visit_fee"], plan["visit_percent"], slot["kind"])),
        "referral_needed": doctor["specialty"] not in NO_REFERRAL,
    }


@tool(side_effects="readOnly")
def quote_payment(db: Database, *, invoice_id: str) -> JsonValue:
    """Tell what paying an open invoice today would take, and which instalments are on offer.

    invoice_id: Invoice to be paid
    """
    invoice = open_invoice(db, invoice_id)
    offers = offers_of(invoice, db.spec.today)
    return {
        **db.show("invoices", invoice),
        "payable_today": money_text(payable(invoice, db.spec.today)),
        "instalments": [{"months": months, "monthly": money_text(rate)} for months, rate in offers.items()],
    }


@tool(side_effects="destructive")
def book_appointment(
    db: Database, *, patient_id: str, slot_id: str, referral_id: str | None = None, assistance: Assistance = "none"
) -> JsonValue:
    """Book a visit into a free slot.

    patient_id: Who comes
    slot_id: Free slot, at least two hours ahead
    referral_id: Referral for the doctor's specialty; leave out where none is needed
    assistance: Help wanted on the day
    """
    patient, slot = existing(db, "patients", patient_id), free_slot(db, slot_id)
    if patient["missed"] >= MOST_MISSED:
        raise ToolRefusal("telephone_only", f"{patient['missed']} visits were missed; bookings are by telephone only")
    doctor = db.at("doctors", slot["doctor_id"])
    who = {"patient_id": patient_id, "doctor_id": doctor["doctor_id"]}
    if db.find("appointments", **who, status="booked"):
        raise ToolRefusal("already_booked", f"there is a booked visit with doctor {doctor['doctor_id']} already")
    check_referral(db, patient_id, doctor["specialty"], referral_id, slot["begins"][:10])
    db.update("slots", slot_id, status="taken")
    terms = {**terms_of(db, patient_id, slot), "referral_id": referral_id, "assistance": assistance}
    new = db.insert("appointments", "AP", **who, **terms, moved=0, booked_on=db.spec.today, status="booked")
    return db.show("appointments", new)


@tool(side_effects="destructive")
def move_appointment(db: Database, *, appointment_id: str, slot_id: str) -> JsonValue:
    """Move a booked visit to another free slot of the same doctor; a late move costs a fee from the balance.

    appointment_id: Visit to be moved
    slot_id: The new slot
    """
    appointment, slot = booked(db, appointment_id), free_slot(db, slot_id)
    if slot["doctor_id"] != appointment["doctor_id"]:
        raise ToolRefusal("other_doctor", f"slot {slot_id} is of another doctor")
    if appointment["moved"] >= MOST_MOVES:
        raise ToolRefusal("moved_too_often", f"appointment {appointment_id} was moved {MOST_MOVES} times already")
    if appointment["referral_id"] is not None:
        covering(db, appointment["referral_id"], slot["begins"][:10])
    fee = late_fee(db, appointment["begins"], LATE_MOVE)
    balance = charge(db, appointment["patient_id"], fee)
    db.update("slots", appointment["slot_id"], status="free")
    db.update("slots", slot_id, status="taken")
    terms = terms_of(db, appointment["patient_id"], slot)
    changed = db.update("appointments", appointment_id, **terms, moved=appointment["moved"] + 1)
    return {**db.show("appointments", changed), "fee": money_text(fee), "balance": balance}


@tool(side_effects="destructive")
def cancel_appointment(db: Database, *, appointment_id: str) -> JsonValue:
    """Cancel a booked visit; doing so late costs a fee from the balance.

    appointment_id: Visit to be cancelled
    """
    appointment = booked(db, appointment_id)
    fee = late_fee(db, appointment["begins"], LATE_CANCEL)
    balance = charge(db, appointment["patient_id"], fee)
    db.update("slots", appointment["slot_id"], status="free")
    if appointment["referral_id"] is not None:
        referral = db.at("referrals", appointment["referral_id"])
        db.update("referrals", referral["referral_id"], visits_left=referral["visits_left"] + 1)
    changed = db.update("appointments", appointment_id, status="cancelled")
    return {**db.show("appointments", changed), "fee": money_text(fee), "balance": balance}


@tool(side_effects="destructive")
def extend_referral(db: Database, *, referral_id: str) -> JsonValue:
    """Extend an active referral by 60 days, once, in the last 30 days of its validity.

    referral_id: Referral to be extended
    """
    referral = covering(db, referral_id, db.spec.today)
    if referral["extended"]:
        raise ToolRefusal("already_extended", f"referral {referral_id} was extended before")
    if referral["valid_until"] > later(db.spec.today, EXTENDABLE_DAYS):
        raise ToolRefusal("too_early", f"referral {referral_id} is valid until {referral['valid_until']}")
    until = later(referral["valid_until"], EXTENSION_DAYS)
    return db.show("referrals", db.update("referrals", referral_id, valid_until=until, extended=True))


@tool(side_effects="destructive")
def request_refill(db: Database, *, prescription_id: str, pickup_clinic_id: str | None = None) -> JsonValue:
    """Refill a prescription; the patient's share, and the fee of a courier, are taken from the balance.

    prescription_id: Prescription to be refilled
    pickup_clinic_id: Clinic with a pharmacy where it is picked up; leave out to have it sent by courier
    """
    one = existing(db, "prescriptions", prescription_id)
    if one["status"] != "active" or one["refills_left"] < 1:
        raise ToolRefusal("no_refill_left", f"prescription {prescription_id} has ended or has no refill left")
    opens = later(one["last_filled_on"], one["supply_days"] - EARLY_REFILL_DAYS)
    if opens > db.spec.today:
        raise ToolRefusal("too_early", f"prescription {prescription_id} can be refilled from {opens}")
    if pickup_clinic_id is not None and not existing(db, "clinics", pickup_clinic_id)["pharmacy"]:
        raise ToolRefusal("no_pharmacy", f"clinic {pickup_clinic_id} has no pharmacy")
    fee, days = (COURIER_FEE, COURIER_DAYS) if pickup_clinic_id is None else (0, PICKUP_DAYS)
    charged = share_of(one["price"], plan_of(db, one["patient_id"])["medicine_percent"]) + fee
    balance = charge(db, one["patient_id"], charged)
    terms = {"refills_left": one["refills_left"] - 1, "last_filled_on": db.spec.today, "pickup_clinic_id": pickup_clinic_id}
    shown = db.show("prescriptions", db.update("prescriptions", prescription_id, **terms))
    return {**shown, "charged": money_text(charged), "ready_on": later(db.spec.today, days), "balance": balance}


@tool(side_effects="idempotent")
def schedule_collection(db: Database, *, lab_order_id: str, clinic_id: str, collect_on: Day, part: Part) -> JsonValue:
    """Arrange where and when the sample of a laboratory order is collected, or change that.

    lab_order_id: Order for the test
    clinic_id: Clinic with a laboratory
    collect_on: Day, Monday to Saturday, from tomorrow up to 30 days ahead
    part: Part of the day; fasting tests only in the morning
    """
    order, clinic = existing(db, "lab_orders", lab_order_id), existing(db, "clinics", clinic_id)
    if order["status"] == "ready":
        raise ToolRefusal("already_collected", f"the results of {lab_order_id} are ready")
    if not clinic["laboratory"]:
        raise ToolRefusal("no_laboratory", f"clinic {clinic_id} has no laboratory")
    offered = [later(db.spec.today, days) for days in range(1, LAB_AHEAD_DAYS + 1)]
    if collect_on not in offered or date.fromisoformat(collect_on).weekday() == SUNDAY:
        raise ToolRefusal("day_not_offered", f"{collect_on} is a Sunday, or not within the next {LAB_AHEAD_DAYS} days")
    if collect_on > order["valid_until"]:
        raise ToolRefusal("order_run_out", f"order {lab_order_id} is valid until {order['valid_until']}")
    if order["fasting"] and part != "morning":
        raise ToolRefusal("fasting", f"the sample of {lab_order_id} must be collected in the morning")
    where = {"clinic_id": clinic_id, "collect_on": collect_on, "part": part}
    return db.show("lab_orders", db.update("lab_orders", lab_order_id, **where, status="scheduled"))


@tool(side_effects="idempotent")
def send_results(db: Database, *, lab_order_id: str, doctor_id: str) -> JsonValue:
    """Send results that are ready to one more doctor of the patient.

    lab_order_id: Order whose results are ready
    doctor_id: Doctor whom the patient has seen or is booked with
    """
    order, doctor = existing(db, "lab_orders", lab_order_id), existing(db, "doctors", doctor_id)
    if order["status"] != "ready":
        raise ToolRefusal("not_ready", f"order {lab_order_id} is {order['status']}")
    if doctor["doctor_id"] == order["doctor_id"] or order["sent_to"] is not None:
        raise ToolRefusal("already_sent", f"results of {lab_order_id} are with that doctor, or went to another already")
    visits = db.find("appointments", patient_id=order["patient_id"], doctor_id=doctor_id)
    if not any(visit["status"] in ("booked", "completed") for visit in visits):
        raise ToolRefusal("not_their_doctor", f"the patient has no visit with doctor {doctor_id}")
    return db.show("lab_orders", db.update("lab_orders", lab_order_id, sent_to=doctor_id))


@tool(side_effects="destructive")
def pay_invoice(db: Database, *, invoice_id: str, paid_with: Literal["card", "balance"]) -> JsonValue:
    """Pay an open invoice at once, with discount or late fee as it falls.

    invoice_id: Invoice to be paid
    paid_with: Card on file, or the patient's balance
    """
    invoice = open_invoice(db, invoice_id)
    amount = payable(invoice, db.spec.today)
    balance = charge(db, invoice["patient_id"], amount if paid_with == "balance" else 0)
    changed = db.update("invoices", invoice_id, status="paid", paid=amount, paid_with=paid_with)
    return {**db.show("invoices", changed), "balance": balance}


@tool(side_effects="destructive")
def set_up_instalments(db: Database, *, invoice_id: str, months: Months) -> JsonValue:
    """Pay an open invoice in monthly instalments by card; quote_payment tells which are on offer.

    invoice_id: Invoice to be paid
    months: Number of instalments
    """
    invoice = open_invoice(db, invoice_id)
    offers = offers_of(invoice, db.spec.today)
    if months not in offers:
        raise ToolRefusal("not_offered", f"for invoice {invoice_id} there are {sorted(offers) or 'no'} months on offer")
    changed = db.update("invoices", invoice_id, status="instalments", months=months, paid_with="card")
    return {**db.show("invoices", changed), "monthly": money_text(offers[months])}


@tool(side_effects="destructive")
def dispute_invoice(db: Database, *, invoice_id: str, dispute: Dispute) -> JsonValue:
    """Tell that the patient does not agree with an open invoice.

    invoice_id: The invoice
    dispute: Why the patient does not agree
    """
    invoice = open_invoice(db, invoice_id)
    if later(invoice["issued_on"], DISPUTE_DAYS) < db.spec.today:
        raise ToolRefusal("too_late", f"invoice {invoice_id} was issued more than {DISPUTE_DAYS} days ago")
    return db.show("invoices", db.update("invoices", invoice_id, status="disputed", dispute=dispute))


def of_patient(name: str, table: str, order: str, description: str, *show: str) -> Declared:
    """The rows of a patient, by status if one is given."""
    filters: dict[str, tuple[str, Match]] = {"patient_id": ("patient_id", "is"), "status": ("status", "is")}
    return search(name, table, filters, description=description, required=("patient_id",), order=order, show=show)


TOOLS = (
    look_up("find_patient", "patients", by="email"),
    *(look_up("find_doctor", "doctors", by="name"), look_up("get_doctor", "doctors")),
    *(look_up("find_clinic", "clinics", by="name"), look_up("get_clinic", "clinics")),
    look_up("get_appointment", "appointments"),
    search(
        "search_doctors",
        "doctors",
        {"specialty": ("specialty", "is"), "clinic_id": ("clinic_id", "is"), "language": ("language", "is")},
        description="Find the doctors of a specialty, by name.",
        required=("specialty",),
        order="name",
    ),
    search(
        "search_slots",
        "slots",
        {
            "doctor_id": ("doctor_id", "is"),
            "first_day": ("begins", "from"),
            "last_day": ("begins", "until"),
            "kind": ("kind", "is"),
        },
        description="Find the free slots of a doctor, earliest first.",
        required=("doctor_id", "first_day"),
        where={"status": "free"},
        order="begins",
        show=("slot_id", "begins", "minutes", "kind"),
    ),
    of_patient(
        "list_appointments",
        "appointments",
        "begins",
        "List the visits of a patient in short, earliest first; get_appointment has the rest.",
        *("appointment_id", "doctor_id", "begins", "kind", "status"),
    ),
    of_patient("list_referrals", "referrals", "valid_until", "List the referrals of a patient, the first to run out first."),
    of_patient("list_prescriptions", "prescriptions", "medicine", "List the prescriptions of a patient by medicine."),
    of_patient("list_lab_orders", "lab_orders", "ordered_on", "List the laboratory orders of a patient, oldest first."),
    of_patient(
        "list_invoices", "invoices", "issued_on", "List the invoices of a patient, oldest first, shares as they were billed."
    ),
    *(quote_visit, quote_payment, book_appointment, move_appointment, cancel_appointment, extend_referral, request_refill),
    *(schedule_collection, send_results, pay_invoice, set_up_instalments, dispute_invoice),
    transition(
        "update_contact",
        "patients",
        description="Change how a patient is reached: telephone number and kind of reminders.",
        arguments=("phone", "reminders"),
        to={},
    ),
)
