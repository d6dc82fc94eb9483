"""Rows of Alderwick Clinics: clinics, doctors and their slots, patients with visits, referrals, refills, tests and invoices."""

from collections.abc import Iterator
from datetime import date, timedelta
from random import Random
from typing import Any, Final, TypeAlias

from toolorchestra.training.toolscale.draws import chance, some, weighted
from toolorchestra.training.toolscale.names import Person, draw_people
from toolorchestra.worlds.shipped.medicine.tools import (
    EXTENSION_DAYS,
    NO_REFERRAL,
    SUNDAY,
    VALID_DAYS,
    offers_of,
    payable,
    share_of,
)

Row: TypeAlias = dict[str, Any]
Tables: TypeAlias = dict[str, list[Row]]
TODAY: Final = date(2026, 5, 18)
PATIENTS: Final = 130
SATURDAY: Final = 5
PAST_DAYS, COMING_DAYS, TESTS_LAST = range(-130, -4), range(31), 90  # from today; days for which a laboratory order is valid
NO_SHOW_FEE: Final = 4000
CLINICS: Final = (
    ("Canal Street Clinic", "Canalside", True, True),
    ("Harbour View Clinic", "Harbour", True, True),
    ("Northgate Clinic", "Northgate", False, True),
    ("Maple Square Clinic", "Old Town", True, False),
    ("Oldfield Clinic", "Oldfield", True, True),
    ("Station Road Clinic", "Old Town", False, True),
    ("Lakeside Clinic", "Lakeside", True, False),
)
DOCTORS: Final = {  # how many, and the range of their fees
    "general practice": (8, 9000, 14000),
    "eye care": (4, 11000, 17000),
    "cardiology": (3, 19000, 32000),
    "dermatology": (4, 15000, 24000),
    "orthopaedics": (4, 16000, 27000),
    "neurology": (3, 20000, 31000),
}
PLANS: Final = (
    ("Hearth Basic", 45, 40, 30),
    ("Hearth Plus", 65, 60, 50),
    ("Meridian Care", 70, 50, 60),
    ("Meridian Family", 80, 75, 65),
    ("Tidewater Standard", 55, 70, 45),
    ("Self-pay", 0, 0, 0),
)
TESTS: Final = {  # price, and whether one must come fasting
    "blood count": (3800, False),
    "lipid panel": (5200, True),
    "thyroid panel": (7400, False),
    "iron panel": (4600, True),
    "urine test": (2900, False),
    "allergy panel": (14800, False),
    "liver panel": (6100, True),
    "vitamin panel": (8900, False),
}
MEDICINES: Final = (
    "Avolune Brestine Corvelune Dulvane Eskorin Farenol Gradonel Hespirane Ivarune Jolvane Kelmatol Lorimade Movandel "
    "Nelduride Olviran Prandivel Quorimel Rustavane"
)


def draw_rows(random: Random) -> Tables:
    """All tables; every reference leads to a row, every amount follows from the clinics' rules."""
    people = list(draw_people(random, PATIENTS + sum(count for count, _, _ in DOCTORS.values())))
    tables: Tables = {"clinics": list(_clinics(random)), "plans": list(_plans(random))}
    tables["doctors"] = list(_doctors(random, tables["clinics"], people[PATIENTS:]))
    tables["patients"] = list(_patients(random, tables["plans"], people[:PATIENTS]))
    tables["slots"] = list(_slots(random, tables["doctors"]))
    tables["appointments"] = list(_appointments(random, tables))
    tables["referrals"] = list(_referrals(random, tables))
    tables["prescriptions"] = list(_prescriptions(random, tables))
    tables["lab_orders"] = list(_lab_orders(random, tables))
    tables["invoices"] = list(_invoices(random, tables["appointments"], tables["doctors"]))
    return tables


def _keys(random: Random, prefix: str, count: int) -> Iterator[str]:
    return (f"{prefix}-{number}" for number in random.sample(range(10_000, 99_999), count))


def _day(days: int, since: date = TODAY) -> str:
    return (since + timedelta(days=days)).isoformat()


def _clinics(random: Random) -> Iterator[Row]:
    for key, (name, district, laboratory, pharmacy) in zip(_keys(random, "CL", len(CLINICS)), CLINICS, strict=True):
        offers = {"laboratory": laboratory, "pharmacy": pharmacy, "parking": chance(random, 0.6)}
        yield {"clinic_id": key, "name": name, "district": district, **offers}


