"""Rows of Tern & Tide Travel: places and hotels that stay, rooms and flights of a summer, customers with their trips."""

from collections.abc import Iterator
from datetime import date
from random import Random
from typing import Any, Final, TypeAlias

from toolorchestra.training.toolscale.draws import chance, some, weighted
from toolorchestra.training.toolscale.names import draw_people
from toolorchestra.worlds.shipped.travel.tools import (
    BAG_FEE,
    PAY_DAYS,
    PREMIUM,
    deposit_of,
    later,
    refund_of,
    stay_price,
    visa_terms,
)

Row: TypeAlias = dict[str, Any]
Tables: TypeAlias = dict[str, list[Row]]
TODAY: Final = "2026-06-08"
CUSTOMERS: Final = 120
HOTELS_PER_PLACE, DATES, PER_DATE = 4, 6, 3  # dates on which stays begin, and offers of a hotel on each
WEEKS: Final = range(17)
PLACES: Final = (
    ("Port Alba", "coast"),
    ("Cala Perdis", "coast"),
    ("Velmora", "coast"),
    ("Marabel", "coast"),
    ("Isla Verana", "islands"),
    ("Thessara", "islands"),
    ("Havenreef", "islands"),
    ("Sankt Orlin", "hills"),
    ("Monte Briar", "hills"),
    ("Alta Serrin", "hills"),
    ("Qasr Amina", "desert"),
    ("Zarif Oasis", "desert"),
)
VISAS: Final = ("Qasr Amina", "Zarif Oasis", "Thessara", "Havenreef", "Velmora", "Alta Serrin")
KINDS_OF_HOTEL: Final = ("Hotel", "Villa", "Casa", "Pension", "Residence")
NAMES: Final = (
    "Amphora Bellflower Cypress Dovecote Evenstar Figtree Gullwing Heron Iris Jasmine Kingfisher Lantern Mulberry Nightjar "
    "Oleander Pomelo Quince Rosemary Saffron Tamarisk"
)
BOARDS: Final = {"breakfast": 100, "half_board": 125, "all_inclusive": 155}  # percent of the price with breakfast
KINDS: Final = {"single": (1, 60), "double": (2, 100), "family": (4, 165)}  # sleeps, percent of the price of a double
AIRPORTS: Final = ("Westhaven", "Eldmoor", "Northolm")
EXCURSIONS: Final = (
    ("Sunset Sailing", 5400),
    ("Old Town Walk", 1800),
    ("Vineyard Afternoon", 6200),
    ("Glass Boat Tour", 3900),
    ("Canyon Hike", 4400),
    ("Night Market Supper", 4900),
    ("Lighthouse Picnic", 3300),
    ("Pottery Workshop", 4100),
    ("Stargazing Evening", 2900),
    ("Riding Trail", 7100),
    ("Cave Concert", 3700),
    ("Herb Garden Lunch", 4600),
)


def draw_rows(random: Random) -> Tables:
    """All tables; every reference leads to a row, every amount follows from the operator's rules."""
    tables: Tables = {"destinations": list(_destinations(random))}
    tables["hotels"] = list(_hotels(random, tables["destinations"]))
    dates = {row["destination_id"]: _dates(random) for row in tables["destinations"]}
    tables["rooms"] = list(_rooms(random, tables["hotels"], dates))
    tables["flights"] = list(_flights(random, dates))
    tables["excursions"] = list(_excursions(random, dates))
    tables["customers"] = list(_customers(random))
    tables["bookings"] = list(_bookings(random, tables))
    tables["extras"] = list(_extras(random, tables))
    _insure(random, tables["bookings"])
    tables["visas"] = list(_visas(random, tables))
    return tables


def _keys(random: Random, prefix: str, count: int) -> Iterator[str]:
    return (f"{prefix}-{number}" for number in random.sample(range(10_000, 99_999), count))


