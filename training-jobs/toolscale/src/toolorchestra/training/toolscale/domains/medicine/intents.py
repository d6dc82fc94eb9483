"""What patients of Alderwick Clinics want of the front office: each intent does it once, and so becomes a task."""

from typing import Final

from toolorchestra.training.toolscale.composing import Composer, Intent, Row
from toolorchestra.training.toolscale.domain import make_domain
from toolorchestra.training.toolscale.domains.medicine import billing, care
from toolorchestra.training.toolscale.domains.medicine.rows import draw_rows
from toolorchestra.training.toolscale.domains.medicine.steps import (
    CALLED,
    CLINIC,
    DOCTOR,
    KINDS,
    SOON,
    TOMORROW,
    a_kind,
    a_visit,
    can_book,
    days_with_slots,
    free_slots,
    one_of,
    somebody,
    tell_visit,
    usable_referral,
    wanted_help,
)
from toolorchestra.worlds.shipped.medicine.tools import MOST_MOVES, NO_REFERRAL, later
from toolorchestra.worlds.tools import cents
from toolorchestra.worlds.values import Kind


def book_or_leave(do: Composer, patient_id: str, slot: Row, terms: Row, *, timed: bool) -> bool:
    """Books the slot, unless the user's limit forbids that; whether it was booked."""
    share = cents(do.call("quote_visit", patient_id=patient_id, slot_id=slot["slot_id"])["share"])
    if do.evolve("limit") and not do.at_most(share):
        do.tell("share", Kind.MONEY, share, ("slots", slot["slot_id"]))
        return False
    visit = do.call("book_appointment", patient_id=patient_id, slot_id=slot["slot_id"], **terms, **wanted_help(do))
    tell_visit(do, visit, timed=timed)
    do.tell("reference", Kind.ID, visit["appointment_id"], ("appointments", visit["appointment_id"]))
    return True


def book_visit(do: Composer) -> None:
    """With a doctor who needs no referral, on a day."""
    doctor = do.pick("doctors", lambda row: row["specialty"] in NO_REFERRAL)
    with_them = {row["patient_id"] for row in do.rows("appointments", doctor_id=doctor["doctor_id"], status="booked")}
    patient = somebody(do, lambda row: can_book(row) and row["patient_id"] not in with_them)
    kind = a_kind(do)
    day = do.choose(days_with_slots(do, doctor["doctor_id"], kind))
    do.say(doctor=doctor["name"], day=day)
    do.once("find_doctor", name=doctor["name"])
    slot, timed = one_of(do, free_slots(do, doctor["doctor_id"], day, day, kind))
    book_or_leave(do, patient["patient_id"], slot, {}, timed=timed)


def see_specialist(do: Composer) -> None:
    """Any doctor of a specialty, on the referral that fits."""
    specialty = do.random.choice([one for one in CALLED if one not in NO_REFERRAL])
    patient = somebody(do, lambda row: can_book(row) and usable_referral(do, row["patient_id"], specialty) is not None)
    who = patient["patient_id"]
    referral, kind = usable_referral(do, who, specialty) or {}, a_kind(do)
    since = later(TOMORROW, do.random.randint(0, 14))
    do.say(specialist=CALLED[specialty], specialty=specialty, since=since)
    do.unknown("referral number", "doctor")
    do.once("list_referrals", patient_id=who)
    doctors = do.rows("doctors", specialty=specialty)
    busy = {row["doctor_id"] for row in do.rows("appointments", patient_id=who, status="booked")}
    do.need(not any(row["doctor_id"] in busy for row in doctors))
    wanted = {"specialty": specialty}
    if do.evolve("language"):
        wanted["language"] = do.choose(doctors)["language"]
        do.say(language=wanted["language"])
    found = [do.row("doctors", row["doctor_id"]) for row in do.call("search_doctors", **wanted)["doctors"]]
    slot, doctor = best_slot(do, found, since, kind)
    do.need(slot["begins"][:10] <= referral["valid_until"])
    if not book_or_leave(do, who, slot, {"referral_id": referral["referral_id"]}, timed=False):
        do.tell("begins", Kind.DATETIME, slot["begins"], ("slots", slot["slot_id"]))
    do.tell("doctor", Kind.TEXT, doctor["name"], ("doctors", doctor["doctor_id"]), column=DOCTOR)


def best_slot(do: Composer, doctors: list[Row], since: str, kind: str) -> tuple[Row, Row]:
    """The earliest slot of all, or that of the doctor with the lowest fee; with its doctor."""
    if len(doctors) > 1 and do.evolve("cheapest"):
        doctors = sorted(doctors, key=lambda row: int(row["visit_fee"]))[:2]
        do.need(doctors[0]["visit_fee"] < doctors[1]["visit_fee"])
        doctors = doctors[:1]
    found = [(slots[0], doctor) for doctor in doctors if (slots := free_slots(do, doctor["doctor_id"], since, None, kind))]
    found.sort(key=lambda one: str(one[0]["begins"]))
    do.need(bool(found) and (len(found) == 1 or found[0][0]["begins"] < found[1][0]["begins"]))
    return found[0]


