"""Steps that intents of the clinics share: meet the patient, find the visit or the invoice, choose a slot."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from toolorchestra.training.toolscale.composing import MOSTLY, Composer, Fits, Row
from toolorchestra.training.toolscale.customers import Customers
from toolorchestra.training.toolscale.draws import chance
from toolorchestra.worlds.shipped.medicine.tools import MOST_MISSED, NO_REFERRAL
from toolorchestra.worlds.values import Kind

TOMORROW: Final = "2026-05-19"
SOON: Final = "2026-05-19T12:00"  # what begins later can be changed freely
BY_SPECIALTY: Final = 0.35  # how often a doctor is told by what they do
DOCTOR, CLINIC = ("doctors", "name"), ("clinics", "name")
KINDS: Final = {"in_person": "in person", "video": "by video"}
CALLED: Final = {
    "general practice": "GP",
    "eye care": "eye doctor",
    "cardiology": "cardiologist",
    "dermatology": "dermatologist",
    "orthopaedics": "orthopaedist",
    "neurology": "neurologist",
}
PATIENTS: Final = Customers("patients", "patient_id", "find_patient")
meet, somebody, is_theirs = PATIENTS.meet, PATIENTS.somebody, PATIENTS.owns


def can_book(patient: Mapping[str, Any]) -> bool:
    return int(patient["missed"]) < MOST_MISSED


def a_kind(do: Composer) -> str:
    kind = do.random.choice(("in_person", "in_person", "video"))
    do.say(kind=KINDS[kind])
    return kind


def say_doctor(do: Composer, doctor: Row, alike: Sequence[Row], look: Sequence[Row]) -> None:
    """A doctor by name, or by specialty if that tells them from ``alike``; then all of ``look`` must be looked at."""
    if chance(do.random, BY_SPECIALTY) and sum(row["specialty"] == doctor["specialty"] for row in alike) == 1:
        do.say(who=f"the {CALLED[doctor['specialty']]}")
        do.unknown("name of the doctor")
        for row in look:
            do.once("get_doctor", doctor_id=row["doctor_id"])
    else:
        do.say(who=f"Dr {doctor['name']}")
        do.once("find_doctor", name=doctor["name"])


def doctors_of(do: Composer, visits: Sequence[Mapping[str, Any]]) -> list[Row]:
    """The doctors of visits, each once, in the order of the visits."""
    return [do.row("doctors", key) for key in dict.fromkeys(visit["doctor_id"] for visit in visits)]


def a_visit(do: Composer, fits: Fits = lambda _: True) -> Row:
    """A booked visit of the patient, told by doctor and day."""
    visit = do.pick("appointments", lambda row: is_theirs(do, row) and row["status"] == "booked" and fits(row))
    do.untouched("appointments", visit["appointment_id"])
    who = visit["patient_id"]
    meet(do, who)
    do.say(day=visit["begins"][:10])
    do.unknown("appointment number")
    listed = do.once("list_appointments", patient_id=who, status="booked")["appointments"]
    same_day = [row for row in listed if row["begins"][:10] == visit["begins"][:10]]
    alike = [do.row("doctors", row["doctor_id"]) for row in same_day]
    say_doctor(do, do.row("doctors", visit["doctor_id"]), alike, doctors_of(do, same_day))
    return visit


def an_invoice(do: Composer, fits: Fits = lambda _: True) -> Row:
    """An open invoice of the patient, told by doctor and day of its visit."""
    invoice = do.pick("invoices", lambda row: is_theirs(do, row) and row["status"] == "open" and fits(row))
    do.untouched("invoices", invoice["invoice_id"])
    who, visit = invoice["patient_id"], do.row("appointments", invoice["appointment_id"])
    past = [row for row in do.rows("appointments", patient_id=who) if row["status"] in ("completed", "missed")]
    same_day = [row for row in past if row["begins"][:10] == visit["begins"][:10]]
    do.need(sum(row["doctor_id"] == visit["doctor_id"] for row in same_day) == 1)
    meet(do, who)
    do.say(day=visit["begins"][:10])
    do.unknown("invoice number")
    do.once("list_invoices", patient_id=who, status="open")
    do.once("list_appointments", patient_id=who)
    alike = [do.row("doctors", row["doctor_id"]) for row in same_day]
    say_doctor(do, do.row("doctors", visit["doctor_id"]), alike, doctors_of(do, same_day))
    return invoice


def free_slots(do: Composer, doctor_id: str, first_day: str, last_day: str | None = None, kind: str | None = None) -> list[Row]:
    """The slots that one finds who searches, earliest first."""
    terms = {"doctor_id": doctor_id, "first_day": first_day, "last_day": last_day, "kind": kind}
    found = do.call("search_slots", **{name: value for name, value in terms.items() if value is not None})
    slots: list[Row] = found["slots"]
    return slots


def days_with_slots(do: Composer, doctor_id: str, kind: str, least: int = 1, after: str = TOMORROW) -> list[str]:
    """Days from ``after`` on which so many slots of a kind are free."""
    rows = do.rows("slots", doctor_id=doctor_id, kind=kind, status="free")
    days = [row["begins"][:10] for row in rows if row["begins"][:10] >= after]
    return sorted({day for day in days if days.count(day) >= least})


def one_of(do: Composer, slots: Sequence[Row]) -> tuple[Row, bool]:
    """The slot of a day that the user wants, and whether they know its time already."""
    do.need(bool(slots))
    if len(slots) > 1 and do.evolve("last_slot"):
        return slots[-1], False
    if len(slots) > 1 and do.evolve("not_before"):
        chosen = slots[do.random.randrange(1, len(slots))]
        hour = f"{chosen['begins'][11:13]}:00"
        do.need(slots[slots.index(chosen) - 1]["begins"][11:] < hour)
        do.say(after=hour)
        return chosen, chosen["begins"][11:] == hour
    if chance(do.random, MOSTLY):
        do.phrase("first_slot")
        return slots[0], False
    slot: Row = do.choose(slots)
    do.say(time=slot["begins"][11:])
    do.phrase("at_time")
    return slot, True


def wanted_help(do: Composer) -> Row:
    """Help on the day, where this draw wants some."""
    if not do.evolve("assistance"):
        return {}
    found = do.random.choice(("interpreter", "wheelchair"))
    do.say(help={"interpreter": "an interpreter", "wheelchair": "a wheelchair"}[found])
    return {"assistance": found}


def tell_visit(do: Composer, visit: Row, *, timed: bool = False) -> None:
    """When a visit is, unless the user has said so, and the patient's share."""
    row = ("appointments", visit["appointment_id"])
    if not timed:
        do.tell("begins", Kind.DATETIME, visit["begins"], row)
    do.tell("share", Kind.MONEY, do.row(*row)["share"], row)


def usable_referral(do: Composer, patient_id: str, specialty: str) -> Row | None:
    """The one referral that can be used for a specialty; none if there are several, or none."""
    if specialty in NO_REFERRAL:
        return None
    rows = do.rows("referrals", patient_id=patient_id, specialty=specialty, status="active")
    usable = [row for row in rows if row["visits_left"] and row["valid_until"] >= TOMORROW]
    return usable[0] if len(usable) == 1 else None
