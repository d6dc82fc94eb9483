"""What Wrenfield College's systems can do; the rules are those of policy.md."""

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import Field, JsonValue

from toolorchestra.worlds.combinators import Match, look_up, search
from toolorchestra.worlds.errors import ToolRefusal
from toolorchestra.worlds.state import Database, money_text
from toolorchestra.worlds.tools import Declared, Moment, tool

Filters: TypeAlias = Mapping[str, tuple[str, Match]]
Purse = Literal["account", "bill"]
Hours = Annotated[int, Field(ge=1, le=4)]
People = Annotated[int, Field(ge=1)]
TERM: Final = "spring_2026"
CREDIT_PRICE, ONLINE_PERCENT = 18_500, 90
MOST_CREDITS, MOST_BILLED, MOST_WAITING, MOST_HOURS_AHEAD = 18, 900_000, 2, 3
PASSED: Final = ("A", "B", "C")
FINES_BLOCK: Final = 1000
JOIN_DAYS: Final = 7
DROP_SHARES: Final = ((-1, 100), (7, 80), (21, 40))  # until so many days after the first, percent returned
MOVE_FEE: Final = 1500
FULL_REFUND_HOURS: Final = 24
OPENS, CLOSES, MOST_DAYS_AHEAD, ROOM_CANCEL_HOURS, ROOM_CANCEL_FEE = 8, 22, 14, 2, 100
RENEWAL_DAYS, MOST_RENEWALS, FINE_PER_DAY, MOST_FINE = 21, 2, 25, 1500
ENTRY_DAYS: Final = 7


def tuition_of(credit_points: int, mode: str, scholarship_percent: int) -> int:
    """What a section costs a student, in cents."""
    percent = ONLINE_PERCENT if mode == "online" else 100
    return credit_points * CREDIT_PRICE * percent * (100 - scholarship_percent) // 10_000


def drop_percent(days: int) -> int:
    """How much of the tuition comes back so many days after the first day of a section."""
    return next((percent for until, percent in DROP_SHARES if days <= until), 0)


def fine_of(days_late: int) -> int:
    """The fine in cents for a book that came back so late."""
    return min(max(0, days_late) * FINE_PER_DAY, MOST_FINE)


def existing(db: Database, table: str, key: str) -> dict[str, Any]:
    row = db.get(table, key)
    if row is None:
        raise ToolRefusal("not_found", f"there is no {key!r} in {table.replace('_', ' ')}")
    return row


def days_since(db: Database, day: str) -> int:
    return (db.spec.clock.date() - date.fromisoformat(day)).days


def hours_until(db: Database, moment: str) -> float:
    return (datetime.fromisoformat(moment) - db.spec.clock) / timedelta(hours=1)


def pay(db: Database, student_id: str, amount: int, paid_with: str = "account") -> None:
    """Take from the account or put on the bill; give back where the amount is negative."""
    student = db.at("students", student_id)
    if paid_with == "bill" and student["billed"] + amount > MOST_BILLED:
        raise ToolRefusal("bill_too_high", f"the bill would grow beyond {money_text(MOST_BILLED)}")
    if paid_with == "account" and student["balance"] < amount:
        raise ToolRefusal("insufficient_funds", f"the account does not hold the {money_text(amount)} that are needed")
    changes = {"bill": {"billed": student["billed"] + amount}, "account": {"balance": student["balance"] - amount}}
    db.update("students", student_id, **changes[paid_with])


def purses(db: Database, student_id: str) -> dict[str, str]:
    """What account and bill come to now."""
    student = db.at("students", student_id)
    return {"balance": money_text(student["balance"]), "billed": money_text(student["billed"])}


def current(db: Database, student_id: str) -> list[dict[str, Any]]:
    """The sections that a student attends this term."""
    rows = db.find("enrolments", student_id=student_id, status="enrolled")
    return [db.at("sections", row["section_id"]) for row in rows]


def open_fines(db: Database, student_id: str) -> int:
    return sum(row["fine"] for row in db.find("loans", student_id=student_id, fine_status="open"))


def passed(db: Database, student_id: str, course_id: str) -> bool:
    done = db.find("enrolments", student_id=student_id, status="completed")
    return any(row["grade"] in PASSED and db.at("sections", row["section_id"])["course_id"] == course_id for row in done)


def joinable(db: Database, section_id: str) -> dict[str, Any]:
    section = existing(db, "sections", section_id)
    if section["term"] != TERM or days_since(db, section["starts_on"]) > JOIN_DAYS:
        raise ToolRefusal("closed", f"section {section_id} began on {section['starts_on']} and cannot be joined any more")
    return section


