"""Rows of Marlowick Tables: restaurants with tables and menus that stay, guests with what they have reserved and ordered."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from random import Random
from typing import Any, Final, TypeAlias

from toolorchestra.training.toolscale.domains.restaurant.menus import EVENTS, MENUS, VENUES
from toolorchestra.training.toolscale.draws import chance, some, weighted
from toolorchestra.training.toolscale.names import draw_people
from toolorchestra.worlds.shipped.restaurant.tools import (
    LARGE,
    LONG_STAY,
    SPARE_SEATS,
    STAY,
    deposit_of,
    event_price,
    event_refund,
    menu_price,
    seats_guests,
    takeaway_price,
)

Row: TypeAlias = dict[str, Any]
Tables: TypeAlias = dict[str, list[Row]]
NOW: Final = datetime.fromisoformat("2026-10-14T11:00")
MIDNIGHT: Final = NOW.replace(hour=0)
GUESTS: Final = 150
ROOM: Final = {"main_room": (2, 4, 4, 6, 8), "window": (2, 4, 6), "booth": (4, 6), "courtyard": (2, 4, 6)}
DISHES: Final = 14  # on each menu
FIRST, LAST = 3, 45  # days ahead of coming reservations, apart from some of the next days


def draw_rows(random: Random) -> Tables:
    """All tables; every reference leads to a row, every amount follows from the group's rules."""
    tables: Tables = {"venues": list(_venues(random))}
    tables["dining_tables"] = list(_dining_tables(random, tables["venues"]))
    tables["guests"] = list(_guests(random))
    tables["reservations"] = list(_reservations(random, tables))
    tables["waiting_list"] = list(_waiting_list(random, tables))
    tables["dishes"] = list(_dishes(random, tables["venues"]))
    tables["orders"] = [*_preorders(random, tables), *_takeaways(random, tables)]
    tables["vouchers"] = list(_vouchers(random, tables["guests"]))
    tables["events"] = list(_events(random, tables["venues"]))
    tables["event_bookings"] = list(_event_bookings(random, tables))
    return tables


def _keys(random: Random, prefix: str, count: int) -> Iterator[str]:
    return (f"{prefix}-{number}" for number in random.sample(range(10_000, 99_999), count))


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M")


def _venues(random: Random) -> Iterator[Row]:
    marks = random.sample(range(36, 50), len(VENUES))
    for key, (name, cuisine), mark in zip(_keys(random, "VN", len(VENUES)), VENUES, marks, strict=True):
        yield {
            "venue_id": key,
            "name": name,
            "cuisine": cuisine,
            "rating": mark / 10,
            "dogs": chance(random, 0.6),
            "opens": random.choice(("11:30", "12:00", "12:30")),
            "last_seating": random.choice(("20:30", "21:00", "21:30")),
            "closed_on": random.choice(("Monday", "Monday", "Tuesday", "Sunday")),
            "deposit": random.randrange(800, 2600, 50),
            "notice_hours": random.choice((24, 48, 72)),
        }


def _dining_tables(random: Random, venues: list[Row]) -> Iterator[Row]:
    keys = _keys(random, "TB", 400)
    for venue in venues:
        seats = [(place, number) for place, numbers in ROOM.items() for number in numbers]
        for label, (place, number) in enumerate(seats, 1):
            yield {
                "table_id": next(keys),
                "venue_id": venue["venue_id"],
                "label": f"Table {label:02d}",
                "place": place,
                "seats": number,
            }


def _guests(random: Random) -> Iterator[Row]:
    for key, person in zip(_keys(random, "GU", GUESTS), draw_people(random, GUESTS), strict=True):
        yield {
            "guest_id": key,
            "name": person.name,
            "email": person.email,
            "tier": weighted(random, ("regular", 0.5), ("friend", 0.35), ("insider", 0.15)),
            "visits": random.randint(1, 60),
            "credit": random.randrange(4000, 45_000, 5),
        }


