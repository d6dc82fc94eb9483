"""Rows of Orrin House: halls and productions that stay, a season of performances, patrons with what they booked and own."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from random import Random
from typing import Any, Final, TypeAlias

from toolorchestra.training.toolscale.draws import chance, some, weighted
from toolorchestra.training.toolscale.names import draw_people
from toolorchestra.worlds.shipped.entertainment.tools import (
    BOOKING_FEE,
    FULL_DAYS,
    GIFT_DAYS,
    RETURN_DAYS,
    WATCH_DAYS,
    rental_price,
    returned_of,
    seats_price,
)

Row: TypeAlias = dict[str, Any]
Tables: TypeAlias = dict[str, list[Row]]
NOW: Final = datetime.fromisoformat("2026-10-08T11:00")
TODAY: Final = NOW.date()
PATRONS: Final = 150
MOMENT: Final = "%Y-%m-%dT%H:%M"
CATEGORIES: Final = {
    "stalls": (130, 150),
    "circle": (100, 120),
    "balcony": (70, 85),
    "gallery": (40, 55),
}  # percent of the price
HALLS: Final = (
    ("Weavers Stage", "ground", True),
    ("The Copper Room", "upper", True),
    ("Harbour Auditorium", "ground", True),
    ("The Undercroft", "basement", False),
    ("Lantern Loft", "upper", False),
)
ON_STAGE: Final = 15
TITLES: Final = {
    "drama": (
        "The Salt Ledger",
        "A House With No Stairs",
        "The Beekeeper's Daughter-in-Law",
        "Letters to the Ferryman",
        "What the Tide Kept",
        "The Glassblower's Oath",
        "Winter at Corran Lodge",
        "The Last Telegraph",
    ),
    "opera": (
        "The Nightingale of Orsa",
        "Il Vento e la Volpe",
        "The Lockkeeper's Bride",
        "Queen of the Marshes",
        "The Silver Oar",
        "Ariadne on the Moor",
        "The Drowned Bell",
    ),
    "concert": (
        "An Evening of Northern Strings",
        "Brass in the Dark",
        "Songs Without a Country",
        "The Piano at Midnight",
        "Voices of the Fen",
        "Drums Along the Estuary",
        "Cello Under the Stars",
    ),
    "dance": (
        "Paper Cranes in Flight",
        "The Weight of Rain",
        "Ash and Amber",
        "Footfall",
        "The Loom Dances",
        "Murmuration in Blue",
    ),
    "comedy": (
        "My Uncle the Archbishop",
        "Trouble at the Pickle Works",
        "The Polite Burglar",
        "A Wedding and a Goat",
        "Nobody Told Mr Pym",
        "Somebody Else's Suitcase",
        "A Perfectly Good Trombone",
    ),
    "musical": (
        "Gaslight Avenue",
        "The Biscuit Factory Girls",
        "Moonshine Junction",
        "Sailors and Seamstresses",
        "Radio Days of Maple Row",
        "The Carousel Thieves",
    ),
}
PLAYLISTS: Final = ("Sunday evenings", "Rainy days", "Family night", "For the train", "Date nights", "To watch with Mum")


def draw_rows(random: Random) -> Tables:
    """All tables; every reference leads to a row, every amount follows from the house's rules."""
    tables: Tables = {"halls": list(_halls(random)), "productions": list(_productions(random))}
    tables["performances"] = list(_performances(random, tables))
    tables["seat_blocks"] = list(_seat_blocks(random, tables["performances"]))
    tables["patrons"] = list(_patrons(random))
    tables["memberships"] = list(_memberships(random, tables["patrons"]))
    tables["bookings"] = list(_bookings(random, tables))
    tables["gift_cards"] = list(_gift_cards(random, tables["patrons"]))
    tables["rentals"] = list(_rentals(random, tables))
    tables["playlist_items"] = list(_playlist_items(random, tables))
    return tables


def levels_of(tables: Tables) -> dict[str, str]:
    """The level of everybody whose membership is active."""
    return {row["patron_id"]: row["level"] for row in tables["memberships"] if row["status"] == "active"}


def _keys(random: Random, prefix: str, count: int) -> Iterator[str]:
    return (f"{prefix}-{number}" for number in random.sample(range(10_000, 99_999), count))


def _day(days: int) -> str:
    return (TODAY + timedelta(days=days)).isoformat()


def _halls(random: Random) -> Iterator[Row]:
    for key, (name, floor, step_free) in zip(_keys(random, "HA", len(HALLS)), HALLS, strict=True):
        yield {
            "hall_id": key,
            "name": name,
            "floor": floor,
            "step_free": step_free,
            "hearing_loop": chance(random, 0.6),
            "doors_minutes": random.choice((20, 30, 45)),
        }