def check_eligible(db: Database, student_id: str, section: dict[str, Any]) -> None:
    """Refuses those who may not take the course of a section."""
    course, taken = db.at("courses", section["course_id"]), current(db, student_id)
    if open_fines(db, student_id) > FINES_BLOCK:
        raise ToolRefusal("fines_open", f"{student_id} owes the library {money_text(open_fines(db, student_id))}")
    if course["prerequisite_id"] and not passed(db, student_id, course["prerequisite_id"]):
        raise ToolRefusal("prerequisite_missing", f"{course['prerequisite_id']} has to be completed with C or better first")
    if any(row["course_id"] == section["course_id"] for row in taken):
        raise ToolRefusal("already_enrolled", f"{student_id} takes {section['course_id']} already")
    if sum(db.at("courses", row["course_id"])["credits"] for row in taken) + course["credits"] > MOST_CREDITS:
        raise ToolRefusal("too_many_credits", f"at most {MOST_CREDITS} credits are taken in a term")


def check_clash(taken: list[dict[str, Any]], section: dict[str, Any]) -> None:
    if any((row["meets"], row["begins"]) == (section["meets"], section["begins"]) for row in taken):
        raise ToolRefusal("clash", f"another class meets when section {section['section_id']} does")


def take_seat(db: Database, section: dict[str, Any], seats: int = 1) -> None:
    """One free seat less, or more where ``seats`` is negative."""
    if section["seats_free"] < seats:
        raise ToolRefusal("full", f"section {section['section_id']} is full; there is a waiting list")
    db.update("sections", section["section_id"], seats_free=section["seats_free"] - seats)


def charge_of(db: Database, student_id: str, section: dict[str, Any]) -> int:
    student, course = db.at("students", student_id), db.at("courses", section["course_id"])
    return tuition_of(course["credits"], section["mode"], student["scholarship_percent"])


