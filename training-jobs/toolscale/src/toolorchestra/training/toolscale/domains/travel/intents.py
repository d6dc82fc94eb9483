"""What customers of Tern & Tide Travel want: each intent does it once, and so becomes a task."""

from collections.abc import Mapping
from typing import Any, Final

from toolorchestra.training.toolscale.composing import Composer, Intent, Row
from toolorchestra.training.toolscale.domain import make_domain
from toolorchestra.training.toolscale.domains.travel import extras, stays
from toolorchestra.training.toolscale.domains.travel.rows import draw_rows
from toolorchestra.training.toolscale.domains.travel.steps import (
    a_purse,
    a_trip,
    coming,
    list_trips,
    refs,
    somebody,
    tell_hotel,
)
from toolorchestra.worlds.shipped.travel.tools import POINTS, later
from toolorchestra.worlds.tools import cents
from toolorchestra.worlds.values import Kind


def left_of(row: Mapping[str, Any]) -> int:
    return int(row["total"] - row["paid"])


def pay_rest(do: Composer) -> None:
    """All that is left of one trip."""
    trip = a_trip(do, lambda row: left_of(row) > 0)
    key, paid_with = trip["booking_id"], a_purse(do)
    do.tell("left", Kind.MONEY, left_of(trip), ("bookings", key))
    do.tell("pay_by", Kind.DATE, trip["pay_by"], ("bookings", key))
    if do.evolve("limit") and not do.at_most(left_of(trip)):
        return
    done = do.call("pay_booking", booking_id=key, paid_with=paid_with)
    if paid_with == "credit":
        do.tell("credit", Kind.MONEY, cents(done["credit"]), ("customers", trip["customer_id"]))


def pay_with_points(do: Composer) -> None:
    """A part of what is left, and perhaps the rest by card."""
    points = {row["customer_id"]: row["points"] for row in do.rows("customers")}
    trip = a_trip(do, lambda row: min(left_of(row) // 2, points[row["customer_id"]]) > POINTS)
    key, held = trip["booking_id"], points[trip["customer_id"]]
    used = do.random.randint(1, min(left_of(trip) // 2, held - 1) // POINTS) * POINTS
    do.say(points=used)
    done = do.call("redeem_points", booking_id=key, points=used)
    do.tell("points_left", Kind.NUMBER, done["points"], ("customers", trip["customer_id"]))
    if do.evolve("then_pay"):
        done = do.call("pay_booking", booking_id=key, paid_with="card")
        do.tell("charged", Kind.MONEY, cents(done["charged"]), ("bookings", key))
    else:
        do.tell("left", Kind.MONEY, cents(done["left_to_pay"]), ("bookings", key))


def pay_due(do: Composer) -> None:
    """All trips that are to be paid by a day."""
    do.go_by("bookings")

    def unpaid(customer_id: str) -> list[Row]:
        return [row for row in coming(do, customer_id) if left_of(row) > 0]

    customer = somebody(do, lambda row: len(unpaid(row["customer_id"])) > 1)
    trips, paid_with = unpaid(customer["customer_id"]), a_purse(do)
    by = later(do.choose(trips)["pay_by"], do.random.randint(0, 4))
    chosen = [row for row in trips if row["pay_by"] <= by]
    do.say(by=by)
    list_trips(do, customer["customer_id"])
    for trip in chosen:
        done = do.call("pay_booking", booking_id=trip["booking_id"], paid_with=paid_with)
    do.tell("total", Kind.MONEY, sum(left_of(row) for row in chosen), *refs(chosen))
    if paid_with == "credit" and do.evolve("credit"):
        do.tell("credit", Kind.MONEY, cents(done["credit"]), ("customers", customer["customer_id"]))


def next_trip(do: Composer) -> None:
    """What there is to know of the trip that comes first."""
    do.go_by("bookings")
    customer = somebody(do, lambda row: len(coming(do, row["customer_id"])) > 1)
    first = coming(do, customer["customer_id"])[0]
    list_trips(do, customer["customer_id"])
    do.once("get_booking", booking_id=first["booking_id"])
    do.once("get_hotel", hotel_id=first["hotel_id"])
    row = ("bookings", first["booking_id"])
    tell_hotel(do, first["hotel_id"])
    do.tell("starts_on", Kind.DATE, first["starts_on"], row)
    if left_of(first) > 0:
        do.tell("left", Kind.MONEY, left_of(first), row)
    else:
        do.tell("total", Kind.MONEY, first["total"], row)


def total_left(do: Composer) -> None:
    """What is left to be paid of all trips, and by when first."""
    do.go_by("bookings")

    def unpaid(customer_id: str) -> list[Row]:
        return [row for row in coming(do, customer_id) if left_of(row) > 0]

    customer = somebody(do, lambda row: len(unpaid(row["customer_id"])) > 1)
    trips = unpaid(customer["customer_id"])
    list_trips(do, customer["customer_id"])
    do.tell("total", Kind.MONEY, sum(map(left_of, trips)), *refs(trips))
    first = min(trips, key=lambda row: str(row["pay_by"]))
    do.tell("first_pay_by", Kind.DATE, first["pay_by"], *refs([first]))


INTENTS: Final = (
    Intent("book_stay", stays.book_stay, ("limit", "insured")),
    Intent("find_stay", stays.find_stay, ("stars", "pool", "any_board", "limit", "insured")),
    Intent("change_room", stays.change_room, ("limit",)),
    Intent("shift_trip", stays.shift_trip),
    Intent("cancel_trip", stays.cancel_trip, ("condition", "credit")),
    Intent("cancel_best", stays.cancel_best),
    Intent("add_flights", extras.add_flights, ("bags",)),
    Intent("book_excursion", extras.book_excursion, ("cheapest", "booking_total")),
    Intent("all_excursions", extras.all_excursions),
    Intent("insure", extras.insure, ("plus_if_cheap",)),
    Intent("insure_all", extras.insure_all),
    Intent("visas", extras.visas, ("new_passport", "express_if_needed")),
    Intent("all_visas", extras.all_visas),
    Intent("new_passport", extras.new_passport),
    Intent("pay_rest", pay_rest, ("limit",)),
    Intent("pay_with_points", pay_with_points, ("then_pay",)),
    Intent("pay_due", pay_due, ("credit",)),
    Intent("next_trip", next_trip),
    Intent("total_left", total_left),
)
DOMAIN: Final = make_domain(__file__, INTENTS, draw_rows)
