"""Intents around what belongs to a trip: flights, excursions, insurance, visas."""

from collections.abc import Mapping
from typing import Any, Final

from toolorchestra.training.toolscale.composing import Composer, Row
from toolorchestra.training.toolscale.domains.travel.steps import (
    CHANGEABLE,
    SOONEST,
    TODAY,
    a_trip,
    best_flight,
    coming,
    dated,
    during,
    extras_of,
    is_insurable,
    list_trips,
    party,
    refs,
    somebody,
)
from toolorchestra.training.toolscale.draws import chance
from toolorchestra.training.toolscale.wording import Cents
from toolorchestra.worlds.shipped.travel.tools import PREMIUM, later, visa_terms
from toolorchestra.worlds.tools import cents
from toolorchestra.worlds.values import Kind

WISHES: Final = {"first": "the earliest", "last": "the latest", "cheapest": "the cheapest"}


def add_flights(do: Composer) -> None:
    """Out on the first day, back on the last."""
    trip = a_trip(do, lambda row: row["starts_on"] >= SOONEST and not any(one["flight_id"] for one in extras_of(do, row)))
    flights = do.rows("flights", destination_id=trip["destination_id"])
    airport, wish = do.choose(sorted({row["airport"] for row in flights})), do.random.choice(sorted(WISHES))
    do.say(airport=airport, wish=WISHES[wish])
    do.once("get_booking", booking_id=trip["booking_id"])
    out, back = (best_flight(do, trip, direction, airport, wish) for direction in ("out", "back"))
    bags = do.random.randint(1, trip["travellers"]) if do.evolve("bags") else 0
    more = {"bags": bags} if bags else {}
    if bags:
        do.say(bags=bags)
    done = [do.call("add_flight", booking_id=trip["booking_id"], flight_id=one["flight_id"], **more) for one in (out, back)]
    rows = [("extras", one["extra_id"]) for one in done]
    do.tell("fares", Kind.MONEY, sum(cents(one["price"]) for one in done), *rows)
    do.tell("departs", Kind.DATETIME, out["departs"], ("flights", out["flight_id"]))
    do.tell("returns", Kind.DATETIME, back["departs"], ("flights", back["flight_id"]))


def book_excursion(do: Composer) -> None:
    """One that is named, or the cheapest of the stay."""
    trip = a_trip(do)
    places = do.random.randint(1, trip["travellers"])
    do.say(party=party(do, places))
    booked = {row["excursion_id"] for row in extras_of(do, trip)}
    if booked:
        do.once("list_extras", booking_id=trip["booking_id"])
    offered = [row for row in during(do, trip) if row["excursion_id"] not in booked and row["places"] >= places]
    do.need(bool(offered))
    if len(offered) > 1 and do.evolve("cheapest"):
        offered.sort(key=lambda row: int(row["price"]))
        do.need(offered[0]["price"] < offered[1]["price"] and not booked)
        chosen = offered[0]
    else:
        chosen = do.choose(offered)
        do.need(sum(row["title"] == chosen["title"] for row in during_now(do, trip)) == 1)
        do.say(title=chosen["title"])
        do.phrase("named")
    done = do.call("book_excursion", booking_id=trip["booking_id"], excursion_id=chosen["excursion_id"], places=places)
    do.tell("price", Kind.MONEY, cents(done["price"]), ("extras", done["extra_id"]))
    do.tell("takes_place_on", Kind.DATE, chosen["takes_place_on"], ("excursions", chosen["excursion_id"]))
    if do.evolve("booking_total"):
        do.tell("booking_total", Kind.MONEY, cents(done["booking_total"]), ("bookings", trip["booking_id"]))


def during_now(do: Composer, trip: Row) -> list[Row]:
    rows = do.rows("excursions", destination_id=trip["destination_id"])
    return [row for row in rows if trip["starts_on"] <= row["takes_place_on"] <= trip["ends_on"]]