def _plans(random: Random) -> Iterator[Row]:
    for key, (name, visits, laboratory, medicine) in zip(_keys(random, "PL", len(PLANS)), PLANS, strict=True):
        percents = {"visit_percent": visits, "laboratory_percent": laboratory, "medicine_percent": medicine}
        yield {"plan_id": key, "name": name, **percents}


def _doctors(random: Random, clinics: list[Row], people: list[Person]) -> Iterator[Row]:
    posts = [(specialty, least, most) for specialty, (count, least, most) in DOCTORS.items() for _ in range(count)]
    keys = _keys(random, "DR", len(posts))
    for key, person, (specialty, least, most) in zip(keys, people, posts, strict=True):
        yield {
            "doctor_id": key,
            "name": person.name,
            "specialty": specialty,
            "clinic_id": random.choice(clinics)["clinic_id"],
            "language": random.choice(("French", "German", "Spanish", "Polish")),
            "visit_fee": random.randrange(least, most, 250),
        }


def _patients(random: Random, plans: list[Row], people: list[Person]) -> Iterator[Row]:
    for number, (key, person) in enumerate(zip(_keys(random, "PT", PATIENTS), people, strict=True)):
        born = date(random.randint(1938, 2007), random.randint(1, 12), random.randint(1, 28))
        plan = plans[-1] if number % 13 == 0 else random.choice(plans[:-1])  # few pay for themselves
        yield {
            "patient_id": key,
            "name": person.name,
            "email": person.email,
            "phone": f"555 {random.randint(1000, 9999)}",
            "birth_date": born.isoformat(),
            "plan_id": plan["plan_id"],
            "balance": weighted(random, (0, 0.08), (random.randrange(4000, 45_000, 5), 0.92)),
            "missed": 0,
            "reminders": random.choice(("email", "phone", "none")),
        }


def _slots(random: Random, doctors: list[Row]) -> Iterator[Row]:
    """Some past days with what was taken, and the working days of a month with what is free and taken."""
    keys = _keys(random, "SL", 6000)
    for doctor in doctors:
        past = some(random, [day for day in PAST_DAYS if _works(day)], 5)
        coming = [day for day in COMING_DAYS if _works(day) and chance(random, 0.6)]
        for day in (*sorted(past), *coming):
            for minutes in sorted(random.sample(range(9 * 60, 17 * 60, 20), random.randint(2, 5))):
                yield {
                    "slot_id": next(keys),
                    "doctor_id": doctor["doctor_id"],
                    "begins": f"{_day(day)}T{minutes // 60:02d}:{minutes % 60:02d}",
                    "minutes": 20,
                    "kind": weighted(random, ("in_person", 0.65), ("video", 0.35)),
                    "status": "taken" if day < 0 or chance(random, 0.22) else "free",
                }


def _works(day: int) -> bool:
    return (TODAY + timedelta(days=day)).weekday() < SATURDAY


def _appointments(random: Random, tables: Tables) -> Iterator[Row]:
    """One for each slot that is taken, and some that were cancelled."""
    taken = [row for row in tables["slots"] if row["status"] == "taken"]
    free = [row for row in tables["slots"] if row["status"] == "free"]
    keys, busy, bookings = _keys(random, "AP", len(taken) + 60), set[tuple[str, str]](), set[tuple[str, str]]()
    for slot in taken:
        coming = slot["begins"] >= _day(0)
        patient = random.choice(
            [
                row
                for row in tables["patients"]
                if (row["patient_id"], slot["begins"]) not in busy
                and not (coming and (row["patient_id"], slot["doctor_id"]) in bookings)
            ]
        )
        busy.add((patient["patient_id"], slot["begins"]))
        if coming:
            bookings.add((patient["patient_id"], slot["doctor_id"]))
        status = "booked" if coming else weighted(random, ("completed", 0.93), ("missed", 0.07))
        patient["missed"] += status == "missed"
        yield _appointment(random, next(keys), tables, patient, slot, status)
    for slot in some(random, free, 60):
        yield _appointment(random, next(keys), tables, random.choice(tables["patients"]), slot, "cancelled")