def _destinations(random: Random) -> Iterator[Row]:
    for key, (name, region) in zip(_keys(random, "DE", len(PLACES)), PLACES, strict=True):
        yield {
            "destination_id": key,
            "name": name,
            "region": region,
            "visa": name in VISAS,
            "visa_fee": random.randrange(2500, 9000, 250) if name in VISAS else 0,
            "visa_days": random.randint(10, 26) if name in VISAS else 0,
            "passport_days": random.choice((60, 90, 180)),
        }


def _hotels(random: Random, destinations: list[Row]) -> Iterator[Row]:
    names = [f"{kind} {name}" for kind in KINDS_OF_HOTEL for name in NAMES.split()]
    count = len(destinations) * HOTELS_PER_PLACE
    keys, drawn = _keys(random, "HO", count), iter(random.sample(names, count))
    for destination in destinations:
        for _ in range(HOTELS_PER_PLACE):
            yield {
                "hotel_id": next(keys),
                "name": next(drawn),
                "destination_id": destination["destination_id"],
                "stars": random.randint(2, 5),
                "pool": chance(random, 0.6),
                "metres_to_beach": random.randrange(50, 2500, 50),
            }


def _dates(random: Random) -> list[str]:
    """The days on which stays at a destination begin, all on one day of the week."""
    first = random.randint(0, 6)
    return [later(TODAY, 7 * week + first) for week in sorted(random.sample(WEEKS, DATES))]


def _rooms(random: Random, hotels: list[Row], dates: dict[str, list[str]]) -> Iterator[Row]:
    """Some offers of the spring, and those to come; no two of a hotel alike."""
    keys, offers = _keys(random, "RO", 2000), [(kind, board) for kind in KINDS for board in BOARDS]
    for hotel in hotels:
        price = (hotel["stars"] * random.randint(105, 150) + random.randint(0, 80)) * 100
        past = [later(day, -7 * 22) for day in some(random, dates[hotel["destination_id"]], 2)]
        for day in (*past, *dates[hotel["destination_id"]]):
            for kind, board in random.sample(offers, PER_DATE):
                nights = weighted(random, (7, 0.7), (14, 0.3))
                sleeps, percent = KINDS[kind]
                yield {
                    "room_id": next(keys),
                    "hotel_id": hotel["hotel_id"],
                    "kind": kind,
                    "sleeps": sleeps,
                    "board": board,
                    "arrives_on": day,
                    "leaves_on": later(day, nights),
                    "price": price * nights // 7 * percent // 100 * BOARDS[board] // 100 + random.randrange(0, 9000, 100),
                    "left": weighted(random, (0, 0.06), (random.randint(1, 9), 0.94)),
                }


def _flights(random: Random, dates: dict[str, list[str]]) -> Iterator[Row]:
    """From two airports to each destination: out when stays begin and now and then a day earlier, back when they end."""
    keys = _keys(random, "FL", 3000)
    for destination_id, days in dates.items():
        airports, usual = random.sample(AIRPORTS, 2), random.randrange(7000, 26_000, 100)
        ends = sorted({later(day, nights) for day in days for nights in (7, 14)})
        eves = [later(day, -1) for day in days if chance(random, 0.3)]
        for direction, day in (*(("out", day) for day in (*days, *eves)), *(("back", day) for day in ends)):
            for airport in airports:
                for minutes in sorted(random.sample(range(5 * 60, 22 * 60, 5), weighted(random, (1, 0.4), (2, 0.4), (3, 0.2)))):
                    yield {
                        "flight_id": next(keys),
                        "destination_id": destination_id,
                        "airport": airport,
                        "direction": direction,
                        "departs": f"{day}T{minutes // 60:02d}:{minutes % 60:02d}",
                        "fare": usual + random.randrange(-2500, 4500, 100),
                        "seats": weighted(random, (random.randint(0, 3), 0.1), (random.randint(4, 60), 0.9)),
                    }


