"""What Orrin House's systems can do; the rules are those of policy.md."""

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import Field, JsonValue

from toolorchestra.worlds.combinators import Match, look_up, search
from toolorchestra.worlds.errors import ToolRefusal
from toolorchestra.worlds.state import Database, money_text
from toolorchestra.worlds.tools import Amount, Declared, cents, tool

Filters: TypeAlias = Mapping[str, tuple[str, Match]]
Category = Literal["stalls", "circle", "balcony", "gallery"]
Purse = Literal["card", "credit"]
Seats = Annotated[int, Field(ge=1, le=8)]
Years = Annotated[int, Field(ge=1, le=2)]
DISCOUNTS: Final = {"friend": (10, 2), "benefactor": (20, 4)}  # percent, seats of a booking that it is taken off
YEARLY_FEE: Final = {"friend": 3500, "benefactor": 12_000}
TWO_YEARS_PERCENT: Final = 90  # of twice the fee
BOOKING_FEE, EXCHANGE_FEE = 250, 300
CARD_COST: Final = 200  # kept of a refund that goes to a card
FULL_DAYS, HALF_DAYS = 14, 3  # before the start, for refunds
EXCHANGE_DAYS, SPACE_DAYS, LAPSED_DAYS = 1, 2, 365
GIFT_LEAST, GIFT_MOST, GIFT_DAYS = 1000, 25_000, 730
WATCH_DAYS, RETURN_DAYS, PLAYLIST_SIZE = 30, 14, 12


def seats_price(price: int, seats: int, level: str | None) -> int:
    """What seats cost in cents with a membership of this level, without the booking fee."""
    percent, most = DISCOUNTS.get(level or "", (0, 0))
    return price * seats - price * min(seats, most) * percent // 100


def rental_price(price: int, level: str | None) -> int:
    """What a recording costs in cents with a membership of this level."""
    percent, _ = DISCOUNTS.get(level or "", (0, 0))
    return price - price * percent // 100


def renewal_price(level: str, years: int) -> int:
    """What one or two years cost in cents."""
    return YEARLY_FEE[level] if years == 1 else YEARLY_FEE[level] * 2 * TWO_YEARS_PERCENT // 100


def returned_of(paid: int, fee: int, days: float, refund_to: str) -> int:
    """What a cancellation returns in cents, so many days before the start."""
    share = paid - fee if days >= FULL_DAYS else (paid - fee) // 2 if days >= HALF_DAYS else 0
    return max(0, share - (CARD_COST if refund_to == "card" else 0))


def existing(db: Database, table: str, key: str) -> dict[str, Any]:
    row = db.get(table, key)
    if row is None:
        raise ToolRefusal("not_found", f"there is no {key!r} in {table.replace('_', ' ')}")
    return row


def booked(db: Database, booking_id: str) -> dict[str, Any]:
    booking = existing(db, "bookings", booking_id)
    if booking["status"] != "booked":
        raise ToolRefusal("not_booked", f"booking {booking_id} is {booking['status']}")
    return booking


def level_of(db: Database, patron_id: str) -> str | None:
    """The level of an active membership."""
    found = db.find("memberships", patron_id=patron_id, status="active")
    return str(found[0]["level"]) if found else None


def days_before(db: Database, performance: dict[str, Any]) -> float:
    return (datetime.fromisoformat(performance["starts"]) - db.spec.clock) / timedelta(days=1)


def on_sale(db: Database, performance_id: str) -> dict[str, Any]:
    performance = existing(db, "performances", performance_id)
    if performance["status"] != "on_sale" or days_before(db, performance) <= 0:
        raise ToolRefusal("not_on_sale", f"performance {performance_id} is {performance['status']} or has begun")
    return performance


def block_of(db: Database, performance_id: str, category: str) -> dict[str, Any]:
    found = db.find("seat_blocks", performance_id=performance_id, category=category)
    if not found:
        raise ToolRefusal("no_such_seats", f"performance {performance_id} has no {category}")
    return found[0]


def take_seats(db: Database, performance_id: str, category: str, seats: int) -> dict[str, Any]:
    """Fewer free seats, or more where ``seats`` is negative."""
    block = block_of(db, performance_id, category)
    if block["free"] < seats:
        raise ToolRefusal("sold_out", f"performance {performance_id} has {block['free']} seats left in the {category}")
    return db.update("seat_blocks", block["block_id"], free=block["free"] - seats)


