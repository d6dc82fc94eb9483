"""Rows of Wrenfield College: courses that stay, three terms of sections, students with what they study, borrow and book."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from random import Random
from typing import Any, Final, TypeAlias

from toolorchestra.training.toolscale.draws import chance, some, weighted
from toolorchestra.training.toolscale.names import draw_people
from toolorchestra.worlds.shipped.education.tools import (
    CLOSES,
    JOIN_DAYS,
    MOST_CREDITS,
    MOST_HOURS_AHEAD,
    OPENS,
    PASSED,
    RENEWAL_DAYS,
    TERM,
    fine_of,
    tuition_of,
)

Row: TypeAlias = dict[str, Any]
Tables: TypeAlias = dict[str, list[Row]]
NOW: Final = datetime.fromisoformat("2026-02-02T09:00")
TODAY: Final = NOW.date()
STUDENTS: Final = 160
SUBJECTS: Final = {
    "biology": ("Cell Biology", "Genetics", "Molecular Medicine"),
    "chemistry": ("General Chemistry", "Organic Chemistry", "Biochemistry"),
    "mathematics": ("Calculus", "Linear Algebra", "Numerical Methods"),
    "statistics": ("Elementary Statistics", "Regression Analysis", "Survey Design"),
    "computing": ("Programming Basics", "Data Structures", "Operating Systems"),
    "economics": ("Principles of Economics", "Labour Economics", "Public Finance"),
    "history": ("Atlantic History", "Archives and Sources", "Oral History"),
    "spanish": ("Spanish for Beginners", "Spanish Conversation", "Spanish Literature"),
    "art": ("Drawing Studio", "Printmaking", "Exhibition Practice"),
    "psychology": ("Foundations of Psychology", "Child Development", "Counselling Skills"),
    "accounting": ("Bookkeeping", "Cost Accounting", "Auditing"),
    "nursing": ("Anatomy and Physiology", "Nursing Practice", "Community Health"),
}
MEETS: Final = {"mon_wed": 0, "tue_thu": 1, "friday": 4, "saturday": 5}  # days after Monday
TIMES: Final = ("09:00", "11:00", "14:00", "17:30")
WEEKS: Final = (("2026-01-05", 0.1), ("2026-01-19", 0.2), ("2026-01-26", 0.2), ("2026-02-09", 0.25), ("2026-02-16", 0.25))
TEACHERS: Final = ("Halloran", "Ostrowski", "Vane", "Iyer", "Lindgren", "Mbeki-Stone", "Carrow", "Tsang", "Duarte", "Fennimore")
TUTORS: Final = ("Bea Larch", "Connor Pike", "Dunya Aslan", "Eli Marchetti", "Fern Oyelaran", "Goran Vidal", "Hetty Moss")
ROOMS: Final = {
    "study": ("Juniper Room", "Hazel Room", "Sorrel Room", "Bramble Room", "Larch Room", "Fennel Room"),
    "seminar": ("Harcourt Room", "Pemberton Room", "Quayle Room", "Redgrave Room", "Ashdown Room"),
    "music": ("Cadenza Room", "Nocturne Room", "Rondo Room", "Serenade Room"),
}
SIZES: Final = {"study": (2, 200, 300), "seminar": (6, 600, 900), "music": (2, 400, 700)}  # least seats, price from, price to
BOOKS: Final = (
    "A Field Guide to Mosses;The Arithmetic of Clouds;Bridges and Their Builders;Cities Under Glass;A Short History of Salt;"
    "The Grammar of Maps;How Languages Die;Inside the Cell;Letters from the Observatory;The Ledger and the Law;"
    "Mending Bones;Notes on Colour;Ordinary Economies;Patterns in Noise;The Patient Gardener;Quiet Machines;"
    "Reading the Rocks;Small Wars, Long Shadows;The Teacher's Workshop;Thinking in Proofs;The Unwritten Constitution;"
    "Voices of the Harbour;Weather for Sailors;The Wooden Orchestra;Writing a Thesis;The Zinc Papers"
)


def draw_rows(random: Random) -> Tables:
    """All tables; every reference leads to a row, every amount follows from the college's rules."""
    tables: Tables = {"courses": list(_courses(random)), "students": list(_students(random))}
    tables["sections"] = list(_sections(random, tables["courses"]))
    tables["rooms"] = list(_rooms(random))
    tables["enrolments"] = list(_enrolments(random, tables))
    for student in tables["students"]:
        mine = [row for row in tables["enrolments"] if row["student_id"] == student["student_id"]]
        student["billed"] = sum(row["tuition"] for row in mine if row["status"] == "enrolled" and row["paid_with"] == "bill")
    tables["room_bookings"] = list(_room_bookings(random, tables))
    tables["loans"] = list(_loans(random, tables["students"]))
    tables["tutoring_sessions"] = list(_tutoring(random, tables))
    tables["exams"] = list(_exams(random, tables))
    tables["exam_entries"] = list(_exam_entries(random, tables))
    return tables


