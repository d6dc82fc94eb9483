"""The rules of policy.md as arithmetic and as guards; tools.py and the rows that are drawn use the same ones."""

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any, Final, Literal, TypeAlias

from toolorchestra.worlds.combinators import Require
from toolorchestra.worlds.errors import ToolRefusal
from toolorchestra.worlds.state import Database, money_text

Row: TypeAlias = dict[str, Any]
Event = Literal[
    "village fair",
    "open-air concert",
    "garden wedding",
    "charity run",
    "harvest festival",
    "film night",
    "regatta",
    "flea market",
    "bike race",
    "sports day",
    "food market",
    "brass band parade",
]
CHANNEL_FEE: Final = {"email": 150, "text": 300, "call": 600}
MEASURE_FEE: Final = {"rain": 0, "wind": 40, "frost": 25}
THRESHOLDS: Final = {"rain": (5, 100), "wind": (40, 140), "frost": (-15, 5)}
MOST_ALERTS: Final = {"private": 3, "business": 8, "public": 12}
JOB_FEE: Final = {"cleaning": 4500, "calibration": 9500, "repair": 14_000}
HIGH_UP, HIGH_UP_FEE = 800, 3500
MOVE_FEE, MOVE_DAYS, CANCEL_DAYS, LAST_DAYS = 2500, 2, 3, 1
LICENCE_FEE: Final = {"daily": 12_000, "hourly": 26_000, "archive": 48_000}
MOST_USERS, YEAR_DAYS, RENEW_BEFORE, RENEW_AFTER = 10, 365, 60, 30
COVER_DAYS, CLAIM_DAYS, COVER_MOVE_FEE, LEAST_PREMIUM, MARGIN, PAYOUT_STEP = 3, 30, 1500, 2500, 6, 10_000
TRIGGER_SHARE: Final = {5: 100, 10: 65, 20: 35}  # percent of the premium
MOST_PAYOUT: Final = {"private": 200_000, "business": 1_000_000, "public": 1_000_000}
HALF_SHARE: Final = 40  # percent of the payout from half of the trigger on


def alert_fee(channel: str, measure: str) -> int:
    """What an alert costs a month."""
    return CHANNEL_FEE[channel] + MEASURE_FEE[measure]


def visit_fee(station: Mapping[str, Any], job: str, today: str) -> int:
    """What a visit costs the keeper of a station."""
    fee = JOB_FEE[job]
    if station["contract_until"] is not None and station["contract_until"] >= today:
        fee = 0 if job == "cleaning" else fee // 2
    return fee + (HIGH_UP_FEE if station["altitude_m"] > HIGH_UP else 0)


def visit_refund(fee: int, begins: str, now: datetime) -> int:
    """What cancelling a visit brings back."""
    early = datetime.fromisoformat(begins) - now >= timedelta(days=CANCEL_DAYS)
    return fee if early else fee // 2


def licence_fee(kind: str, product: str, users: int) -> int:
    """What a year of data costs."""
    fee = LICENCE_FEE[product] * (4 + users) // 5
    return fee * 3 // 4 if kind == "public" else fee


def renewal_fee(kind: str, licence: Mapping[str, Any], today: str) -> int:
    fee = licence_fee(kind, licence["product"], licence["users"])
    return fee * 9 // 10 if licence["valid_until"] >= today else fee