def _appointment(random: Random, key: str, tables: Tables, patient: Row, slot: Row, status: str) -> Row:
    doctor = next(row for row in tables["doctors"] if row["doctor_id"] == slot["doctor_id"])
    plan = next(row for row in tables["plans"] if row["plan_id"] == patient["plan_id"])
    visit = date.fromisoformat(slot["begins"][:10])
    return {
        "appointment_id": key,
        "patient_id": patient["patient_id"],
        "doctor_id": doctor["doctor_id"],
        "slot_id": slot["slot_id"],
        "begins": slot["begins"],
        "kind": slot["kind"],
        "assistance": weighted(random, ("none", 0.85), ("interpreter", 0.08), ("wheelchair", 0.07)),
        "referral_id": None,
        "share": share_of(doctor["visit_fee"], plan["visit_percent"], slot["kind"]),
        "moved": weighted(random, (0, 0.72), (1, 0.2), (2, 0.08)),
        "booked_on": min(_day(-random.randint(3, 40), visit), _day(-1)),
        "status": status,
    }


def _referrals(random: Random, tables: Tables) -> Iterator[Row]:
    """Those with which visits were booked, one for all that a patient has coming in a specialty; and some not used yet."""
    specialties = {row["doctor_id"]: row["specialty"] for row in tables["doctors"]}
    issuers = [row["doctor_id"] for row in tables["doctors"] if row["specialty"] == "general practice"]
    keys, shared = _keys(random, "RF", 2000), dict[tuple[str, str], list[Row]]()
    for visit in tables["appointments"]:
        specialty = specialties[visit["doctor_id"]]
        if specialty not in NO_REFERRAL and visit["status"] == "booked":
            shared.setdefault((visit["patient_id"], specialty), []).append(visit)
        elif specialty not in NO_REFERRAL:
            used = _referral(random, next(keys), (visit["patient_id"], specialty), issuers, visit["booked_on"])
            visit["referral_id"] = used["referral_id"]
            yield {**used, "visits_left": int(visit["status"] == "cancelled")}
    for what, visits in shared.items():
        referral = _referral(random, next(keys), what, issuers, min(visit["booked_on"] for visit in visits))
        for visit in visits:
            visit["referral_id"] = referral["referral_id"]
        yield {**referral, "visits_left": random.randint(0, 3)}
    needing = [specialty for specialty in DOCTORS if specialty not in NO_REFERRAL]
    for patient in tables["patients"]:
        for specialty in some(random, needing, weighted(random, (0, 0.1), (1, 0.3), (2, 0.6))):
            if (patient["patient_id"], specialty) not in shared:
                before = _day(-weighted(random, (random.randint(1, 140), 0.3), (random.randint(151, 199), 0.7)))
                yield _referral(random, next(keys), (patient["patient_id"], specialty), issuers, before)


def _referral(random: Random, key: str, what: tuple[str, str], issuers: list[str], before: str) -> Row:
    """A referral issued by a day."""
    issued = date.fromisoformat(before) - timedelta(days=random.randint(0, 15))
    over = (TODAY - issued).days > VALID_DAYS
    extended = over and chance(random, 0.35)
    valid_until = _day(VALID_DAYS + (EXTENSION_DAYS if extended else 0), issued)
    return {
        "referral_id": key,
        "patient_id": what[0],
        "specialty": what[1],
        "issued_by": random.choice(issuers),
        "issued_on": issued.isoformat(),
        "valid_until": valid_until,
        "visits_left": random.randint(1, 4),
        "extended": extended,
        "status": "active" if valid_until >= TODAY.isoformat() else "expired",
    }


def _prescriptions(random: Random, tables: Tables) -> Iterator[Row]:
    keys = _keys(random, "RX", PATIENTS * 4)
    prescribers = [row["doctor_id"] for row in tables["doctors"]]
    pharmacies = [row["clinic_id"] for row in tables["clinics"] if row["pharmacy"]]
    for patient in tables["patients"]:
        for medicine in some(random, MEDICINES.split(), weighted(random, (1, 0.25), (2, 0.35), (3, 0.25), (4, 0.15))):
            yield {
                "prescription_id": next(keys),
                "patient_id": patient["patient_id"],
                "doctor_id": random.choice(prescribers),
                "medicine": medicine,
                "price": random.randrange(1400, 16_000, 20),
                "supply_days": random.choice((30, 60, 90)),
                "last_filled_on": _day(-random.randint(4, 100)),
                "refills_left": weighted(random, (0, 0.15), (random.randint(1, 5), 0.85)),
                "pickup_clinic_id": random.choice((None, *pharmacies)),
                "status": weighted(random, ("active", 0.9), ("ended", 0.1)),
            }


