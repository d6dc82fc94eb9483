"""What students want besides classes: tutoring, rooms, library, resits."""

from datetime import datetime, timedelta
from typing import Final

from toolorchestra.training.toolscale.composing import Composer, Intent, Row, UnsuitableError
from toolorchestra.training.toolscale.domains.education.steps import RECORDS, is_theirs, meet, somebody
from toolorchestra.training.toolscale.draws import chance
from toolorchestra.worlds.shipped.education.tools import (
    CLOSES,
    ENTRY_DAYS,
    FULL_REFUND_HOURS,
    MOST_RENEWALS,
    OPENS,
    PASSED,
    ROOM_CANCEL_HOURS,
)
from toolorchestra.worlds.tools import cents
from toolorchestra.worlds.values import Kind

TUTOR: Final = ("tutoring_sessions", "tutor")
ROOM: Final = ("rooms", "name")
WORDS: Final = ("", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


def named_course(do: Composer, course_id: str) -> None:
    """A course that the student names."""
    title = do.row("courses", course_id)["title"]
    do.say(course=title)
    do.once("find_course", title=title)


def hours_ahead(do: Composer, row: Row) -> float:
    """Hours until something begins."""
    return (datetime.fromisoformat(row["begins"]) - do.world.spec.clock) / timedelta(hours=1)


def free_hours(do: Composer, course_id: str) -> list[Row]:
    """Tutoring hours of a course that are free and ahead, the earliest first."""
    rows = [row for row in do.rows("tutoring_sessions", course_id=course_id, status="free") if hours_ahead(do, row) > 0]
    return sorted(rows, key=lambda row: str(row["begins"]))


def tell_hour(do: Composer, session: Row, done: Row) -> None:
    """When the hour is and what it cost."""
    me = ("tutoring_sessions", session["session_id"])
    do.tell("begins", Kind.DATETIME, session["begins"], me)
    do.tell("price", Kind.MONEY, cents(done["paid"]), me)


def course_to_learn(do: Composer, student_id: str) -> str:
    """Mostly one that the student attends, since that is what people need a tutor for."""
    sections = {row["section_id"]: row["course_id"] for row in do.rows("sections")}
    own = [sections[row["section_id"]] for row in do.rows("enrolments", student_id=student_id, status="enrolled")]
    return str(do.choose(own) if own and chance(do.random, 0.75) else do.pick("courses")["course_id"])


def tutor_first(do: Composer) -> None:
    """The first free hour from a day on."""
    do.go_by(*RECORDS)
    student = somebody(do)
    course = course_to_learn(do, student["student_id"])
    named_course(do, course)
    session = do.choose(free_hours(do, course))
    after = session["begins"][:10]
    do.say(after=after)
    do.call("list_tutoring", course_id=course, status="free", from_day=after)
    first = next(row for row in free_hours(do, course) if row["begins"][:10] >= after)
    done = do.call("book_tutoring", student_id=student["student_id"], session_id=first["session_id"])
    tell_hour(do, first, done)
    if do.evolve("tutor"):
        do.tell("tutor", Kind.TEXT, first["tutor"], ("tutoring_sessions", first["session_id"]), column=TUTOR)


def tutor_cheapest(do: Composer) -> None:
    """Of the free hours until a day the one with the lowest price."""
    do.go_by(*RECORDS)
    student = somebody(do)
    course = course_to_learn(do, student["student_id"])
    named_course(do, course)
    free = free_hours(do, course)
    do.need(len(free) > 1)
    until = free[do.random.randrange(1, len(free))]["begins"][:10]
    do.say(until=until)
    do.call("list_tutoring", course_id=course, status="free", until_day=until)
    fit = sorted((row for row in free if row["begins"][:10] <= until), key=lambda row: int(row["price"]))
    do.need(len(fit) > 1 and fit[0]["price"] < fit[1]["price"])
    done = do.call("book_tutoring", student_id=student["student_id"], session_id=fit[0]["session_id"])
    tell_hour(do, fit[0], done)
    if do.evolve("balance"):
        do.tell("balance", Kind.MONEY, cents(done["balance"]), ("students", student["student_id"]))


def an_hour(do: Composer) -> Row:
    """A booked hour of the student that is ahead, told by its course."""
    do.go_by("tutoring_sessions")
    booked = [row for row in do.rows("tutoring_sessions", status="booked") if hours_ahead(do, row) > 0]
    session: Row = do.choose([row for row in booked if is_theirs(do, row)])
    alike = [row for row in booked if (row["student_id"], row["course_id"]) == (session["student_id"], session["course_id"])]
    do.need(len(alike) == 1)
    meet(do, session["student_id"])
    do.unknown("session number")
    named_course(do, session["course_id"])
    do.call("list_own_tutoring", student_id=session["student_id"])
    return session


def cancel_tutoring(do: Composer) -> None:
    """Perhaps only where all of the money comes back."""
    session = an_hour(do)
    me = ("tutoring_sessions", session["session_id"])
    do.tell("tutor", Kind.TEXT, session["tutor"], me, column=TUTOR)
    if do.evolve("full_only") and hours_ahead(do, session) < FULL_REFUND_HOURS:
        do.tell("begins", Kind.DATETIME, session["begins"], me)
        return
    done = do.call("cancel_tutoring", session_id=session["session_id"])
    do.tell("refund", Kind.MONEY, cents(done["refund"]), me)
    do.tell("balance", Kind.MONEY, cents(done["balance"]), ("students", session["student_id"]))


def move_tutoring(do: Composer) -> None:
    """The next free hour of the same course instead."""
    do.go_by(*RECORDS)
    session = an_hour(do)
    do.call("list_tutoring", course_id=session["course_id"], status="free")
    later = [row for row in free_hours(do, session["course_id"]) if row["begins"] > session["begins"]]
    do.need(bool(later))
    do.call("cancel_tutoring", session_id=session["session_id"])
    done = do.call("book_tutoring", student_id=session["student_id"], session_id=later[0]["session_id"])
    do.tell("begins", Kind.DATETIME, later[0]["begins"], ("tutoring_sessions", later[0]["session_id"]))
    do.tell("balance", Kind.MONEY, cents(done["balance"]), ("students", session["student_id"]))


def a_slot(do: Composer, most: int) -> Row:
    """Day, hour, how long and for how many, as the student says it."""
    hours, people = do.random.randint(1, 3), do.random.randint(2, most)
    day = (do.world.spec.clock + timedelta(days=do.random.randint(1, 13))).strftime("%Y-%m-%d")
    hour = do.random.randint(OPENS + 1, CLOSES - hours)
    spelt = do.random.choice((WORDS[hours], str(hours)))
    do.say(day=day, time=f"{hour:02d}:00", hours=f"{spelt} hour" if hours == 1 else f"{spelt} hours")
    do.say(people=do.random.choice((WORDS[people] if people < len(WORDS) else str(people), str(people))))
    return {"begins": f"{day}T{hour:02d}:00", "hours": hours, "people": people}


def is_free(do: Composer, room_id: str, slot: Row) -> bool:
    """Whether a room is free then."""
    begin = int(slot["begins"][11:13])
    rows = [
        row for row in do.rows("room_bookings", room_id=room_id, status="booked") if row["begins"][:10] == slot["begins"][:10]
    ]
    spans = [(int(row["begins"][11:13]), int(row["begins"][11:13]) + row["hours"]) for row in rows]
    return all(end <= begin or start >= begin + slot["hours"] for start, end in spans)


def book_room(do: Composer) -> None:
    """A room that is named; where it is taken, the smallest other one of its kind that will do."""
    student = somebody(do)
    room = do.pick("rooms", lambda row: row["seats"] > 1)
    do.say(room=room["name"])
    do.once("find_room", name=room["name"])
    slot = a_slot(do, min(8, room["seats"]))
    do.call("list_room_bookings", room_id=room["room_id"], day=slot["begins"][:10])
    if do.evolve("or_other") and not is_free(do, room["room_id"], slot):
        room = smallest_free(do, room["kind"], slot)
    reserve(do, student, room, slot)


def reserve(do: Composer, student: Row, room: Row, slot: Row) -> None:
    """Books the room, and tells number and price."""
    done = do.call("book_room", student_id=student["student_id"], room_id=room["room_id"], **slot)
    do.tell("booking_number", Kind.ID, done["booking_id"], ("room_bookings", done["booking_id"]))
    do.tell("price", Kind.MONEY, cents(done["price"]), ("room_bookings", done["booking_id"]))


def smallest_free(do: Composer, kind: str, slot: Row) -> Row:
    """Looks at one room after the other, the smallest first."""
    found = do.call("search_rooms", kind=kind, seats=slot["people"])["rooms"]
    do.need(len({row["seats"] for row in found}) == len(found))
    for room in found:
        do.once("list_room_bookings", room_id=room["room_id"], day=slot["begins"][:10])
        if is_free(do, room["room_id"], slot):
            return do.row("rooms", room["room_id"])
    raise UnsuitableError


def find_room(do: Composer) -> None:
    """The smallest room of a kind that is free."""
    student = somebody(do)
    kind, slot = do.random.choice(("study", "seminar", "music")), a_slot(do, 8)
    do.say(kind=kind)
    room = smallest_free(do, kind, slot)
    do.tell("room", Kind.TEXT, room["name"], ("rooms", room["room_id"]), column=ROOM)
    reserve(do, student, room, slot)


def cancel_room(do: Composer) -> None:
    """A booking that is told by its day; perhaps with another one in its place."""
    do.go_by("room_bookings")
    booked = [row for row in do.rows("room_bookings", status="booked") if hours_ahead(do, row) >= ROOM_CANCEL_HOURS]
    booking: Row = do.choose([row for row in booked if is_theirs(do, row)])
    who, day = booking["student_id"], booking["begins"][:10]
    do.need(sum(row["begins"][:10] == day for row in do.rows("room_bookings", student_id=who, status="booked")) == 1)
    meet(do, who)
    do.say(day=day)
    do.unknown("booking number")
    do.call("list_room_bookings", student_id=who)
    done = do.call("cancel_room", booking_id=booking["booking_id"])
    do.tell("refund", Kind.MONEY, cents(done["refund"]), ("room_bookings", booking["booking_id"]))
    do.tell("balance", Kind.MONEY, cents(done["balance"]), ("students", who))


def renewable(loan: Row) -> bool:
    return loan["status"] == "out" and not loan["reserved"] and loan["renewals"] < MOST_RENEWALS


def renew_loans(do: Composer) -> None:
    """All books that are due until a day, as far as the rules allow."""
    do.go_by("loans")
    until = (do.world.spec.clock + timedelta(days=do.random.randint(2, 18))).strftime("%Y-%m-%d")

    def due(student_id: str) -> list[Row]:
        return [row for row in do.rows("loans", student_id=student_id, status="out") if row["due_on"] <= until]

    student = somebody(do, lambda row: sum(map(renewable, due(row["student_id"]))) > 1)
    loans = [row for row in due(student["student_id"]) if renewable(row)]
    do.say(until=until)
    do.unknown("loan numbers")
    do.call("list_loans", student_id=student["student_id"], status="out")
    days = [do.call("renew_loan", loan_id=loan["loan_id"])["due_on"] for loan in loans]
    rows = [("loans", loan["loan_id"]) for loan in loans]
    do.tell("last_day", Kind.DATE, max(days), *rows)
    if min(days) < max(days):
        do.tell("first_day", Kind.DATE, min(days), *rows)


def renew_loan(do: Composer) -> None:
    """One book, if that is possible."""
    do.go_by("loans")
    loan = do.pick("loans", lambda row: row["status"] == "out" and is_theirs(do, row))
    student = meet(do, loan["student_id"])
    do.need(renewable(loan) or chance(do.random, 0.6))
    do.say(book=loan["book"])
    do.unknown("loan number")
    do.call("list_loans", student_id=student["student_id"], status="out")
    me = ("loans", loan["loan_id"])
    day = do.call("renew_loan", loan_id=loan["loan_id"])["due_on"] if renewable(loan) else loan["due_on"]
    do.tell("due", Kind.DATE, day, me)
    if do.evolve("lent"):
        do.tell("lent", Kind.DATE, loan["lent_on"], me)


def pay_fines(do: Composer) -> None:
    """All that is open."""
    do.go_by("loans")

    def owed(student_id: str) -> list[Row]:
        return do.rows("loans", student_id=student_id, fine_status="open")

    student = somebody(do, lambda row: bool(owed(row["student_id"])))
    who, loans, done = student["student_id"], owed(student["student_id"]), {}
    do.unknown("loan numbers")
    do.call("list_loans", student_id=who, fine_status="open")
    if len(loans) > 1 and do.evolve("dearest"):
        loans = sorted(loans, key=lambda row: -int(row["fine"]))
        do.need(loans[0]["fine"] > loans[1]["fine"])
        rest = loans[1:]
        loans = loans[:1]
        do.tell("book", Kind.TEXT, loans[0]["book"], ("loans", loans[0]["loan_id"]), column=("loans", "book"))
        do.tell("rest", Kind.MONEY, sum(row["fine"] for row in rest), *(("loans", row["loan_id"]) for row in rest))
    else:
        do.phrase("all")
        last = max(str(row["returned_on"]) for row in loans)
        do.tell("returned", Kind.DATE, last, *(("loans", row["loan_id"]) for row in loans))
    for loan in loans:
        done = do.call("pay_fine", loan_id=loan["loan_id"])
    do.tell("total", Kind.MONEY, sum(row["fine"] for row in loans), *(("loans", row["loan_id"]) for row in loans))
    do.tell("balance", Kind.MONEY, cents(done["balance"]), ("students", who))


def resit(do: Composer) -> None:
    """The first exam that can still be entered, in a course that went badly."""
    do.go_by("exam_entries")
    sections = {row["section_id"]: row["course_id"] for row in do.rows("sections")}
    entered = {(row["student_id"], row["exam_id"]) for row in do.rows("exam_entries", status="entered")}
    done = do.rows("enrolments", status="completed")
    failed = do.choose([row for row in done if row["grade"] not in PASSED and is_theirs(do, row)])
    course, who = sections[failed["section_id"]], failed["student_id"]
    meet(do, who)
    named_course(do, course)
    exams = sorted(do.rows("exams", course_id=course), key=lambda row: str(row["begins"]))
    do.need(not any((who, row["exam_id"]) in entered for row in exams))
    do.call("list_exams", course_id=course)
    still = [row for row in exams if row["places"] and hours_ahead(do, row) >= ENTRY_DAYS * 24]
    do.need(bool(still))
    exam = still[0]
    entry = do.call("enter_exam", student_id=who, exam_id=exam["exam_id"])
    do.tell("begins", Kind.DATETIME, exam["begins"], ("exams", exam["exam_id"]))
    do.tell("entry_number", Kind.ID, entry["entry_id"], ("exam_entries", entry["entry_id"]))
    if do.evolve("fee"):
        do.tell("fee", Kind.MONEY, exam["fee"], ("exams", exam["exam_id"]))


CAMPUS: Final = (
    Intent("tutor_first", tutor_first, ("tutor",)),
    Intent("tutor_cheapest", tutor_cheapest, ("balance",)),
    Intent("cancel_tutoring", cancel_tutoring, ("full_only",)),
    Intent("move_tutoring", move_tutoring),
    Intent("book_room", book_room, ("or_other",)),
    Intent("find_room", find_room),
    Intent("cancel_room", cancel_room),
    Intent("renew_loans", renew_loans),
    Intent("renew_loan", renew_loan, ("lent",)),
    Intent("pay_fines", pay_fines, ("dearest",)),
    Intent("resit", resit, ("fee",)),
)
