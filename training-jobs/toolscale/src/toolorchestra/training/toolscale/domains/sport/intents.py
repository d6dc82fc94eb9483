"""What members of Tarnholt Sports Club want: each intent does it once, and so becomes a task."""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any, Final

from toolorchestra.training.toolscale.composing import Composer, Intent, Row
from toolorchestra.training.toolscale.domain import make_domain
from toolorchestra.training.toolscale.domains.sport.courts import (
    add_guests,
    away,
    book_court,
    cancel_booking,
    cancel_dearest,
    cheapest_court,
    injured,
    leavable,
    move_booking,
    settle_and_book,
)
from toolorchestra.training.toolscale.domains.sport.rows import SPORTS, TEAMS, draw_rows
from toolorchestra.training.toolscale.domains.sport.steps import TAKEN, fines_of, is_theirs, may_act, meet, somebody
from toolorchestra.training.toolscale.draws import chance
from toolorchestra.worlds.shipped.sport.tools import (
    APPEAL_DAYS,
    EARLY_FINE,
    EARLY_FINE_DAYS,
    PREMIUM_TICKET,
    SEAT_PRICE,
    age_on,
    course_price,
    leave_refund,
)
from toolorchestra.worlds.tools import cents
from toolorchestra.worlds.values import Kind

FINED_FOR: Final = {
    "no_show": "not showing up",
    "damage": "damage",
    "parking": "parking",
    "unregistered_guest": "an unregistered guest",
}
GROUNDS: Final = {
    "illness": ("I was ill that day", "I was in bed with a fever", "I was unwell and at the doctor's"),
    "mistake": ("it wasn't me, so it must be a mistake", "you have the wrong person, it's a mistake", "that is a mistake"),
    "hardship": ("I've lost my job and it's a real hardship", "money is so tight that paying it is a hardship for us"),
}


def days_old(do: Composer, day: str) -> int:
    return (do.world.spec.clock.date() - date.fromisoformat(day)).days


def joinable(do: Composer, member: Mapping[str, Any], course: Mapping[str, Any]) -> bool:
    """Whether the member can be enrolled in the course now."""
    fits = course["least_age"] <= age_on(member["birth_date"], course["begins_on"]) <= course["most_age"]
    has_room = course["places_left"] > 0 and course["begins_on"] > do.world.spec.today
    mine = do.rows("enrolments", member_id=member["member_id"], course_id=course["course_id"], status="enrolled")
    return fits and has_room and not mine


def join(do: Composer, member: Row, course: Row) -> None:
    """Enrol, within the limit if there is one."""
    who, key = member["member_id"], course["course_id"]
    price = course_price(course, member["plan"], do.world.spec.today)
    if do.evolve("limit"):
        within = do.at_most(price)
        if not within:
            do.tell("price", Kind.MONEY, price, ("courses", key), ("members", who))
            return
    done = do.call("enrol", course_id=key, member_id=who)
    do.tell("price", Kind.MONEY, cents(done["paid"]), ("courses", key), ("members", who))


def join_course(do: Composer) -> None:
    """A course by its name."""
    do.share("courses")
    course = do.pick("courses")
    member = somebody(do, lambda row: may_act(do, row) and joinable(do, row, course))
    do.say(course=course["name"])
    do.once("find_course", name=course["name"])
    row = ("courses", course["course_id"])
    last = date.fromisoformat(course["begins_on"]) + timedelta(weeks=course["lessons"] - 1)
    do.tell("last_lesson", Kind.DATE, last.isoformat(), row)
    do.tell("coach", Kind.TEXT, course["coach"], row, column=("courses", "coach"))
    join(do, member, course)


def choose_course(do: Composer) -> None:
    """Of a sport's courses the first that the member can join, or the one with the lowest fee."""
    do.claim("courses")
    sport = do.random.choice(SPORTS)
    member = somebody(do, lambda row: may_act(do, row))
    do.say(sport=sport)
    wanted = {"sport": sport}
    if do.evolve("level"):
        wanted["level"] = do.random.choice(("beginner", "improver", "advanced"))
        do.say(level=wanted["level"])
    do.once("search_courses", **wanted)
    order = "fee" if do.evolve("cheapest") else "begins_on"
    if order == "begins_on":
        do.phrase("earliest")
    found = sorted((row for row in do.rows("courses", **wanted) if joinable(do, member, row)), key=lambda row: row[order])
    do.need(bool(found) and (len(found) == 1 or found[0][order] < found[1][order]))
    prices = [course_price(row, member["plan"], do.world.spec.today) for row in found]
    do.need(order != "fee" or prices[0] == min(prices))  # the lowest fee, whether it is meant before or after reductions
    row = ("courses", found[0]["course_id"])
    do.tell("course", Kind.TEXT, found[0]["name"], row, column=("courses", "name"))
    do.tell("begins_on", Kind.DATE, found[0]["begins_on"], row)
    join(do, member, found[0])