def _productions(random: Random) -> Iterator[Row]:
    """Those on stage first; the others, and some of these, can be watched as recordings."""
    titles = [(genre, title) for genre, found in TITLES.items() for title in found]
    random.shuffle(titles)
    for index, (key, (genre, title)) in enumerate(zip(_keys(random, "PR", len(titles)), titles, strict=True)):
        rented = index >= ON_STAGE or chance(random, 0.4)
        yield {
            "production_id": key,
            "title": title,
            "genre": genre,
            "minutes": random.randint(64, 195),
            "min_age": weighted(random, (0, 0.5), (8, 0.2), (12, 0.2), (16, 0.1)),
            "premiered_on": _day(-random.randint(40, 2600)),
            "rent_price": random.randrange(350, 1650, 10) + random.choice((0, 5, 9)) if rented else None,
        }


def _performances(random: Random, tables: Tables) -> Iterator[Row]:
    """A run in one hall for each production on stage, some of it behind us; on some days there are two."""
    keys = _keys(random, "PE", ON_STAGE * 20)
    for production in tables["productions"][:ON_STAGE]:
        hall, at = random.choice(tables["halls"]), random.choice(("19:00", "19:30", "20:00"))
        days = sorted([*random.sample(range(-25, 0), 2), *random.sample(range(2, 13), 2), *random.sample(range(15, 58), 4)])
        for day in days:
            for time in ("14:30", at) if chance(random, 0.18) else (at,):
                yield {
                    "performance_id": next(keys),
                    "production_id": production["production_id"],
                    "hall_id": hall["hall_id"],
                    "starts": f"{_day(day)}T{time}",
                    "captioned": chance(random, 0.3),
                    "wheelchair_spaces": weighted(random, (0, 0.12), (random.randint(2, 8), 0.88)),
                    "status": "played" if day < 0 else weighted(random, ("on_sale", 0.86), ("cancelled", 0.14)),
                }


def _seat_blocks(random: Random, performances: list[Row]) -> Iterator[Row]:
    """Prices follow the production and the day: weekends cost more."""
    keys = _keys(random, "SB", len(performances) * len(CATEGORIES))
    base = {key: random.randrange(2400, 5800, 50) for key in sorted({row["production_id"] for row in performances})}
    for performance in performances:
        weekend = date.fromisoformat(performance["starts"][:10]).weekday() in (4, 5)
        usual = base[performance["production_id"]] * (115 if weekend else 100) // 100 + random.randrange(0, 300, 25)
        for category, (least, most) in CATEGORIES.items():
            yield {
                "block_id": next(keys),
                "performance_id": performance["performance_id"],
                "category": category,
                "price": usual * random.randint(least, most) // 5000 * 50,
                "free": weighted(random, (0, 0.12), (random.randint(1, 3), 0.13), (random.randint(8, 140), 0.75)),
            }


def _patrons(random: Random) -> Iterator[Row]:
    for key, person in zip(_keys(random, "PT", PATRONS), draw_people(random, PATRONS), strict=True):
        born = date(random.randint(1944, 2007), random.randint(1, 12), random.randint(1, 28))
        yield {
            "patron_id": key,
            "name": person.name,
            "email": person.email,
            "phone": f"07700 90{random.randint(0, 9999):04d}",
            "birth_date": born.isoformat(),
            "joined_on": _day(-random.randint(420, 3000)),
            "credit": random.randrange(4000, 60_000, 5),
            "spent_this_season": random.randrange(0, 80_000, 5),
        }


