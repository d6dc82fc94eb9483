"""What the systems of Tarnholt Sports Club can do; the rules are those of policy.md."""

from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import Field, JsonValue

from toolorchestra.worlds.combinators import Match, look_up, search
from toolorchestra.worlds.errors import ToolRefusal
from toolorchestra.worlds.state import Database, money_text
from toolorchestra.worlds.tools import Day, Declared, Moment, tool

Sport = Literal["tennis", "badminton", "squash", "padel"]
Team = Literal["Kestrels", "Otters", "Stags", "Comets"]
Stand = Literal["terrace", "main", "gallery"]
UpToThree = Annotated[int, Field(ge=1, le=3)]
PLAN_PERCENT: Final = {"junior": 60, "standard": 100, "premium": 80}
OFF_PEAK_PERCENT, PEAK_FROM, SATURDAY = 70, 16, 5
OPENS, CLOSES, DAYS_AHEAD, MOST_BOOKINGS = 7, 22, 14, 5
GUEST_FEE, MOST_GUESTS, MOVE_FEE = 600, 3, 250
REFUND_PERCENT: Final = ((48, 100), (12, 50))  # hours before the start, percent returned
PREMIUM_COURSE, EARLY_COURSE, EARLY_COURSE_DAYS = 85, 90, 21
LEAVE_FEE, LEAVE_DAYS, PREMIUM_TICKET = 800, 7, 90
SEAT_PRICE: Final = {"terrace": 800, "main": 1400, "gallery": 2200}
EARLY_FINE, EARLY_FINE_DAYS, APPEAL_DAYS, BLOCKED_FROM = 75, 14, 21, 2500
FREEZE_DAYS: Final = (30, 180)


def refuse_if(wrong: bool, code: str, message: str) -> None:
    if wrong:
        raise ToolRefusal(code, message)


def existing(db: Database, table: str, key: str) -> dict[str, Any]:
    row = db.get(table, key)
    if row is None:
        raise ToolRefusal("not_found", f"there is no {key!r} in {table.replace('_', ' ')}")
    return row


def moment_of(text: str) -> datetime:
    """A day or moment as a caller writes it."""
    return datetime.fromisoformat(text)


def days_until(db: Database, day: str) -> int:
    return (moment_of(day).date() - db.spec.clock.date()).days


def hours_until(db: Database, moment: str) -> float:
    return (moment_of(moment) - db.spec.clock) / timedelta(hours=1)


def entitled(db: Database, member_id: str) -> dict[str, Any]:
    """A member who may book, enrol and enter now."""
    member = existing(db, "members", member_id)
    refuse_if(member["status"] == "frozen", "membership_frozen", f"member {member_id} is frozen until {member['frozen_until']}")
    due = sum(fine["amount"] for fine in db.find("fines", member_id=member_id, status="open"))
    refuse_if(due > BLOCKED_FROM, "open_fines", f"member {member_id} has open fines of {money_text(due)}; pay them first")
    return member


def charge(db: Database, member_id: str, amount: int) -> None:
    """Take from the club account, or put there where the amount is negative."""
    balance = db.at("members", member_id)["balance"]
    refuse_if(balance < amount, "insufficient_balance", f"there are {money_text(balance)}, not {money_text(amount)}")
    db.update("members", member_id, balance=balance - amount)


def with_balance(db: Database, member_id: str, shown: dict[str, Any], **amounts: int) -> JsonValue:
    """A row as shown, amounts beside it, and the account as it is then."""
    extra = {name: money_text(amount) for name, amount in amounts.items()}
    return {**shown, **extra, "balance": money_text(db.at("members", member_id)["balance"])}


