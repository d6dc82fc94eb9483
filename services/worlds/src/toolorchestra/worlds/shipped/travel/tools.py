"""What Tern & Tide Travel's systems can do; the rules are those of policy.md."""

from datetime import date, timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import Field, JsonValue

from toolorchestra.worlds.combinators import Require, look_up, search, transition
from toolorchestra.worlds.errors import ToolRefusal
from toolorchestra.worlds.state import Database, money_text
from toolorchestra.worlds.tools import Declared, tool

Purse = Literal["card", "credit"]
Travellers = Annotated[int, Field(ge=1, le=6)]
OFF: Final = {"blue": 0, "silver": 3, "gold": 5}  # percent of a stay
NOTICE_DAYS, PAY_DAYS, DEPOSIT_PERCENT = 3, 30, 20
KEPT: Final = ((60, 10), (30, 25), (15, 50), (4, 75), (0, 100))  # days before the beginning, percent
PLUS_PERCENT, CREDIT_BONUS = 10, 5
CHANGE_FEE: Final = {"blue": 3500, "silver": 3500, "gold": 0}
BAG_FEE, BAGS = 2800, 2
PREMIUM: Final = {"basic": 4, "plus": 7}  # percent of the total
INSURE_DAYS, LATE_INSURE_DAYS = 30, 7
EXPRESS_DAYS, VISA_SPARE_DAYS = 3, 2
POINTS: Final = 100  # worth one of the currency


def later(day: str, days: int) -> str:
    return (date.fromisoformat(day) + timedelta(days=days)).isoformat()


def days_to(day: str, today: str) -> int:
    return (date.fromisoformat(day) - date.fromisoformat(today)).days