def _excursions(random: Random, dates: dict[str, list[str]]) -> Iterator[Row]:
    keys = _keys(random, "EC", 2000)
    for destination_id, days in dates.items():
        titles, seen = some(random, EXCURSIONS, 8), set[tuple[str, str]]()
        for day in days:
            for title, price in some(random, titles, 4):
                on = later(day, random.randint(1, 9))
                if (title, on) not in seen:
                    seen.add((title, on))
                    yield {
                        "excursion_id": next(keys),
                        "destination_id": destination_id,
                        "title": title,
                        "takes_place_on": on,
                        "price": price + random.randrange(-400, 900, 50),
                        "places": weighted(random, (random.randint(0, 3), 0.12), (random.randint(4, 30), 0.88)),
                    }


def _customers(random: Random) -> Iterator[Row]:
    for key, person in zip(_keys(random, "CU", CUSTOMERS), draw_people(random, CUSTOMERS), strict=True):
        days = weighted(random, (random.randint(40, 330), 0.3), (random.randint(331, 3300), 0.7))
        yield {
            "customer_id": key,
            "name": person.name,
            "email": person.email,
            "tier": weighted(random, ("blue", 0.5), ("silver", 0.3), ("gold", 0.2)),
            "points": random.randrange(0, 30_000, 10),
            "credit": weighted(random, (0, 0.25), (random.randrange(5000, 250_000, 5), 0.75)),
            "passport_expires_on": later(TODAY, days),
        }


def _bookings(random: Random, tables: Tables) -> Iterator[Row]:
    """Trips that were made, a few that are coming to different places one after the other, and some that were cancelled."""
    places = {row["hotel_id"]: row["destination_id"] for row in tables["hotels"]}
    past = [row for row in tables["rooms"] if row["leaves_on"] < TODAY]
    coming = [row for row in tables["rooms"] if row["arrives_on"] > TODAY]
    keys = _keys(random, "BK", CUSTOMERS * 9)
    for customer in tables["customers"]:
        for room in some(random, past, random.randint(0, 2)):
            yield _booking(random, next(keys), customer, room, places, "travelled")
        chosen: list[Row] = []
        for room in some(random, coming, 9)[: random.randint(3, 9)]:
            apart = all(room["arrives_on"] > one["leaves_on"] or room["leaves_on"] < one["arrives_on"] for one in chosen)
            if apart and places[room["hotel_id"]] not in {places[one["hotel_id"]] for one in chosen}:
                chosen.append(room)
                yield _booking(random, next(keys), customer, room, places, "confirmed")
        if chance(random, 0.3):
            yield _booking(random, next(keys), customer, random.choice(coming), places, "cancelled")


def _booking(random: Random, key: str, customer: Row, room: Row, places: dict[str, str], status: str) -> Row:
    stay, starts = stay_price(room, customer["tier"]), room["arrives_on"]
    booked_on = later(min(later(starts, -20), TODAY), -random.randint(1, 110))
    pay_by = later(starts, -PAY_DAYS)
    settled = status == "travelled" or pay_by <= TODAY or chance(random, 0.25)
    booking = {
        "booking_id": key,
        "customer_id": customer["customer_id"],
        "room_id": room["room_id"],
        "hotel_id": room["hotel_id"],
        "destination_id": places[room["hotel_id"]],
        "starts_on": starts,
        "ends_on": room["leaves_on"],
        "travellers": weighted(random, (room["sleeps"], 0.7), (max(1, room["sleeps"] - 1), 0.3)),
        "stay": stay,
        "total": stay,
        "paid": stay if settled else deposit_of(stay, starts, booked_on),
        "pay_by": pay_by,
        "cover": "none",
        "premium": 0,
        "booked_on": booked_on,
        "refund": None,
        "refunded_to": None,
        "status": status,
    }
    return _cancelled(random, booking) if status == "cancelled" else booking


