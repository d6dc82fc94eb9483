"""Steps that intents of Orrin House share: meet the patron, find the booking, find seats."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from toolorchestra.training.toolscale.composing import Composer, Fits, Row, UnsuitableError
from toolorchestra.training.toolscale.customers import Customers
from toolorchestra.training.toolscale.draws import chance
from toolorchestra.worlds.tools import cents
from toolorchestra.worlds.values import Kind

HALL: Final = ("halls", "name")
DAY_TOLD: Final = 0.4  # how often the day is told although the title would do
NUMBERS: Final = ("", "one", "two", "three", "four", "five", "six", "seven", "eight")
PATRONS: Final = Customers("patrons", "patron_id", "find_patron")
meet, somebody, is_theirs = PATRONS.meet, PATRONS.somebody, PATRONS.owns


def a_friend(do: Composer, fits: Fits = lambda _: True) -> Row:
    """Somebody else, told by the address of their account."""
    friend = do.pick("patrons", lambda row: row["patron_id"] != do.shared["customer"] and fits(row))
    do.say(friend=friend["email"])
    do.once("find_patron", email=friend["email"])
    return friend


def a_booking(do: Composer, fits: Fits, performance_fits: Fits) -> tuple[Row, Row]:
    """A booking of the patron and its performance, told by the title, and by the day where there are several."""
    performances = {row["performance_id"]: row for row in do.rows("performances")}
    own = [row for row in do.rows("bookings", status="booked") if is_theirs(do, row)]
    booking = do.choose([row for row in own if fits(row) and performance_fits(performances[row["performance_id"]])])
    do.untouched("bookings", booking["booking_id"])
    do.need(booking["booking_id"] != do.shared.get("next"))
    performance = dict(performances[booking["performance_id"]])
    # A booking that was made, moved or given back for an earlier wish still is what the words may mean.
    ours = do.rows("bookings", patron_id=booking["patron_id"])
    meant = [row for row in ours if row["status"] == "booked" or do.has_written("bookings", row["booking_id"])]
    same = [performances[row["performance_id"]] for row in meant]
    alike = [row["starts"][:10] for row in same if row["production_id"] == performance["production_id"]]
    do.need(alike.count(performance["starts"][:10]) == 1)
    meet(do, booking["patron_id"])
    production = do.row("productions", performance["production_id"])
    do.say(title=production["title"])
    if len(alike) > 1 or chance(do.random, DAY_TOLD):
        do.say(day=performance["starts"][:10])
        do.phrase("which_day")
    do.unknown("booking number")
    do.once("list_bookings", patron_id=booking["patron_id"], status="booked")
    do.once("find_production", title=production["title"])
    do.once("list_performances", production_id=production["production_id"])
    return booking, performance


def days_ahead(do: Composer, performance: Mapping[str, Any]) -> float:
    """Days until the start."""
    return (datetime.fromisoformat(performance["starts"]) - do.world.spec.clock) / timedelta(days=1)


def on_sale(do: Composer) -> Fits:
    """Whether a performance can be booked."""
    return lambda row: row["status"] == "on_sale" and days_ahead(do, row) > 0


def by_start(performances: Sequence[Row]) -> list[Row]:
    """The earliest first."""
    return sorted(performances, key=lambda row: str(row["starts"]))


def block(do: Composer, performance_id: str, category: str) -> Row:
    """The seats of a category as they are now, without a call."""
    return do.rows("seat_blocks", performance_id=performance_id, category=category)[0]


def purse(do: Composer) -> str:
    """Card or credit, for what is paid or comes back."""
    found = do.random.choice(("card", "credit"))
    do.say(purse={"card": "card", "credit": "house credit"}[found])
    return found


def party(do: Composer, seats: int) -> None:
    """How many, with the word for it: ``one seat``, ``3 seats``."""
    number = do.random.choice((NUMBERS[seats], str(seats)))
    do.say(seats=f"{number} seat" if seats == 1 else f"{number} seats")


def on_the_day(do: Composer, production_id: str, performance: Mapping[str, Any], slot: str = "day") -> None:
    """Says the day of a performance, and the time where there are two on it."""
    day = performance["starts"][:10]
    do.say(**{slot: day})
    if sum(row["starts"][:10] == day for row in do.rows("performances", production_id=production_id)) > 1:
        do.say(time=performance["starts"][11:])
        do.phrase("at_time")


def first_with_room(do: Composer, performances: Sequence[Row], category: str, seats: int) -> Row:
    """Looks at one performance after the other until one has enough seats."""
    for performance in performances:
        do.once("list_seats", performance_id=performance["performance_id"])
        if block(do, performance["performance_id"], category)["free"] >= seats:
            return performance
    raise UnsuitableError


def buy_seats(do: Composer, performance: Row, category: str, seats: int, paid_with: str) -> Row:
    """Books, and tells number and start."""
    where = {"patron_id": do.shared["customer"], "performance_id": performance["performance_id"]}
    booking: Row = do.call("book_seats", **where, category=category, seats=seats, paid_with=paid_with)
    do.tell("booking_number", Kind.ID, booking["booking_id"], ("bookings", booking["booking_id"]))
    do.tell("starts", Kind.DATETIME, performance["starts"], ("performances", performance["performance_id"]))
    return booking


def quoted(do: Composer, performance_id: str, category: str, seats: int) -> Row:
    """What seats would cost the patron of this task, in cents."""
    who = {"patron_id": do.shared["customer"], "performance_id": performance_id}
    quote = do.call("quote_booking", **who, category=category, seats=seats)
    return {name: cents(quote[name]) for name in ("seats_price", "booking_fee", "total")}
