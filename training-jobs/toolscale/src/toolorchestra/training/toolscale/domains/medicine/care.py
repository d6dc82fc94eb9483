"""Intents around a patient's care: refills, referrals, samples and results."""

from collections.abc import Mapping
from datetime import date
from typing import Any, Final

from toolorchestra.training.toolscale.composing import Composer, Row
from toolorchestra.training.toolscale.domains.medicine.steps import CALLED, DOCTOR, TOMORROW, is_theirs, meet, somebody
from toolorchestra.training.toolscale.draws import chance
from toolorchestra.worlds.shipped.medicine.tools import EARLY_REFILL_DAYS, EXTENDABLE_DAYS, SUNDAY, later
from toolorchestra.worlds.tools import cents
from toolorchestra.worlds.values import Kind

TODAY: Final = "2026-05-18"
EARLY: Final = 0.35  # how often a refill that may be too early is


def opens_on(row: Mapping[str, Any]) -> str:
    """From when a prescription can be refilled."""
    return later(row["last_filled_on"], row["supply_days"] - EARLY_REFILL_DAYS)


def is_left(row: Mapping[str, Any]) -> bool:
    return bool(row["status"] == "active" and row["refills_left"] > 0)


def delivery(do: Composer) -> Row:
    """By courier, or to a clinic that has a pharmacy."""
    if chance(do.random, EARLY):
        do.phrase("courier")
        return {}
    clinic = do.pick("clinics", lambda row: row["pharmacy"])
    do.say(clinic=clinic["name"])
    do.phrase("pickup")
    do.once("find_clinic", name=clinic["name"])
    return {"pickup_clinic_id": clinic["clinic_id"]}


def refill(do: Composer) -> None:
    """One medicine; it may be too early for it."""
    early = chance(do.random, EARLY)
    one = do.pick("prescriptions", lambda row: is_theirs(do, row) and is_left(row) and (opens_on(row) > TODAY) == early)
    key, who = one["prescription_id"], one["patient_id"]
    do.untouched("prescriptions", key)
    meet(do, who)
    do.say(medicine=one["medicine"])
    do.unknown("prescription number")
    do.once("list_prescriptions", patient_id=who)
    terms, asked = delivery(do), do.evolve("not_early")
    do.need(asked or not early)
    if early:
        do.tell("opens_on", Kind.DATE, opens_on(one), ("prescriptions", key))
        doctor = do.once("get_doctor", doctor_id=one["doctor_id"])
        do.tell("prescriber", Kind.TEXT, doctor["name"], ("doctors", doctor["doctor_id"]), column=DOCTOR)
        return
    done = do.call("request_refill", prescription_id=key, **terms)
    do.tell("charged", Kind.MONEY, cents(done["charged"]), ("prescriptions", key))
    if do.evolve("balance"):
        do.tell("balance", Kind.MONEY, cents(done["balance"]), ("patients", who))


def refill_all(do: Composer) -> None:
    """Everything for which it is time."""
    do.go_by("prescriptions")

    def due(patient_id: str) -> list[Row]:
        rows = do.rows("prescriptions", patient_id=patient_id)
        return [row for row in rows if is_left(row) and opens_on(row) <= TODAY]

    patient = somebody(do, lambda row: len(due(row["patient_id"])) > 1)
    who, chosen = patient["patient_id"], due(patient["patient_id"])
    do.unknown("prescription numbers")
    do.once("list_prescriptions", patient_id=who)
    terms, total = delivery(do), 0
    for one in chosen:
        total += cents(do.call("request_refill", prescription_id=one["prescription_id"], **terms)["charged"])
    do.tell("total", Kind.MONEY, total, *(("prescriptions", row["prescription_id"]) for row in chosen))


def extend_referral(do: Composer) -> None:
    """The one active referral for a specialty, while it can still be extended."""
    limit = later(TODAY, EXTENDABLE_DAYS)

    def active(row: Mapping[str, Any]) -> list[Row]:
        rows = do.rows("referrals", patient_id=row["patient_id"], specialty=row["specialty"], status="active")
        return [one for one in rows if one["valid_until"] >= TODAY]

    found = do.pick(
        "referrals",
        lambda row: is_theirs(do, row) and not row["extended"] and TODAY <= row["valid_until"] <= limit and row["visits_left"],
    )
    do.untouched("referrals", found["referral_id"])
    do.need(len(active(found)) == 1)
    meet(do, found["patient_id"])
    do.say(specialty=found["specialty"], specialist=CALLED[found["specialty"]])
    do.unknown("referral number")
    do.once("list_referrals", patient_id=found["patient_id"])
    done = do.call("extend_referral", referral_id=found["referral_id"])
    do.tell("valid_until", Kind.DATE, done["valid_until"], ("referrals", found["referral_id"]))
    issuer = do.once("get_doctor", doctor_id=found["issued_by"])
    do.tell("issuer", Kind.TEXT, issuer["name"], ("doctors", issuer["doctor_id"]), column=DOCTOR)


