"""Steps that intents of the weather company share: meet the customer, find the station, the alert, the visit, the cover."""

from collections.abc import Callable, Hashable, Mapping
from datetime import timedelta
from typing import Any, Final, TypeAlias

from toolorchestra.training.toolscale.composing import Composer
from toolorchestra.training.toolscale.draws import chance
from toolorchestra.training.toolscale.wording import Cents
from toolorchestra.worlds.tools import cents
from toolorchestra.worlds.values import Kind

Row: TypeAlias = dict[str, Any]
Fits: TypeAlias = Callable[[Mapping[str, Any]], bool]
ENGINEER: Final = ("slots", "engineer")
MOSTLY: Final = 0.7  # how often a condition holds
CHANNELS: Final = {"email": "by e-mail", "text": "by text message", "call": "by phone call"}
LEVELS: Final = {"rain": (5, 60, 5), "wind": (45, 125, 5), "frost": (-8, 5, 1)}
UNITS: Final = {"rain": "mm", "wind": "km/h", "frost": "°C"}
WHEN: Final = {
    "rain": "a day's rain is forecast to reach",
    "wind": "gusts are forecast to reach",
    "frost": "the temperature is forecast to fall to",
}
PRODUCTS: Final = {"daily": "daily values", "hourly": "hourly values", "archive": "archive data"}


def meet(do: Composer, customer_id: str) -> Row:
    """The customer, found by e-mail; one per task."""
    do.need(do.shared.setdefault("customer", customer_id) == customer_id)
    customer = do.row("customers", customer_id)
    do.introduce(email=customer["email"], name=customer["name"])
    do.once("find_customer", email=customer["email"])
    return customer


def somebody(do: Composer, fits: Fits = lambda _: True) -> Row:
    """The customer of this task, or one who fits."""
    known = do.shared.get("customer")
    return meet(do, do.pick("customers", lambda row: known in (None, row["customer_id"]) and fits(row))["customer_id"])


def theirs(do: Composer, table: str, fits: Fits = lambda _: True) -> Row:
    """A row that belongs to the customer of this task, or to anybody who then is the customer."""
    known = do.shared.get("customer")
    row = do.pick(table, lambda row: known in (None, row["customer_id"]) and fits(row))
    meet(do, row["customer_id"])
    return row


def claim(do: Composer, *things: Hashable) -> None:
    """What one part of a request changes or decides by, no other part touches: so the order of the parts is all the same."""
    taken: set[Hashable] = do.shared.setdefault("claimed", set())
    do.need(taken.isdisjoint(things))
    taken.update(things)


def named_station(do: Composer, station_id: str, slot: str = "station") -> Row:
    """A station that the user names, looked up by that name."""
    station = do.row("stations", station_id)
    do.say(**{slot: station["name"]})
    do.unknown("station number")
    do.once("find_station", name=station["name"])
    return station


def running_station(do: Composer) -> Row:
    return named_station(do, do.pick("stations", lambda row: row["status"] == "running")["station_id"])


def within(do: Composer, amount: int) -> bool:
    """Says a limit, {most}, that an amount keeps or does not; whether it does."""
    fits = chance(do.random, MOSTLY)
    do.say(most=Cents(do.threshold(amount, met=fits, at_least=False)))
    return fits


def day_after(do: Composer, days: int) -> str:
    """The day that is so many after today; before it if negative."""
    return (do.world.spec.clock.date() + timedelta(days=days)).isoformat()


def tell_balance(do: Composer, customer_id: str, balance: str) -> None:
    do.tell("balance", Kind.MONEY, cents(balance), ("customers", customer_id))


def first_free(do: Composer, region: str, day: str, fits: Fits = lambda _: True) -> Row:
    """The first free slot in a region from a day on, searched; no other part of the request takes slots there."""
    claim(do, ("slots", region))
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
