"""Steps that intents of Wrenfield College share: meet the student, find the class, find a section that can be joined."""

from datetime import date
from typing import Final

from toolorchestra.training.toolscale.composing import Composer, Fits, Row
from toolorchestra.training.toolscale.customers import Customers
from toolorchestra.worlds.errors import ToolRefusal
from toolorchestra.worlds.shipped.education.tools import JOIN_DAYS, TERM, check_clash, check_eligible, current
from toolorchestra.worlds.tools import cents
from toolorchestra.worlds.values import Kind

TITLE: Final = ("courses", "title")
RECORDS: Final = ("enrolments", "tutoring_sessions")  # what enrolling, and an hour with a tutor, depends on
DAYS: Final = {
    "mon_wed": "Mondays and Wednesdays",
    "tue_thu": "Tuesdays and Thursdays",
    "friday": "Fridays",
    "saturday": "Saturdays",
}
STUDENTS: Final = Customers("students", "student_id", "find_student")
meet, somebody, is_theirs = STUDENTS.meet, STUDENTS.somebody, STUDENTS.owns


def a_course(do: Composer, course_id: str) -> Row:
    """A course that the student names, looked up with its sections of this term."""
    course = do.row("courses", course_id)
    do.say(course=course["title"])
    do.once("find_course", title=course["title"])
    do.once("list_sections", course_id=course_id, term=TERM)
    return course


def spring(do: Composer, course_id: str | None = None) -> list[Row]:
    """Sections of this term that can still be joined by their date, by number."""
    wanted = {} if course_id is None else {"course_id": course_id}
    today = do.world.spec.clock.date()
    rows = do.rows("sections", term=TERM, **wanted)
    return [row for row in rows if (today - date.fromisoformat(row["starts_on"])).days <= JOIN_DAYS]


def may_take(do: Composer, student_id: str, section: Row) -> bool:
    """Whether the rules let a student into a section, seats apart."""
    database = do.session.database
    database.begin("composing")  # what is read here is part of no call
    try:
        check_eligible(database, student_id, section)
        check_clash(current(database, student_id), section)
    except ToolRefusal:
        return False
    return True


def open_to(do: Composer, student_id: str, *, full: bool = False) -> list[Row]:
    """Sections that a student could enrol in now, or those where they could only wait."""
    return [row for row in spring(do) if (row["seats_free"] == 0) == full and may_take(do, student_id, row)]


def say_days(do: Composer, section: Row) -> None:
    """Tells a section by its days; no course has two on the same."""
    do.say(days=DAYS[section["meets"]])


def purse(do: Composer) -> str:
    """The account or the bill, for what is to be paid."""
    found = do.random.choice(("account", "bill"))
    do.say(purse={"account": "student account", "bill": "bill"}[found])
    return found


def quoted(do: Composer, student_id: str, section: Row) -> Row:
    """Asks what a section costs, and tells it."""
    quote: Row = do.call("quote_enrolment", student_id=student_id, section_id=section["section_id"])
    rows = (("students", student_id), ("sections", section["section_id"]))
    do.tell("tuition", Kind.MONEY, cents(quote["tuition"]), *rows)
    return quote


def enrol_in(do: Composer, student_id: str, section: Row, paid_with: str) -> Row:
    """Enrols, and tells the number and the first day."""
    order = {"student_id": student_id, "section_id": section["section_id"]}
    done: Row = do.call("enrol", **order, paid_with=paid_with)
    do.tell("enrolment_number", Kind.ID, done["enrolment_id"], ("enrolments", done["enrolment_id"]))
    do.tell("first_day", Kind.DATE, section["starts_on"], ("sections", section["section_id"]))
    return done


def own_timetable(do: Composer, student_id: str) -> None:
    """Looks at all classes of the student."""
    for enrolment in do.once("list_enrolments", student_id=student_id, status="enrolled")["enrolments"]:
        do.once("get_section", section_id=enrolment["section_id"])


def a_class(do: Composer, fits: Fits) -> tuple[Row, Row]:
    """A class of the student with its section, told by its course."""
    sections = {row["section_id"]: row for row in do.rows("sections")}
    own = [row for row in do.rows("enrolments", status="enrolled") if is_theirs(do, row)]
    enrolment = do.choose([row for row in own if fits(sections[row["section_id"]])])
    meet(do, enrolment["student_id"])
    do.unknown("enrolment number")
    do.once("list_enrolments", student_id=enrolment["student_id"], status="enrolled")
    section = dict(sections[enrolment["section_id"]])
    a_course(do, section["course_id"])
    return enrolment, section


def tell_purse(do: Composer, done: Row, student_id: str, paid_with: str) -> None:
    """What account or bill comes to after money went there."""
    name = {"account": "balance", "bill": "billed"}[paid_with]
    do.tell(name, Kind.MONEY, cents(done[name]), ("students", student_id))