def pay(db: Database, patron_id: str, amount: int) -> None:
    """Take from the house credit, or add to it where the amount is negative."""
    credit = db.at("patrons", patron_id)["credit"]
    if credit < amount:
        raise ToolRefusal("insufficient_credit", f"the credit is {money_text(credit)}, {money_text(amount)} are needed")
    db.update("patrons", patron_id, credit=credit - amount)


def credit_of(db: Database, patron_id: str) -> str:
    return money_text(db.at("patrons", patron_id)["credit"])


def give_up(db: Database, booking: dict[str, Any]) -> None:
    """The seats and wheelchair spaces of a booking are free again."""
    take_seats(db, booking["performance_id"], booking["category"], -booking["seats"])
    performance = db.at("performances", booking["performance_id"])
    spaces = performance["wheelchair_spaces"] + booking["wheelchair_spaces"]
    db.update("performances", performance["performance_id"], wheelchair_spaces=spaces)


@tool(side_effects="readOnly")
def quote_booking(db: Database, *, patron_id: str, performance_id: str, category: Category, seats: Seats) -> JsonValue:
    """Tell what seats would cost this patron with membership and booking fee, and whether there are enough.

    patron_id: Who books
    performance_id: The performance
    category: Category of the seats
    seats: How many, 1 to 8
    """
    patron, performance = existing(db, "patrons", patron_id), existing(db, "performances", performance_id)
    block, level = block_of(db, performance_id, category), level_of(db, patron_id)
    price, fee = seats_price(block["price"], seats, level), 0 if level else BOOKING_FEE
    people = db.show("patrons", patron, "patron_id", "credit")
    when = db.show("performances", performance, "performance_id", "starts", "status")
    offer = {**db.show("seat_blocks", block, "block_id", "category", "price", "free"), "available": block["free"] >= seats}
    sums = {"seats_price": money_text(price), "booking_fee": money_text(fee), "total": money_text(price + fee)}
    return {**people, **when, **offer, **sums}


@tool(side_effects="destructive")
def book_seats(
    db: Database, *, patron_id: str, performance_id: str, category: Category, seats: Seats, paid_with: Purse
) -> JsonValue:
    """Book seats of one category for a performance.

    patron_id: Who books
    performance_id: The performance
    category: Category of the seats
    seats: How many, 1 to 8
    paid_with: Stored card, or house credit
    """
    existing(db, "patrons", patron_id)
    on_sale(db, performance_id)
    level, block = level_of(db, patron_id), take_seats(db, performance_id, category, seats)
    fee = 0 if level else BOOKING_FEE
    paid = seats_price(block["price"], seats, level) + fee
    if paid_with == "credit":
        pay(db, patron_id, paid)
    what: dict[str, Any] = {"patron_id": patron_id, "performance_id": performance_id, "category": category, "seats": seats}
    terms: dict[str, Any] = {"member_rate": level is not None, "fee": fee, "paid": paid, "paid_with": paid_with}
    new: dict[str, Any] = {"wheelchair_spaces": 0, "status": "booked", "refunded": None, "refunded_to": None}
    booking = db.insert("bookings", "BK", **what, **terms, **new, booked_at=db.spec.now)
    return {**db.show("bookings", booking), "price_per_seat": money_text(block["price"]), "credit": credit_of(db, patron_id)}


@tool(side_effects="destructive")
def cancel_booking(db: Database, *, booking_id: str, refund_to: Purse) -> JsonValue:
    """Cancel a booking and return what the rules allow; refused if that is nothing.

    booking_id: Booking to be cancelled
    refund_to: Where the money goes
    """
    booking = booked(db, booking_id)
    performance = db.at("performances", booking["performance_id"])
    amount = returned_of(booking["paid"], booking["fee"], days_before(db, performance), refund_to)
    amount = booking["paid"] if performance["status"] == "cancelled" else amount
    if amount == 0:
        raise ToolRefusal("too_late", f"cancelling booking {booking_id} would return nothing any more")
    give_up(db, booking)
    if refund_to == "credit":
        pay(db, booking["patron_id"], -amount)
    changed = db.update("bookings", booking_id, status="cancelled", wheelchair_spaces=0, refunded=amount, refunded_to=refund_to)
    kept = money_text(booking["paid"] - amount)
    return {**db.show("bookings", changed), "kept": kept, "credit": credit_of(db, booking["patron_id"])}