def _memberships(random: Random, patrons: list[Row]) -> Iterator[Row]:
    members = some(random, patrons, PATRONS * 7 // 10)
    for key, patron in zip(_keys(random, "ME", len(members)), members, strict=True):
        status = weighted(random, ("active", 0.72), ("lapsed", 0.22), ("suspended", 0.06))
        yield {
            "membership_id": key,
            "patron_id": patron["patron_id"],
            "level": weighted(random, ("friend", 0.65), ("benefactor", 0.35)),
            "since": _day(-random.randint(800, 1500)),
            "valid_until": _day(random.randint(-330, -6) if status == "lapsed" else random.randint(12, 340)),
            "status": status,
        }


def _bookings(random: Random, tables: Tables) -> Iterator[Row]:
    """What each patron has booked, at most once per performance."""
    levels, keys = levels_of(tables), _keys(random, "BK", PATRONS * 8)
    prices = {(row["performance_id"], row["category"]): row["price"] for row in tables["seat_blocks"]}
    past = [row for row in tables["performances"] if row["status"] == "played"]
    coming = [row for row in tables["performances"] if row["status"] != "played"]
    for patron in tables["patrons"]:
        for performance in [*some(random, past, random.randint(0, 2)), *some(random, coming, random.randint(2, 5))]:
            category = random.choice(sorted(CATEGORIES))
            terms = {"performance_id": performance["performance_id"], "category": category}
            price, level = prices[performance["performance_id"], category], levels.get(patron["patron_id"])
            owner = {"booking_id": next(keys), "patron_id": patron["patron_id"]}
            yield {**owner, **terms, **_paid(random, performance, price, level)}


def _paid(random: Random, performance: Row, price: int, level: str | None) -> Row:
    """How many seats at what price, and what became of them."""
    seats, fee = weighted(random, (1, 0.2), (2, 0.45), (3, 0.15), (4, 0.12), (6, 0.08)), 0 if level else BOOKING_FEE
    begins = datetime.fromisoformat(performance["starts"])
    booked_at = min(begins, NOW) - timedelta(days=random.randint(1, 60), minutes=random.randrange(1200))
    gone = performance["status"] == "on_sale" and chance(random, 0.1)
    status = "attended" if performance["status"] == "played" else "cancelled" if gone else "booked"
    paid = seats_price(price, seats, level) + fee
    refund_to = random.choice(("card", "credit"))
    return {
        "seats": seats,
        "wheelchair_spaces": 0,
        "member_rate": level is not None,
        "fee": fee,
        "paid": paid,
        "paid_with": random.choice(("card", "credit")),
        "booked_at": booked_at.strftime(MOMENT),
        "status": status,
        # Whoever gave seats back did so in good time.
        "refunded": returned_of(paid, fee, FULL_DAYS, refund_to) if gone else None,
        "refunded_to": refund_to if gone else None,
    }


def _gift_cards(random: Random, patrons: list[Row]) -> Iterator[Row]:
    keys = _keys(random, "GC", PATRONS * 3)
    for patron in patrons:
        for _ in range(weighted(random, (0, 0.2), (1, 0.3), (2, 0.3), (3, 0.2))):
            status = weighted(random, ("active", 0.72), ("redeemed", 0.18), ("expired", 0.1))
            age = random.randint(GIFT_DAYS + 2, GIFT_DAYS + 150) if status == "expired" else random.randint(3, GIFT_DAYS - 5)
            givers = [row for row in patrons if row is not patron]
            yield {
                "gift_card_id": next(keys),
                "patron_id": patron["patron_id"],
                "given_by": random.choice(givers)["patron_id"] if chance(random, 0.8) else None,
                "amount": random.randrange(1000, 12_000, 250),
                "bought_on": _day(-age),
                "expires_on": _day(GIFT_DAYS - age),
                "status": status,
            }


def _rentals(random: Random, tables: Tables) -> Iterator[Row]:
    levels, keys = levels_of(tables), _keys(random, "RE", PATRONS * 6)
    recordings = [row for row in tables["productions"] if row["rent_price"] is not None]
    for patron in tables["patrons"]:
        for production in some(random, recordings, random.randint(1, 6)):
            age = random.randint(0, 60)
            ready = age < WATCH_DAYS and chance(random, 0.75 if age <= RETURN_DAYS else 0.5)
            done = weighted(random, ("watched", 0.8), ("returned", 0.1), ("expired" if age > WATCH_DAYS else "watched", 0.1))
            yield {
                "rental_id": next(keys),
                "patron_id": patron["patron_id"],
                "production_id": production["production_id"],
                "rented_on": _day(-age),
                "watch_until": _day(WATCH_DAYS - age),
                "price": rental_price(production["rent_price"], levels.get(patron["patron_id"])),
                "paid_with": random.choice(("card", "credit")),
                "status": "ready" if ready else done,
            }


def _playlist_items(random: Random, tables: Tables) -> Iterator[Row]:
    keys = _keys(random, "PI", PATRONS * 12)
    recordings = [row for row in tables["productions"] if row["rent_price"] is not None]
    for patron in tables["patrons"]:
        for playlist in some(random, PLAYLISTS, random.randint(1, 2)):
            for production in some(random, recordings, random.randint(1, 4)):
                yield {
                    "item_id": next(keys),
                    "patron_id": patron["patron_id"],
                    "playlist": playlist,
                    "production_id": production["production_id"],
                    "added_on": _day(-random.randint(1, 200)),
                }
