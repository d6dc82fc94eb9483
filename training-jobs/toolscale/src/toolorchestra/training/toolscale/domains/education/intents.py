"""What students of Wrenfield College want: each intent does it once, and so becomes a task. Here: courses and classes."""

from datetime import date
from typing import Final

from toolorchestra.training.toolscale.composing import MOSTLY, Composer, Intent, Row
from toolorchestra.training.toolscale.domain import make_domain
from toolorchestra.training.toolscale.domains.education.campus import CAMPUS
from toolorchestra.training.toolscale.domains.education.rows import draw_rows
from toolorchestra.training.toolscale.domains.education.steps import (
    RECORDS,
    TITLE,
    a_class,
    a_course,
    enrol_in,
    may_take,
    open_to,
    own_timetable,
    purse,
    quoted,
    say_days,
    somebody,
    spring,
    tell_purse,
)
from toolorchestra.training.toolscale.draws import chance
from toolorchestra.worlds.shipped.education.tools import FINES_BLOCK, current, drop_percent, open_fines, passed
from toolorchestra.worlds.tools import cents
from toolorchestra.worlds.values import Kind


def enrol(do: Composer) -> None:
    """In a section that is told by its days or as the only one online; perhaps only for so much."""
    do.go_by(*RECORDS)
    student = somebody(do)
    who, paid_with = student["student_id"], purse(do)
    section = do.choose(open_to(do, who))
    a_course(do, section["course_id"])
    online = [row for row in spring(do, section["course_id"]) if row["mode"] == "online"]
    if online == [section] and do.evolve("online"):
        do.say(mode="online")
    else:
        say_days(do, section)
        do.phrase("on_days")
    quote = quoted(do, who, section)
    if do.evolve("budget") and not do.at_most(cents(quote["tuition"])):
        return
    done = enrol_in(do, who, section, paid_with)
    if do.evolve("balance"):
        tell_purse(do, done, who, paid_with)


def enrol_any(do: Composer) -> None:
    """In whichever section starts first, has seats and fits the timetable."""
    do.go_by(*RECORDS)
    student = somebody(do)
    who, paid_with = student["student_id"], purse(do)
    course = a_course(do, do.choose(open_to(do, who))["course_id"])
    own_timetable(do, who)
    section = first_fitting(do, who, course["course_id"])
    done = enrol_in(do, who, section, paid_with)
    do.tell("tuition", Kind.MONEY, cents(done["tuition"]), ("enrolments", done["enrolment_id"]))


def first_fitting(do: Composer, student_id: str, course_id: str) -> Row:
    """Of the sections with seats that the student may take the one that starts first."""
    fit = [row for row in spring(do, course_id) if row["seats_free"] and may_take(do, student_id, row)]
    fit.sort(key=lambda row: str(row["starts_on"]))
    do.need(bool(fit) and (len(fit) == 1 or fit[0]["starts_on"] < fit[1]["starts_on"]))
    return fit[0]


def enrol_advanced(do: Composer) -> None:
    """In a course that builds on another, or in that one where it has not been passed."""
    do.go_by(*RECORDS)
    student = somebody(do)
    who, paid_with = student["student_id"], purse(do)
    ready = chance(do.random, 0.5)
    needed = {row["course_id"]: row["prerequisite_id"] for row in do.rows("courses")}
    taken = {row["course_id"] for row in current_of(do, who)}
    wanted = [
        row
        for row in spring(do)
        if row["seats_free"]
        and needed[row["course_id"]]
        and not taken & {row["course_id"], needed[row["course_id"]]}
        and passed(do.session.database, who, needed[row["course_id"]]) == ready
    ]
    section = do.choose(wanted)
    course = a_course(do, section["course_id"])
    say_days(do, section)
    quote = do.call("quote_enrolment", student_id=who, section_id=section["section_id"])
    do.need(quote["prerequisite_met"] == ready)
    if ready:
        do.need(may_take(do, who, section))
    else:
        first = do.once("get_course", course_id=course["prerequisite_id"])
        do.call("list_sections", course_id=first["course_id"], term=section["term"])
        own_timetable(do, who)
        section = first_fitting(do, who, first["course_id"])
        do.tell("course", Kind.TEXT, first["title"], ("courses", first["course_id"]), column=TITLE)
    done = enrol_in(do, who, section, paid_with)
    do.tell("tuition", Kind.MONEY, cents(done["tuition"]), ("enrolments", done["enrolment_id"]))