def a_collection(do: Composer, orders: list[Row]) -> Row:
    """Day and part of the day that suit all orders."""
    days = [day for day in (later(TOMORROW, number) for number in range(28)) if date.fromisoformat(day).weekday() != SUNDAY]
    last = min(str(row["valid_until"]) for row in orders)
    day = do.choose([day for day in days if day <= last])
    part = "morning" if any(row["fasting"] for row in orders) else do.random.choice(("morning", "afternoon"))
    do.say(collect_on=day, part=part)
    return {"collect_on": day, "part": part}


def a_laboratory(do: Composer) -> str:
    clinic = do.pick("clinics", lambda row: row["laboratory"])
    do.say(clinic=clinic["name"])
    do.phrase("at_clinic")
    do.once("find_clinic", name=clinic["name"])
    return str(clinic["clinic_id"])


def collect_sample(do: Composer) -> None:
    """One test, at a clinic that is named or where the doctor who ordered it works."""
    order = do.pick("lab_orders", lambda row: is_theirs(do, row) and row["status"] == "ordered")
    key, who = order["lab_order_id"], order["patient_id"]
    do.untouched("lab_orders", key)
    meet(do, who)
    do.say(test=order["test"])
    do.unknown("order number")
    do.once("list_lab_orders", patient_id=who)
    if do.evolve("at_doctors"):
        doctor = do.once("get_doctor", doctor_id=order["doctor_id"])
        clinic_id = do.once("get_clinic", clinic_id=doctor["clinic_id"])["clinic_id"]
        do.need(do.row("clinics", clinic_id)["laboratory"])
    else:
        clinic_id = a_laboratory(do)
    where = a_collection(do, [order])
    do.tell("share", Kind.MONEY, order["share"], ("lab_orders", key))
    do.tell("ordered_on", Kind.DATE, order["ordered_on"], ("lab_orders", key))
    if not do.evolve("limit") or do.at_most(order["share"]):
        do.call("schedule_collection", lab_order_id=key, clinic_id=clinic_id, **where)


def collect_all(do: Composer) -> None:
    """All tests for which nothing is arranged, at once."""
    do.go_by("lab_orders")

    def ordered(patient_id: str) -> list[Row]:
        return do.rows("lab_orders", patient_id=patient_id, status="ordered")

    patient = somebody(do, lambda row: len(ordered(row["patient_id"])) > 1)
    orders = ordered(patient["patient_id"])
    do.unknown("order numbers")
    do.once("list_lab_orders", patient_id=patient["patient_id"])
    clinic_id, where = a_laboratory(do), a_collection(do, orders)
    for order in orders:
        do.call("schedule_collection", lab_order_id=order["lab_order_id"], clinic_id=clinic_id, **where)
    rows = [("lab_orders", row["lab_order_id"]) for row in orders]
    do.tell("total", Kind.MONEY, sum(row["share"] for row in orders), *rows)


def send_results(do: Composer) -> None:
    """Results to another doctor of the patient."""
    order = do.pick("lab_orders", lambda row: is_theirs(do, row) and row["status"] == "ready" and row["sent_to"] is None)
    key, who = order["lab_order_id"], order["patient_id"]
    do.untouched("lab_orders", key)
    visits = [row for row in do.rows("appointments", patient_id=who) if row["status"] in ("booked", "completed")]
    doctor_id = do.choose(sorted({row["doctor_id"] for row in visits} - {order["doctor_id"]}))
    doctor = do.row("doctors", doctor_id)
    meet(do, who)
    do.say(test=order["test"], doctor=doctor["name"])
    do.unknown("order number")
    do.once("list_lab_orders", patient_id=who)
    do.once("find_doctor", name=doctor["name"])
    do.call("send_results", lab_order_id=key, doctor_id=doctor_id)
    do.tell("collected_on", Kind.DATE, order["collect_on"], ("lab_orders", key))
    orderer = do.once("get_doctor", doctor_id=order["doctor_id"])
    do.tell("orderer", Kind.TEXT, orderer["name"], ("doctors", orderer["doctor_id"]), column=DOCTOR)