def _keys(random: Random, prefix: str, count: int) -> Iterator[str]:
    return (f"{prefix}-{number}" for number in random.sample(range(10_000, 99_999), count))


def _day(days: int) -> str:
    return (TODAY + timedelta(days=days)).isoformat()


def _courses(random: Random) -> Iterator[Row]:
    """Three in a row for each subject, each the prerequisite of the next."""
    keys = _keys(random, "CO", len(SUBJECTS) * 3)
    for subject, titles in SUBJECTS.items():
        before: str | None = None
        for title in titles:
            key = next(keys)
            terms = {"subject": subject, "credits": random.randint(3, 5), "prerequisite_id": before}
            yield {"course_id": key, "title": title, **terms}
            before = key


def _students(random: Random) -> Iterator[Row]:
    for key, person in zip(_keys(random, "ST", STUDENTS), draw_people(random, STUDENTS), strict=True):
        born = date(random.randint(1975, 2006), random.randint(1, 12), random.randint(1, 28))
        yield {
            "student_id": key,
            "name": person.name,
            "email": person.email,
            "birth_date": born.isoformat(),
            "programme": random.choice(("business", "nursing", "computing", "humanities", "science", "design")),
            "admitted_on": _day(-random.randint(420, 900)),
            "scholarship_percent": weighted(random, (0, 0.4), (10, 0.2), (25, 0.2), (40, 0.2)),
            "balance": random.randrange(12_000, 260_000, 5),
            "billed": 0,
        }


def _sections(random: Random, courses: list[Row]) -> Iterator[Row]:
    """One in each past term in which a course was given, two to four this spring on different days."""
    keys = _keys(random, "SE", len(courses) * 6)
    for index, course in enumerate(courses):
        for term, monday in (("spring_2025", "2025-01-13"), ("autumn_2025", "2025-09-08"))[index % 3 :]:
            meets = random.choice(sorted(MEETS))
            yield {**_section(random, next(keys), course, term, meets, monday), "seats_free": 0}
        for meets in some(random, sorted(MEETS), random.randint(2, 4)):
            monday = weighted(random, *WEEKS)
            free = weighted(random, (0, 0.25), (random.randint(1, 4), 0.25), (random.randint(5, 25), 0.5))
            yield {**_section(random, next(keys), course, TERM, meets, monday), "seats_free": free}


def _section(random: Random, key: str, course: Row, term: str, meets: str, monday: str) -> Row:
    return {
        "section_id": key,
        "course_id": course["course_id"],
        "term": term,
        "meets": meets,
        "begins": random.choice(TIMES),
        "mode": weighted(random, ("campus", 0.65), ("online", 0.35)),
        "starts_on": (date.fromisoformat(monday) + timedelta(days=MEETS[meets])).isoformat(),
        "instructor": random.choice(TEACHERS),
    }


def _rooms(random: Random) -> Iterator[Row]:
    keys = _keys(random, "RM", sum(map(len, ROOMS.values())))
    for kind, names in ROOMS.items():
        least, low, high = SIZES[kind]
        for number, name in enumerate(names):  # no two of a kind seat as many
            yield {
                "room_id": next(keys),
                "name": name,
                "kind": kind,
                "seats": least + 2 * number + random.randint(0, 1),
                "hourly_price": random.randrange(low, high + 1, 25),
                "screen": chance(random, 0.5),
            }


def _enrolments(random: Random, tables: Tables) -> Iterator[Row]:
    """First what was completed, then this spring's classes that this allows for."""
    keys = _keys(random, "EN", STUDENTS * 20)
    past = {(row["course_id"], row["term"]): row for row in tables["sections"] if row["term"] != TERM}
    for student in tables["students"]:
        done = dict(_history(random, tables["courses"], past))
        for section, grade in done.values():
            yield _enrolment(random, next(keys), student, section, tables) | {"status": "completed", "grade": grade}
        classes = list(_classes(random, tables, {course: grade for course, (_, grade) in done.items()}))
        for section in classes:
            yield _enrolment(random, next(keys), student, section, tables)
        yield from _other(random, keys, student, tables, done.keys() | {row["course_id"] for row in classes})