def tutoring_price(db: Database, student_id: str, session: dict[str, Any]) -> int:
    attends = any(row["course_id"] == session["course_id"] for row in current(db, student_id))
    return int(session["price"] // 2 if attends else session["price"])


def added(db: Database, student_id: str, section_id: str, status: str, tuition: int, paid_with: str) -> dict[str, Any]:
    """A new enrolment of today."""
    what: dict[str, Any] = {"student_id": student_id, "section_id": section_id, "status": status, "grade": None}
    terms: dict[str, Any] = {"tuition": tuition, "paid_with": paid_with, "refunded": None, "since": db.spec.today}
    return db.insert("enrolments", "EN", **what, **terms)


def enrolled(db: Database, enrolment_id: str) -> dict[str, Any]:
    enrolment = existing(db, "enrolments", enrolment_id)
    if enrolment["status"] != "enrolled":
        raise ToolRefusal("not_enrolled", f"enrolment {enrolment_id} is {enrolment['status']}")
    return enrolment


@tool(side_effects="readOnly")
def quote_enrolment(db: Database, *, student_id: str, section_id: str) -> JsonValue:
    """Tell what a section would cost a student, and whether its prerequisite is met.

    student_id: Who would enrol
    section_id: The section
    """
    student, section = existing(db, "students", student_id), existing(db, "sections", section_id)
    needed = db.at("courses", section["course_id"])["prerequisite_id"]
    return {
        **db.show("students", student, "student_id", "scholarship_percent", "balance", "billed"),
        **db.show("sections", section, "section_id", "course_id", "mode", "starts_on", "seats_free"),
        "tuition": money_text(charge_of(db, student_id, section)),
        "prerequisite_met": needed is None or passed(db, student_id, needed),
        "open_fines": money_text(open_fines(db, student_id)),
    }


@tool(side_effects="readOnly")
def quote_drop(db: Database, *, enrolment_id: str) -> JsonValue:
    """Tell what dropping a class would return today, without doing it.

    enrolment_id: Enrolment that may be dropped
    """
    enrolment = enrolled(db, enrolment_id)
    section = db.at("sections", enrolment["section_id"])
    percent = drop_percent(days_since(db, section["starts_on"]))
    refund = money_text(enrolment["tuition"] * percent // 100)
    shown = db.show("enrolments", enrolment, "enrolment_id", "section_id", "tuition", "paid_with")
    return {**shown, "starts_on": section["starts_on"], "percent": percent, "refund": refund}


@tool(side_effects="destructive")
def enrol(db: Database, *, student_id: str, section_id: str, paid_with: Purse) -> JsonValue:
    """Enrol a student in a section.

    student_id: Who enrols
    section_id: The section
    paid_with: Student account, or bill of the term
    """
    existing(db, "students", student_id)
    section = joinable(db, section_id)
    check_eligible(db, student_id, section)
    check_clash(current(db, student_id), section)
    take_seat(db, section)
    tuition = charge_of(db, student_id, section)
    pay(db, student_id, tuition, paid_with)
    enrolment = added(db, student_id, section_id, "enrolled", tuition, paid_with)
    return {**db.show("enrolments", enrolment), "starts_on": section["starts_on"], **purses(db, student_id)}


@tool(side_effects="destructive")
def join_waiting_list(db: Database, *, student_id: str, section_id: str, paid_with: Purse) -> JsonValue:
    """Put a student on the waiting list of a full section; charged only when there is a seat.

    student_id: Who waits
    section_id: The section
    paid_with: How tuition is to be paid then
    """
    existing(db, "students", student_id)
    section = joinable(db, section_id)
    check_eligible(db, student_id, section)
    waiting = db.find("enrolments", student_id=student_id, status="waiting")
    if section["seats_free"] > 0:
        raise ToolRefusal("not_full", f"section {section_id} has free seats")
    if len(waiting) >= MOST_WAITING or any(row["section_id"] == section_id for row in waiting):
        raise ToolRefusal("not_listed", f"{student_id} is on this waiting list already, or on {MOST_WAITING} others")
    enrolment = added(db, student_id, section_id, "waiting", 0, paid_with)
    return {**db.show("enrolments", enrolment), "starts_on": section["starts_on"]}


@tool(side_effects="destructive")
def drop_class(db: Database, *, enrolment_id: str) -> JsonValue:
    """Drop a class and give back what the rules allow; refused if that is nothing.

    enrolment_id: Enrolment to be dropped
    """
    enrolment = enrolled(db, enrolment_id)
    section, who = db.at("sections", enrolment["section_id"]), enrolment["student_id"]
    refund = enrolment["tuition"] * drop_percent(days_since(db, section["starts_on"])) // 100
    if refund == 0:
        raise ToolRefusal("too_late", f"section {section['section_id']} began on {section['starts_on']}")
    take_seat(db, section, -1)
    pay(db, who, -refund, enrolment["paid_with"])
    changed = db.update("enrolments", enrolment_id, status="dropped", refunded=refund)
    return {**db.show("enrolments", changed), **purses(db, who)}


@tool(side_effects="destructive")
def move_class(db: Database, *, enrolment_id: str, section_id: str) -> JsonValue:
    """Move an enrolment to another section of the same course; fee and difference in tuition go through the account.

    enrolment_id: Enrolment to be moved
    section_id: The new section
    """
    enrolment, new = enrolled(db, enrolment_id), joinable(db, section_id)
    old, who = db.at("sections", enrolment["section_id"]), enrolment["student_id"]
    if section_id == old["section_id"] or new["course_id"] != old["course_id"]:
        raise ToolRefusal("not_movable", f"section {section_id} is the same or of another course")
    check_clash([row for row in current(db, who) if row["section_id"] != old["section_id"]], new)
    take_seat(db, new)
    take_seat(db, old, -1)
    fee, tuition = MOVE_FEE if days_since(db, old["starts_on"]) >= 0 else 0, charge_of(db, who, new)
    charged = tuition - enrolment["tuition"] + fee
    pay(db, who, charged)
    changed = db.update("enrolments", enrolment_id, section_id=section_id, tuition=tuition)
    money = {"fee": money_text(fee), "charged": money_text(charged), **purses(db, who)}
    return {**db.show("enrolments", changed), "starts_on": new["starts_on"], **money}


@tool(side_effects="destructive")
def book_tutoring(db: Database, *, student_id: str, session_id: str) -> JsonValue:
    """Book a free hour with a tutor, paid from the account.

    student_id: Who books
    session_id: The hour
    """
    existing(db, "students", student_id)
    session = existing(db, "tutoring_sessions", session_id)
    if session["status"] != "free" or session["begins"] <= db.spec.now:
        raise ToolRefusal("not_free", f"session {session_id} is booked or over")
    ahead = db.find("tutoring_sessions", student_id=student_id, status="booked")
    if sum(row["begins"] > db.spec.now for row in ahead) >= MOST_HOURS_AHEAD:
        raise ToolRefusal("too_many", f"{student_id} has booked {MOST_HOURS_AHEAD} hours ahead already")
    paid = tutoring_price(db, student_id, session)
    pay(db, student_id, paid)
    changed = db.update("tutoring_sessions", session_id, status="booked", student_id=student_id, paid=paid)
    return {**db.show("tutoring_sessions", changed), **purses(db, student_id)}


@tool(side_effects="destructive")
def cancel_tutoring(db: Database, *, session_id: str) -> JsonValue:
    """Cancel a booked hour that is still ahead.

    session_id: The hour
    """
    session = existing(db, "tutoring_sessions", session_id)
    if session["status"] != "booked" or session["begins"] <= db.spec.now:
        raise ToolRefusal("not_booked", f"session {session_id} is not booked, or over")
    full = hours_until(db, session["begins"]) >= FULL_REFUND_HOURS
    refund, who = session["paid"] if full else session["paid"] // 2, session["student_id"]
    pay(db, who, -refund)
    changed = db.update("tutoring_sessions", session_id, status="free", student_id=None, paid=None)
    return {**db.show("tutoring_sessions", changed), "refund": money_text(refund), **purses(db, who)}


@tool(side_effects="destructive")
def book_room(db: Database, *, student_id: str, room_id: str, begins: Moment, hours: Hours, people: People) -> JsonValue:
    """Book a room for whole hours, paid from the account.

    student_id: Who books
    room_id: The room
    begins: When, on the hour, e.g. 2026-02-03T14:00
    hours: How long, 1 to 4
    people: How many will be there
    """
    room = existing(db, "rooms", room_id)
    existing(db, "students", student_id)
    hour, ahead = int(begins[11:13]), hours_until(db, begins)
    if not (begins.endswith(":00") and OPENS <= hour <= CLOSES - hours and 0 < ahead <= MOST_DAYS_AHEAD * 24):
        raise ToolRefusal("not_bookable", "rooms are booked by whole hours from 08:00 to 22:00, at most 14 days ahead")
    if people > room["seats"]:
        raise ToolRefusal("too_small", f"room {room_id} seats {room['seats']}")
    same = [row for row in db.find("room_bookings", room_id=room_id, status="booked") if row["begins"][:10] == begins[:10]]
    if any(int(row["begins"][11:13]) < hour + hours and hour < int(row["begins"][11:13]) + row["hours"] for row in same):
        raise ToolRefusal("taken", f"room {room_id} is taken then")
    price = room["hourly_price"] * hours
    pay(db, student_id, price)
    what: dict[str, Any] = {"room_id": room_id, "student_id": student_id, "begins": begins, "hours": hours, "people": people}
    booking = db.insert("room_bookings", "RB", **what, price=price, status="booked")
    return {**db.show("room_bookings", booking), **purses(db, student_id)}


@tool(side_effects="destructive")
def cancel_room(db: Database, *, booking_id: str) -> JsonValue:
    """Cancel a room booking at least two hours before; all but 1.00 is given back.

    booking_id: Booking of the room
    """
    booking = existing(db, "room_bookings", booking_id)
    if booking["status"] != "booked" or hours_until(db, booking["begins"]) < ROOM_CANCEL_HOURS:
        raise ToolRefusal("not_cancellable", f"booking {booking_id} is cancelled, or begins in less than two hours")
    refund = booking["price"] - ROOM_CANCEL_FEE
    pay(db, booking["student_id"], -refund)
    changed = db.update("room_bookings", booking_id, status="cancelled")
    return {**db.show("room_bookings", changed), "refund": money_text(refund), **purses(db, booking["student_id"])}


@tool(side_effects="destructive")
def renew_loan(db: Database, *, loan_id: str) -> JsonValue:
    """Renew the loan of a book by 21 days.

    loan_id: The loan
    """
    loan = existing(db, "loans", loan_id)
    if loan["status"] != "out" or loan["reserved"] or loan["renewals"] >= MOST_RENEWALS:
        raise ToolRefusal("not_renewable", f"loan {loan_id} is over, reserved by another, or was renewed {MOST_RENEWALS} times")
    start = date.fromisoformat(max(loan["due_on"], db.spec.today))
    due = (start + timedelta(days=RENEWAL_DAYS)).isoformat()
    return db.show("loans", db.update("loans", loan_id, due_on=due, renewals=loan["renewals"] + 1))


@tool(side_effects="destructive")
def pay_fine(db: Database, *, loan_id: str) -> JsonValue:
    """Pay the open fine of a loan from the account.

    loan_id: The loan
    """
    loan = existing(db, "loans", loan_id)
    if loan["fine_status"] != "open":
        raise ToolRefusal("no_fine", f"loan {loan_id} has no open fine")
    pay(db, loan["student_id"], loan["fine"])
    changed = db.update("loans", loan_id, fine_status="paid")
    return {**db.show("loans", changed), **purses(db, loan["student_id"])}


@tool(side_effects="destructive")
def enter_exam(db: Database, *, student_id: str, exam_id: str) -> JsonValue:
    """Enter a student for a resit; the fee is taken from the account.

    student_id: Who sits the exam
    exam_id: The exam
    """
    existing(db, "students", student_id)
    exam = existing(db, "exams", exam_id)
    done = db.find("enrolments", student_id=student_id, status="completed")
    grades = [row["grade"] for row in done if db.at("sections", row["section_id"])["course_id"] == exam["course_id"]]
    if not grades or any(grade in PASSED for grade in grades):
        raise ToolRefusal("not_eligible", f"{student_id} has not completed {exam['course_id']} with D or F")
    if hours_until(db, exam["begins"]) < ENTRY_DAYS * 24 or exam["places"] < 1:
        raise ToolRefusal("closed", f"exam {exam_id} is full, or less than {ENTRY_DAYS} days away")
    if db.find("exam_entries", student_id=student_id, exam_id=exam_id, status="entered"):
        raise ToolRefusal("already_entered", f"{student_id} is entered for {exam_id} already")
    pay(db, student_id, exam["fee"])
    db.update("exams", exam_id, places=exam["places"] - 1)
    what = {"exam_id": exam_id, "student_id": student_id, "entered_on": db.spec.today, "status": "entered"}
    entry = db.insert("exam_entries", "EE", **what, fee=exam["fee"])
    return {**db.show("exam_entries", entry), "begins": exam["begins"], **purses(db, student_id)}


def _listed(name: str, table: str, about: str, *by: str, also: Filters | None = None, **more: Any) -> Declared:
    """Rows by the columns ``by``, of which the first is required, and by what is in ``also``."""
    filters: Filters = {**{column: (column, "is") for column in by}, **(also or {})}
    return search(name, table, filters, description=about, required=by[:1], **more)


ENROLMENTS: Final = "List the enrolments of a student; what a section is, is in get_section."
ROOM_BOOKINGS: Final = "List the bookings of a room, or those of a student, the earliest first."
ON_DAYS: Filters = {"from_day": ("begins", "from"), "until_day": ("begins", "until")}
WITH_SEATS: Filters = {"seats": ("seats", "from")}
TUTORING: Final = "List the tutoring hours of a course, the earliest first."
BOOKED: Final = {"status": "booked"}
OF_ROOM: Filters = {"room_id": ("room_id", "is"), "student_id": ("student_id", "is"), "day": ("begins", "on")}
READS: Final = (
    look_up("find_student", "students", by="email"),
    look_up("find_course", "courses", by="title"),
    look_up("get_course", "courses"),
    look_up("get_section", "sections"),
    look_up("find_room", "rooms", by="name"),
    search("list_room_bookings", "room_bookings", OF_ROOM, description=ROOM_BOOKINGS, where=BOOKED, order="begins"),
    _listed("search_rooms", "rooms", "Find rooms of a kind, the smallest first.", "kind", also=WITH_SEATS, order="seats"),
    _listed("list_tutoring", "tutoring_sessions", TUTORING, "course_id", "status", also=ON_DAYS, order="begins"),
    _listed("list_own_tutoring", "tutoring_sessions", "List the hours a student has booked.", "student_id", order="begins"),
    _listed("list_sections", "sections", "List the sections of a course in a term.", "course_id", "term", order="starts_on"),
    _listed("list_enrolments", "enrolments", ENROLMENTS, "student_id", "status"),
    _listed("list_loans", "loans", "List the loans of a student.", "student_id", "status", "fine_status", order="due_on"),
    _listed("list_exams", "exams", "List the resits of a course, the first one first.", "course_id", order="begins"),
)
CLASSES: Final = (quote_enrolment, quote_drop, enrol, join_waiting_list, drop_class, move_class)
TOOLS = (*READS, *CLASSES, book_tutoring, cancel_tutoring, book_room, cancel_room, renew_loan, pay_fine, enter_exam)
