"""Steps that intents of the tour operator share: meet the customer, find the trip, choose a room or a flight."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Final

from toolorchestra.training.toolscale.composing import MOSTLY, Composer, Fits, Row
from toolorchestra.training.toolscale.customers import Customers
from toolorchestra.training.toolscale.draws import chance
from toolorchestra.worlds.shipped.travel.tools import later
from toolorchestra.worlds.state import Ref
from toolorchestra.worlds.values import Kind

TODAY: Final = "2026-06-08"
SOONEST: Final = "2026-06-12"  # stays that begin from here on can be booked
CHANGEABLE: Final = "2026-07-08"  # stays that begin from here on can be changed and insured
HOTEL, EXCURSION = ("hotels", "name"), ("excursions", "title")
KINDS: Final = {"single": "single room", "double": "double room", "family": "family room"}
BOARDS: Final = {"breakfast": "breakfast", "half_board": "half board", "all_inclusive": "all-inclusive board"}
NUMBERS: Final = ("no", "one", "two", "three", "four", "five", "six")
CUSTOMERS: Final = Customers("customers", "customer_id", "find_customer")
meet, somebody, is_theirs = CUSTOMERS.meet, CUSTOMERS.somebody, CUSTOMERS.owns


def coming(do: Composer, customer_id: str) -> list[Row]:
    """The confirmed trips of a customer, earliest first."""
    return sorted(do.rows("bookings", customer_id=customer_id, status="confirmed"), key=lambda row: str(row["starts_on"]))


def list_trips(do: Composer, customer_id: str) -> list[Row]:
    """Looks up all confirmed trips."""
    do.unknown("booking numbers")
    trips: list[Row] = do.once("list_bookings", customer_id=customer_id, status="confirmed")["bookings"]
    return trips


def a_trip(do: Composer, fits: Fits = lambda _: True) -> Row:
    """A confirmed trip, told by its place or hotel; no two parts of a task are about the same one."""
    trip = do.pick("bookings", lambda row: is_theirs(do, row) and row["status"] == "confirmed" and fits(row))
    do.untouched("bookings", trip["booking_id"])
    who, place = trip["customer_id"], do.row("destinations", trip["destination_id"])["name"]
    do.need(sum(row["destination_id"] == trip["destination_id"] for row in coming(do, who)) == 1)
    meet(do, who)
    do.unknown("booking number")
    do.once("list_bookings", customer_id=who, status="confirmed")
    if chance(do.random, MOSTLY):
        do.say(trip=do.random.choice((f"trip to {place}", f"holiday in {place}", f"booking for {place}")))
        do.once("find_destination", name=place)
    else:
        hotel = do.row("hotels", trip["hotel_id"])["name"]
        do.say(trip=do.random.choice((f"stay at {hotel}", f"booking at {hotel}")))
        do.once("find_hotel", name=hotel)
    return trip


def party(do: Composer, count: int) -> str:
    """So many people, in words."""
    number = do.random.choice((str(count), NUMBERS[count]))
    return f"{number} {'person' if count == 1 else 'people'}"


def dated(do: Composer, day: str) -> str:
    """A day with its year, for those that may be of another one."""
    moment = date.fromisoformat(day)
    return do.random.choice((f"{moment.day} {moment:%B %Y}", f"{moment:%B} {moment.day}, {moment.year}"))


def a_purse(do: Composer) -> str:
    found = do.random.choice(("card", "credit"))
    do.say(purse={"card": "card", "credit": "travel credit"}[found])
    return found


def say_room(do: Composer, room: Row) -> None:
    do.say(kind=KINDS[room["kind"]], board=BOARDS[room["board"]], arrives=room["arrives_on"], leaves=room["leaves_on"])


def room_terms(room: Row) -> Row:
    """What a room is searched by within a hotel."""
    return {name: room[name] for name in ("arrives_on", "leaves_on", "kind", "board")}


def best_flight(do: Composer, trip: Row, direction: str, airport: str, wish: str) -> Row:
    """The flight of a day that has seats for all and is the first, the last or the cheapest."""
    day = trip["starts_on"] if direction == "out" else trip["ends_on"]
    where = {"destination_id": trip["destination_id"], "direction": direction, "day": day, "airport": airport}
    flights = [row for row in do.call("search_flights", **where)["flights"] if row["seats"] >= trip["travellers"]]
    do.need(bool(flights))
    if wish == "cheapest":
        flights.sort(key=lambda row: float(row["fare"]))
        do.need(len(flights) == 1 or flights[0]["fare"] != flights[1]["fare"])
    found: Row = flights[-1 if wish == "last" else 0]
    return found


def during(do: Composer, trip: Row) -> list[Row]:
    """The excursions that are offered during a trip, looked up; the earliest first."""
    days = {"first_day": trip["starts_on"], "last_day": trip["ends_on"]}
    do.call("search_excursions", destination_id=trip["destination_id"], **days)
    rows = do.rows("excursions", destination_id=trip["destination_id"])
    fit = (dict(row) for row in rows if days["first_day"] <= row["takes_place_on"] <= days["last_day"])
    return sorted(fit, key=lambda row: str(row["takes_place_on"]))


def extras_of(do: Composer, trip: Mapping[str, Any]) -> list[Row]:
    return do.rows("extras", booking_id=trip["booking_id"], status="booked")


def is_insurable(row: Mapping[str, Any]) -> bool:
    return bool(row["cover"] == "none" and (row["starts_on"] >= CHANGEABLE or row["booked_on"] >= later(TODAY, -7)))


def tell_hotel(do: Composer, hotel_id: str) -> None:
    do.tell("hotel", Kind.TEXT, do.row("hotels", hotel_id)["name"], ("hotels", hotel_id), column=HOTEL)


def refs(trips: Sequence[Mapping[str, Any]]) -> list[Ref]:
    return [("bookings", row["booking_id"]) for row in trips]