def _history(random: Random, courses: list[Row], past: dict[tuple[str, str], Row]) -> Iterator[tuple[str, tuple[Row, str]]]:
    """A first course of some subjects, and the second where the first was passed in time."""
    for index in sorted(random.sample(range(0, len(courses), 3), random.randint(3, 6))):
        first, second = courses[index]["course_id"], courses[index + 1]["course_id"]
        term, grade = random.choice(("spring_2025", "autumn_2025")), _grade(random)
        yield first, (past[first, term], grade)
        if term == "spring_2025" and grade in PASSED and chance(random, 0.6):
            yield second, (past[second, "autumn_2025"], _grade(random))


def _grade(random: Random) -> str:
    return weighted(random, ("A", 0.2), ("B", 0.3), ("C", 0.22), ("D", 0.16), ("F", 0.12))


def _classes(random: Random, tables: Tables, grades: dict[str, str]) -> Iterator[Row]:
    """Sections of courses that may be taken, without clashes and within the credits of a term."""
    credits_of = {row["course_id"]: row["credits"] for row in tables["courses"]}
    before = {row["course_id"]: row["prerequisite_id"] for row in tables["courses"]}
    sections = [row for row in tables["sections"] if row["term"] == TERM and row["course_id"] not in grades]
    taken, points, most = list[Row](), 0, random.randint(1, 4)
    for section in some(random, sections, random.randint(15, 60)):
        course = section["course_id"]
        allowed = before[course] is None or grades.get(before[course]) in PASSED
        clash = any((row["meets"], row["begins"]) == (section["meets"], section["begins"]) for row in taken)
        if allowed and not clash and all(row["course_id"] != course for row in taken) and len(taken) < most:
            points += credits_of[course]
            if points <= MOST_CREDITS:
                taken.append(section)
                yield section


def _enrolment(random: Random, key: str, student: Row, section: Row, tables: Tables) -> Row:
    points = next(row["credits"] for row in tables["courses"] if row["course_id"] == section["course_id"])
    since = min(date.fromisoformat(section["starts_on"]), TODAY) - timedelta(days=random.randint(1, 40))
    return {
        "enrolment_id": key,
        "student_id": student["student_id"],
        "section_id": section["section_id"],
        "status": "enrolled",
        "grade": None,
        "tuition": tuition_of(points, section["mode"], student["scholarship_percent"]),
        "paid_with": random.choice(("account", "bill")),
        "refunded": None,
        "since": since.isoformat(),
    }


def _other(random: Random, keys: Iterator[str], student: Row, tables: Tables, known: set[str]) -> Iterator[Row]:
    """A first course that was dropped in good time, or one that is waited for."""
    firsts = {row["course_id"] for row in tables["courses"] if row["prerequisite_id"] is None} - known
    spring = [row for row in tables["sections"] if row["term"] == TERM and row["course_id"] in firsts]
    oldest = _day(-JOIN_DAYS)
    full = [row for row in spring if row["seats_free"] == 0 and row["starts_on"] >= oldest]
    if chance(random, 0.15):
        row = _enrolment(random, next(keys), student, random.choice(spring), tables)
        yield row | {"status": "dropped", "refunded": row["tuition"]}
    elif full and chance(random, 0.15):
        yield _enrolment(random, next(keys), student, random.choice(full), tables) | {"status": "waiting", "tuition": 0}


def _room_bookings(random: Random, tables: Tables) -> Iterator[Row]:
    """Some hours of most days in each room, one after the other."""
    keys = _keys(random, "RB", 2000)
    for room in tables["rooms"]:
        for day in range(-3, 14):
            hour = OPENS + random.randint(0, 4)
            while hour < CLOSES - 4 and chance(random, 0.6):
                hours = random.randint(1, 3)
                yield {
                    "booking_id": next(keys),
                    "room_id": room["room_id"],
                    "student_id": random.choice(tables["students"])["student_id"],
                    "begins": f"{_day(day)}T{hour:02d}:00",
                    "hours": hours,
                    "people": random.randint(1, room["seats"]),
                    "price": room["hourly_price"] * hours,
                    "status": weighted(random, ("booked", 0.9), ("cancelled", 0.1)),
                }
                hour += hours + random.randint(0, 4)


