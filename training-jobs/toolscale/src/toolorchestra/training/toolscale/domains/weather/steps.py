"""Steps that intents of the weather company share: meet the customer, find the station, the alert, the visit, the cover."""

from datetime import timedelta
from typing import Final

from toolorchestra.training.toolscale.composing import Composer, Fits, Row
from toolorchestra.training.toolscale.customers import Customers
from toolorchestra.worlds.tools import cents
from toolorchestra.worlds.values import Kind

ENGINEER: Final = ("slots", "engineer")
CHANNELS: Final = {"email": "by e-mail", "text": "by text message", "call": "by phone call"}
LEVELS: Final = {"rain": (5, 60, 5), "wind": (45, 125, 5), "frost": (-8, 5, 1)}
UNITS: Final = {"rain": "mm", "wind": "km/h", "frost": "°C"}
WHEN: Final = {
    "rain": "a day's rain is forecast to reach",
    "wind": "gusts are forecast to reach",
    "frost": "the temperature is forecast to fall to",
}
PRODUCTS: Final = {"daily": "daily values", "hourly": "hourly values", "archive": "archive data"}
CUSTOMERS: Final = Customers("customers", "customer_id", "find_customer")
meet, somebody, theirs = CUSTOMERS.meet, CUSTOMERS.somebody, CUSTOMERS.theirs


def named_station(do: Composer, station_id: str, slot: str = "station") -> Row:
    """A station that the user names, looked up by that name."""
    station = do.row("stations", station_id)
    do.say(**{slot: station["name"]})
    do.unknown("station number")
    do.once("find_station", name=station["name"])
    return station


def running_station(do: Composer) -> Row:
    return named_station(do, do.pick("stations", lambda row: row["status"] == "running")["station_id"])


def day_after(do: Composer, days: int) -> str:
    """The day that is so many after today; before it if negative."""
    return (do.world.spec.clock.date() + timedelta(days=days)).isoformat()


def tell_balance(do: Composer, customer_id: str, balance: str) -> None:
    do.tell("balance", Kind.MONEY, cents(balance), ("customers", customer_id))


def first_free(do: Composer, region: str, day: str, fits: Fits = lambda _: True) -> Row:
    """The first free slot in a region from a day on, searched; no other part of the request takes slots there."""
    do.claim(("slots", region))
    found = do.call("search_slots", region=region, first_day=day)["slots"]
    slots: list[Row] = [row for row in found if fits(row)]
    do.need(bool(slots))
    return slots[0]


def clear_days(do: Composer, region: str) -> Fits:
    """Whether a slot is on a day without a warning for the region; all warnings are looked at."""
    do.once("list_warnings", region=region)
    spans = [(row["begins"][:10], row["ends"][:10]) for row in do.rows("warnings", region=region)]
    return lambda slot: not any(first <= slot["begins"][:10] <= last for first, last in spans)


def tell_slot(do: Composer, slot: Row) -> None:
    me = ("slots", slot["slot_id"])
    do.tell("begins", Kind.DATETIME, slot["begins"], me)
    do.tell("engineer", Kind.TEXT, slot["engineer"], me, column=ENGINEER)