def stay_price(room: dict[str, Any], tier: str) -> int:
    return int(room["price"] * (100 - OFF[tier]) // 100)


def deposit_of(stay: int, starts_on: str, today: str) -> int:
    """What is charged when a stay is booked, in cents."""
    return stay if later(starts_on, -PAY_DAYS) <= today else stay * DEPOSIT_PERCENT // 100


def kept_of(booking: dict[str, Any], today: str) -> int:
    """What is kept if a booking is cancelled, in cents."""
    left = days_to(booking["starts_on"], today)
    percent = next((percent for days, percent in KEPT if left >= days), 100)
    percent = min(percent, PLUS_PERCENT) if booking["cover"] == "plus" else percent
    return int(min(booking["total"] * percent // 100, booking["paid"]))


def refund_of(booking: dict[str, Any], today: str, refund_to: str) -> int:
    refund = booking["paid"] - kept_of(booking, today)
    return int(refund * (100 + CREDIT_BONUS) // 100 if refund_to == "credit" else refund)


def visa_terms(destination: dict[str, Any], speed: str, travellers: int, today: str) -> tuple[int, str]:
    """Fee in cents, and the day on which the visas are ready."""
    fee = destination["visa_fee"] * travellers
    if speed == "express":
        return fee * 3 // 2, later(today, EXPRESS_DAYS)
    return fee, later(today, destination["visa_days"])


def existing(db: Database, table: str, key: str) -> dict[str, Any]:
    row = db.get(table, key)
    if row is None:
        raise ToolRefusal("not_found", f"there is no {key!r} in {table}")
    return row


def confirmed(db: Database, booking_id: str) -> dict[str, Any]:
    booking = existing(db, "bookings", booking_id)
    if booking["status"] != "confirmed":
        raise ToolRefusal("not_confirmed", f"booking {booking_id} is {booking['status']}")
    return booking


def use_credit(db: Database, customer_id: str, amount: int) -> str:
    """Take from the travel credit, or add to it where the amount is negative; what it is then."""
    credit = db.at("customers", customer_id)["credit"]
    if credit < amount:
        raise ToolRefusal("insufficient_credit", f"the credit is {money_text(credit)}, {money_text(amount)} are needed")
    if amount:
        db.update("customers", customer_id, credit=credit - amount)
    return money_text(credit - amount)


def take(db: Database, table: str, key: str, column: str, count: int) -> None:
    """Fewer of what is free, or more where ``count`` is negative."""
    free = db.at(table, key)[column]
    if free < count:
        raise ToolRefusal("sold_out", f"{key} has {free} left, {count} are needed")
    db.update(table, key, **{column: free - count})


def bookable(db: Database, room_id: str, travellers: int) -> dict[str, Any]:
    room = existing(db, "rooms", room_id)
    if travellers > room["sleeps"]:
        raise ToolRefusal("too_small", f"room {room_id} sleeps {room['sleeps']}")
    if room["left"] < 1 or room["arrives_on"] < later(db.spec.today, NOTICE_DAYS):
        raise ToolRefusal("not_bookable", f"room {room_id} is sold out, or begins in less than {NOTICE_DAYS} days")
    return room


@tool(side_effects="readOnly")
def quote_stay(db: Database, *, customer_id: str, room_id: str, travellers: Travellers) -> JsonValue:
    """Tell what a stay would cost this customer, without booking it.

    customer_id: Who would book
    room_id: Room offer
    travellers: How many would stay
    """
    customer, room = existing(db, "customers", customer_id), bookable(db, room_id, travellers)
    stay = stay_price(room, customer["tier"])
    deposit = deposit_of(stay, room["arrives_on"], db.spec.today)
    shown = {**db.show("customers", customer, "customer_id", "tier"), **db.show("rooms", room)}
    pay_by = later(room["arrives_on"], -PAY_DAYS)
    return {**shown, "stay": money_text(stay), "charged_now": money_text(deposit), "pay_by": pay_by}


@tool(side_effects="readOnly")
def quote_cancellation(db: Database, *, booking_id: str) -> JsonValue:
    """Tell what cancelling a booking today would return, without doing it.

    booking_id: Booking that may be cancelled
    """
    booking = confirmed(db, booking_id)
    today = db.spec.today
    return {
        **db.show("bookings", booking, "booking_id", "starts_on", "ends_on", "total", "paid", "cover"),
        "kept": money_text(kept_of(booking, today)),
        "refund_to_card": money_text(refund_of(booking, today, "card")),
        "refund_to_credit": money_text(refund_of(booking, today, "credit")),
    }


@tool(side_effects="destructive")
def book_stay(db: Database, *, customer_id: str, room_id: str, travellers: Travellers) -> JsonValue:
    """Book a stay; the deposit, or all of it if it begins soon, is charged to the card.

    customer_id: Who books
    room_id: Room offer
    travellers: How many will stay
    """
    customer, room = existing(db, "customers", customer_id), bookable(db, room_id, travellers)
    stay = stay_price(room, customer["tier"])
    take(db, "rooms", room_id, "left", 1)
    terms = {**place_of(db, room), "travellers": travellers, "stay": stay, "total": stay}
    paid = deposit_of(stay, room["arrives_on"], db.spec.today)
    none: dict[str, Any] = {"cover": "none", "premium": 0, "refund": None, "refunded_to": None}
    row = {**terms, **none, "paid": paid, "booked_on": db.spec.today, "status": "confirmed"}
    return db.show("bookings", db.insert("bookings", "BK", customer_id=customer_id, **row))


def place_of(db: Database, room: dict[str, Any]) -> dict[str, Any]:
    """What a booking takes from its room."""
    hotel = db.at("hotels", room["hotel_id"])
    where = {"room_id": room["room_id"], "hotel_id": hotel["hotel_id"], "destination_id": hotel["destination_id"]}
    days = {"starts_on": room["arrives_on"], "ends_on": room["leaves_on"], "pay_by": later(room["arrives_on"], -PAY_DAYS)}
    return {**where, **days}


def booked_extras(db: Database, booking_id: str) -> list[dict[str, Any]]:
    return db.find("extras", booking_id=booking_id, status="booked")


def add_extra(db: Database, booking: dict[str, Any], price: int, **what: Any) -> JsonValue:
    """A flight or excursion of a booking, charged at once."""
    key = booking["booking_id"]
    new = db.insert("extras", "EX", booking_id=key, price=price, status="booked", **what)
    changed = db.update("bookings", key, total=booking["total"] + price, paid=booking["paid"] + price)
    return {**db.show("extras", new), "booking_total": money_text(changed["total"])}


@tool(side_effects="destructive")
def add_flight(db: Database, *, booking_id: str, flight_id: str, bags: Annotated[int, Field(ge=0, le=12)] = 0) -> JsonValue:
    """Book a flight for all travellers of a booking, charged to the card.

    booking_id: Booking of the stay
    flight_id: Flight out on the first day or the day before, or back on the last day
    bags: Checked bags in all
    """
    booking, flight = confirmed(db, booking_id), existing(db, "flights", flight_id)
    if flight["destination_id"] != booking["destination_id"]:
        raise ToolRefusal("other_destination", f"flight {flight_id} is for another destination")
    first = booking["starts_on"]
    days = (first, later(first, -1)) if flight["direction"] == "out" else (booking["ends_on"],)
    if flight["departs"][:10] not in days or flight["departs"] <= db.spec.now:
        raise ToolRefusal(
            "other_day", f"flight {flight_id} leaves on {flight['departs'][:10]}; it must be on {' or '.join(days)}"
        )
    flown = [db.at("flights", row["flight_id"]) for row in booked_extras(db, booking_id) if row["flight_id"]]
    if any(one["direction"] == flight["direction"] for one in flown):
        raise ToolRefusal("already_booked", f"booking {booking_id} has a flight {flight['direction']} already")
    seats = booking["travellers"]
    if bags > BAGS * seats:
        raise ToolRefusal("too_many_bags", f"at most {BAGS} bags per traveller")
    take(db, "flights", flight_id, "seats", seats)
    price = flight["fare"] * seats + BAG_FEE * bags
    return add_extra(db, booking, price, flight_id=flight_id, excursion_id=None, places=seats, bags=bags)


@tool(side_effects="destructive")
def book_excursion(db: Database, *, booking_id: str, excursion_id: str, places: Travellers) -> JsonValue:
    """Book places on an excursion during a stay, charged to the card.

    booking_id: Booking of the stay
    excursion_id: The excursion
    places: How many take part
    """
    booking, excursion = confirmed(db, booking_id), existing(db, "excursions", excursion_id)
    fits = booking["starts_on"] <= excursion["takes_place_on"] <= booking["ends_on"]
    if excursion["destination_id"] != booking["destination_id"] or not fits:
        raise ToolRefusal("not_during_stay", f"excursion {excursion_id} is elsewhere or not between first and last day")
    if any(row["excursion_id"] == excursion_id for row in booked_extras(db, booking_id)):
        raise ToolRefusal("already_booked", f"booking {booking_id} has this excursion already")
    if places > booking["travellers"]:
        raise ToolRefusal("too_many", f"booking {booking_id} is for {booking['travellers']} travellers")
    take(db, "excursions", excursion_id, "places", places)
    what = {"flight_id": None, "excursion_id": excursion_id, "places": places, "bags": 0}
    return add_extra(db, booking, excursion["price"] * places, **what)


@tool(side_effects="destructive")
def cancel_booking(db: Database, *, booking_id: str, refund_to: Purse) -> JsonValue:
    """Cancel a booking with its flights and excursions, and pay back what the terms leave.

    booking_id: Booking to be cancelled
    refund_to: Card, or travel credit with 5 percent more
    """
    booking = confirmed(db, booking_id)
    refund = refund_of(booking, db.spec.today, refund_to)
    for extra in booked_extras(db, booking_id):
        table, column, key = (
            ("flights", "seats", "flight_id") if extra["flight_id"] else ("excursions", "places", "excursion_id")
        )
        take(db, table, extra[key], column, -extra["places"])
        db.update("extras", extra["extra_id"], status="cancelled")
    take(db, "rooms", booking["room_id"], "left", -1)
    credit = use_credit(db, booking["customer_id"], -refund if refund_to == "credit" else 0)
    changed = db.update("bookings", booking_id, status="cancelled", refund=refund, refunded_to=refund_to)
    return {**db.show("bookings", changed), "credit": credit}


@tool(side_effects="destructive")
def change_room(db: Database, *, booking_id: str, room_id: str) -> JsonValue:
    """Change a booking to another room offer at the same destination; the difference changes what is left to be paid.

    booking_id: Booking to be changed
    room_id: The new room offer
    """
    booking = confirmed(db, booking_id)
    room = bookable(db, room_id, booking["travellers"])
    place = place_of(db, room)
    if room_id == booking["room_id"] or place["destination_id"] != booking["destination_id"]:
        raise ToolRefusal("not_possible", f"room {room_id} is the same one, or at another destination")
    if min(booking["pay_by"], place["pay_by"]) < db.spec.today:
        raise ToolRefusal("too_late", f"changes end {PAY_DAYS} days before the beginning")
    same_days = all(booking[end] == place[end] for end in ("starts_on", "ends_on"))
    if booked_extras(db, booking_id) and not same_days:
        raise ToolRefusal("other_days", f"booking {booking_id} has flights or excursions; only the same days are possible")
    customer = db.at("customers", booking["customer_id"])
    stay, fee = stay_price(room, customer["tier"]), CHANGE_FEE[customer["tier"]]
    total = booking["total"] - booking["stay"] + stay + fee
    take(db, "rooms", booking["room_id"], "left", -1)
    take(db, "rooms", room_id, "left", 1)
    credit = use_credit(db, booking["customer_id"], min(0, total - booking["paid"]))
    changed = db.update("bookings", booking_id, **place, stay=stay, total=total, paid=min(total, booking["paid"]))
    return {**db.show("bookings", changed), "change_fee": money_text(fee), "credit": credit}


@tool(side_effects="destructive")
def buy_insurance(db: Database, *, booking_id: str, cover: Literal["basic", "plus"]) -> JsonValue:
    """Insure a booking; the premium is a percentage of its total, charged to the card.

    booking_id: Booking to be insured
    cover: basic (4 percent) or plus (7 percent)
    """
    booking, today = confirmed(db, booking_id), db.spec.today
    if booking["cover"] != "none":
        raise ToolRefusal("already_insured", f"booking {booking_id} has {booking['cover']} insurance")
    recent = today <= later(booking["booked_on"], LATE_INSURE_DAYS)
    if days_to(booking["starts_on"], today) < INSURE_DAYS and not recent:
        raise ToolRefusal("too_late", f"insurance is sold until {INSURE_DAYS} days before the beginning")
    premium = booking["total"] * PREMIUM[cover] // 100
    return db.show("bookings", db.update("bookings", booking_id, cover=cover, premium=premium))


@tool(side_effects="destructive")
def apply_for_visas(db: Database, *, booking_id: str, speed: Literal["standard", "express"]) -> JsonValue:
    """Apply for visas for all travellers of a booking, charged to the card.

    booking_id: Booking of the stay
    speed: standard, or express at one and a half times the fee
    """
    booking = confirmed(db, booking_id)
    destination, customer = db.at("destinations", booking["destination_id"]), db.at("customers", booking["customer_id"])
    if not destination["visa"]:
        raise ToolRefusal("not_needed", f"{destination['name']} asks for no visa")
    if db.find("visas", booking_id=booking_id):
        raise ToolRefusal("already_applied", f"there is an application for booking {booking_id}")
    if customer["passport_expires_on"] < later(booking["ends_on"], destination["passport_days"]):
        raise ToolRefusal("passport", f"the passport must be valid {destination['passport_days']} days after the stay")
    fee, ready_on = visa_terms(destination, speed, booking["travellers"], db.spec.today)
    if ready_on > later(booking["starts_on"], -VISA_SPARE_DAYS):
        raise ToolRefusal("too_slow", f"a {speed} visa would be ready on {ready_on}, too late for {booking['starts_on']}")
    terms = {"speed": speed, "fee": fee, "applied_on": db.spec.today, "ready_on": ready_on, "status": "applied"}
    new = db.insert("visas", "VI", booking_id=booking_id, customer_id=booking["customer_id"], **terms)
    return db.show("visas", new)


def left_to_pay(booking: dict[str, Any]) -> int:
    left = booking["total"] - booking["paid"]
    if left <= 0:
        raise ToolRefusal("nothing_left", f"booking {booking['booking_id']} is paid")
    return int(left)


@tool(side_effects="destructive")
def pay_booking(db: Database, *, booking_id: str, paid_with: Purse) -> JsonValue:
    """Pay all that is left of a booking.

    booking_id: Booking to be paid
    paid_with: Card on file, or travel credit
    """
    booking = confirmed(db, booking_id)
    left = left_to_pay(booking)
    credit = use_credit(db, booking["customer_id"], left if paid_with == "credit" else 0)
    changed = db.update("bookings", booking_id, paid=booking["total"])
    return {**db.show("bookings", changed), "charged": money_text(left), "credit": credit}


@tool(side_effects="destructive")
def redeem_points(db: Database, *, booking_id: str, points: Annotated[int, Field(ge=POINTS, multiple_of=POINTS)]) -> JsonValue:
    """Pay a part of a booking with loyalty points, at most half of what is left.

    booking_id: Booking to be paid
    points: How many, by the hundred
    """
    booking = confirmed(db, booking_id)
    customer = db.at("customers", booking["customer_id"])
    if customer["points"] < points:
        raise ToolRefusal("not_enough", f"there are {customer['points']} points")
    if points > left_to_pay(booking) // 2:
        raise ToolRefusal("too_many", "at most half of what is left can be paid with points")
    left = db.update("customers", customer["customer_id"], points=customer["points"] - points)
    changed = db.update("bookings", booking_id, paid=booking["paid"] + points)
    shown = {**db.show("bookings", changed), **db.show("customers", left, "customer_id", "points")}
    return {**shown, "left_to_pay": money_text(changed["total"] - changed["paid"])}


def list_of(name: str, table: str, by: str, description: str) -> Declared:
    return search(name, table, {by: (by, "is")}, description=description, required=(by,))


TOOLS = (
    look_up("find_customer", "customers", by="email"),
    *(look_up("find_destination", "destinations", by="name"), look_up("get_destination", "destinations")),
    *(look_up("find_hotel", "hotels", by="name"), look_up("get_hotel", "hotels")),
    *(look_up("get_booking", "bookings"), look_up("get_room", "rooms")),
    search(
        "search_hotels",
        "hotels",
        {"destination_id": ("destination_id", "is"), "least_stars": ("stars", "from"), "pool": ("pool", "is")},
        description="Find the hotels at a destination, by name.",
        required=("destination_id",),
        order="name",
    ),
    search(
        "search_rooms",
        "rooms",
        {name: (name, "is") for name in ("hotel_id", "arrives_on", "leaves_on", "kind", "board")},
        description="Find the room offers of a hotel, the cheapest first; what can be booked has rooms left.",
        required=("hotel_id",),
        order="price",
    ),
    search(
        "search_flights",
        "flights",
        {**{name: (name, "is") for name in ("destination_id", "direction", "airport")}, "day": ("departs", "on")},
        description="Find the flights to or from a destination on a day, earliest first.",
        required=("destination_id", "direction", "day"),
        order="departs",
    ),
    search(
        "search_excursions",
        "excursions",
        {
            "destination_id": ("destination_id", "is"),
            "first_day": ("takes_place_on", "from"),
            "last_day": ("takes_place_on", "until"),
        },
        description="Find the excursions at a destination, earliest first.",
        required=("destination_id",),
        order="takes_place_on",
    ),
    search(
        "list_bookings",
        "bookings",
        {"customer_id": ("customer_id", "is"), "status": ("status", "is")},
        description="List the bookings of a customer in short, earliest stay first; get_booking has the rest.",
        required=("customer_id",),
        order="starts_on",
        show=("booking_id", "destination_id", "hotel_id", "starts_on", "ends_on", "total", "paid", "pay_by", "cover", "status"),
    ),
    list_of("list_extras", "extras", "booking_id", "List the flights and excursions of a booking."),
    list_of("list_visas", "visas", "customer_id", "List the visa applications for a customer's bookings."),
    *(quote_stay, quote_cancellation, book_stay, add_flight, book_excursion, cancel_booking, change_room, buy_insurance),
    *(apply_for_visas, pay_booking, redeem_points),
    transition(
        "update_passport",
        "customers",
        description="Note the last day of validity of a customer's new passport.",
        arguments=("passport_expires_on",),
        to={},
        requires=(Require(lambda db, row: row["new_passport_expires_on"] > db.spec.today, "expired", "that day is past"),),
    ),
)
