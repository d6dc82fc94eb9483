"""Rows of Northmark Rail: stations and routes that stay, trains of a month, passengers with what they have booked and own."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from random import Random
from typing import Any, Final, TypeAlias

from toolorchestra.training.toolscale.draws import chance, some, weighted
from toolorchestra.training.toolscale.names import draw_people
from toolorchestra.worlds.shipped.railway.tools import EXTRA_PERCENT, LATE, refund_terms

Row: TypeAlias = dict[str, Any]
Tables: TypeAlias = dict[str, list[Row]]
NOW: Final = datetime.fromisoformat("2026-03-02T09:00")
TODAY: Final = NOW.date()
PASSENGERS: Final = 120
STATIONS: Final = (
    "Ashmere Central/Northmark Brackenford/Northmark Calder Junction/Northmark Dunwick/Coast Eastleigh Moor/Coast "
    "Fairhaven/Coast Glenholm/Uplands Harrow Vale/Uplands Inverlyn/Uplands Juniper Hill/Northmark Kestrel Bridge/Coast "
    "Larkfield/Midlands Millbrook Parkway/Midlands Netherby/Midlands Oakhampton/Midlands Penrose/Coast Quarrington/Uplands "
    "Ravensworth/Northmark Saltmarsh Quay/Coast Thornbury North/Midlands Upper Wexley/Midlands Verdant Cross/Northmark"
)
ROUTES: Final = 15
COLOURS: Final = ("black", "navy", "red", "green", "grey", "brown", "white", "yellow")
MARKS: Final = {
    "umbrella": ("wooden handle", "a broken rib", "a duck's head as handle", "white dots"),
    "bag": ("a sunflower patch", "a torn strap", "a luggage tag from Lisbon", "two brass buckles"),
    "phone": ("a cracked corner", "a sticker of a whale", "a cork case"),
    "coat": ("a missing button", "a ticket in the pocket", "a tartan lining"),
    "book": ("a pressed flower inside", "a library stamp", "notes in the margins"),
    "headphones": ("blue ear pads", "initials on the case", "a taped cable"),
}


def draw_rows(random: Random) -> Tables:
    """All tables; every reference leads to a row, every amount follows from the company's rules."""
    tables: Tables = {"stations": list(_stations(random))}
    tables["trains"] = list(_trains(random, tables["stations"]))
    tables["passengers"] = list(_passengers(random, tables["stations"]))
    tables["railcards"] = list(_railcards(random, tables["passengers"]))
    tables["bookings"] = list(_bookings(random, tables))
    tables["refunds"] = list(_refunds(random, tables))
    tables["vouchers"] = list(_vouchers(random, tables["passengers"]))
    tables["disruptions"] = list(_disruptions(random, tables["trains"]))
    tables["lost_items"] = list(_lost_items(random, tables))
    tables["assistance"] = list(_assistance(random, tables))
    tables["cases"] = list(_cases(random, tables))
    return tables


def _ids(random: Random, prefix: str, count: int) -> list[str]:
    return [f"{prefix}-{number}" for number in random.sample(range(10_000, 99_999), count)]


def _stations(random: Random) -> Iterator[Row]:
    entries = _station_entries()
    for key, (name, region) in zip(_ids(random, "ST", len(entries)), entries, strict=True):
        yield {
            "station_id": key,
            "name": name,
            "region": region,
            "step_free": chance(random, 0.6),
            "lounge": chance(random, 0.25),
            "lost_property_desk": chance(random, 0.7),
        }


def _station_entries() -> list[tuple[str, str]]:
    regions = ("Northmark", "Coast", "Uplands", "Midlands")
    found, words = [], STATIONS.split(" ")
    name: list[str] = []
    for word in words:
        last, _, region = word.partition("/")
        name.append(last)
        if region in regions:
            found.append((" ".join(name), region))
            name = []
    return found


def _trains(random: Random, stations: list[Row]) -> Iterator[Row]:
    """Both directions of each route on some past and some coming days, a few trains a day."""
    pairs = [(one["station_id"], two["station_id"]) for one in stations for two in stations if one["name"] < two["name"]]
    keys = iter(_ids(random, "NR", ROUTES * 2 * 6 * 4))
    for one, two in random.sample(pairs, ROUTES):
        minutes, per_minute = random.randint(28, 190), random.randint(18, 26)
        for origin, destination in ((one, two), (two, one)):
            days = [*random.sample(range(-14, 0), 2), *random.sample(range(2, 19), 4)]
            for day in sorted(days):
                for hour in sorted(random.sample(range(6, 22), random.randint(2, 4))):
                    departs = datetime.combine(TODAY, datetime.min.time()) + timedelta(days=day, hours=hour)
                    ends = {"train_id": next(keys), "origin_id": origin, "destination_id": destination}
                    yield {**ends, **_train(random, departs, minutes, per_minute)}