@tool(side_effects="destructive")
def exchange_booking(db: Database, *, booking_id: str, performance_id: str) -> JsonValue:
    """Move a booking to another performance of the same production, same category; money goes through the house credit.

    booking_id: Booking to be moved
    performance_id: The new performance
    """
    booking = booked(db, booking_id)
    before, new = db.at("performances", booking["performance_id"]), on_sale(db, performance_id)
    if performance_id == before["performance_id"] or new["production_id"] != before["production_id"]:
        raise ToolRefusal("not_exchangeable", f"{performance_id} is the same performance or of another production")
    if days_before(db, before) < EXCHANGE_DAYS:
        raise ToolRefusal("too_late", f"performance {before['performance_id']} begins in less than a day or has begun")
    level = level_of(db, booking["patron_id"])
    block = take_seats(db, performance_id, booking["category"], booking["seats"])
    give_up(db, booking)
    price, fee = seats_price(block["price"], booking["seats"], level), 0 if level else EXCHANGE_FEE
    charged = price - (booking["paid"] - booking["fee"]) + fee
    pay(db, booking["patron_id"], charged)
    new_place: dict[str, Any] = {"performance_id": performance_id, "wheelchair_spaces": 0, "member_rate": level is not None}
    changed = db.update("bookings", booking_id, **new_place, paid=price + booking["fee"])
    paid = {"exchange_fee": money_text(fee), "charged": money_text(charged), "credit": credit_of(db, booking["patron_id"])}
    return {**db.show("bookings", changed), "starts": new["starts"], **paid}


@tool(side_effects="destructive")
def change_category(db: Database, *, booking_id: str, category: Category) -> JsonValue:
    """Move a booking to a dearer category of the same performance; the difference is taken from the house credit.

    booking_id: Booking to be moved
    category: The new category
    """
    booking = booked(db, booking_id)
    performance_id, level = on_sale(db, booking["performance_id"])["performance_id"], level_of(db, booking["patron_id"])
    price = seats_price(block_of(db, performance_id, category)["price"], booking["seats"], level)
    charged = price - (booking["paid"] - booking["fee"])
    if category == booking["category"] or charged <= 0:
        raise ToolRefusal("not_dearer", f"the {category} is not dearer than what booking {booking_id} has")
    take_seats(db, performance_id, category, booking["seats"])
    take_seats(db, performance_id, booking["category"], -booking["seats"])
    pay(db, booking["patron_id"], charged)
    changed = db.update("bookings", booking_id, category=category, paid=price + booking["fee"], member_rate=level is not None)
    return {**db.show("bookings", changed), "charged": money_text(charged), "credit": credit_of(db, booking["patron_id"])}


@tool(side_effects="destructive")
def hand_over_booking(db: Database, *, booking_id: str, patron_id: str) -> JsonValue:
    """Make a booking that of another patron; one at a member's rate goes only to an active member.

    booking_id: Booking to be handed over
    patron_id: Who receives it
    """
    booking = booked(db, booking_id)
    existing(db, "patrons", patron_id)
    on_sale(db, booking["performance_id"])
    if patron_id == booking["patron_id"]:
        raise ToolRefusal("same_patron", f"booking {booking_id} is theirs already")
    if booking["member_rate"] and level_of(db, patron_id) is None:
        raise ToolRefusal("members_only", f"booking {booking_id} is at a member's rate, and {patron_id} is no active member")
    return db.show("bookings", db.update("bookings", booking_id, patron_id=patron_id))


@tool(side_effects="idempotent")
def reserve_wheelchair_spaces(db: Database, *, booking_id: str, spaces: Seats) -> JsonValue:
    """Reserve wheelchair spaces for a booking, at the latest two days before the start.

    booking_id: Booking of the performance
    spaces: How many the booking is to have in all
    """
    booking = booked(db, booking_id)
    performance = on_sale(db, booking["performance_id"])
    if spaces > booking["seats"]:
        raise ToolRefusal("too_many", f"booking {booking_id} is for {booking['seats']} seats; at most one space per seat")
    if days_before(db, performance) < SPACE_DAYS:
        raise ToolRefusal("too_late", f"performance {performance['performance_id']} begins in less than two days")
    free = performance["wheelchair_spaces"] + booking["wheelchair_spaces"] - spaces
    if free < 0:
        raise ToolRefusal("no_space", f"{performance['wheelchair_spaces']} wheelchair spaces are left")
    db.update("performances", performance["performance_id"], wheelchair_spaces=free)
    changed = db.update("bookings", booking_id, wheelchair_spaces=spaces)
    return {**db.show("bookings", changed), "starts": performance["starts"]}


