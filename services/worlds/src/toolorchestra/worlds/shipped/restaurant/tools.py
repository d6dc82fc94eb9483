"""What the systems of Marlowick Tables can do; the rules are those of policy.md."""

from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import Field, JsonValue

from toolorchestra.worlds.combinators import Match, Require, look_up, search, transition
from toolorchestra.worlds.errors import ToolRefusal
from toolorchestra.worlds.state import Database, money_text
from toolorchestra.worlds.tools import Declared, Moment, tool

Place = Literal["window", "booth", "courtyard", "main_room"]
Course = Literal["starter", "main", "dessert"]
Allergen = Literal["gluten", "dairy", "nuts", "fish", "shellfish", "egg", "sesame"]
Avoided = list[Allergen] | None
Purse = Literal["card", "credit"]
UpToEight = Annotated[int, Field(ge=1, le=8)]
DAYS_AHEAD, LEAST_HOURS, CHANGE_HOURS, SPARE_SEATS = 60, 2, 6, 2
LARGE, STAY, LONG_STAY = 5, timedelta(minutes=120), timedelta(minutes=150)
WEEKEND, EVENING = ("Friday", "Saturday"), 18
DEPOSIT_PERCENT: Final = {"regular": 100, "friend": 50, "insider": 0}
MENU_PERCENT: Final = {"regular": 100, "friend": 95, "insider": 90}
PREORDER_HOURS, TAKEAWAY_HOURS, TAKEAWAY_DAYS, CANCEL_HOURS = 24, 1, 7, 3
TAKEAWAY_PERCENT, BOX = 85, 50
MANY_SEATS, MANY_PERCENT, INSIDER_PERCENT = 4, 95, 90
EVENT_REFUND: Final = ((7 * 24, 100), (48, 50))  # hours before, percent returned


def refuse_if(wrong: bool, code: str, message: str) -> None:
    if wrong:
        raise ToolRefusal(code, message)


def existing(db: Database, table: str, key: str) -> dict[str, Any]:
    row = db.get(table, key)
    if row is None:
        raise ToolRefusal("not_found", f"there is no {key!r} in {table.replace('_', ' ')}")
    return row


def moment_of(text: str) -> datetime:
    """A moment as a caller writes it."""
    return datetime.fromisoformat(text)


def hours_until(db: Database, moment: str) -> float:
    return (moment_of(moment) - db.spec.clock) / timedelta(hours=1)


def pay(db: Database, guest_id: str, amount: int, pay_with: str = "credit") -> None:
    """Take from the house credit, or add to it where the amount is negative; a card is charged elsewhere."""
    if pay_with == "credit":
        credit = db.at("guests", guest_id)["credit"]
        refuse_if(credit < amount, "insufficient_credit", f"the credit is {money_text(credit)}, not {money_text(amount)}")
        db.update("guests", guest_id, credit=credit - amount)


def with_credit(db: Database, guest_id: str, shown: dict[str, Any], **amounts: int) -> JsonValue:
    """A row as shown, amounts beside it, and the credit as it is then."""
    extra = {name: money_text(amount) for name, amount in amounts.items()}
    return {**shown, **extra, "credit": money_text(db.at("guests", guest_id)["credit"])}