def _train(random: Random, departs: datetime, usual: int, per_minute: int) -> Row:
    departs += timedelta(minutes=random.randrange(0, 60))
    minutes = usual + random.randint(-6, 14)
    standard = usual * per_minute + random.randrange(0, 900, 10)
    past = departs < NOW
    status = "arrived" if past else weighted(random, ("scheduled", 0.82), ("delayed", 0.08), ("cancelled", 0.1))
    late = {"arrived": weighted(random, (0, 0.3), (random.randint(3, 28), 0.2), (random.randint(31, 150), 0.5)), "delayed": 20}
    return {
        "departs": departs.strftime("%Y-%m-%dT%H:%M"),
        "arrives": (departs + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M"),
        "minutes": minutes,
        "platform": f"{random.randint(1, 9)}{random.choice('AB')}",
        "standard_fare": standard,
        "first_fare": standard * random.randint(150, 190) // 100,
        "standard_seats": weighted(random, (0, 0.04), (random.randint(1, 8), 0.2), (random.randint(9, 90), 0.76)),
        "first_seats": weighted(random, (0, 0.1), (random.randint(1, 6), 0.3), (random.randint(7, 30), 0.6)),
        "bicycle_spaces": random.randint(0, 8),
        "status": status,
        "delay_minutes": late.get(status, 0),
    }


def _passengers(random: Random, stations: list[Row]) -> Iterator[Row]:
    people = draw_people(random, PASSENGERS)
    for key, person in zip(_ids(random, "PA", PASSENGERS), people, strict=True):
        born = date(random.randint(1948, 2007), random.randint(1, 12), random.randint(1, 28))
        yield {
            "passenger_id": key,
            "name": person.name,
            "email": person.email,
            "phone": f"07700 90{random.randint(0, 9999):04d}",
            "birth_date": born.isoformat(),
            "home_station_id": random.choice(stations)["station_id"],
            "tier": weighted(random, ("standard", 0.5), ("silver", 0.3), ("gold", 0.2)),
            "points": random.randrange(0, 4000, 10),
            "wallet": random.randrange(2500, 40_000, 5),
        }


def _railcards(random: Random, passengers: list[Row]) -> Iterator[Row]:
    holders = some(random, passengers, PASSENGERS * 2 // 3)
    for key, holder in zip(_ids(random, "RC", len(holders)), holders, strict=True):
        status = weighted(random, ("active", 0.65), ("expired", 0.27), ("suspended", 0.08))
        days = random.randint(-200, -3) if status == "expired" else random.randint(20, 400)
        yield {
            "railcard_id": key,
            "passenger_id": holder["passenger_id"],
            "kind": random.choice(("youth", "senior", "family", "commuter")),
            "discount_percent": random.choice((10, 20, 25, 33)),
            "yearly_fee": random.choice((2000, 2500, 3000, 3500)),
            "valid_until": (TODAY + timedelta(days=days)).isoformat(),
            "status": status,
        }


def _bookings(random: Random, tables: Tables) -> Iterator[Row]:
    discounts = {row["passenger_id"]: row["discount_percent"] for row in tables["railcards"] if row["status"] == "active"}
    past = [row for row in tables["trains"] if row["departs"] < NOW.isoformat()]
    coming = [row for row in tables["trains"] if row["departs"] >= NOW.isoformat()]
    keys = iter(_ids(random, "BK", PASSENGERS * 7))
    for passenger in tables["passengers"]:
        trains = [*some(random, past, random.randint(0, 3)), *some(random, coming, random.randint(1, 4))]
        for train in trains:
            yield _booking(random, next(keys), passenger["passenger_id"], train, discounts.get(passenger["passenger_id"], 0))


def _booking(random: Random, key: str, passenger_id: str, train: Row, discount: int) -> Row:
    travel_class, seats = weighted(random, ("standard", 0.75), ("first", 0.25)), weighted(random, (1, 0.5), (2, 0.3), (4, 0.2))
    ticket_type = weighted(random, ("advance", 0.3), ("semi_flexible", 0.35), ("flexible", 0.35))
    full = train[f"{travel_class}_fare"] * seats * (100 + EXTRA_PERCENT[ticket_type])
    travelled = train["departs"] < NOW.isoformat()
    booked = datetime.fromisoformat(train["departs"]) - timedelta(days=random.randint(15, 60), minutes=random.randrange(1440))
    return {
        "booking_id": key,
        "passenger_id": passenger_id,
        "train_id": train["train_id"],
        "travel_class": travel_class,
        "ticket_type": ticket_type,
        "seats": seats,
        "bicycles": weighted(random, (0, 0.85), (1, 0.15)),
        "fare": full * (100 - discount) // 10_000,
        "paid_with": random.choice(("card", "wallet")),
        "booked_at": min(booked, NOW - timedelta(hours=random.randint(3, 90))).strftime("%Y-%m-%dT%H:%M"),
        "status": "travelled" if travelled else weighted(random, ("confirmed", 0.88), ("cancelled", 0.12)),
    }


def _refunds(random: Random, tables: Tables) -> Iterator[Row]:
    """One for each cancelled booking whose ticket allows it, and claims for some late journeys."""
    trains = {row["train_id"]: row for row in tables["trains"]}
    keys = iter(_ids(random, "RF", len(tables["bookings"])))
    for booking in tables["bookings"]:
        late = trains[booking["train_id"]]["delay_minutes"]
        percent = next((percent for minutes, percent in LATE if late >= minutes), 0)
        if booking["status"] == "cancelled" and (amount := refund_terms(booking)):
            yield _refund(random, next(keys), booking, amount, "cancellation", booking["booked_at"])
        elif booking["status"] == "travelled" and percent and chance(random, 0.3):
            arrived = trains[booking["train_id"]]["arrives"]
            yield _refund(random, next(keys), booking, booking["fare"] * percent // 100, "delay", arrived)


def _refund(random: Random, key: str, booking: Row, amount: int, reason: str, after: str) -> Row:
    paid_to = random.choice(("card", "wallet"))
    since = datetime.fromisoformat(after)
    requested = since + (NOW - since) * random.random()
    pending = paid_to == "card" and chance(random, 0.7)
    return {
        "refund_id": key,
        "booking_id": booking["booking_id"],
        "passenger_id": booking["passenger_id"],
        "amount": amount,
        "reason": reason,
        "paid_to": paid_to,
        "requested_at": requested.strftime("%Y-%m-%dT%H:%M"),
        "status": "pending" if pending else "paid",
    }


def _vouchers(random: Random, passengers: list[Row]) -> Iterator[Row]:
    keys = iter(_ids(random, "VO", PASSENGERS * 3))
    for passenger in passengers:
        for _ in range(weighted(random, (0, 0.35), (1, 0.3), (2, 0.25), (3, 0.1))):
            status = weighted(random, ("active", 0.7), ("redeemed", 0.15), ("expired", 0.15))
            days = random.randint(-90, -2) if status == "expired" else random.randint(3, 200)
            yield {
                "voucher_id": next(keys),
                "passenger_id": passenger["passenger_id"],
                "amount": random.randrange(500, 5000, 25),
                "issued_for": random.choice(("goodwill", "promotion", "gift")),
                "expires_on": (TODAY + timedelta(days=days)).isoformat(),
                "status": status,
            }


def _disruptions(random: Random, trains: list[Row]) -> Iterator[Row]:
    affected = [row for row in trains if row["status"] == "cancelled" or row["delay_minutes"] >= LATE[-1][0]]
    causes = ("signal failure", "fallen tree", "staff shortage", "engine fault", "flooding")
    for key, train in zip(_ids(random, "DI", len(affected)), affected, strict=True):
        reported = min(datetime.fromisoformat(train["departs"]), NOW) - timedelta(minutes=random.randint(5, 300))
        yield {
            "disruption_id": key,
            "train_id": train["train_id"],
            "cause": random.choice(causes),
            "reported_at": reported.strftime("%Y-%m-%dT%H:%M"),
            "replacement_bus": train["status"] == "cancelled" and chance(random, 0.5),
        }


def _lost_items(random: Random, tables: Tables) -> Iterator[Row]:
    desks = [row["station_id"] for row in tables["stations"] if row["lost_property_desk"]]
    for key in _ids(random, "LI", 130):
        category, status = (
            random.choice(sorted(MARKS)),
            weighted(random, ("stored", 0.75), ("claimed", 0.15), ("disposed", 0.1)),
        )
        yield {
            "item_id": key,
            "station_id": random.choice(desks),
            "category": category,
            "colour": random.choice(COLOURS),
            "mark": random.choice(MARKS[category]),
            "found_on": (TODAY - timedelta(days=random.randint(1, 58))).isoformat(),
            "fee": random.choice((250, 400, 500, 650)),
            "status": status,
            "claimed_by": random.choice(tables["passengers"])["passenger_id"] if status == "claimed" else None,
        }


def _assistance(random: Random, tables: Tables) -> Iterator[Row]:
    trains = {row["train_id"]: row for row in tables["trains"]}
    helped = some(random, [row for row in tables["bookings"] if row["status"] != "cancelled"], 24)
    for key, booking in zip(_ids(random, "AS", len(helped)), helped, strict=True):
        end = random.choice(("origin_id", "destination_id"))
        yield {
            "assistance_id": key,
            "booking_id": booking["booking_id"],
            "station_id": trains[booking["train_id"]][end],
            "kind": random.choice(("ramp", "guide", "luggage")),
            "status": "done" if booking["status"] == "travelled" else random.choice(("requested", "confirmed")),
        }


def _cases(random: Random, tables: Tables) -> Iterator[Row]:
    notes = {
        "cleanliness": "Tables had not been wiped.",
        "staff": "Nobody at the gate knew about the change.",
        "seat": "The reserved seat did not exist.",
        "catering": "The trolley never came.",
        "other": "The air conditioning was too cold.",
    }
    journeys = some(random, [row for row in tables["bookings"] if row["status"] == "travelled"], 22)
    for key, booking in zip(_ids(random, "CS", len(journeys)), journeys, strict=True):
        topic = random.choice(sorted(notes))
        yield {
            "case_id": key,
            "passenger_id": booking["passenger_id"],
            "booking_id": booking["booking_id"],
            "topic": topic,
            "opened_on": (TODAY - timedelta(days=random.randint(0, 1))).isoformat(),
            "status": random.choice(("open", "closed")),
            "notes": notes[topic],
        }