def an_enrolment(do: Composer) -> tuple[Row, Row]:
    """An enrolment in a course that has not begun, told by the course's name."""
    known, mine = do.shared.get("customer"), []
    for who in [known] if known else [row["member_id"] for row in do.rows("members")]:
        mine += leavable(do, who)
    enrolment = do.choose(mine)
    meet(do, enrolment["member_id"])
    course = do.row("courses", enrolment["course_id"])
    do.say(course=course["name"])
    do.once("find_course", name=course["name"])
    do.once("list_enrolments", member_id=enrolment["member_id"], status="enrolled")
    return enrolment, course


def leave_course(do: Composer) -> None:
    do.share("courses")
    enrolment, course = an_enrolment(do)
    key = enrolment["enrolment_id"]
    refund = leave_refund(enrolment["paid"], -days_old(do, course["begins_on"]))
    if do.evolve("condition"):
        worth_it = do.at_least(refund)
        do.tell("possible_refund", Kind.MONEY, refund, ("enrolments", key), ("courses", course["course_id"]))
        if not worth_it:
            return
    else:
        do.tell("refund", Kind.MONEY, refund, ("enrolments", key))
    done = do.call("leave_course", enrolment_id=key)
    if do.evolve("balance"):
        do.tell("balance", Kind.MONEY, cents(done["balance"]), ("members", enrolment["member_id"]))


def switch_course(do: Composer) -> None:
    """Out of one course and into another."""
    do.share("courses")
    enrolment, course = an_enrolment(do)
    member = do.row("members", enrolment["member_id"])
    do.need(may_act(do, member))
    others = [row for row in do.rows("courses", sport=course["sport"]) if joinable(do, member, row)]
    new = do.choose(others)
    do.say(new_course=new["name"])
    do.once("find_course", name=new["name"])
    left = do.call("leave_course", enrolment_id=enrolment["enrolment_id"])
    done = do.call("enrol", course_id=new["course_id"], member_id=member["member_id"])
    do.tell("refund", Kind.MONEY, cents(left["refunded"]), ("enrolments", enrolment["enrolment_id"]))
    do.tell("price", Kind.MONEY, cents(done["paid"]), ("courses", new["course_id"]), ("members", member["member_id"]))
    do.tell("begins_on", Kind.DATE, new["begins_on"], ("courses", new["course_id"]))


def open_to(do: Composer, member: Mapping[str, Any], tournament: Mapping[str, Any]) -> bool:
    """Whether the member can be entered for the tournament now."""
    fits = tournament["least_rating"] <= member["rating"] <= tournament["most_rating"]
    entered = {row["tournament_id"] for row in do.rows("entries", member_id=member["member_id"], status="entered")}
    days = {row["plays_on"] for row in do.rows("tournaments") if row["tournament_id"] in entered}
    still = tournament["enter_by"] >= do.world.spec.today and tournament["places_left"] > 0
    return fits and still and tournament["plays_on"] not in days


def enter_one(do: Composer) -> None:
    """A tournament by its name, or another one if the member cannot play there."""
    do.share("entries")
    first, second = do.pick("tournaments"), do.pick("tournaments")
    do.need(first["sport"] == second["sport"] and first["tournament_id"] != second["tournament_id"])
    chosen, either = first, do.evolve("second_choice")
    if either:
        do.say(other=second["name"])
        chosen = second if chance(do.random, TAKEN) else first

    def fits(row: Mapping[str, Any]) -> bool:
        mine = do.rows("entries", member_id=row["member_id"], tournament_id=first["tournament_id"])
        others = chosen is first or not open_to(do, row, first)
        return may_act(do, row) and not mine and open_to(do, row, chosen) and others

    member = somebody(do, fits)
    do.say(tournament=first["name"])
    do.once("search_tournaments", sport=first["sport"])
    if either:
        do.once("list_entries", member_id=member["member_id"], status="entered")
    done = do.call("enter_tournament", tournament_id=chosen["tournament_id"], member_id=member["member_id"])
    row = ("entries", done["entry_id"])
    do.tell("entry_fee", Kind.MONEY, cents(done["paid"]), row)
    do.tell("plays_on", Kind.DATE, chosen["plays_on"], ("tournaments", chosen["tournament_id"]))
    do.tell("entry_number", Kind.ID, done["entry_id"], row)