def premium_of(payout: int, chance: int, trigger_mm: int) -> int:
    """What rain cover costs."""
    return max(LEAST_PREMIUM, payout * (chance + MARGIN) * TRIGGER_SHARE[trigger_mm] // 10_000)


def payment_of(policy: Mapping[str, Any], rain_mm: float) -> int:
    """What a claim brings after so much rain."""
    if rain_mm >= policy["trigger_mm"]:
        return int(policy["payout"])
    return int(policy["payout"]) * HALF_SHARE // 100 if rain_mm * 2 >= policy["trigger_mm"] else 0


def existing(db: Database, table: str, key: str) -> Row:
    row = db.get(table, key)
    if row is None:
        raise ToolRefusal("not_found", f"there is no {key!r} in {table}")
    return row


def charge(db: Database, customer_id: str, amount: int) -> str:
    """Take from the balance, or add to it where the amount is negative; the balance as text."""
    balance = db.at("customers", customer_id)["balance"]
    if balance < amount:
        raise ToolRefusal("insufficient_balance", f"the balance is {money_text(balance)}, {money_text(amount)} are needed")
    return money_text(db.update("customers", customer_id, balance=balance - amount)["balance"])


def free_slot(db: Database, slot_id: str, station: Row) -> Row:
    """A slot that can be taken for a station."""
    slot = existing(db, "slots", slot_id)
    if slot["region"] != station["region"]:
        raise ToolRefusal("other_region", f"slot {slot_id} is in {slot['region']}, the station in {station['region']}")
    if not slot["free"] or not far_enough(db, slot["begins"], LAST_DAYS):
        raise ToolRefusal("not_free", f"slot {slot_id} is taken or begins in less than a day")
    return slot


def days_ahead(db: Database, day: str) -> int:
    """How many days from today a day is; negative if it is past."""
    return (date.fromisoformat(day) - db.spec.clock.date()).days


def far_enough(db: Database, begins: str, days: int) -> bool:
    """Whether a moment is at least so many days from now."""
    return datetime.fromisoformat(begins) - db.spec.clock >= timedelta(days=days)


def booked_visit(db: Database, visit_id: str) -> tuple[Row, Row]:
    """A visit that can still be moved or cancelled, and its slot."""
    visit = existing(db, "visits", visit_id)
    if visit["status"] != "booked":
        raise ToolRefusal("not_booked", f"visit {visit_id} is {visit['status']}")
    slot = db.at("slots", visit["slot_id"])
    if not far_enough(db, slot["begins"], LAST_DAYS):
        raise ToolRefusal("too_late", f"visit {visit_id} begins at {slot['begins']}")
    return visit, slot


def coverable(db: Database, station_id: str, day: str) -> tuple[Row, Row]:
    """A station and its forecast for a day that can be covered."""
    station = existing(db, "stations", station_id)
    if station["status"] != "running":
        raise ToolRefusal("station_offline", f"station {station_id} is offline")
    found = db.find("forecasts", station_id=station_id, day=day)
    if not found or days_ahead(db, day) < COVER_DAYS:
        raise ToolRefusal("day_not_offered", f"{day} is too near, or beyond the forecast")
    rain = db.find("warnings", region=station["region"], hazard="rain")
    if any(row["level"] != "yellow" and row["begins"][:10] <= day <= row["ends"][:10] for row in rain):
        raise ToolRefusal("warning", f"there is a rain warning for {station['region']} on {day}")
    return station, found[0]


def check_payout(customer: Row, payout: int) -> None:
    """Refuse a payout that is not offered."""
    most = MOST_PAYOUT[customer["kind"]]
    if payout % PAYOUT_STEP or not 0 < payout <= most:
        raise ToolRefusal("payout_not_offered", f"payouts are in steps of 100.00, up to {money_text(most)}")


def renewable(licence: Mapping[str, Any], today: date) -> bool:
    days = (date.fromisoformat(licence["valid_until"]) - today).days
    return -RENEW_AFTER <= days <= RENEW_BEFORE


def in_range(row: Mapping[str, Any], threshold: int) -> bool:
    least, most = THRESHOLDS[row["measure"]]
    return bool(least <= threshold <= most)


def alerts_of(db: Database, row: Mapping[str, Any]) -> list[Row]:
    """The customer's alerts that have not ended."""
    return [one for one in db.find("alerts", customer_id=row["customer_id"]) if one["status"] != "ended"]


def is_new(db: Database, row: Mapping[str, Any]) -> bool:
    what = (row["station_id"], row["measure"])
    return all((one["station_id"], one["measure"]) != what for one in alerts_of(db, row))


ACTIVE: Final = Require(lambda _, row: row["status"] == "active", "not_active", "alert {alert_id} is {status}")
NOT_ENDED: Final = Require(lambda _, row: row["status"] != "ended", "ended", "alert {alert_id} has ended")
NEW_ALERT: Final = (
    Require(lambda _, row: in_range(row, row["threshold"]), "no_such_threshold", "{threshold} is no threshold for {measure}"),
    Require(
        lambda db, row: db.at("stations", row["station_id"])["status"] == "running",
        "station_offline",
        "station {station_id} is offline",
    ),
    Require(is_new, "already_there", "there is an alert for {measure} at {station_id} already"),
    Require(
        lambda db, row: len(alerts_of(db, row)) < MOST_ALERTS[db.at("customers", row["customer_id"])["kind"]],
        "too_many",
        "customer {customer_id} has as many alerts as possible",
    ),
)
NEW_THRESHOLD: Final = (
    ACTIVE,
    Require(lambda _, row: in_range(row, row["new_threshold"]), "no_such_threshold", "{new_threshold} is not offered"),
)