def cancel_visit(do: Composer) -> None:
    late = do.random.choice((True, False, False))
    visit = a_visit(do, lambda row: (row["begins"] < SOON) == late)
    row = ("appointments", visit["appointment_id"])
    is_free = visit["begins"] > f"{TOMORROW}T08:30"
    if do.evolve("only_free") and not is_free:
        do.call("get_appointment", appointment_id=visit["appointment_id"])
        tell_visit(do, visit)
        return
    done = do.call("cancel_appointment", appointment_id=visit["appointment_id"])
    tell_visit(do, visit)
    if do.evolve("balance"):
        do.tell("balance", Kind.MONEY, cents(done["balance"]), ("patients", visit["patient_id"]), row)


def move_visit(do: Composer) -> None:
    """To another day, perhaps to another kind of visit."""
    visit = a_visit(do, lambda row: row["moved"] < MOST_MOVES)
    kind = a_kind(do)
    days = days_with_slots(do, visit["doctor_id"], kind)
    new_day = do.choose([day for day in days if day != visit["begins"][:10]])
    do.say(new_day=new_day)
    slot, timed = one_of(do, free_slots(do, visit["doctor_id"], new_day, new_day, kind))
    done = do.call("move_appointment", appointment_id=visit["appointment_id"], slot_id=slot["slot_id"])
    tell_visit(do, {**visit, "begins": done["begins"]}, timed=timed)
    if do.evolve("balance"):
        do.tell("balance", Kind.MONEY, cents(done["balance"]), ("patients", visit["patient_id"]))


def sooner_visit(do: Composer) -> None:
    """An earlier slot of the same doctor, if there is one."""
    visit = a_visit(do, lambda row: row["moved"] < MOST_MOVES and row["begins"] > later(TOMORROW, 4))
    do.say(kind=KINDS[visit["kind"]])
    day_before = later(visit["begins"][:10], -1)
    earliest = later(TOMORROW, do.random.randint(0, 3))
    do.say(earliest=earliest)
    slots = free_slots(do, visit["doctor_id"], earliest, day_before, visit["kind"])
    if slots:
        done = do.call("move_appointment", appointment_id=visit["appointment_id"], slot_id=slots[0]["slot_id"])
        visit = {**visit, "begins": done["begins"]}
    else:
        do.call("get_appointment", appointment_id=visit["appointment_id"])
    tell_visit(do, visit)


def cancel_between(do: Composer) -> None:
    """All visits of some days."""
    do.go_by("appointments")

    def booked(patient_id: str) -> list[Row]:
        return sorted(do.rows("appointments", patient_id=patient_id, status="booked"), key=lambda row: str(row["begins"]))

    patient = somebody(do, lambda row: len(booked(row["patient_id"])) > 1)
    visits = booked(patient["patient_id"])
    first = do.random.randrange(len(visits) - 1)
    last = do.random.randrange(first + 1, len(visits))
    since = later(visits[first]["begins"][:10], -do.random.randint(0, 2))
    until = later(visits[last]["begins"][:10], do.random.randint(0, 2))
    do.need(since >= TOMORROW)
    chosen = [row for row in visits if since <= row["begins"][:10] <= until]
    do.say(since=since, until=until)
    do.unknown("appointment numbers")
    do.once("list_appointments", patient_id=patient["patient_id"], status="booked")
    for visit in chosen:
        do.call("cancel_appointment", appointment_id=visit["appointment_id"])
    rows = [("appointments", row["appointment_id"]) for row in chosen]
    do.tell("total", Kind.MONEY, sum(row["share"] for row in chosen), *rows)
    do.tell("first_begins", Kind.DATETIME, chosen[0]["begins"], rows[0])