def enter_next(do: Composer) -> None:
    """Of a sport's tournaments the first that is open to the member, or the one with the lowest fee."""
    do.claim("entries")
    sport = do.random.choice(SPORTS)
    member = somebody(do, lambda row: may_act(do, row))
    do.say(sport=sport)
    do.once("search_tournaments", sport=sport)
    do.once("list_entries", member_id=member["member_id"], status="entered")
    order = "entry_fee" if do.evolve("cheapest") else "plays_on"
    if order == "plays_on":
        do.phrase("earliest")
    found = sorted((row for row in do.rows("tournaments", sport=sport) if open_to(do, member, row)), key=lambda row: row[order])
    do.need(len(found) > 1 and found[0][order] < found[1][order])
    row = ("tournaments", found[0]["tournament_id"])
    do.call("enter_tournament", tournament_id=row[1], member_id=member["member_id"])
    do.tell("tournament", Kind.TEXT, found[0]["name"], row, column=("tournaments", "name"))
    do.tell("plays_on", Kind.DATE, found[0]["plays_on"], row)
    do.tell("entry_fee", Kind.MONEY, found[0]["entry_fee"], row)


def enter_all(do: Composer) -> None:
    """Every tournament of a sport until a day that is open to the member."""
    do.claim("entries")
    sport = do.random.choice(SPORTS)
    member = somebody(do, lambda row: may_act(do, row))
    who = member["member_id"]
    found = sorted(
        (row for row in do.rows("tournaments", sport=sport) if open_to(do, member, row)), key=lambda row: row["plays_on"]
    )
    do.need(len(found) > 1)
    wanted = found[: do.random.randint(2, min(4, len(found)))]
    until = (date.fromisoformat(wanted[-1]["plays_on"]) + timedelta(days=do.random.randint(0, 2))).isoformat()
    do.need(all(row["plays_on"] > until for row in found if row not in wanted))
    do.say(sport=sport, until=until)
    do.once("search_tournaments", sport=sport)
    do.once("list_entries", member_id=who, status="entered")
    for row in wanted:
        do.call("enter_tournament", tournament_id=row["tournament_id"], member_id=who)
    fees = sum(row["entry_fee"] for row in wanted)
    do.tell("total", Kind.MONEY, fees, *(("tournaments", row["tournament_id"]) for row in wanted))


def coming_matches(do: Composer, team: str) -> list[Row]:
    """Scheduled home matches of a team, the next one first, after looking them up."""
    do.once("list_fixtures", team=team, status="scheduled")
    return sorted(do.rows("fixtures", team=team, status="scheduled"), key=lambda row: row["starts_at"])


def active_tickets(do: Composer, member_id: str) -> list[Row]:
    return do.rows("season_tickets", member_id=member_id, status="active")


def buy_season_ticket(do: Composer) -> None:
    do.share("tickets")
    team, stand = do.random.choice(TEAMS), do.random.choice(sorted(SEAT_PRICE))
    member = somebody(do, lambda row: team not in {one["team"] for one in active_tickets(do, row["member_id"])})
    who = member["member_id"]
    places = {"terrace": "on the terrace", "main": "in the main stand", "gallery": "in the gallery"}
    do.say(team=team, stand=places[stand])
    matches = coming_matches(do, team)
    percent = PREMIUM_TICKET if member["plan"] == "premium" else 100
    price = len(matches) * SEAT_PRICE[stand] * percent // 100
    proof = [("members", who), *(("fixtures", row["fixture_id"]) for row in matches)]
    if do.evolve("limit"):
        within = do.at_most(price)
        if not within:
            do.tell("price", Kind.MONEY, price, *proof)
            return
    done = do.call("buy_season_ticket", member_id=who, team=team, stand=stand)
    do.tell("price", Kind.MONEY, cents(done["paid"]), ("season_tickets", done["ticket_id"]))
    do.tell("next_match", Kind.DATETIME, matches[0]["starts_at"], ("fixtures", matches[0]["fixture_id"]))