@tool(side_effects="destructive")
def renew_membership(db: Database, *, membership_id: str, years: Years, paid_with: Purse) -> JsonValue:
    """Renew a membership for one year or two.

    membership_id: Membership to be renewed
    years: 1 or 2
    paid_with: Stored card, or house credit
    """
    found = existing(db, "memberships", membership_id)
    lapsed = (db.spec.clock.date() - date.fromisoformat(found["valid_until"])).days
    if found["status"] == "suspended" or lapsed > LAPSED_DAYS:
        raise ToolRefusal("not_renewable", f"membership {membership_id} is suspended or ran out more than a year ago")
    price = renewal_price(found["level"], years)
    if paid_with == "credit":
        pay(db, found["patron_id"], price)
    start = date.fromisoformat(max(found["valid_until"], db.spec.today))
    until = (start + timedelta(days=365 * years)).isoformat()
    changed = db.update("memberships", membership_id, valid_until=until, status="active")
    return {**db.show("memberships", changed), "charged": money_text(price), "credit": credit_of(db, found["patron_id"])}


@tool(side_effects="destructive")
def buy_gift_card(db: Database, *, patron_id: str, for_patron_id: str, amount: Amount, paid_with: Purse) -> JsonValue:
    """Buy a gift card for somebody else's account.

    patron_id: Who buys
    for_patron_id: Whose card it becomes
    amount: From 10.00 to 250.00, in GBP
    paid_with: Stored card, or house credit
    """
    for key in (patron_id, for_patron_id):
        existing(db, "patrons", key)
    if not GIFT_LEAST <= cents(amount) <= GIFT_MOST or patron_id == for_patron_id:
        raise ToolRefusal("invalid_gift", "gift cards are of 10.00 to 250.00 and for somebody else")
    if paid_with == "credit":
        pay(db, patron_id, cents(amount))
    expires = (db.spec.clock.date() + timedelta(days=GIFT_DAYS)).isoformat()
    people = {"patron_id": for_patron_id, "given_by": patron_id}
    dates = {"bought_on": db.spec.today, "expires_on": expires}
    card = db.insert("gift_cards", "GC", **people, amount=cents(amount), **dates, status="active")
    giver = db.show("patrons", db.at("patrons", patron_id), "patron_id", "credit", "spent_this_season")
    return {**db.show("gift_cards", card), "giver": giver}


@tool(side_effects="destructive")
def redeem_gift_card(db: Database, *, gift_card_id: str) -> JsonValue:
    """Put a gift card's amount into the house credit of its owner.

    gift_card_id: The card
    """
    card = existing(db, "gift_cards", gift_card_id)
    if card["status"] != "active" or card["expires_on"] < db.spec.today:
        raise ToolRefusal("not_redeemable", f"gift card {gift_card_id} is {card['status']} or out of date")
    pay(db, card["patron_id"], -card["amount"])
    changed = db.update("gift_cards", gift_card_id, status="redeemed")
    return {**db.show("gift_cards", changed), "credit": credit_of(db, card["patron_id"])}


@tool(side_effects="destructive")
def rent_recording(db: Database, *, patron_id: str, production_id: str, paid_with: Purse) -> JsonValue:
    """Rent the recording of a production, with the discount of an active membership.

    patron_id: Who watches
    production_id: Production whose recording it is
    paid_with: Stored card, or house credit
    """
    patron, production = existing(db, "patrons", patron_id), existing(db, "productions", production_id)
    if production["rent_price"] is None:
        raise ToolRefusal("no_recording", f"there is no recording of {production_id}")
    if patron["birth_date"] > f"{db.spec.clock.year - production['min_age']}{db.spec.today[4:]}":
        raise ToolRefusal("too_young", f"{production_id} is for those of {production['min_age']} or older")
    if db.find("rentals", patron_id=patron_id, production_id=production_id, status="ready"):
        raise ToolRefusal("already_rented", f"{production_id} is ready to be watched already")
    price = rental_price(production["rent_price"], level_of(db, patron_id))
    if paid_with == "credit":
        pay(db, patron_id, price)
    until = (db.spec.clock.date() + timedelta(days=WATCH_DAYS)).isoformat()
    dates = {"rented_on": db.spec.today, "watch_until": until}
    what: dict[str, Any] = {"patron_id": patron_id, "production_id": production_id, "price": price, "paid_with": paid_with}
    rental = db.insert("rentals", "RE", **what, **dates, status="ready")
    shown = db.show("productions", production, "production_id", "title", "minutes", "rent_price")
    return {**db.show("rentals", rental), **shown, "credit": credit_of(db, patron_id)}