def _loans(random: Random, students: list[Row]) -> Iterator[Row]:
    keys = _keys(random, "LO", STUDENTS * 8)
    for student in students:
        for book in some(random, BOOKS.split(";"), random.randint(3, 7)):
            out, renewals = chance(random, 0.55), weighted(random, (0, 0.55), (1, 0.25), (2, 0.2))
            due = TODAY + timedelta(days=random.randint(-9, 20) if out else -random.randint(15, 160))
            late = (
                0
                if out
                else weighted(
                    random, (random.randint(-12, 0), 0.5), (random.randint(2, 14), 0.2), (random.randint(15, 70), 0.3)
                )
            )
            returned = min(due + timedelta(days=late), TODAY - timedelta(days=1))
            fine = 0 if out else fine_of((returned - due).days)
            yield {
                "loan_id": next(keys),
                "student_id": student["student_id"],
                "book": book,
                "lent_on": (due - timedelta(days=RENEWAL_DAYS * (renewals + 1))).isoformat(),
                "due_on": due.isoformat(),
                "returned_on": None if out else returned.isoformat(),
                "renewals": renewals,
                "reserved": out and chance(random, 0.15),
                "status": "out" if out else "returned",
                "fine": fine,
                "fine_status": "none" if not fine else weighted(random, ("open", 0.6), ("paid", 0.4)),
            }


def _tutoring(random: Random, tables: Tables) -> Iterator[Row]:
    """Hours with a tutor for each course; some are booked, mostly by those who attend it."""
    keys, ahead = _keys(random, "TU", len(tables["courses"]) * 12), dict[str, int]()
    courses = {row["section_id"]: row["course_id"] for row in tables["sections"]}
    attends = {(row["student_id"], courses[row["section_id"]]) for row in tables["enrolments"] if row["status"] == "enrolled"}
    for course in tables["courses"]:
        price, who = (
            random.randrange(2600, 4600, 50),
            [student for student, key in sorted(attends) if key == course["course_id"]],
        )
        for day in sorted(random.sample(range(-3, 27), 10)):
            begins = f"{_day(day)}T{random.randint(9, 18):02d}:{random.choice(('00', '30'))}"
            student = random.choice(who if who and chance(random, 0.85) else [row["student_id"] for row in tables["students"]])
            booked = chance(random, 0.45) and ahead.get(student, 0) < MOST_HOURS_AHEAD - 1
            ahead[student] = ahead.get(student, 0) + booked
            full = price + random.randrange(-400, 600, 50)
            paid = full // 2 if (student, course["course_id"]) in attends else full
            yield {
                "session_id": next(keys),
                "course_id": course["course_id"],
                "tutor": random.choice(TUTORS),
                "begins": begins,
                "price": full,
                "status": "booked" if booked else "free",
                "student_id": student if booked else None,
                "paid": paid if booked else None,
            }


def _exams(random: Random, tables: Tables) -> Iterator[Row]:
    """Two resits for each course that was completed by anybody."""
    keys, done = (
        _keys(random, "EX", len(tables["courses"]) * 2),
        {row["course_id"] for row in tables["sections"] if row["term"] != TERM},
    )
    rooms = [row["room_id"] for row in tables["rooms"] if row["kind"] == "seminar"]
    for course in (row for row in tables["courses"] if row["course_id"] in done):
        for day in (random.randint(3, 16), random.randint(18, 40)):
            yield {
                "exam_id": next(keys),
                "course_id": course["course_id"],
                "begins": f"{_day(day)}T{random.choice(('09:00', '10:30', '13:00', '15:30'))}",
                "room_id": random.choice(rooms),
                "places": weighted(random, (0, 0.2), (random.randint(1, 8), 0.8)),
                "fee": random.randrange(3500, 6000, 250),
            }


def _exam_entries(random: Random, tables: Tables) -> Iterator[Row]:
    """Some of those who did not do well are entered."""
    keys, courses = _keys(random, "EE", 400), {row["section_id"]: row["course_id"] for row in tables["sections"]}
    exams = {row["course_id"]: row for row in tables["exams"]}  # the later one of each course
    for row in tables["enrolments"]:
        if row["status"] == "completed" and row["grade"] not in PASSED and chance(random, 0.25):
            exam = exams[courses[row["section_id"]]]
            entered = {
                "entered_on": _day(-random.randint(1, 20)),
                "status": weighted(random, ("entered", 0.85), ("withdrawn", 0.15)),
            }
            yield {
                "entry_id": next(keys),
                "exam_id": exam["exam_id"],
                "student_id": row["student_id"],
                "fee": exam["fee"],
                **entered,
            }
