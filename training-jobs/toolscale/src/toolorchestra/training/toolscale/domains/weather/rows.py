"""Rows of Halyard Weather Services: stations with what they measured and what is expected, customers with what they use."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from random import Random
from typing import Any, Final, TypeAlias, get_args

from toolorchestra.training.toolscale.draws import chance, some, weighted
from toolorchestra.training.toolscale.names import draw_people
from toolorchestra.worlds.shipped.weather.rules import (
    CHANNEL_FEE,
    JOB_FEE,
    LAST_DAYS,
    LICENCE_FEE,
    MOST_PAYOUT,
    TRIGGER_SHARE,
    Event,
    alert_fee,
    licence_fee,
    payment_of,
    premium_of,
    visit_fee,
)

Row: TypeAlias = dict[str, Any]
Tables: TypeAlias = dict[str, list[Row]]
NOW: Final = datetime.fromisoformat("2026-09-07T08:15")
TODAY: Final = NOW.date()
CUSTOMERS: Final = 110
STATIONS: Final = 72
REGIONS: Final = {  # lowest and highest stations in metres, mean rain in mm, mean gust in km/h, mean high in °C
    "Skerry Coast": (2, 160, 5, 62, 17),
    "Upper Vale": (240, 620, 3, 38, 21),
    "Lake Country": (90, 480, 6, 41, 19),
    "Heather Moors": (310, 780, 5, 55, 16),
    "Saltmarsh": (1, 40, 2, 50, 20),
    "High Ridge": (700, 1540, 7, 71, 12),
}
NAMES: Final = "Gull Heron Otter Plover Curlew Lapwing Raven Badger Alder Rowan Bracken Juniper Kelp Samphire Flint Slate"
PLACES: Final = ("Point", "Ford", "Hill", "Bridge", "Farm", "Lock", "Tarn", "Cross")
ENGINEERS: Final = ("A. Okoro", "B. Lindgren", "C. Marchetti", "D. Falk", "E. Sorensen", "F. Nadeem", "G. Pires", "H. Vance")
EVENTS: Final[tuple[str, ...]] = get_args(Event)
THRESHOLDS: Final = {"rain": (5, 45, 5), "wind": (50, 125, 5), "frost": (-6, 5, 1)}
HOURS: Final = ("08:30", "11:00", "14:30")
PAST, COMING, SLOT_DAYS = 34, 10, 18  # days of observations, forecasts, engineers
WEEKEND, UNCHECKED = 5, 2


def draw_rows(random: Random) -> Tables:
    """All tables; every reference leads to a row, every amount follows from the company's rules."""
    tables: Tables = {"customers": list(_customers(random))}
    tables["stations"] = list(_stations(random, tables["customers"]))
    tables["observations"] = list(_observations(random, tables["stations"]))
    tables["forecasts"] = list(_forecasts(random, tables["stations"]))
    tables["warnings"] = list(_warnings(random))
    tables["alerts"] = list(_alerts(random, tables))
    tables["slots"] = list(_slots(random))
    tables["visits"] = list(_visits(random, tables))
    tables["licences"] = list(_licences(random, tables))
    tables["policies"] = list(_policies(random, tables))
    return tables


def _keys(random: Random, prefix: str, count: int) -> Iterator[str]:
    return (f"{prefix}-{number}" for number in random.sample(range(10_000, 99_999), count))


def _day(days: int) -> str:
    return (TODAY + timedelta(days=days)).isoformat()


def _customers(random: Random) -> Iterator[Row]:
    for key, person in zip(_keys(random, "CU", CUSTOMERS), draw_people(random, CUSTOMERS), strict=True):
        yield {
            "customer_id": key,
            "name": person.name,
            "email": person.email,
            "kind": weighted(random, ("private", 0.45), ("business", 0.35), ("public", 0.2)),
            "balance": random.randrange(20_000, 320_000, 5),
        }