def current_of(do: Composer, student_id: str) -> list[Row]:
    """The sections that a student attends now, without a call."""
    do.session.database.begin("composing")
    return current(do.session.database, student_id)


def pay_and_enrol(do: Composer) -> None:
    """Somebody whom fines keep out pays all of them first."""
    do.go_by(*RECORDS, "loans")
    owing = {row["student_id"] for row in do.rows("loans", fine_status="open")}
    known, database = do.shared.get("customer"), do.session.database
    student = somebody(
        do,
        lambda row: (
            row["student_id"] == known or (row["student_id"] in owing and open_fines(database, row["student_id"]) > FINES_BLOCK)
        ),
    )
    who, paid_with = student["student_id"], purse(do)
    do.need(open_fines(database, who) > FINES_BLOCK)
    section = do.choose([row for row in spring(do) if row["seats_free"]])
    a_course(do, section["course_id"])
    say_days(do, section)
    loans, done = do.call("list_loans", student_id=who, fine_status="open")["loans"], {}
    for loan in loans:
        done = do.call("pay_fine", loan_id=loan["loan_id"])
    rows = (("loans", loan["loan_id"]) for loan in loans)
    do.tell("fines", Kind.MONEY, sum(cents(loan["fine"]) for loan in loans), *rows)
    done = enrol_in(do, who, section, paid_with)
    do.tell("balance", Kind.MONEY, cents(done["balance"]), ("students", who))


def full_section(do: Composer) -> None:
    """One section and no other: enrol if there is a seat, wait if there is none."""
    do.go_by(*RECORDS)
    student = somebody(do)
    who, paid_with = student["student_id"], purse(do)
    section = do.choose(open_to(do, who, full=chance(do.random, MOSTLY)))
    a_course(do, section["course_id"])
    say_days(do, section)
    quoted(do, who, section)
    if section["seats_free"]:
        enrol_in(do, who, section, paid_with)
        return
    order = {"student_id": who, "section_id": section["section_id"]}
    done = do.call("join_waiting_list", **order, paid_with=paid_with)
    do.tell("enrolment_number", Kind.ID, done["enrolment_id"], ("enrolments", done["enrolment_id"]))
    do.tell("first_day", Kind.DATE, section["starts_on"], ("sections", section["section_id"]))


def returns(do: Composer, section: Row) -> int:
    """How much of its tuition a section returns today, in percent."""
    return drop_percent((do.world.spec.clock.date() - date.fromisoformat(section["starts_on"])).days)


def drop(do: Composer) -> None:
    do.go_by(*RECORDS)
    enrolment, _ = a_class(do, lambda row: returns(do, dict(row)) > 0)
    key = enrolment["enrolment_id"]
    refund = cents(do.call("quote_drop", enrolment_id=key)["refund"])
    do.tell("refund", Kind.MONEY, refund, ("enrolments", key))
    if do.evolve("condition"):
        go_on = do.at_least(refund)
        if not go_on:
            return
    done = do.call("drop_class", enrolment_id=key)
    if do.evolve("balance"):
        tell_purse(do, done, enrolment["student_id"], enrolment["paid_with"])