def all_excursions(do: Composer) -> None:
    """All during a stay that cost no more than so much for one."""
    trip = a_trip(do, lambda row: not any(one["excursion_id"] for one in extras_of(do, row)))
    do.once("get_booking", booking_id=trip["booking_id"])
    offered = during(do, trip)
    do.need(len(offered) > 1)
    most = (sorted(row["price"] for row in offered)[do.random.randrange(1, len(offered))] // 500 + 1) * 500
    chosen = [row for row in offered if row["price"] <= most]
    do.need(len({row["title"] for row in chosen}) == len(chosen))  # whether to go twice would be anybody's guess
    do.need(len(chosen) > 1 and all(row["places"] >= trip["travellers"] and row["price"] != most for row in chosen))
    do.say(most=Cents(most))
    total, rows = 0, []
    for one in chosen:
        terms = {"excursion_id": one["excursion_id"], "places": trip["travellers"]}
        done = do.call("book_excursion", booking_id=trip["booking_id"], **terms)
        total += cents(done["price"])
        rows.append(("extras", done["extra_id"]))
    do.tell("total", Kind.MONEY, total, *rows)
    do.tell("first_on", Kind.DATE, chosen[0]["takes_place_on"], ("excursions", chosen[0]["excursion_id"]))


def insure(do: Composer) -> None:
    """One trip: the cover that is wished for, or plus if that is not too dear."""
    trip = a_trip(do, is_insurable)
    cover, key = do.random.choice(("basic", "plus")), trip["booking_id"]
    if do.evolve("plus_if_cheap"):
        premium = trip["total"] * PREMIUM["plus"] // 100
        cheap = chance(do.random, 0.5)
        do.say(most=Cents(do.threshold(premium, met=cheap, at_least=False)))
        cover = "plus" if cheap else "basic"
    else:
        do.say(cover=cover)
        do.phrase("named")
    done = do.call("buy_insurance", booking_id=key, cover=cover)
    do.tell("premium", Kind.MONEY, cents(done["premium"]), ("bookings", key))
    do.tell("total", Kind.MONEY, trip["total"], ("bookings", key))


def insure_all(do: Composer) -> None:
    """Every trip that begins late enough and has no insurance yet."""
    do.go_by("bookings")

    def open_trips(customer_id: str) -> list[Row]:
        return [row for row in coming(do, customer_id) if row["cover"] == "none" and row["starts_on"] >= CHANGEABLE]

    customer = somebody(do, lambda row: len(open_trips(row["customer_id"])) > 1)
    who, cover = customer["customer_id"], do.random.choice(("basic", "plus"))
    trips = open_trips(who)
    do.need(not any(is_insurable(row) for row in coming(do, who) if row["starts_on"] < CHANGEABLE))
    do.say(cover=cover)
    list_trips(do, who)
    for trip in coming(do, who):
        if trip["cover"] == "none" and trip["starts_on"] < CHANGEABLE:  # the day of its booking decides
            do.once("get_booking", booking_id=trip["booking_id"])
    done = [do.call("buy_insurance", booking_id=row["booking_id"], cover=cover) for row in trips]
    do.tell("total", Kind.MONEY, sum(cents(one["premium"]) for one in done), *refs(trips))


def wants_visa(do: Composer, row: Mapping[str, Any]) -> bool:
    """Whether a trip needs visas for which nobody has applied."""
    return bool(do.row("destinations", row["destination_id"])["visa"]) and not do.rows("visas", booking_id=row["booking_id"])


def passport_until(do: Composer, row: Mapping[str, Any]) -> str:
    """The day until which the passport must be valid for a trip."""
    return later(row["ends_on"], do.row("destinations", row["destination_id"])["passport_days"])


def visas(do: Composer) -> None:
    """Standard or express as wished, or standard unless that takes too long; perhaps with a new passport."""
    do.claim("passport")
    valid = {row["customer_id"]: row["passport_expires_on"] for row in do.rows("customers")}
    renewed = do.evolve("new_passport")
    trip = a_trip(
        do,
        lambda row: wants_visa(do, row) and (valid[row["customer_id"]] < passport_until(do, row)) == renewed,
    )
    key, place = trip["booking_id"], do.row("destinations", trip["destination_id"])
    do.once("get_destination", destination_id=trip["destination_id"])
    if renewed:
        expires = later("2031-01-01", do.random.randint(0, 1800))
        do.say(expires=dated(do, expires))
        do.call("update_passport", customer_id=trip["customer_id"], passport_expires_on=expires)
    speed = do.random.choice(("standard", "express"))
    if do.evolve("express_if_needed"):
        _, ready_on = visa_terms(place, "standard", trip["travellers"], TODAY)
        by = later(ready_on, do.random.choice((-6, -4, -2, 1, 3, 6)))
        do.say(by=by)
        speed = "standard" if ready_on <= by else "express"
    else:
        do.say(speed=speed)
        do.phrase("named")
    done = do.call("apply_for_visas", booking_id=key, speed=speed)
    do.tell("fee", Kind.MONEY, cents(done["fee"]), ("visas", done["visa_id"]))
    do.tell("ready_on", Kind.DATE, done["ready_on"], ("visas", done["visa_id"]))


def all_visas(do: Composer) -> None:
    """For every trip that needs them and has none yet."""
    do.go_by("bookings")
    do.claim("passport")

    def lacking(customer_id: str) -> list[Row]:
        return [row for row in coming(do, customer_id) if wants_visa(do, row)]

    customer = somebody(do, lambda row: len(coming(do, row["customer_id"])) > 1 and bool(lacking(row["customer_id"])))
    who = customer["customer_id"]
    for place in dict.fromkeys(row["destination_id"] for row in list_trips(do, who)):
        do.once("get_destination", destination_id=place)
    do.once("list_visas", customer_id=who)
    done = [do.call("apply_for_visas", booking_id=row["booking_id"], speed="standard") for row in lacking(who)]
    do.tell("total", Kind.MONEY, sum(cents(one["fee"]) for one in done), *(("visas", one["visa_id"]) for one in done))
    last = max(done, key=lambda one: str(one["ready_on"]))
    do.tell("last_ready", Kind.DATE, last["ready_on"], ("visas", last["visa_id"]))


def new_passport(do: Composer) -> None:
    """Note it, and tell whether it is valid long enough for a trip."""
    do.claim("passport")
    trip = a_trip(do)
    needed = passport_until(do, trip)
    enough = chance(do.random, 0.5)
    expires = later(needed, do.random.randint(3, 60) if enough else -do.random.randint(3, 60))
    do.need(expires > later(TODAY, 10) and expires != do.row("customers", trip["customer_id"])["passport_expires_on"])
    do.say(expires=dated(do, expires))
    do.once("get_destination", destination_id=trip["destination_id"])
    do.call("update_passport", customer_id=trip["customer_id"], passport_expires_on=expires)
    rows = (("bookings", trip["booking_id"]), ("destinations", trip["destination_id"]))
    do.tell("enough", Kind.YESNO, enough, *rows)
    do.tell("needed_until", Kind.DATE, needed, *rows)