def _stations(random: Random, customers: list[Row]) -> Iterator[Row]:
    names = random.sample([f"{first} {last}" for first in NAMES.split() for last in PLACES], STATIONS)
    keepers = some(random, customers, STATIONS * 2 // 3)
    for number, key in enumerate(_keys(random, "ST", STATIONS)):
        region, (low, high, *_) = list(REGIONS.items())[number % len(REGIONS)]
        keeper = random.choice(keepers)["customer_id"] if chance(random, 0.85) else None
        contract = keeper is not None and chance(random, 0.55)
        yield {
            "station_id": key,
            "name": names[number],
            "region": region,
            "altitude_m": random.randint(low, high),
            "keeper_id": keeper,
            "contract_until": _day(random.randint(-90, 400)) if contract else None,
            "status": weighted(random, ("running", 0.93), ("offline", 0.07)),
        }


def _weather(random: Random, region: str) -> Row:
    """One day's values that go together."""
    _, _, rain, gust, high = REGIONS[region]
    warmest = round(random.gauss(high, 3), 1)
    return {
        "rain_mm": 0.0 if chance(random, 0.35) else round(random.expovariate(1 / (2 * rain)), 1),
        "gust_kmh": max(8, round(random.gauss(gust, 16))),
        "high_c": warmest,
        "low_c": round(warmest - random.uniform(4, 11), 1),
    }


def _observations(random: Random, stations: list[Row]) -> Iterator[Row]:
    keys = _keys(random, "OB", STATIONS * PAST)
    for station in stations:
        for days in range(-PAST, 0):
            quality = "provisional" if days >= -UNCHECKED else "checked"
            what = {"observation_id": next(keys), "station_id": station["station_id"], "day": _day(days)}
            yield {**what, **_weather(random, station["region"]), "quality": quality}


def _forecasts(random: Random, stations: list[Row]) -> Iterator[Row]:
    keys = _keys(random, "FC", STATIONS * (COMING + 1))
    for station in stations:
        for days in range(COMING + 1):
            weather = _weather(random, station["region"])
            wet = weather["rain_mm"] > 0
            what = {"forecast_id": next(keys), "station_id": station["station_id"], "day": _day(days)}
            yield {**what, "rain_chance": random.randint(35, 95) if wet else random.randint(2, 30), **weather}


def _warnings(random: Random) -> Iterator[Row]:
    keys = _keys(random, "WN", 100)
    for region in REGIONS:
        for _ in range(random.randint(4, 6)):
            begins = NOW.replace(minute=0) + timedelta(hours=random.randint(-200, 220))
            ends = begins + timedelta(hours=random.randint(5, 34))
            yield {
                "warning_id": next(keys),
                "region": region,
                "hazard": random.choice(("wind", "rain", "rain", "thunderstorm", "fog", "heat")),
                "level": weighted(random, ("yellow", 0.6), ("orange", 0.3), ("red", 0.1)),
                "begins": begins.strftime("%Y-%m-%dT%H:%M"),
                "ends": ends.strftime("%Y-%m-%dT%H:%M"),
                "status": "ended" if ends <= NOW else "in_force" if begins <= NOW else "planned",
            }


def _alerts(random: Random, tables: Tables) -> Iterator[Row]:
    keys = _keys(random, "AL", CUSTOMERS * 10)
    running = [row["station_id"] for row in tables["stations"] if row["status"] == "running"]
    for customer in tables["customers"]:
        most = 3 if customer["kind"] == "private" else 7
        near = random.sample(running, 3)
        pairs = [(station, measure) for station in near for measure in ("rain", "wind", "frost")]
        for station, measure in some(random, pairs, random.randint(1, most)):
            status = weighted(random, ("active", 0.8), ("paused", 0.1), ("ended", 0.1))
            threshold = random.randrange(*THRESHOLDS[measure])
            channel = random.choice(sorted(CHANNEL_FEE))
            yield {
                "alert_id": next(keys),
                "customer_id": customer["customer_id"],
                "station_id": station,
                "measure": measure,
                "threshold": threshold,
                "channel": channel,
                "monthly_fee": alert_fee(channel, measure),
                "paused_until": _day(random.randint(3, 60)) if status == "paused" else None,
                "status": status,
            }


def _slots(random: Random) -> Iterator[Row]:
    """Three a working day in each region, some already gone; past ones are those that visits were made in."""
    keys = _keys(random, "SL", len(REGIONS) * 60 * len(HOURS))
    for region in REGIONS:
        staff = random.sample(ENGINEERS, 2)
        for days in range(-SLOT_DAYS, SLOT_DAYS):
            day = TODAY + timedelta(days=days)
            for hour in HOURS if day.weekday() < WEEKEND else ():
                yield {
                    "slot_id": next(keys),
                    "region": region,
                    "engineer": random.choice(staff),
                    "begins": f"{day.isoformat()}T{hour}",
                    "free": days > 0 and chance(random, 0.6),
                }


def _visits(random: Random, tables: Tables) -> Iterator[Row]:
    """To most stations that are kept: one that was made, and often one or two that are still to come."""
    soonest = (NOW + timedelta(days=LAST_DAYS)).strftime("%Y-%m-%dT%H:%M")
    done: dict[str, list[Row]] = {region: [] for region in REGIONS}
    coming: dict[str, list[Row]] = {region: [] for region in REGIONS}
    for slot in some(random, tables["slots"], len(tables["slots"])):
        if not slot["free"] and not NOW.isoformat() <= slot["begins"] < soonest:
            (coming if slot["begins"] >= soonest else done)[slot["region"]].append(slot)
    keys = _keys(random, "VI", STATIONS * 4)
    for station in (row for row in tables["stations"] if row["keeper_id"] is not None):
        for pool, status, share in ((done, "done", 0.8), (coming, "booked", 0.85), (coming, "booked", 0.3)):
            if pool[station["region"]] and chance(random, share):
                yield _visit(random, next(keys), station, pool[station["region"]].pop(), status)


def _visit(random: Random, key: str, station: Row, slot: Row, status: str) -> Row:
    job = random.choice(sorted(JOB_FEE))
    return {
        "visit_id": key,
        "customer_id": station["keeper_id"],
        "station_id": station["station_id"],
        "slot_id": slot["slot_id"],
        "job": job,
        "fee": visit_fee(station, job, TODAY.isoformat()),
        "status": status,
    }


def _licences(random: Random, tables: Tables) -> Iterator[Row]:
    keys = _keys(random, "LC", CUSTOMERS * 4)
    pairs = [(row["station_id"], product) for row in tables["stations"] for product in LICENCE_FEE]
    for customer in tables["customers"]:
        for station, product in some(random, pairs, random.randint(0, 4)):
            users, until = weighted(random, (1, 0.5), (2, 0.2), (3, 0.15), (5, 0.15)), random.randint(-28, 58)
            days = until if chance(random, 0.7) else random.randint(61, 360)
            yield {
                "licence_id": next(keys),
                "customer_id": customer["customer_id"],
                "station_id": station,
                "product": product,
                "users": users,
                "fee": licence_fee(customer["kind"], product, users),
                "valid_until": _day(days),
                "status": "active" if days >= 0 else "expired",
            }


def _policies(random: Random, tables: Tables) -> Iterator[Row]:
    """Events that are over, some of them paid for, and events to come."""
    keys = _keys(random, "RP", CUSTOMERS * 6)
    rain = {(row["station_id"], row["day"]): row["rain_mm"] for row in tables["observations"]}
    running = [row["station_id"] for row in tables["stations"] if row["status"] == "running"]
    for customer in tables["customers"]:
        events = some(random, EVENTS, 6)
        for event in events[: random.randint(1, 6)]:
            day = _day(random.randint(-28, -1) if chance(random, 0.6) else random.randint(3, COMING))
            policy = _policy(random, next(keys), customer, event, day)
            policy["station_id"] = random.choice(running)
            fell = rain.get((policy["station_id"], day), 0.0)
            if day < _day(-UNCHECKED) and payment_of(policy, fell) and chance(random, 0.3):
                policy.update(status="claimed", paid_out=payment_of(policy, fell))
            yield policy


def _policy(random: Random, key: str, customer: Row, event: str, day: str) -> Row:
    trigger, likely = random.choice(sorted(TRIGGER_SHARE)), random.randint(4, 60)
    payout = random.randrange(20_000, min(MOST_PAYOUT[customer["kind"]], 400_000) + 1, 10_000)
    return {
        "policy_id": key,
        "customer_id": customer["customer_id"],
        "event": event,
        "day": day,
        "trigger_mm": trigger,
        "payout": payout,
        "chance_then": likely,
        "premium": premium_of(payout, likely, trigger),
        "paid_out": 0,
        "status": "active",
    }