@tool(side_effects="destructive")
def return_rental(db: Database, *, rental_id: str) -> JsonValue:
    """Give back a rental that was not started, within 14 days; the money goes where it came from.

    rental_id: The rental
    """
    rental = existing(db, "rentals", rental_id)
    age = (db.spec.clock.date() - date.fromisoformat(rental["rented_on"])).days
    if rental["status"] != "ready" or age > RETURN_DAYS:
        raise ToolRefusal("not_returnable", f"rental {rental_id} is {rental['status']}, or {age} days old")
    if rental["paid_with"] == "credit":
        pay(db, rental["patron_id"], -rental["price"])
    changed = db.update("rentals", rental_id, status="returned")
    return {**db.show("rentals", changed), "credit": credit_of(db, rental["patron_id"])}


@tool(side_effects="destructive")
def save_recording(db: Database, *, patron_id: str, playlist: str, production_id: str) -> JsonValue:
    """Save a recording in a playlist of a patron; a playlist that is not there yet is begun.

    patron_id: Whose playlist it is
    playlist: Name of the playlist, e.g. Sunday evenings
    production_id: Production whose recording it is
    """
    existing(db, "patrons", patron_id)
    production = existing(db, "productions", production_id)
    if production["rent_price"] is None:
        raise ToolRefusal("no_recording", f"there is no recording of {production_id}")
    held = db.find("playlist_items", patron_id=patron_id, playlist=playlist)
    if len(held) >= PLAYLIST_SIZE or any(item["production_id"] == production_id for item in held):
        raise ToolRefusal("not_saved", f"the playlist {playlist!r} holds {production_id} already or is full")
    what = {"patron_id": patron_id, "playlist": playlist, "production_id": production_id}
    item = db.insert("playlist_items", "PI", **what, added_on=db.spec.today)
    return {**db.show("playlist_items", item), "title": production["title"], "minutes": production["minutes"]}


def _listed(name: str, table: str, about: str, *by: str, also: Filters | None = None, **more: Any) -> Declared:
    """Rows by the columns ``by``, of which the first is required, and by what is in ``also``."""
    filters: Filters = {**{column: (column, "is") for column in by}, **(also or {})}
    return search(name, table, filters, description=about, required=by[:1], **more)


SHORT: Final = ("booking_id", "performance_id", "category", "seats", "status")
BOOKINGS: Final = "List the bookings of a patron in short; what was paid is in get_booking."
SEATS: Final = "List the seat categories of a performance with their price per seat and what is free."
CARDS: Final = "List the gift cards of a patron, the first to expire first."
PERFORMANCES: Final = "List the performances of a production, earliest first; seats and prices are in list_seats."
RECORDINGS: Final = "Find productions of a genre, the cheapest recording first; those without a rent_price cannot be rented."
ON_DAYS: Filters = {"from_day": ("starts", "from"), "until_day": ("starts", "until")}
LIMITS: Filters = {"rent_until": ("rent_price", "until"), "minutes_until": ("minutes", "until")}
READS: Final = (
    look_up("find_patron", "patrons", by="email"),
    look_up("find_production", "productions", by="title"),
    look_up("get_booking", "bookings"),
    look_up("get_performance", "performances"),
    look_up("get_hall", "halls"),
    _listed("list_performances", "performances", PERFORMANCES, "production_id", also=ON_DAYS, order="starts"),
    _listed("search_recordings", "productions", RECORDINGS, "genre", also=LIMITS, order="rent_price"),
    _listed("list_seats", "seat_blocks", SEATS, "performance_id"),
    _listed("list_bookings", "bookings", BOOKINGS, "patron_id", "status", show=SHORT),
    _listed("list_memberships", "memberships", "Get the membership of a patron; empty if there is none.", "patron_id"),
    _listed("list_gift_cards", "gift_cards", CARDS, "patron_id", "status", order="expires_on"),
    _listed("list_rentals", "rentals", "List what a patron rented, oldest first.", "patron_id", "status", order="rented_on"),
    _listed("list_playlist", "playlist_items", "List what a patron saved in playlists.", "patron_id", "playlist"),
)
BOXOFFICE: Final = (book_seats, cancel_booking, exchange_booking, change_category, hand_over_booking, reserve_wheelchair_spaces)
STREAMING: Final = (rent_recording, return_rental, save_recording)
TOOLS = (*READS, quote_booking, *BOXOFFICE, *STREAMING, renew_membership, buy_gift_card, redeem_gift_card)