def follow_up(do: Composer) -> None:
    """With whom the patient saw last."""
    do.go_by("appointments")
    doctors = {row["doctor_id"]: row for row in do.rows("doctors")}

    def seen_last(patient_id: str) -> Row | None:
        past = do.rows("appointments", patient_id=patient_id, status="completed")
        return max(past, key=lambda row: str(row["begins"]), default=None)

    def suits(row: Row) -> bool:
        last = seen_last(row["patient_id"])
        return last is not None and can_book(row) and doctors[last["doctor_id"]]["specialty"] in NO_REFERRAL

    patient = somebody(do, lambda row: suits(dict(row)))
    who, doctor = patient["patient_id"], doctors[(seen_last(patient["patient_id"]) or {})["doctor_id"]]
    kind, since = a_kind(do), later(TOMORROW, do.random.randint(0, 12))
    do.say(since=since)
    do.unknown("name of the doctor")
    do.once("list_appointments", patient_id=who, status="completed")
    do.once("get_doctor", doctor_id=doctor["doctor_id"])
    slots = free_slots(do, doctor["doctor_id"], since, None, kind)
    do.need(bool(slots))
    if not book_or_leave(do, who, slots[0], {}, timed=False):
        do.tell("begins", Kind.DATETIME, slots[0]["begins"], ("slots", slots[0]["slot_id"]))
    do.tell("doctor", Kind.TEXT, doctor["name"], ("doctors", doctor["doctor_id"]), column=DOCTOR)


def next_visit(do: Composer) -> None:
    """When and where the next visit is, and what all to come will cost."""
    do.go_by("appointments")

    def booked(patient_id: str) -> list[Row]:
        return do.rows("appointments", patient_id=patient_id, status="booked")

    patient = somebody(do, lambda row: len(booked(row["patient_id"])) > 1)
    visit = min(booked(patient["patient_id"]), key=lambda row: str(row["begins"]))
    do.once("list_appointments", patient_id=patient["patient_id"], status="booked")
    doctor = do.once("get_doctor", doctor_id=visit["doctor_id"])
    clinic = do.once("get_clinic", clinic_id=doctor["clinic_id"])
    coming = [do.call("get_appointment", appointment_id=row["appointment_id"]) for row in booked(patient["patient_id"])]
    do.tell("begins", Kind.DATETIME, visit["begins"], ("appointments", visit["appointment_id"]))
    do.tell("clinic", Kind.TEXT, clinic["name"], ("clinics", clinic["clinic_id"]), column=CLINIC)
    rows = (("appointments", row["appointment_id"]) for row in coming)
    do.tell("total", Kind.MONEY, sum(cents(row["share"]) for row in coming), *rows)


def update_contact(do: Composer) -> None:
    """A new number, other reminders, or both; what is not mentioned stays."""

    def booked(patient_id: str) -> list[Row]:
        return do.rows("appointments", patient_id=patient_id, status="booked")

    do.go_by("appointments")
    do.go_by("invoices")
    patient = somebody(do, lambda row: bool(booked(row["patient_id"])))
    who, visit = patient["patient_id"], min(booked(patient["patient_id"]), key=lambda row: str(row["begins"]))
    new = {"phone": f"555 {do.random.randint(1000, 9999)}", "reminders": patient["reminders"]}
    do.say(phone=new["phone"])
    if do.evolve("reminders"):
        new["reminders"] = do.choose([one for one in ("email", "phone", "none") if one != patient["reminders"]])
        words = {"email": "remind me by e-mail", "phone": "remind me by phone", "none": "send me no reminders"}
        do.say(remind=words[new["reminders"]])
    do.call("update_contact", patient_id=who, **new)
    do.once("list_appointments", patient_id=who, status="booked")
    do.tell("next_begins", Kind.DATETIME, visit["begins"], ("appointments", visit["appointment_id"]))
    listed = do.once("list_invoices", patient_id=who, status="open")["invoices"]
    do.need(len(listed) > 1)
    rows = (("invoices", row["invoice_id"]) for row in listed)
    do.tell("open_total", Kind.MONEY, sum(cents(row["share"]) for row in listed), *rows)


INTENTS: Final = (
    Intent("book_visit", book_visit, ("last_slot", "not_before", "limit", "assistance")),
    Intent("see_specialist", see_specialist, ("language", "cheapest", "limit", "assistance")),
    Intent("cancel_visit", cancel_visit, ("only_free", "balance")),
    Intent("move_visit", move_visit, ("last_slot", "not_before", "balance")),
    Intent("sooner_visit", sooner_visit),
    Intent("cancel_between", cancel_between),
    Intent("follow_up", follow_up, ("limit", "assistance")),
    Intent("refill", care.refill, ("not_early", "balance")),
    Intent("refill_all", care.refill_all),
    Intent("extend_referral", care.extend_referral),
    Intent("collect_sample", care.collect_sample, ("at_doctors", "limit")),
    Intent("collect_all", care.collect_all),
    Intent("send_results", care.send_results),
    Intent("pay_invoice", billing.pay_invoice, ("limit",)),
    Intent("pay_overdue", billing.pay_overdue, ("balance",)),
    Intent("instalments", billing.instalments, ("rate",)),
    Intent("dispute", billing.dispute),
    Intent("update_contact", update_contact, ("reminders",)),
    Intent("total_due", billing.total_due),
    Intent("next_visit", next_visit),
)
DOMAIN: Final = make_domain(__file__, INTENTS, draw_rows)