def drop_best(do: Composer) -> None:
    """Of all classes the one that returns most today."""
    do.go_by(*RECORDS)
    sections = {row["section_id"]: row for row in do.rows("sections")}

    def classes(student_id: str) -> list[Row]:
        return do.rows("enrolments", student_id=student_id, status="enrolled")

    student = somebody(do, lambda row: len(classes(row["student_id"])) > 1)
    who = student["student_id"]
    do.once("list_enrolments", student_id=who, status="enrolled")
    refunds = []
    for row in classes(who):
        do.call("quote_drop", enrolment_id=row["enrolment_id"])
        refunds.append((row["tuition"] * returns(do, sections[row["section_id"]]) // 100, row["enrolment_id"], row))
    refunds.sort(key=lambda one: -int(one[0]))
    do.need(refunds[0][0] > refunds[1][0])
    refund, key, best = refunds[0]
    section = do.once("get_section", section_id=best["section_id"])
    course = do.once("get_course", course_id=section["course_id"])
    done = do.call("drop_class", enrolment_id=key)
    do.unknown("enrolment numbers", "refunds")
    do.tell("course", Kind.TEXT, course["title"], ("courses", course["course_id"]), column=TITLE)
    do.tell("refund", Kind.MONEY, refund, ("enrolments", key))
    tell_purse(do, done, who, best["paid_with"])


def move(do: Composer) -> None:
    """To another section of the same course: other days, or online."""
    do.go_by(*RECORDS)
    enrolment, old = a_class(do, lambda _: True)
    rest = [row for row in current_of(do, enrolment["student_id"]) if row["section_id"] != old["section_id"]]
    others = [row for row in spring(do, old["course_id"]) if row["section_id"] != old["section_id"]]
    new = do.choose([row for row in others if row["seats_free"] and not clashes(rest, row)])
    online = [row["section_id"] for row in others if row["mode"] == "online"]
    if old["mode"] == "campus" and online == [new["section_id"]] and do.evolve("online"):
        do.say(mode="online")
    else:
        say_days(do, new)
        do.phrase("to_days")
    done = do.call("move_class", enrolment_id=enrolment["enrolment_id"], section_id=new["section_id"])
    do.tell("first_day", Kind.DATE, new["starts_on"], ("sections", new["section_id"]))
    do.tell("balance", Kind.MONEY, cents(done["balance"]), ("students", enrolment["student_id"]))


def clashes(taken: list[Row], section: Row) -> bool:
    """Whether a section meets when another one does."""
    return any((row["meets"], row["begins"]) == (section["meets"], section["begins"]) for row in taken)


def overview(do: Composer) -> None:
    """What this term's classes come to: tuition, credits."""
    do.go_by("enrolments")

    def classes(student_id: str) -> list[Row]:
        return do.rows("enrolments", student_id=student_id, status="enrolled")

    student = somebody(do, lambda row: len(classes(row["student_id"])) > 1)
    who = student["student_id"]
    own_timetable(do, who)
    rows = classes(who)
    total = sum(row["tuition"] for row in rows)
    sections = [do.row("sections", row["section_id"]) for row in rows]
    courses = [do.once("get_course", course_id=section["course_id"]) for section in sections]
    points = sum(course["credits"] for course in courses)
    do.unknown("enrolment numbers", "amounts")
    do.tell("total", Kind.MONEY, total, *(("enrolments", row["enrolment_id"]) for row in rows))
    do.tell("credits", Kind.NUMBER, points, *(("courses", course["course_id"]) for course in courses))


INTENTS: Final = (
    Intent("enrol", enrol, ("online", "budget", "balance")),
    Intent("enrol_any", enrol_any),
    Intent("enrol_advanced", enrol_advanced),
    Intent("pay_and_enrol", pay_and_enrol),
    Intent("full_section", full_section),
    Intent("drop", drop, ("condition", "balance")),
    Intent("drop_best", drop_best),
    Intent("move", move, ("online",)),
    Intent("overview", overview),
    *CAMPUS,
)
DOMAIN: Final = make_domain(__file__, INTENTS, draw_rows)