def _reservations(random: Random, tables: Tables) -> Iterator[Row]:
    """Days of a guest differ, and no table is given to two parties at a time."""
    keys, taken = _keys(random, "RS", GUESTS * 8), dict[str, list[tuple[datetime, datetime]]]()
    for guest in tables["guests"]:
        past, soon = random.sample(range(-60, 0), random.randint(0, 2)), random.sample(range(1, FIRST), random.randint(0, 1))
        for day in sorted([*past, *soon, *random.sample(range(FIRST, LAST), random.randint(1, 4))]):
            venue, party = (
                random.choice(tables["venues"]),
                weighted(random, (2, 0.25), (3, 0.15), (4, 0.2), (6, 0.25), (8, 0.15)),
            )
            start = MIDNIGHT + timedelta(days=day, hours=random.choice((12, 13, 18, 19, 20)), minutes=random.choice((0, 30)))
            end = start + (LONG_STAY if party >= LARGE else STAY)
            fit = [
                row
                for row in tables["dining_tables"]
                if row["venue_id"] == venue["venue_id"] and party <= row["seats"] <= party + SPARE_SEATS
                if all(end <= since or until <= start for since, until in taken.get(row["table_id"], ()))
            ]
            if fit and seats_guests(venue, _text(start)):
                table = random.choice(fit)
                reservation = _reservation(random, guest, venue, _text(start), party)
                if reservation["status"] != "cancelled":
                    taken.setdefault(table["table_id"], []).append((start, end))
                yield {"reservation_id": next(keys), "table_id": table["table_id"], **reservation}


