"""Steps that intents of the railway share: meet the customer, find the booking, find the train."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from toolorchestra.training.toolscale.composing import Composer, Fits, Row
from toolorchestra.training.toolscale.customers import Customers
from toolorchestra.worlds.values import Kind

LATEST: Final = "2026-03-03T10:00"  # trains after it leave time for everything, assistance included
PASSENGERS: Final = Customers("passengers", "passenger_id", "find_passenger")
meet, somebody, is_theirs = PASSENGERS.meet, PASSENGERS.somebody, PASSENGERS.owns


def a_booking(do: Composer, status: str, fits: Fits, train_fits: Fits = lambda _: True) -> tuple[Row, Row]:
    """A booking of the customer and its train, told by route and day, and looked up the way one must without its number."""
    trains = {row["train_id"]: row for row in do.rows("trains")}
    booking = do.pick(
        "bookings",
        lambda row: is_theirs(do, row) and row["status"] == status and fits(row) and train_fits(trains[row["train_id"]]),
    )
    train = dict(trains[booking["train_id"]])
    same = [
        row
        for row in do.rows("bookings", passenger_id=booking["passenger_id"], status=status)
        if route_and_day(trains[row["train_id"]]) == route_and_day(train)
    ]
    do.need(len(same) == 1)
    meet(do, booking["passenger_id"])
    ends = {end: do.row("stations", train[f"{end}_id"])["name"] for end in ("origin", "destination")}
    do.say(**ends, day=train["departs"][:10])
    do.unknown("booking number")
    do.once("list_bookings", passenger_id=booking["passenger_id"], status=status)
    do.once("get_train", train_id=booking["train_id"])
    return booking, train


def route_and_day(train: Mapping[str, Any]) -> tuple[str, str, str]:
    return train["origin_id"], train["destination_id"], train["departs"][:10]


def ahead(train: Mapping[str, Any]) -> bool:
    return train["departs"] > LATEST and train["status"] in ("scheduled", "delayed")


def wallet_or_card(do: Composer) -> str:
    paid_to = do.random.choice(("wallet", "card"))
    do.say(paid_to={"wallet": "travel wallet", "card": "card"}[paid_to])
    return paid_to


def trains_between(do: Composer, origin_id: str, destination_id: str, day: str) -> list[Row]:
    """Looks both stations up by name, and then the trains of the day."""
    names = [do.row("stations", key)["name"] for key in (origin_id, destination_id)]
    do.say(origin=names[0], destination=names[1], day=day)
    found = [do.once("find_station", name=name)["station_id"] for name in names]
    do.call("search_trains", origin_id=found[0], destination_id=found[1], day=day)
    rows = do.rows("trains", origin_id=origin_id, destination_id=destination_id)
    return sorted((dict(row) for row in rows if row["departs"][:10] == day), key=lambda row: str(row["departs"]))


def book_one(do: Composer, trains: Sequence[Row], travel_class: str, ticket_type: str, seats: int) -> None:
    """The first train with seats, paid by card."""
    free = [row for row in trains if row[f"{travel_class}_seats"] >= seats]
    do.need(bool(free))
    customer = do.shared["customer"]
    order = {"travel_class": travel_class, "ticket_type": ticket_type, "seats": seats}
    booking = do.call("book_train", passenger_id=customer, train_id=free[0]["train_id"], **order, paid_with="card")
    do.say(seats=seats, travel_class=travel_class)
    do.tell("departure", Kind.DATETIME, free[0]["departs"], ("trains", free[0]["train_id"]))
    do.tell("booking_number", Kind.ID, booking["booking_id"], ("bookings", booking["booking_id"]))


def wanted_train(do: Composer, free: Sequence[Row], fare: str) -> Row:
    """One of several trains by a rule that the user states."""
    if do.evolve("cheapest"):
        best = sorted(free, key=lambda row: (row[fare], row["departs"]))
        do.need(len(best) == 1 or best[0][fare] < best[1][fare])
        return best[0]
    if len(free) > 1 and do.evolve("not_before"):
        chosen = free[do.random.randrange(1, len(free))]
        hour = int(chosen["departs"][11:13])
        do.need(free[free.index(chosen) - 1]["departs"][11:13] < f"{hour:02d}")
        do.say(after=f"{hour:02d}:00")
        return dict(chosen)
    train: Row = do.choose(free)
    do.say(time=train["departs"][11:])
    do.phrase("at_time")
    return train
