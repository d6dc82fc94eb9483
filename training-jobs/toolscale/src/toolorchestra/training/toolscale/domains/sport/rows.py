"""Rows of Tarnholt Sports Club: courts and teams that stay, members with what they have booked, joined, bought and owe."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from random import Random
from typing import Any, Final, TypeAlias

from toolorchestra.training.toolscale.draws import chance, some, weighted
from toolorchestra.training.toolscale.names import draw_people
from toolorchestra.worlds.shipped.sport.tools import (
    CLOSES,
    EARLY_FINE,
    EARLY_FINE_DAYS,
    GUEST_FEE,
    OPENS,
    PREMIUM_TICKET,
    SEAT_PRICE,
    age_on,
    course_price,
    court_price,
    leave_refund,
)

Row: TypeAlias = dict[str, Any]
Tables: TypeAlias = dict[str, list[Row]]
NOW: Final = datetime.fromisoformat("2026-05-11T08:30")
TODAY: Final = NOW.date()
MEMBERS: Final = 150
SPORTS: Final = ("tennis", "badminton", "squash", "padel")
TEAMS: Final = ("Kestrels", "Otters", "Stags", "Comets")
LEVELS: Final = ("beginner", "improver", "advanced")
COURTS: Final = {
    "tennis": (("Heron", "Plover", "Curlew", "Lapwing"), ("Kite", "Merlin", "Osprey", "Harrier"), (1600, 2600)),
    "badminton": ((), ("Swift", "Swallow", "Martin", "Wren", "Linnet"), (900, 1500)),
    "squash": ((), ("Badger", "Fox", "Marten", "Stoat", "Hare"), (1000, 1700)),
    "padel": (("Alder", "Birch", "Hazel", "Rowan"), ("Maple", "Willow", "Aspen"), (2000, 3200)),
}
THEMES: Final = (
    "Foundations",
    "Footwork",
    "Match Play",
    "Doubles",
    "Tactics",
    "Fundamentals",
    "Evening Group",
    "Morning Group",
    "Power Hour",
    "Technique Lab",
    "Conditioning",
    "Refresher",
)
COACHES: Final = {
    "tennis": ("Odile Framm", "Petter Hask", "Jonah Tarrow"),
    "badminton": ("Lin Vesper", "Ravi Sundal"),
    "squash": ("Marta Quell", "Egon Brisk"),
    "padel": ("Silvio Dune", "Carys Holt"),
}
CUPS: Final = ("Open", "Cup", "Trophy", "Shield", "Challenge", "Plate", "Ladder Day")
SEASONS: Final = ("Maytime", "Spring", "President's", "Early Summer", "Midsummer", "Founders'", "High Summer")  # as they come
OPPONENTS: Final = (
    "Hexby Rangers",
    "Quillford Town",
    "Dunsmere Athletic",
    "Marrowick Rovers",
    "Eldham United",
    "Fennick Harriers",
    "Thornwell Albion",
    "Saltby Wanderers",
    "Orrin Vale",
    "Pellbrook Swifts",
)
FULL_SEASON: Final = 12  # matches that last season's tickets were sold for


def draw_rows(random: Random) -> Tables:
    """All tables; every reference leads to a row, every amount follows from the club's rules."""
    tables: Tables = {"members": list(_members(random)), "courts": list(_courts(random))}
    tables["bookings"] = list(_bookings(random, tables))
    tables["courses"] = list(_courses(random))
    tables["enrolments"] = list(_enrolments(random, tables))
    tables["tournaments"] = list(_tournaments(random))
    tables["entries"] = list(_entries(random, tables))
    tables["fixtures"] = list(_fixtures(random))
    tables["season_tickets"] = list(_season_tickets(random, tables))
    tables["fines"] = list(_fines(random, tables["members"]))
    return tables


def _keys(random: Random, prefix: str, count: int) -> Iterator[str]:
    return (f"{prefix}-{number}" for number in random.sample(range(10_000, 99_999), count))


def _day(days: int) -> str:
    return (TODAY + timedelta(days=days)).isoformat()


def _members(random: Random) -> Iterator[Row]:
    for key, person in zip(_keys(random, "MB", MEMBERS), draw_people(random, MEMBERS), strict=True):
        plan = weighted(random, ("junior", 0.15), ("standard", 0.5), ("premium", 0.35))
        year = random.randint(2009, 2014) if plan == "junior" else random.randint(1951, 2006)
        yield {
            "member_id": key,
            "name": person.name,
            "email": person.email,
            "birth_date": date(year, random.randint(1, 12), random.randint(1, 28)).isoformat(),
            "plan": plan,
            "rating": random.randrange(620, 2200, 5),
            "balance": random.randrange(9000, 60_000, 5),
            "guest_passes": weighted(random, (random.randint(0, 2), 0.25), (random.randint(3, 20), 0.75)),
            "status": "active",
            "frozen_until": None,
        }