def _cancelled(random: Random, booking: Row) -> Row:
    """Cancelled on some day since it was booked."""
    since = (date.fromisoformat(TODAY) - date.fromisoformat(booking["booked_on"])).days
    refunded_to = random.choice(("card", "credit"))
    refund = refund_of(booking, later(booking["booked_on"], random.randint(0, since)), refunded_to)
    return {**booking, "refund": refund, "refunded_to": refunded_to}


def _extras(random: Random, tables: Tables) -> Iterator[Row]:
    """Flights there and back for some of the coming trips, and excursions; they are part of what was paid."""
    keys = _keys(random, "EX", 3000)
    for booking in (row for row in tables["bookings"] if row["status"] == "confirmed"):
        added = [*(_flown(random, booking, tables["flights"]) if chance(random, 0.4) else ())]
        if chance(random, 0.3):
            during = [
                row
                for row in tables["excursions"]
                if row["destination_id"] == booking["destination_id"]
                and booking["starts_on"] <= row["takes_place_on"] <= booking["ends_on"]
            ]
            for excursion in some(random, during, 1):
                places = random.randint(1, booking["travellers"])
                what = {"flight_id": None, "excursion_id": excursion["excursion_id"], "places": places, "bags": 0}
                added.append({**what, "price": excursion["price"] * places})
        for extra in added:
            booking["total"] += extra["price"]
            booking["paid"] += extra["price"]
            yield {"extra_id": next(keys), "booking_id": booking["booking_id"], **extra, "status": "booked"}


def _flown(random: Random, booking: Row, flights: list[Row]) -> Iterator[Row]:
    """One flight out and one back, from and to the same airport."""
    here = [row for row in flights if row["destination_id"] == booking["destination_id"]]
    airport, places = random.choice(here)["airport"], booking["travellers"]
    for direction, day in (("out", booking["starts_on"]), ("back", booking["ends_on"])):
        fit = [row for row in here if (row["airport"], row["direction"]) == (airport, direction)]
        flight = random.choice([row for row in fit if row["departs"][:10] == day])
        bags = random.randint(0, places)
        price = flight["fare"] * places + BAG_FEE * bags
        yield {"flight_id": flight["flight_id"], "excursion_id": None, "places": places, "bags": bags, "price": price}


def _insure(random: Random, bookings: list[Row]) -> None:
    for booking in bookings:
        cover = weighted(random, ("none", 0.65), ("basic", 0.2), ("plus", 0.15))
        if cover != "none" and booking["status"] != "cancelled":
            booking.update(cover=cover, premium=booking["total"] * PREMIUM[cover] // 100)


def _visas(random: Random, tables: Tables) -> Iterator[Row]:
    """Applications for some of the coming trips that need one, where the passport allowed it."""
    destinations = {row["destination_id"]: row for row in tables["destinations"]}
    passports = {row["customer_id"]: row["passport_expires_on"] for row in tables["customers"]}
    keys = _keys(random, "VI", len(tables["bookings"]))
    for booking in (row for row in tables["bookings"] if row["status"] == "confirmed"):
        place = destinations[booking["destination_id"]]
        valid = passports[booking["customer_id"]] >= later(booking["ends_on"], place["passport_days"])
        if place["visa"] and valid and chance(random, 0.4):
            since = (date.fromisoformat(TODAY) - date.fromisoformat(booking["booked_on"])).days
            applied_on = later(TODAY, -random.randint(0, min(since, 40)))
            speed = weighted(random, ("standard", 0.7), ("express", 0.3))
            fee, ready_on = visa_terms(place, speed, booking["travellers"], applied_on)
            if ready_on <= later(booking["starts_on"], -2):
                about = {"speed": speed, "fee": fee, "applied_on": applied_on, "ready_on": ready_on}
                ids = {"visa_id": next(keys), "booking_id": booking["booking_id"], "customer_id": booking["customer_id"]}
                yield {**ids, **about, "status": "granted" if ready_on <= TODAY else "applied"}