def next_match(do: Composer) -> None:
    """The next home match of any team for which the member has a season ticket."""
    do.claim("tickets")
    member = somebody(do, lambda row: len(active_tickets(do, row["member_id"])) > 1)
    who = member["member_id"]
    do.once("list_season_tickets", member_id=who, status="active")
    found = [row for ticket in active_tickets(do, who) for row in coming_matches(do, ticket["team"])]
    first = min(found, key=lambda row: str(row["starts_at"]))
    do.need(sum(row["starts_at"] == first["starts_at"] for row in found) == 1)
    proof = ("fixtures", first["fixture_id"])
    do.tell("kick_off", Kind.DATETIME, first["starts_at"], proof)
    do.tell("opponent", Kind.TEXT, first["opponent"], proof, column=("fixtures", "opponent"))
    tickets = active_tickets(do, who)
    do.tell("paid", Kind.MONEY, sum(row["paid"] for row in tickets), *(("season_tickets", row["ticket_id"]) for row in tickets))


def pay_fines(do: Composer) -> None:
    """All that are open, or those that still cost less."""
    do.claim("fines")
    member = somebody(do, lambda row: len(fines_of(do, row["member_id"])) > 1)
    who = member["member_id"]
    fines = sorted(fines_of(do, who), key=lambda row: (row["issued_on"], row["fine_id"]))
    do.once("list_fines", member_id=who, status="open")
    reduced = [row for row in fines if days_old(do, row["issued_on"]) <= EARLY_FINE_DAYS]
    if 0 < len(reduced) < len(fines) and do.evolve("reduced_only"):
        fines = reduced
    done: list[Any] = [do.call("pay_fine", fine_id=row["fine_id"]) for row in fines]
    do.tell("total", Kind.MONEY, sum(cents(row["paid"]) for row in done), *(("fines", row["fine_id"]) for row in done))
    if do.evolve("balance"):
        do.tell("balance", Kind.MONEY, cents(done[-1]["balance"]), ("members", who))


def appeal_fine(do: Composer) -> None:
    """One fine, told by what it was for; perhaps the others are paid."""
    do.claim("fines")
    open_now = [row for row in do.rows("fines", status="open") if is_theirs(do, row)]
    fine = do.choose([row for row in open_now if days_old(do, row["issued_on"]) <= APPEAL_DAYS])
    who, key = fine["member_id"], fine["fine_id"]
    rest = sorted((row for row in open_now if row["member_id"] == who and row is not fine), key=lambda row: row["fine_id"])
    do.need(all(row["reason"] != fine["reason"] for row in rest))
    meet(do, who)
    ground = do.random.choice(sorted(GROUNDS))
    words = do.random.choice(GROUNDS[ground])
    do.say(offence=FINED_FOR[fine["reason"]], words=words)
    do.unknown("number of the fine")
    do.once("list_fines", member_id=who, status="open")
    do.call("appeal_fine", fine_id=key, ground=ground, statement=words)
    percent = EARLY_FINE if days_old(do, fine["issued_on"]) <= EARLY_FINE_DAYS else 100
    do.tell("at_stake", Kind.MONEY, fine["amount"] * percent // 100, ("fines", key))
    last = date.fromisoformat(fine["issued_on"]) + timedelta(days=APPEAL_DAYS)
    do.tell("last_day", Kind.DATE, last.isoformat(), ("fines", key))
    if rest and do.evolve("pay_rest"):
        paid = [do.call("pay_fine", fine_id=row["fine_id"])["paid"] for row in rest]
        do.tell("rest", Kind.MONEY, sum(map(cents, paid)), *(("fines", row["fine_id"]) for row in rest))


BOOKING: Final = ("limit", "guests")
INTENTS: Final = (
    Intent("book_court", book_court, ("second_choice", *BOOKING)),
    Intent("cheapest_court", cheapest_court, BOOKING),
    Intent("settle_and_book", settle_and_book, BOOKING),
    Intent("cancel_booking", cancel_booking, ("condition", "balance")),
    Intent("cancel_dearest", cancel_dearest),
    Intent("away", away),
    Intent("injured", injured, ("courses",)),
    Intent("move_booking", move_booking, ("other_court",)),
    Intent("add_guests", add_guests, ("passes_first", "balance")),
    Intent("join_course", join_course, ("limit",)),
    Intent("choose_course", choose_course, ("level", "cheapest", "limit")),
    Intent("leave_course", leave_course, ("condition", "balance")),
    Intent("switch_course", switch_course),
    Intent("enter_one", enter_one, ("second_choice",)),
    Intent("enter_next", enter_next, ("cheapest",)),
    Intent("enter_all", enter_all),
    Intent("buy_season_ticket", buy_season_ticket, ("limit",)),
    Intent("next_match", next_match),
    Intent("pay_fines", pay_fines, ("reduced_only", "balance")),
    Intent("appeal_fine", appeal_fine, ("pay_rest",)),
)
DOMAIN: Final = make_domain(__file__, INTENTS, draw_rows)