def court_price(court: dict[str, Any], plan: str, starts_at: str, hours: int) -> int:
    """What a court costs on this plan, in cents."""
    start = moment_of(starts_at)
    off_peak = start.weekday() < SATURDAY and start.hour < PEAK_FROM
    return int(court["hourly_price"] * hours * (OFF_PEAK_PERCENT if off_peak else 100) * PLAN_PERCENT[plan] // 10_000)


def ends_at(starts_at: str, hours: int) -> str:
    return (moment_of(starts_at) + timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M")


def is_free(db: Database, court_id: str, starts_at: str, hours: int, *, apart_from: str = "") -> bool:
    """Whether nobody has the court at that time; a booking that is to be moved does not count."""
    return not any(
        row["starts_at"] < ends_at(starts_at, hours) and starts_at < ends_at(row["starts_at"], row["hours"])
        for row in db.find("bookings", court_id=court_id, status="booked")
        if row["booking_id"] != apart_from
    )


def bookable(db: Database, starts_at: str, hours: int) -> None:
    """Refuse times at which no court is let."""
    start = moment_of(starts_at)
    hourly = start.minute == 0 and OPENS <= start.hour <= CLOSES - hours
    refuse_if(not hourly, "invalid_time", f"courts are let from the full hour, from {OPENS}:00 to {CLOSES}:00")
    near = start > db.spec.clock and days_until(db, starts_at) <= DAYS_AHEAD
    refuse_if(not near, "not_bookable_then", f"courts can be booked from now up to {DAYS_AHEAD} days ahead")


def upcoming(db: Database, booking_id: str) -> dict[str, Any]:
    booking = existing(db, "bookings", booking_id)
    ahead = booking["status"] == "booked" and booking["starts_at"] > db.spec.now
    refuse_if(not ahead, "not_upcoming", f"booking {booking_id} is {booking['status']} or has begun")
    return booking


def refund_of(db: Database, booking: dict[str, Any]) -> int:
    """What cancelling returns, in cents."""
    left = hours_until(db, booking["starts_at"])
    percent = next((percent for hours, percent in REFUND_PERCENT if left >= hours), 0)
    return int((booking["price"] + booking["guest_fees"]) * percent // 100)


def course_price(course: dict[str, Any], plan: str, today: str) -> int:
    """What enrolling costs on that day, in cents."""
    early = EARLY_COURSE if (moment_of(course["begins_on"]) - moment_of(today)).days >= EARLY_COURSE_DAYS else 100
    return int(course["fee"] * (PREMIUM_COURSE if plan == "premium" else 100) * early // 10_000)


def age_on(birth_date: str, day: str) -> int:
    return int(day[:4]) - int(birth_date[:4]) - (day[5:] < birth_date[5:])


@tool(side_effects="readOnly")
def free_courts(db: Database, *, member_id: str, sport: Sport, starts_at: Moment, hours: UpToThree) -> JsonValue:
    """List the courts of a sport that are free at a time, each with what it costs this member then, the cheapest first.

    member_id: Who wants to play
    sport: Which kind of court
    starts_at: Start, on the full hour
    hours: For how many hours
    """
    member = existing(db, "members", member_id)
    bookable(db, starts_at, hours)
    free = [court for court in db.find("courts", sport=sport) if is_free(db, court["court_id"], starts_at, hours)]
    priced = sorted(((court_price(court, member["plan"], starts_at, hours), court) for court in free), key=lambda one: one[0])
    shown: list[JsonValue] = [{**db.show("courts", court), "price": money_text(price)} for price, court in priced]
    return {"starts_at": starts_at, "found": len(shown), "courts": shown}


@tool(side_effects="destructive")
def book_court(db: Database, *, member_id: str, court_id: str, starts_at: Moment, hours: UpToThree) -> JsonValue:
    """Book a court for a member and charge the club account.

    member_id: Who plays
    court_id: The court
    starts_at: Start, on the full hour
    hours: For how many hours
    """
    member, court = entitled(db, member_id), existing(db, "courts", court_id)
    bookable(db, starts_at, hours)
    ahead = [row for row in db.find("bookings", member_id=member_id, status="booked") if row["starts_at"] > db.spec.now]
    refuse_if(len(ahead) >= MOST_BOOKINGS, "too_many_bookings", f"member {member_id} has {len(ahead)} bookings ahead already")
    refuse_if(not is_free(db, court_id, starts_at, hours), "court_taken", f"court {court_id} is taken then")
    price = court_price(court, member["plan"], starts_at, hours)
    charge(db, member_id, price)
    terms: dict[str, Any] = {"starts_at": starts_at, "hours": hours, "price": price, "guests": 0, "guest_fees": 0}
    new = db.insert("bookings", "BK", member_id=member_id, court_id=court_id, **terms, status="booked", refunded=None)
    return with_balance(db, member_id, db.show("bookings", new), hourly_price=court["hourly_price"])


@tool(side_effects="readOnly")
def quote_cancellation(db: Database, *, booking_id: str) -> JsonValue:
    """Show a booking with what was paid for it and what cancelling it now would return, without doing it.

    booking_id: Booking of a court
    """
    booking = upcoming(db, booking_id)
    refund, paid = refund_of(db, booking), booking["price"] + booking["guest_fees"]
    return {**db.show("bookings", booking), "refund": money_text(refund), "kept": money_text(paid - refund)}


@tool(side_effects="destructive")
def cancel_booking(db: Database, *, booking_id: str) -> JsonValue:
    """Cancel a booking of a court; what its notice allows is returned to the club account.

    booking_id: Booking of a court
    """
    booking = upcoming(db, booking_id)
    refund = refund_of(db, booking)
    charge(db, booking["member_id"], -refund)
    changed = db.update("bookings", booking_id, status="cancelled", refunded=refund)
    return with_balance(db, booking["member_id"], db.show("bookings", changed))


@tool(side_effects="destructive")
def move_booking(db: Database, *, booking_id: str, court_id: str, starts_at: Moment) -> JsonValue:
    """Move a booking to another time or another court of the same sport; fee and difference go through the club account.

    booking_id: Booking to be moved
    court_id: Court that it is to be on then, the same or another
    starts_at: New start, on the full hour
    """
    booking, court = upcoming(db, booking_id), existing(db, "courts", court_id)
    hours, before = booking["hours"], (booking["court_id"], booking["starts_at"])
    bookable(db, starts_at, hours)
    refuse_if(hours_until(db, booking["starts_at"]) < REFUND_PERCENT[-1][0], "too_late", f"booking {booking_id} starts soon")
    sport = db.at("courts", booking["court_id"])["sport"]
    refuse_if(court["sport"] != sport, "other_sport", f"court {court_id} is for {court['sport']}")
    refuse_if((court_id, starts_at) == before, "unchanged", f"booking {booking_id} is for that court and time already")
    refuse_if(not is_free(db, court_id, starts_at, hours, apart_from=booking_id), "court_taken", f"court {court_id} is taken")
    plan = db.at("members", booking["member_id"])["plan"]
    price, fee = court_price(court, plan, starts_at, hours), 0 if plan == "premium" else MOVE_FEE
    charge(db, booking["member_id"], charged := price - booking["price"] + fee)
    changed = db.update("bookings", booking_id, court_id=court_id, starts_at=starts_at, price=price)
    return with_balance(db, booking["member_id"], db.show("bookings", changed), move_fee=fee, charged=charged)


@tool(side_effects="destructive")
def add_guests(db: Database, *, booking_id: str, guests: UpToThree, pay_with: Literal["passes", "account"]) -> JsonValue:
    """Register guests for a booking, in addition to those it has; at most three in all.

    booking_id: Booking of a court
    guests: How many more come
    pay_with: A guest pass each, or 6.00 each from the club account
    """
    booking = upcoming(db, booking_id)
    in_all = booking["guests"] + guests
    refuse_if(in_all > MOST_GUESTS, "too_many_guests", f"booking {booking_id} has {booking['guests']} guests of {MOST_GUESTS}")
    who, fees = booking["member_id"], GUEST_FEE * guests if pay_with == "account" else 0
    passes = db.at("members", who)["guest_passes"] - (0 if fees else guests)
    refuse_if(passes < 0, "not_enough_passes", f"there are {passes + guests} guest passes")
    charge(db, who, fees)
    db.update("members", who, guest_passes=passes)
    changed = db.update("bookings", booking_id, guests=in_all, guest_fees=booking["guest_fees"] + fees)
    return with_balance(db, who, {**db.show("bookings", changed), "guest_passes": passes}, charged=fees)


@tool(side_effects="destructive")
def enrol(db: Database, *, course_id: str, member_id: str) -> JsonValue:
    """Enrol a member in a course and charge the club account.

    course_id: The course
    member_id: Who takes part
    """
    course, member = existing(db, "courses", course_id), entitled(db, member_id)
    refuse_if(course["begins_on"] <= db.spec.today, "already_begun", f"course {course_id} began on {course['begins_on']}")
    fits = course["least_age"] <= age_on(member["birth_date"], course["begins_on"]) <= course["most_age"]
    refuse_if(not fits, "wrong_age", f"course {course_id} is for ages {course['least_age']} to {course['most_age']}")
    twice = db.find("enrolments", course_id=course_id, member_id=member_id, status="enrolled")
    refuse_if(bool(twice), "already_enrolled", f"member {member_id} is enrolled in {course_id}")
    refuse_if(course["places_left"] < 1, "course_full", f"course {course_id} has no place left")
    price = course_price(course, member["plan"], db.spec.today)
    charge(db, member_id, price)
    db.update("courses", course_id, places_left=course["places_left"] - 1)
    terms: dict[str, Any] = {"paid": price, "enrolled_on": db.spec.today, "status": "enrolled", "refunded": None}
    new = db.insert("enrolments", "EN", course_id=course_id, member_id=member_id, **terms)
    return with_balance(db, member_id, db.show("enrolments", new), fee=course["fee"])


@tool(side_effects="destructive")
def leave_course(db: Database, *, enrolment_id: str) -> JsonValue:
    """Take a member out of a course that has not begun; what the notice allows is returned to the club account.

    enrolment_id: Enrolment of the member in the course
    """
    enrolment = existing(db, "enrolments", enrolment_id)
    course = db.at("courses", enrolment["course_id"])
    left = days_until(db, course["begins_on"])
    refuse_if(
        enrolment["status"] != "enrolled" or left < 1, "cannot_leave", f"{enrolment_id} has ended or its course has begun"
    )
    refund = leave_refund(enrolment["paid"], left)
    charge(db, enrolment["member_id"], -refund)
    db.update("courses", enrolment["course_id"], places_left=course["places_left"] + 1)
    changed = db.update("enrolments", enrolment_id, status="left", refunded=refund)
    return with_balance(db, enrolment["member_id"], db.show("enrolments", changed))


def leave_refund(paid: int, days: int) -> int:
    """What leaving a course so many days before its first lesson returns, in cents."""
    return max(0, paid - LEAVE_FEE) if days >= LEAVE_DAYS else paid // 2


@tool(side_effects="destructive")
def enter_tournament(db: Database, *, tournament_id: str, member_id: str) -> JsonValue:
    """Enter a member for a tournament and charge the club account.

    tournament_id: The tournament
    member_id: Who plays
    """
    tournament, member = existing(db, "tournaments", tournament_id), entitled(db, member_id)
    closed = tournament["enter_by"] < db.spec.today or tournament["places_left"] < 1
    refuse_if(closed, "closed", f"entries for {tournament_id} are closed, or it is full")
    least, most = tournament["least_rating"], tournament["most_rating"]
    refuse_if(not least <= member["rating"] <= most, "wrong_rating", f"{tournament_id} is for ratings {least} to {most}")
    entered = [db.at("tournaments", row["tournament_id"]) for row in db.find("entries", member_id=member_id, status="entered")]
    plays = tournament["plays_on"] in [row["plays_on"] for row in entered]
    refuse_if(plays, "already_playing", f"member {member_id} plays a tournament on that day already")
    charge(db, member_id, tournament["entry_fee"])
    db.update("tournaments", tournament_id, places_left=tournament["places_left"] - 1)
    terms: dict[str, Any] = {"paid": tournament["entry_fee"], "entered_on": db.spec.today, "status": "entered"}
    new = db.insert("entries", "TE", tournament_id=tournament_id, member_id=member_id, **terms)
    return with_balance(db, member_id, {**db.show("tournaments", tournament, "name", "plays_on"), **db.show("entries", new)})


@tool(side_effects="destructive")
def buy_season_ticket(db: Database, *, member_id: str, team: Team, stand: Stand) -> JsonValue:
    """Buy a season ticket for the scheduled home matches of a team that are still to come, from the club account.

    member_id: Who sits there
    team: Whose matches
    stand: Where the seat is
    """
    member = existing(db, "members", member_id)
    twice = db.find("season_tickets", member_id=member_id, team=team, status="active")
    refuse_if(bool(twice), "has_one", f"member {member_id} has a season ticket for the {team}")
    matches = sum(row["starts_at"] > db.spec.now for row in db.find("fixtures", team=team, status="scheduled"))
    refuse_if(matches == 0, "season_over", f"the {team} have no scheduled home match left")
    price = matches * SEAT_PRICE[stand] * (PREMIUM_TICKET if member["plan"] == "premium" else 100) // 100
    charge(db, member_id, price)
    terms: dict[str, Any] = {"team": team, "stand": stand, "paid": price, "bought_on": db.spec.today, "status": "active"}
    new = db.insert("season_tickets", "ST", member_id=member_id, **terms)
    return with_balance(db, member_id, {**db.show("season_tickets", new), "matches": matches}, per_match=SEAT_PRICE[stand])


def open_fine(db: Database, fine_id: str) -> dict[str, Any]:
    fine = existing(db, "fines", fine_id)
    refuse_if(fine["status"] != "open", "not_open", f"fine {fine_id} is {fine['status']}")
    return fine


@tool(side_effects="destructive")
def pay_fine(db: Database, *, fine_id: str) -> JsonValue:
    """Pay an open fine from the club account, with the early reduction if it still applies.

    fine_id: The fine
    """
    fine = open_fine(db, fine_id)
    due = fine["amount"] * (EARLY_FINE if days_until(db, fine["issued_on"]) >= -EARLY_FINE_DAYS else 100) // 100
    charge(db, fine["member_id"], due)
    return with_balance(db, fine["member_id"], db.show("fines", db.update("fines", fine_id, status="paid", paid=due)))


@tool(side_effects="idempotent")
def appeal_fine(db: Database, *, fine_id: str, ground: Literal["illness", "mistake", "hardship"], statement: str) -> JsonValue:
    """Appeal against an open fine, within 21 days of its issue.

    fine_id: The fine
    ground: The member was ill, the fine is a mistake, or it is a hardship
    statement: The appeal in the member's words
    """
    fine = open_fine(db, fine_id)
    refuse_if(days_until(db, fine["issued_on"]) < -APPEAL_DAYS, "too_late", f"fine {fine_id} is over {APPEAL_DAYS} days old")
    return db.show("fines", db.update("fines", fine_id, status="appealed", ground=ground, statement=statement))


@tool(side_effects="idempotent")
def freeze_membership(db: Database, *, member_id: str, until: Day) -> JsonValue:
    """Freeze a membership from today; not while courts are booked.

    member_id: Whose membership
    until: Day on which it goes on, 30 to 180 days ahead
    """
    member = existing(db, "members", member_id)
    refuse_if(member["status"] == "frozen", "already_frozen", f"member {member_id} is frozen until {member['frozen_until']}")
    ahead = any(row["starts_at"] > db.spec.now for row in db.find("bookings", member_id=member_id, status="booked"))
    refuse_if(ahead, "has_bookings", f"member {member_id} still has courts booked; cancel them first")
    fits = FREEZE_DAYS[0] <= days_until(db, until) <= FREEZE_DAYS[1]
    refuse_if(not fits, "invalid_day", f"{until} is not {FREEZE_DAYS[0]} to {FREEZE_DAYS[1]} days ahead")
    return db.show("members", db.update("members", member_id, status="frozen", frozen_until=until))


def of_member(name: str, table: str, description: str, *, order: str | None = None, show: tuple[str, ...] = ()) -> Declared:
    """The tool that lists what one member has in a table."""
    filters: dict[str, tuple[str, Match]] = {"member_id": ("member_id", "is"), "status": ("status", "is")}
    return search(name, table, filters, description=description, required=("member_id",), order=order, show=show)


COURTS: Final = (free_courts, book_court, quote_cancellation, cancel_booking, move_booking, add_guests)
OTHERS: Final = (enrol, leave_course, enter_tournament, buy_season_ticket, pay_fine, appeal_fine, freeze_membership)
IN_SHORT: Final = ("booking_id", "court_id", "starts_at", "hours", "status")
TOOLS = (
    look_up("find_member", "members", by="email"),
    look_up("find_court", "courts", by="name"),
    look_up("find_course", "courses", by="name"),
    look_up("get_course", "courses"),
    of_member("list_bookings", "bookings", "List the court bookings of a member in short.", order="starts_at", show=IN_SHORT),
    of_member("list_enrolments", "enrolments", "List the course enrolments of a member."),
    of_member("list_entries", "entries", "List the tournament entries of a member."),
    of_member("list_season_tickets", "season_tickets", "List the season tickets of a member."),
    of_member("list_fines", "fines", "List the fines of a member, the oldest first.", order="issued_on"),
    search(
        "search_courses",
        "courses",
        {"sport": ("sport", "is"), "level": ("level", "is"), "begins_from": ("begins_on", "from")},
        description="Find courses of a sport, the first to begin first; those that have begun are among them.",
        required=("sport",),
        order="begins_on",
    ),
    search(
        "search_tournaments",
        "tournaments",
        {"sport": ("sport", "is"), "plays_from": ("plays_on", "from"), "plays_until": ("plays_on", "until")},
        description="Find tournaments of a sport, the next to be played first.",
        required=("sport",),
        order="plays_on",
    ),
    search(
        "list_fixtures",
        "fixtures",
        {"team": ("team", "is"), "status": ("status", "is"), "plays_from": ("starts_at", "from")},
        description="List the home matches of a team, the earliest first.",
        required=("team",),
        order="starts_at",
    ),
    *COURTS,
    *OTHERS,
)
