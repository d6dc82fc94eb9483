"""Steps that intents of the restaurants share: meet the guest, find the reservation, find a time and a way to pay."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from toolorchestra.training.toolscale.composing import Composer, Fits, Row
from toolorchestra.training.toolscale.customers import Customers
from toolorchestra.training.toolscale.domains.restaurant.rows import MIDNIGHT
from toolorchestra.worlds.shipped.restaurant.tools import CHANGE_HOURS, seats_guests

TAKEN: Final = 0.6  # how often the first choice is not to be had
SAFE: Final = "2026-10-15T12:00"  # what begins after it can still be changed, and have dishes ordered for it
PLACES: Final = {
    "window": "by the window",
    "booth": "in a booth",
    "courtyard": "in the courtyard",
    "main_room": "in the main room",
}
PURSES: Final = {"card": "card", "credit": "house credit"}
COUNTS: Final = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight")
GUESTS: Final = Customers("guests", "guest_id", "find_guest")
meet, somebody, is_theirs = GUESTS.meet, GUESTS.somebody, GUESTS.owns


def coming(do: Composer, guest_id: str) -> list[Row]:
    """Confirmed reservations that are ahead, the next one first."""
    rows = do.rows("reservations", guest_id=guest_id, status="confirmed")
    return sorted((row for row in rows if row["starts_at"] > do.world.spec.now), key=lambda row: str(row["starts_at"]))


def dishes_for(do: Composer, reservation_id: str) -> list[Row]:
    """Orders of dishes that are placed for a reservation."""
    return do.rows("orders", reservation_id=reservation_id, status="placed")


def a_reservation(do: Composer, fits: Fits = lambda _: True) -> tuple[Row, Row]:
    """A coming reservation of the guest and its restaurant, told by restaurant and day, looked up without its number."""

    def may_be(row: Mapping[str, Any]) -> bool:
        mine = is_theirs(do, row) and row["status"] == "confirmed" and row["starts_at"] > SAFE
        return mine and fits(row)

    found = do.pick("reservations", may_be)
    do.claim(found["reservation_id"])
    who, day = found["guest_id"], found["starts_at"][:10]
    same = [row for row in coming(do, who) if row["venue_id"] == found["venue_id"] and row["starts_at"][:10] == day]
    do.need(len(same) == 1)
    meet(do, who)
    venue = do.row("venues", found["venue_id"])
    do.say(venue=venue["name"], day=day)
    do.unknown("reservation number")
    do.once("find_venue", name=venue["name"])
    do.once("list_reservations", guest_id=who, status="confirmed")
    return found, venue


def a_time(do: Composer, venue: Mapping[str, Any], most_days: int = 50) -> str:
    """A moment at which the restaurant seats guests, on the hour or half hour."""
    day = MIDNIGHT + timedelta(days=do.random.randint(2, most_days))
    start = day + timedelta(hours=do.random.choice((12, 13, 17, 18, 19, 20)), minutes=do.random.choice((0, 30)))
    found = start.strftime("%Y-%m-%dT%H:%M")
    do.need(seats_guests(dict(venue), found))
    return found


def say_when(do: Composer, starts_at: str, party: int) -> None:
    do.say(day=starts_at[:10], time=starts_at[11:], party=COUNTS[party])


def refund_for(do: Composer, found: Mapping[str, Any], venue: Mapping[str, Any]) -> int:
    """What cancelling the reservation now returns, in cents."""
    left = (datetime.fromisoformat(found["starts_at"]) - do.world.spec.clock) / timedelta(hours=1)
    percent = 100 if left >= venue["notice_hours"] else 50 if left >= CHANGE_HOURS else 0
    return int(found["deposit"] * percent // 100)


def a_purse(do: Composer) -> str:
    found = do.random.choice(sorted(PURSES))
    do.say(purse=PURSES[found])
    return found


def say_portions(do: Composer, portions: int) -> None:
    do.say(portions=f"{COUNTS[portions]} portion{'s' if portions > 1 else ''}")