def _reservation(random: Random, guest: Row, venue: Row, starts_at: str, party: int) -> Row:
    deposit, cancelled = deposit_of(venue, guest["tier"], starts_at, party), chance(random, 0.08)
    return {
        "guest_id": guest["guest_id"],
        "venue_id": venue["venue_id"],
        "starts_at": starts_at,
        "party": party,
        "deposit": deposit,
        "status": "cancelled" if cancelled else "dined" if starts_at < _text(NOW) else "confirmed",
        "refunded": weighted(random, (deposit, 0.7), (deposit // 2, 0.3)) if cancelled else None,
    }


def _waiting_list(random: Random, tables: Tables) -> Iterator[Row]:
    """For times at which the one table for large parties was taken."""
    large = [row for row in tables["reservations"] if row["status"] != "cancelled" and row["party"] > max(ROOM["window"])]
    waiting = some(random, large, 40)
    for key, reservation in zip(_keys(random, "WL", len(waiting)), waiting, strict=True):
        others = [row["guest_id"] for row in tables["guests"] if row["guest_id"] != reservation["guest_id"]]
        past = reservation["status"] == "dined"
        yield {
            "entry_id": key,
            "guest_id": random.choice(others),
            "venue_id": reservation["venue_id"],
            "starts_at": reservation["starts_at"],
            "party": random.choice((7, 8)),
            "status": "withdrawn" if past else weighted(random, ("waiting", 0.8), ("withdrawn", 0.2)),
        }


def _dishes(random: Random, venues: list[Row]) -> Iterator[Row]:
    keys = _keys(random, "DI", 400)
    for venue in venues:
        prices = set[int]()
        for name, course, price, allergens, vegan in some(random, MENUS[venue["cuisine"]], DISHES):
            found = price + random.randrange(-200, 260, 20)
            while found in prices:
                found += 10
            prices.add(found)
            yield {
                "dish_id": next(keys),
                "venue_id": venue["venue_id"],
                "name": name,
                "course": course,
                "price": found,
                "allergens": allergens,
                "vegan": vegan,
                "takeaway": chance(random, 0.75),
            }


def _order(random: Random, key: str, guest: Row, dish: Row, portions: int) -> Row:
    return {
        "order_id": key,
        "guest_id": guest["guest_id"],
        "dish_id": dish["dish_id"],
        "portions": portions,
        "paid_with": random.choice(("card", "credit")),
    }


def _preorders(random: Random, tables: Tables) -> Iterator[Row]:
    """For a part of all reservations that were not cancelled, one dish or two."""
    keys, guests = _keys(random, "OD", 3000), {row["guest_id"]: row for row in tables["guests"]}
    for reservation in tables["reservations"]:
        menu = [row for row in tables["dishes"] if row["venue_id"] == reservation["venue_id"]]
        held, guest = reservation["status"] != "cancelled", guests[reservation["guest_id"]]
        for dish in some(random, menu, weighted(random, (0, 0.6), (1, 0.25), (2, 0.15))) if held else ():
            portions = random.randint(1, reservation["party"])
            served = reservation["status"] == "dined"
            yield {
                **_order(random, next(keys), guest, dish, portions),
                "reservation_id": reservation["reservation_id"],
                "price": menu_price(dish, guest["tier"], portions),
                "ready_at": reservation["starts_at"],
                "status": "served" if served else weighted(random, ("placed", 0.9), ("cancelled", 0.1)),
            }


def _takeaways(random: Random, tables: Tables) -> Iterator[Row]:
    keys, venues = _keys(random, "OT", 3000), {row["venue_id"]: row for row in tables["venues"]}
    sold = [row for row in tables["dishes"] if row["takeaway"]]
    for guest in tables["guests"]:
        for day in random.sample(range(-20, 7), random.randint(0, 2)):
            dish, portions = random.choice(sold), random.randint(1, 4)
            ready = MIDNIGHT + timedelta(days=day, hours=random.randint(17, 20), minutes=random.choice((0, 15, 30, 45)))
            if seats_guests(venues[dish["venue_id"]], _text(ready)):
                yield {
                    **_order(random, next(keys), guest, dish, portions),
                    "reservation_id": None,
                    "price": takeaway_price(dish, portions),
                    "ready_at": _text(ready),
                    "status": "served" if ready < NOW else weighted(random, ("placed", 0.9), ("cancelled", 0.1)),
                }


def _vouchers(random: Random, guests: list[Row]) -> Iterator[Row]:
    keys = _keys(random, "GV", GUESTS * 4)
    for guest in guests:
        amounts = random.sample(range(1000, 12_000, 250), weighted(random, (0, 0.25), (1, 0.25), (2, 0.3), (3, 0.2)))
        for amount, days in zip(amounts, random.sample(range(-120, 500), len(amounts)), strict=True):
            yield {
                "voucher_id": next(keys),
                "guest_id": guest["guest_id"],
                "amount": amount,
                "expires_on": (NOW + timedelta(days=days)).date().isoformat(),
                "status": weighted(random, ("active", 0.85), ("redeemed", 0.15)),
            }


def _events(random: Random, venues: list[Row]) -> Iterator[Row]:
    keys = _keys(random, "EV", 100)
    for kind, names in EVENTS.items():
        for name, day in zip(names, random.sample(range(1, 70), len(names)), strict=True):
            start = MIDNIGHT + timedelta(days=day, hours=random.choice((17, 18, 19, 20)), minutes=random.choice((0, 15, 30)))
            yield {
                "event_id": next(keys),
                "venue_id": random.choice([row for row in venues if row["closed_on"] != f"{start:%A}"])["venue_id"],
                "name": name,
                "kind": kind,
                "starts_at": _text(start),
                "price": random.randrange(1800, 9800, 50),
                "seats_left": weighted(random, (0, 0.1), (random.randint(1, 4), 0.2), (random.randint(5, 40), 0.7)),
            }


def _event_bookings(random: Random, tables: Tables) -> Iterator[Row]:
    keys = _keys(random, "EB", GUESTS * 4)
    for guest in tables["guests"]:
        for event in some(random, tables["events"], weighted(random, (0, 0.3), (1, 0.4), (2, 0.3))):
            seats, cancelled = random.randint(1, 6), chance(random, 0.08)
            paid = event_price(event, guest["tier"], seats)
            yield {
                "booking_id": next(keys),
                "event_id": event["event_id"],
                "guest_id": guest["guest_id"],
                "seats": seats,
                "paid": paid,
                "paid_with": random.choice(("card", "credit")),
                "status": "cancelled" if cancelled else "booked",
                # Those who cancelled had done so long before.
                "refunded": event_refund(paid, 24 * 30) if cancelled else None,
            }