def _lab_orders(random: Random, tables: Tables) -> Iterator[Row]:
    keys, plans = _keys(random, "LB", PATIENTS * 4), {row["plan_id"]: row for row in tables["plans"]}
    laboratories = [row["clinic_id"] for row in tables["clinics"] if row["laboratory"]]
    for patient in tables["patients"]:
        seen = [row["doctor_id"] for row in tables["appointments"] if row["patient_id"] == patient["patient_id"]]
        orderers = seen or [row["doctor_id"] for row in tables["doctors"]]
        percent = plans[patient["plan_id"]]["laboratory_percent"]
        for test in some(random, sorted(TESTS), weighted(random, (1, 0.25), (2, 0.35), (3, 0.25), (4, 0.15))):
            price, fasting = TESTS[test]
            ordered = TODAY - timedelta(days=random.randint(2, 80))
            yield {
                "lab_order_id": next(keys),
                "patient_id": patient["patient_id"],
                "doctor_id": random.choice(orderers),
                "test": test,
                "fasting": fasting,
                "ordered_on": ordered.isoformat(),
                "valid_until": _day(TESTS_LAST, ordered),
                "price": price,
                "share": share_of(price, percent),
                "sent_to": None,
                **_collection(random, ordered, laboratories, fasting=fasting),
            }


def _collection(random: Random, ordered: date, laboratories: list[str], *, fasting: bool) -> Row:
    """How far an order has come: nothing arranged, a day arranged, or collected with the results ready."""
    status = weighted(random, ("ordered", 0.5), ("scheduled", 0.12), ("ready", 0.38))
    if status == "ordered":
        return {"clinic_id": None, "collect_on": None, "part": None, "status": status}
    days = range(1, 9) if status == "scheduled" else range((ordered - TODAY).days, 0)
    offered = [day for day in days if (TODAY + timedelta(days=day)).weekday() != SUNDAY]
    part = "morning" if fasting else random.choice(("morning", "afternoon"))
    where = {"clinic_id": random.choice(laboratories), "collect_on": _day(random.choice(offered)), "part": part}
    return {**where, "status": status}


def _invoices(random: Random, appointments: list[Row], doctors: list[Row]) -> Iterator[Row]:
    """One for each visit that was made or missed."""
    fees, keys = {row["doctor_id"]: row["visit_fee"] for row in doctors}, _keys(random, "IN", len(appointments))
    for visit in (row for row in appointments if row["status"] in ("completed", "missed")):
        day = date.fromisoformat(visit["begins"][:10])
        missed = visit["status"] == "missed"
        total = NO_SHOW_FEE if missed else share_of(fees[visit["doctor_id"]], 0, visit["kind"])
        invoice = {
            "invoice_id": next(keys),
            "patient_id": visit["patient_id"],
            "appointment_id": visit["appointment_id"],
            "issued_on": _day(3, day),
            "due_on": _day(33, day),
            "total": total,
            "share": total if missed else visit["share"],
        }
        yield {**invoice, **_settled(random, invoice)}


def _settled(random: Random, invoice: Row) -> Row:
    """What has become of an invoice; the recent ones are mostly open."""
    recent = invoice["due_on"] >= TODAY.isoformat()
    status = weighted(random, ("open", 0.75 if recent else 0.4), ("paid", 0.2 if recent else 0.5), ("instalments", 0.05))
    offers = offers_of(invoice, invoice["issued_on"])
    found: Row = {"status": "open", "paid": None, "paid_with": None, "months": None, "dispute": None}
    if status == "paid":
        span = (TODAY - date.fromisoformat(invoice["issued_on"])).days
        on = _day(random.randint(0, min(span, 40)), date.fromisoformat(invoice["issued_on"]))
        return {**found, "status": status, "paid": payable(invoice, on), "paid_with": random.choice(("card", "balance"))}
    if status == "instalments" and offers:
        return {**found, "status": status, "months": random.choice(sorted(offers)), "paid_with": "card"}
    if chance(random, 0.05):
        return {**found, "status": "disputed", "dispute": random.choice(("wrong_amount", "plan_not_applied"))}
    return found