def _courts(random: Random) -> Iterator[Row]:
    keys = _keys(random, "CT", 40)
    for sport, (outdoor, indoor, (least, most)) in COURTS.items():
        prices = random.sample(range(least, most, 50), len(outdoor) + len(indoor))
        for name, price in zip((*outdoor, *indoor), prices, strict=True):
            yield {
                "court_id": next(keys),
                "name": f"{name} Court",
                "sport": sport,
                "indoor": name in indoor,
                "hourly_price": price,
            }


def _bookings(random: Random, tables: Tables) -> Iterator[Row]:
    """At most one a day per member, and no court twice at a time."""
    keys, taken = _keys(random, "BK", MEMBERS * 8), set[tuple[str, str]]()
    for member in tables["members"]:
        days = [*random.sample(range(-25, 0), random.randint(0, 3)), *random.sample(range(15), random.randint(1, 4))]
        for day in sorted(days):
            court, hours = random.choice(tables["courts"]), weighted(random, (1, 0.6), (2, 0.35), (3, 0.05))
            start = datetime.combine(TODAY, datetime.min.time()) + timedelta(
                days=day, hours=random.randint(10 if day == 0 else OPENS, CLOSES - hours)
            )
            slots = {(court["court_id"], (start + timedelta(hours=hour)).isoformat()) for hour in range(hours)}
            if taken.isdisjoint(slots):
                taken |= slots
                yield _booking(
                    random, {"booking_id": next(keys), "member_id": member["member_id"]}, member, court, start, hours
                )


def _booking(random: Random, keys: Row, member: Row, court: Row, start: datetime, hours: int) -> Row:
    starts_at = start.strftime("%Y-%m-%dT%H:%M")
    price = court_price(court, member["plan"], starts_at, hours)
    guests = weighted(random, (0, 0.7), (1, 0.2), (2, 0.1))
    fees = GUEST_FEE * guests * chance(random, 0.6)
    cancelled = chance(random, 0.08)
    return {
        **keys,
        "court_id": court["court_id"],
        "starts_at": starts_at,
        "hours": hours,
        "price": price,
        "guests": guests,
        "guest_fees": fees,
        "status": "cancelled" if cancelled else "played" if start < NOW else "booked",
        # Those who cancelled had done so in time.
        "refunded": price + fees if cancelled else None,
    }


def _courses(random: Random) -> Iterator[Row]:
    keys = _keys(random, "CO", 100)
    for sport in SPORTS:
        starts = random.sample(range(-18, 62), len(THEMES))
        for number, (theme, start) in enumerate(zip(THEMES, starts, strict=True)):
            lessons = random.choice((6, 8, 10))
            ages = weighted(random, ((9, 17), 0.25), ((16, 80), 0.5), ((10, 80), 0.25))
            yield {
                "course_id": next(keys),
                "name": f"{sport.title()} {theme}",
                "sport": sport,
                "level": LEVELS[number % len(LEVELS)],
                "coach": random.choice(COACHES[sport]),
                "begins_on": _day(start),
                "lessons": lessons,
                "fee": lessons * random.randrange(900, 1700, 50),
                "least_age": ages[0],
                "most_age": ages[1],
                "places_left": weighted(random, (0, 0.15), (random.randint(1, 9), 0.85)),
            }


def _enrolments(random: Random, tables: Tables) -> Iterator[Row]:
    keys = _keys(random, "EN", MEMBERS * 3)
    for member in tables["members"]:
        fit = [row for row in tables["courses"] if row["least_age"] <= _age(member, row) <= row["most_age"]]
        for course in some(random, fit, weighted(random, (0, 0.2), (1, 0.4), (2, 0.4))):
            start = date.fromisoformat(course["begins_on"])
            enrolled_on = (min(start, TODAY) - timedelta(days=random.randint(1, 30))).isoformat()
            paid = course_price(course, member["plan"], enrolled_on)
            left = start > TODAY and chance(random, 0.1)
            yield {
                "enrolment_id": next(keys),
                "course_id": course["course_id"],
                "member_id": member["member_id"],
                "paid": paid,
                "enrolled_on": enrolled_on,
                "status": "left" if left else "enrolled",
                "refunded": leave_refund(paid, (start - TODAY).days) if left else None,
            }


def _age(member: Row, course: Row) -> int:
    return age_on(member["birth_date"], course["begins_on"])