def deposit_of(venue: dict[str, Any], tier: str, starts_at: str, party: int) -> int:
    """The deposit for a party, in cents."""
    start = moment_of(starts_at)
    asked = party >= LARGE or (f"{start:%A}" in WEEKEND and start.hour >= EVENING)
    return int(venue["deposit"] * party * DEPOSIT_PERCENT[tier] // 100) if asked else 0


def ends_at(starts_at: str, party: int) -> str:
    """Until when a party has its table."""
    return (moment_of(starts_at) + (LONG_STAY if party >= LARGE else STAY)).strftime("%Y-%m-%dT%H:%M")


def seats_guests(venue: dict[str, Any], moment: str) -> bool:
    """Whether a restaurant seats guests at that time of that day."""
    return bool(f"{moment_of(moment):%A}" != venue["closed_on"] and venue["opens"] <= moment[11:] <= venue["last_seating"])


def reservable(db: Database, venue: dict[str, Any], starts_at: str) -> None:
    """Refuse times for which no reservation is taken."""
    seated = seats_guests(venue, starts_at) and starts_at[14:] in ("00", "30")
    refuse_if(not seated, "closed", f"{venue['venue_id']} is closed then, or it is no full or half hour")
    near = LEAST_HOURS <= hours_until(db, starts_at) <= DAYS_AHEAD * 24
    refuse_if(not near, "too_soon_or_far", f"reservations are taken {LEAST_HOURS} hours to {DAYS_AHEAD} days ahead")


def free_for(db: Database, venue_id: str, starts_at: str, party: int, apart_from: str = "") -> list[dict[str, Any]]:
    """Free tables that suit a party, the smallest first; a reservation that is to be changed does not count."""
    taken = {
        row["table_id"]
        for row in db.find("reservations", venue_id=venue_id, status="confirmed")
        if row["starts_at"] < ends_at(starts_at, party) and starts_at < ends_at(row["starts_at"], row["party"])
        if row["reservation_id"] != apart_from
    }
    suited = [row for row in db.find("dining_tables", venue_id=venue_id) if party <= row["seats"] <= party + SPARE_SEATS]
    return sorted((row for row in suited if row["table_id"] not in taken), key=lambda row: (row["seats"], row["label"]))


def table_for(db: Database, venue_id: str, starts_at: str, party: int, place: str, apart_from: str = "") -> str:
    """The table that a party gets in a place."""
    found = [row for row in free_for(db, venue_id, starts_at, party, apart_from) if row["place"] == place]
    refuse_if(not found, "no_table", f"no table for {party} is free there, place {place}, at {starts_at}")
    return str(found[0]["table_id"])


def changeable(db: Database, reservation_id: str, hours: int = 0) -> dict[str, Any]:
    """A reservation that is still so many hours ahead."""
    found = existing(db, "reservations", reservation_id)
    ahead = found["status"] == "confirmed" and hours_until(db, found["starts_at"]) > hours
    refuse_if(not ahead, "not_changeable", f"{reservation_id} is {found['status']}, or within {hours} hours")
    return found


def refund_of(db: Database, reservation: dict[str, Any]) -> int:
    """What cancelling returns of the deposit, in cents."""
    left, venue = hours_until(db, reservation["starts_at"]), db.at("venues", reservation["venue_id"])
    percent = 100 if left >= venue["notice_hours"] else 50 if left >= CHANGE_HOURS else 0
    return int(reservation["deposit"] * percent // 100)


def menu_price(dish: dict[str, Any], tier: str, portions: int) -> int:
    return int(dish["price"] * portions * MENU_PERCENT[tier] // 100)


def takeaway_price(dish: dict[str, Any], portions: int) -> int:
    return int((dish["price"] * TAKEAWAY_PERCENT // 100 + BOX) * portions)


def event_price(event: dict[str, Any], tier: str, seats: int) -> int:
    many = MANY_PERCENT if seats >= MANY_SEATS else 100
    return int(event["price"] * seats * many * (INSIDER_PERCENT if tier == "insider" else 100) // 10_000)


def event_refund(paid: int, hours: float) -> int | None:
    """What cancelling seats so long before returns, in cents; None if it is not possible."""
    return next((paid * percent // 100 for least, percent in EVENT_REFUND if hours >= least), None)


@tool(side_effects="readOnly")
def free_tables(db: Database, *, guest_id: str, venue_id: str, starts_at: Moment, party: UpToEight) -> JsonValue:
    """List the free tables that suit a party at a time, the smallest first, with the deposit that this guest would pay.

    guest_id: Who would reserve
    venue_id: The restaurant
    starts_at: When they come, on the hour or half hour
    party: How many come
    """
    guest, venue = existing(db, "guests", guest_id), existing(db, "venues", venue_id)
    reservable(db, venue, starts_at)
    shown: list[JsonValue] = [db.show("dining_tables", row) for row in free_for(db, venue_id, starts_at, party)]
    deposit = money_text(deposit_of(venue, guest["tier"], starts_at, party))
    return {**db.show("venues", venue, "venue_id", "name"), "starts_at": starts_at, "deposit": deposit, "dining_tables": shown}


@tool(side_effects="destructive")
def reserve_table(
    db: Database, *, guest_id: str, venue_id: str, starts_at: Moment, party: UpToEight, place: Place
) -> JsonValue:
    """Reserve the smallest free table in a place; a deposit goes to the card.

    guest_id: Who reserves
    venue_id: The restaurant
    starts_at: When they come, on the hour or half hour
    party: How many come
    place: Where they want to sit
    """
    guest, venue = existing(db, "guests", guest_id), existing(db, "venues", venue_id)
    reservable(db, venue, starts_at)
    table_id = table_for(db, venue_id, starts_at, party, place)
    deposit = deposit_of(venue, guest["tier"], starts_at, party)
    terms: dict[str, Any] = {"venue_id": venue_id, "table_id": table_id, "starts_at": starts_at, "party": party}
    new = db.insert("reservations", "RS", guest_id=guest_id, **terms, deposit=deposit, status="confirmed", refunded=None)
    return db.show("reservations", new)


@tool(side_effects="destructive")
def cancel_reservation(db: Database, *, reservation_id: str) -> JsonValue:
    """Cancel a reservation; what its notice allows of the deposit becomes house credit.

    reservation_id: The reservation
    """
    found = changeable(db, reservation_id)
    refund = refund_of(db, found)
    pay(db, found["guest_id"], -refund)
    changed = db.update("reservations", reservation_id, status="cancelled", refunded=refund)
    return with_credit(db, found["guest_id"], db.show("reservations", changed))


def rearranged(db: Database, found: dict[str, Any], starts_at: str, party: int, place: str) -> JsonValue:
    """A reservation at another time, for another number or in another place; the deposit is worked out anew."""
    table_id = table_for(db, found["venue_id"], starts_at, party, place, apart_from=found["reservation_id"])
    deposit = deposit_of(db.at("venues", found["venue_id"]), db.at("guests", found["guest_id"])["tier"], starts_at, party)
    pay(db, found["guest_id"], min(0, deposit - found["deposit"]))
    terms: dict[str, Any] = {"table_id": table_id, "starts_at": starts_at, "party": party, "deposit": deposit}
    changed = db.update("reservations", found["reservation_id"], **terms)
    return with_credit(db, found["guest_id"], db.show("reservations", changed), deposit_before=found["deposit"])


@tool(side_effects="destructive")
def move_reservation(db: Database, *, reservation_id: str, starts_at: Moment, place: Place) -> JsonValue:
    """Move a reservation to another time or place in the same restaurant, at least six hours before.

    reservation_id: The reservation
    starts_at: When they come, on the hour or half hour
    place: Where they want to sit then
    """
    found = changeable(db, reservation_id, CHANGE_HOURS)
    reservable(db, db.at("venues", found["venue_id"]), starts_at)
    return rearranged(db, found, starts_at, found["party"], place)


@tool(side_effects="destructive")
def change_party(db: Database, *, reservation_id: str, party: UpToEight) -> JsonValue:
    """Change how many come, at least six hours before; a table is sought in the same place.

    reservation_id: The reservation
    party: How many come now
    """
    found = changeable(db, reservation_id, CHANGE_HOURS)
    refuse_if(found["party"] == party, "unchanged", f"reservation {reservation_id} is for {party} already")
    return rearranged(db, found, found["starts_at"], party, db.at("dining_tables", found["table_id"])["place"])


@tool(side_effects="destructive")
def join_waiting_list(db: Database, *, guest_id: str, venue_id: str, starts_at: Moment, party: UpToEight) -> JsonValue:
    """Put a guest on a restaurant's waiting list for a time at which no table suits.

    guest_id: Who waits
    venue_id: The restaurant
    starts_at: When they want to come
    party: How many want to come
    """
    existing(db, "guests", guest_id)
    reservable(db, existing(db, "venues", venue_id), starts_at)
    refuse_if(bool(free_for(db, venue_id, starts_at, party)), "tables_free", f"there are free tables for {party} then")
    wish: dict[str, Any] = {"guest_id": guest_id, "venue_id": venue_id, "starts_at": starts_at, "party": party}
    refuse_if(bool(db.find("waiting_list", **wish, status="waiting")), "already_waiting", f"{guest_id} is on it already")
    return db.show("waiting_list", db.insert("waiting_list", "WL", **wish, status="waiting"))


@tool(side_effects="readOnly")
def find_dishes(
    db: Database, *, venue_id: str, course: Course | None = None, free_of: Avoided = None, vegan: bool | None = None
) -> JsonValue:
    """List the dishes of a restaurant, the cheapest first.

    venue_id: The restaurant
    course: Only this course
    free_of: Only dishes that contain none of these
    vegan: Only vegan dishes, or only others
    """
    existing(db, "venues", venue_id)
    found = [row for row in db.find("dishes", venue_id=venue_id) if not {*(free_of or ())} & {*row["allergens"].split(", ")}]
    found = [row for row in found if course in (None, row["course"]) and vegan in (None, row["vegan"])]
    shown: list[JsonValue] = [db.show("dishes", row) for row in sorted(found, key=lambda row: row["price"])]
    return {"found": len(shown), "dishes": shown}


@tool(side_effects="destructive")
def preorder_dish(db: Database, *, reservation_id: str, dish_id: str, portions: UpToEight, pay_with: Purse) -> JsonValue:
    """Order portions of a dish ahead for a reservation, at least 24 hours before.

    reservation_id: The reservation
    dish_id: A dish of the same restaurant
    portions: How many, at most one for each of the party
    pay_with: Stored card, or house credit
    """
    found, dish = changeable(db, reservation_id, PREORDER_HOURS), existing(db, "dishes", dish_id)
    refuse_if(dish["venue_id"] != found["venue_id"], "other_venue", f"dish {dish_id} is of another restaurant")
    refuse_if(portions > found["party"], "too_many", f"reservation {reservation_id} is for {found['party']}")
    price = menu_price(dish, db.at("guests", found["guest_id"])["tier"], portions)
    at = {"ready_at": found["starts_at"], "reservation_id": reservation_id}
    return ordered(db, found["guest_id"], dish, portions, price, pay_with, **at)


@tool(side_effects="destructive")
def order_takeaway(
    db: Database, *, guest_id: str, dish_id: str, portions: UpToEight, ready_at: Moment, pay_with: Purse
) -> JsonValue:
    """Order portions of a dish to be picked up.

    guest_id: Who orders
    dish_id: A dish that can be taken away
    portions: How many
    ready_at: When it is picked up
    pay_with: Stored card, or house credit
    """
    _, dish = existing(db, "guests", guest_id), existing(db, "dishes", dish_id)
    refuse_if(not dish["takeaway"], "not_to_take_away", f"dish {dish_id} is not sold to take away")
    served = seats_guests(db.at("venues", dish["venue_id"]), ready_at)
    in_time = TAKEAWAY_HOURS <= hours_until(db, ready_at) <= TAKEAWAY_DAYS * 24
    refuse_if(not (served and in_time), "not_then", f"nothing can be picked up there at {ready_at}")
    price = takeaway_price(dish, portions)
    return ordered(db, guest_id, dish, portions, price, pay_with, ready_at=ready_at, reservation_id=None)


def ordered(
    db: Database, guest_id: str, dish: dict[str, Any], portions: int, price: int, pay_with: str, **at: Any
) -> JsonValue:
    pay(db, guest_id, price, pay_with)
    what: dict[str, Any] = {"dish_id": dish["dish_id"], "portions": portions, "price": price, "paid_with": pay_with}
    new = db.insert("orders", "OD", guest_id=guest_id, **what, **at, status="placed")
    return with_credit(db, guest_id, db.show("orders", new), menu_price=dish["price"])


@tool(side_effects="destructive")
def cancel_order(db: Database, *, order_id: str) -> JsonValue:
    """Cancel an order of a dish, at least three hours before it is ready; its price becomes house credit.

    order_id: The order
    """
    order = existing(db, "orders", order_id)
    open_still = order["status"] == "placed" and hours_until(db, order["ready_at"]) >= CANCEL_HOURS
    refuse_if(not open_still, "too_late", f"order {order_id} is {order['status']} or nearly ready")
    pay(db, order["guest_id"], -order["price"])
    return with_credit(db, order["guest_id"], db.show("orders", db.update("orders", order_id, status="cancelled")))


@tool(side_effects="destructive")
def book_event(db: Database, *, event_id: str, guest_id: str, seats: UpToEight, pay_with: Purse) -> JsonValue:
    """Book seats at an event.

    event_id: The event
    guest_id: Who books
    seats: How many
    pay_with: Stored card, or house credit
    """
    event, guest = existing(db, "events", event_id), existing(db, "guests", guest_id)
    gone = event["seats_left"] < seats or event["starts_at"] <= db.spec.now
    refuse_if(gone, "not_enough_seats", f"event {event_id} is over or has {event['seats_left']} seats left")
    price = event_price(event, guest["tier"], seats)
    pay(db, guest_id, price, pay_with)
    db.update("events", event_id, seats_left=event["seats_left"] - seats)
    terms: dict[str, Any] = {"seats": seats, "paid": price, "paid_with": pay_with, "status": "booked", "refunded": None}
    new = db.insert("event_bookings", "EB", event_id=event_id, guest_id=guest_id, **terms)
    return with_credit(db, guest_id, db.show("event_bookings", new), price_per_seat=event["price"])


@tool(side_effects="destructive")
def cancel_event_booking(db: Database, *, booking_id: str) -> JsonValue:
    """Give back all seats of an event booking; what the notice allows becomes house credit.

    booking_id: Booking of an event
    """
    booking = existing(db, "event_bookings", booking_id)
    event = db.at("events", booking["event_id"])
    refund = event_refund(booking["paid"], hours_until(db, event["starts_at"])) if booking["status"] == "booked" else None
    if refund is None:
        raise ToolRefusal("too_late", f"booking {booking_id} is {booking['status']}, or the event is within 48 hours")
    pay(db, booking["guest_id"], -refund)
    db.update("events", booking["event_id"], seats_left=event["seats_left"] + booking["seats"])
    changed = db.update("event_bookings", booking_id, status="cancelled", refunded=refund)
    return with_credit(db, booking["guest_id"], db.show("event_bookings", changed))


VALID: Final = Require(
    lambda db, row: row["status"] == "active" and row["expires_on"] >= db.spec.today,
    "not_valid",
    "voucher {voucher_id} is {status} or has expired",
)


def of_guest(name: str, table: str, description: str, *, order: str | None = None) -> Declared:
    """The tool that lists what one guest has in a table."""
    filters: dict[str, tuple[str, Match]] = {"guest_id": ("guest_id", "is"), "status": ("status", "is")}
    return search(name, table, filters, description=description, required=("guest_id",), order=order)


DINING: Final = (free_tables, reserve_table, cancel_reservation, move_reservation, change_party)
DISHES: Final = (join_waiting_list, find_dishes, preorder_dish, order_takeaway, cancel_order)
TOOLS = (
    look_up("find_guest", "guests", by="email"),
    look_up("find_venue", "venues", by="name"),
    look_up("get_venue", "venues"),
    look_up("find_event", "events", by="name"),
    of_guest("list_reservations", "reservations", "List the reservations of a guest, the earliest first.", order="starts_at"),
    of_guest("list_orders", "orders", "List the orders of a guest, the first to be ready first.", order="ready_at"),
    of_guest("list_vouchers", "vouchers", "List the vouchers of a guest, the first to expire first.", order="expires_on"),
    of_guest("list_event_bookings", "event_bookings", "List the event bookings of a guest."),
    search(
        "search_venues",
        "venues",
        {"cuisine": ("cuisine", "is"), "dogs": ("dogs", "is")},
        description="Find restaurants by what they cook and whether dogs are welcome.",
    ),
    search(
        "search_events",
        "events",
        {"kind": ("kind", "is"), "venue_id": ("venue_id", "is"), "seats": ("seats_left", "from")},
        description="Find events, the next one first.",
        required=("kind",),
        order="starts_at",
    ),
    *DINING,
    *DISHES,
    book_event,
    cancel_event_booking,
    transition(
        "redeem_voucher",
        "vouchers",
        description="Turn a valid voucher into house credit of its owner.",
        to={"status": "redeemed"},
        requires=(VALID,),
        then=lambda db, row: pay(db, row["guest_id"], -row["amount"]),
    ),
    transition(
        "give_voucher",
        "vouchers",
        description="Give a valid voucher to another guest, who owns it from then on.",
        arguments=("guest_id",),
        to={},
        requires=(VALID, Require(lambda _, row: row["guest_id"] != row["new_guest_id"], "same_guest", "{guest_id} has it")),
    ),
)