def _tournaments(random: Random) -> Iterator[Row]:
    keys = _keys(random, "TO", 60)
    for sport in SPORTS:
        days = sorted(random.sample(range(2, 75), len(SEASONS) + 3))
        titles = [f"{season} {sport.title()} {cup}" for season in SEASONS for cup in CUPS]
        names = [titles[place] for place in sorted(random.sample(range(len(titles)), len(days)))]
        for name, day in zip(names, days, strict=True):
            least, most = weighted(random, ((0, 1200), 0.25), ((900, 1700), 0.3), ((1300, 2600), 0.25), ((0, 2600), 0.2))
            yield {
                "tournament_id": next(keys),
                "name": name,
                "sport": sport,
                "plays_on": _day(day),
                "enter_by": _day(day - random.randint(3, 12)),
                "least_rating": least,
                "most_rating": most,
                "entry_fee": random.randrange(850, 3200, 25),
                "places_left": weighted(random, (0, 0.15), (random.randint(1, 24), 0.85)),
            }


def _entries(random: Random, tables: Tables) -> Iterator[Row]:
    keys = _keys(random, "TE", MEMBERS * 3)
    for member in tables["members"]:
        fit = [row for row in tables["tournaments"] if row["least_rating"] <= member["rating"] <= row["most_rating"]]
        chosen = some(random, fit, weighted(random, (0, 0.45), (1, 0.4), (2, 0.15)))
        for tournament in {row["plays_on"]: row for row in chosen}.values():
            latest = min(date.fromisoformat(tournament["enter_by"]), TODAY - timedelta(days=1))
            yield {
                "entry_id": next(keys),
                "tournament_id": tournament["tournament_id"],
                "member_id": member["member_id"],
                "paid": tournament["entry_fee"],
                "entered_on": (latest - timedelta(days=random.randint(0, 20))).isoformat(),
                "status": weighted(random, ("entered", 0.9), ("withdrawn", 0.1)),
            }


def _fixtures(random: Random) -> Iterator[Row]:
    keys = _keys(random, "FX", 100)
    for team in TEAMS:
        past, coming = random.sample(range(-80, -2), 6), random.sample(range(2, 70), random.randint(6, 9))
        for day in sorted([*past, *coming]):
            start = datetime.combine(TODAY, datetime.min.time()) + timedelta(
                days=day, hours=random.choice((14, 15, 17, 18, 19))
            )
            yield {
                "fixture_id": next(keys),
                "team": team,
                "opponent": random.choice(OPPONENTS),
                "starts_at": (start + timedelta(minutes=random.choice((0, 15, 30)))).strftime("%Y-%m-%dT%H:%M"),
                "competition": weighted(random, ("league", 0.7), ("cup", 0.2), ("friendly", 0.1)),
                "status": "played" if day < 0 else weighted(random, ("scheduled", 0.85), ("postponed", 0.15)),
            }


def _season_tickets(random: Random, tables: Tables) -> Iterator[Row]:
    """Some of last season, and some of this one: sold for the matches that were not over on that day."""
    keys = _keys(random, "ST", MEMBERS * 3)
    for member in tables["members"]:
        percent = PREMIUM_TICKET if member["plan"] == "premium" else 100
        for team in some(random, TEAMS, weighted(random, (0, 0.3), (1, 0.4), (2, 0.3))):
            stand, active = random.choice(sorted(SEAT_PRICE)), chance(random, 0.75)
            bought_on = _day(-random.randint(3, 85) if active else -random.randint(380, 440))
            ahead = [row for row in tables["fixtures"] if row["team"] == team and row["starts_at"] > bought_on]
            matches = sum(row["status"] != "postponed" for row in ahead) if active else FULL_SEASON
            yield {
                "ticket_id": next(keys),
                "member_id": member["member_id"],
                "team": team,
                "stand": stand,
                "paid": matches * SEAT_PRICE[stand] * percent // 100,
                "bought_on": bought_on,
                "status": "active" if active else "expired",
            }


def _fines(random: Random, members: list[Row]) -> Iterator[Row]:
    keys = _keys(random, "FI", MEMBERS * 4)
    reasons = ("no_show", "damage", "parking", "unregistered_guest")
    for member in members:
        for reason in some(random, reasons, weighted(random, (0, 0.25), (1, 0.3), (2, 0.3), (3, 0.15))):
            status = weighted(random, ("open", 0.65), ("paid", 0.2), ("appealed", 0.1), ("waived", 0.05))
            age, amount = random.randint(1, 45), random.randrange(400, 2400, 20)
            # Whoever paid did so within the fortnight or after it.
            percent = EARLY_FINE if age <= EARLY_FINE_DAYS or chance(random, 0.5) else 100
            yield {
                "fine_id": next(keys),
                "member_id": member["member_id"],
                "reason": reason,
                "amount": amount,
                "issued_on": _day(-age),
                "status": status,
                "paid": amount * percent // 100 if status == "paid" else None,
                "ground": random.choice(("illness", "mistake", "hardship")) if status == "appealed" else None,
                "statement": "Please look at this again." if status == "appealed" else None,
            }
