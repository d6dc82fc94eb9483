"""What Northmark Rail's systems can do; the rules are those of policy.md."""

from datetime import date, datetime, timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import Field, JsonValue

from toolorchestra.worlds.combinators import Require, create, look_up, search, transfer, transition
from toolorchestra.worlds.errors import ToolRefusal
from toolorchestra.worlds.state import Database, money_text
from toolorchestra.worlds.tools import tool

TravelClass = Literal["standard", "first"]
TicketType = Literal["advance", "semi_flexible", "flexible"]
Wallet = Literal["card", "wallet"]
Seats = Annotated[int, Field(ge=1, le=9)]
EXTRA_PERCENT: Final = {"advance": 0, "semi_flexible": 15, "flexible": 40}
CHANGE_FEE: Final = {"semi_flexible": 500, "flexible": 0}
CANCELLATION_FEE: Final = 150  # per seat of a flexible ticket
LATE: Final = ((120, 100), (60, 50), (30, 25))  # minutes late, percent returned
NOTICE_DAYS: Final = 1


def fare_of(db: Database, train: dict[str, Any], passenger_id: str, travel_class: str, ticket_type: str, seats: int) -> int:
    """The fare in cents, with the best active railcard."""
    cards = db.find("railcards", passenger_id=passenger_id, status="active")
    discount = max((card["discount_percent"] for card in cards), default=0)
    full = train[f"{travel_class}_fare"] * seats * (100 + EXTRA_PERCENT[ticket_type])
    return int(full * (100 - discount) // 10_000)


def refund_of(db: Database, booking: dict[str, Any]) -> int:
    """What a cancellation would return, in cents."""
    if db.at("trains", booking["train_id"])["status"] == "cancelled":
        return int(booking["fare"])
    return refund_terms(booking)


def refund_terms(booking: dict[str, Any]) -> int:
    """What the ticket returns when the train runs, in cents."""
    match booking["ticket_type"]:
        case "flexible":
            return int(max(0, booking["fare"] - CANCELLATION_FEE * booking["seats"]))
        case "semi_flexible":
            return int(booking["fare"] // 2)
        case _:
            return 0


def existing(db: Database, table: str, key: str) -> dict[str, Any]:
    row = db.get(table, key)
    if row is None:
        raise ToolRefusal("not_found", f"there is no {key!r} in {table.replace('_', ' ')}")
    return row


def confirmed(db: Database, booking_id: str) -> dict[str, Any]:
    booking = existing(db, "bookings", booking_id)
    if booking["status"] != "confirmed":
        raise ToolRefusal("not_confirmed", f"booking {booking_id} is {booking['status']}")
    return booking


def boardable(db: Database, train_id: str, travel_class: str, seats: int) -> dict[str, Any]:
    """A train that can still be booked for so many."""
    train = existing(db, "trains", train_id)
    if train["status"] not in ("scheduled", "delayed") or train["departs"] <= db.spec.now:
        raise ToolRefusal("not_bookable", f"train {train_id} is {train['status']} or has left")
    if train[f"{travel_class}_seats"] < seats:
        raise ToolRefusal(
            "sold_out", f"train {train_id} has {train[f'{travel_class}_seats']} seats left in {travel_class} class"
        )
    return train


def take_seats(db: Database, train_id: str, travel_class: str, seats: int) -> None:
    """Fewer free seats, or more where ``seats`` is negative."""
    column = f"{travel_class}_seats"
    db.update("trains", train_id, **{column: db.at("trains", train_id)[column] - seats})


def pay(db: Database, passenger_id: str, amount: int) -> None:
    """Take from the wallet, or put there where the amount is negative."""
    wallet = db.at("passengers", passenger_id)["wallet"]
    if wallet < amount:
        raise ToolRefusal("insufficient_funds", f"the wallet holds {money_text(wallet)}, {money_text(amount)} are needed")
    db.update("passengers", passenger_id, wallet=wallet - amount)


def repay(db: Database, booking: dict[str, Any], amount: int, reason: str, paid_to: str) -> dict[str, Any]:
    """A refund: to the wallet at once, to the card later."""
    if paid_to == "wallet":
        pay(db, booking["passenger_id"], -amount)
    return db.insert(
        "refunds",
        "RF",
        booking_id=booking["booking_id"],
        passenger_id=booking["passenger_id"],
        amount=amount,
        reason=reason,
        paid_to=paid_to,
        requested_at=db.spec.now,
        status="paid" if paid_to == "wallet" else "pending",
    )


@tool(side_effects="readOnly")
def quote_fare(
    db: Database, *, train_id: str, passenger_id: str, travel_class: TravelClass, ticket_type: TicketType, seats: Seats
) -> JsonValue:
    """Tell what a booking would cost this passenger, with railcard, and whether there are seats.

    train_id: Train to be booked
    passenger_id: Who books
    travel_class: Class of travel
    ticket_type: Terms of the ticket
    seats: How many travel
    """
    train, passenger = existing(db, "trains", train_id), existing(db, "passengers", passenger_id)
    fare = fare_of(db, train, passenger_id, travel_class, ticket_type, seats)
    free = train[f"{travel_class}_seats"]
    return {
        **db.show("trains", train, "train_id", "departs", f"{travel_class}_fare"),
        **db.show("passengers", passenger, "passenger_id", "wallet"),
        "fare": money_text(fare),
        "seats_free": free,
        "available": free >= seats,
    }


@tool(side_effects="readOnly")
def quote_refund(db: Database, *, booking_id: str) -> JsonValue:
    """Tell what cancelling a booking would return, without doing it.

    booking_id: Booking that may be cancelled
    """
    booking = confirmed(db, booking_id)
    refund = refund_of(db, booking)
    return {
        **db.show("bookings", booking, "booking_id", "train_id", "ticket_type", "seats", "fare"),
        "refund": money_text(refund),
        "kept": money_text(booking["fare"] - refund),
    }


@tool(side_effects="destructive")
def book_train(
    db: Database,
    *,
    passenger_id: str,
    train_id: str,
    travel_class: TravelClass,
    ticket_type: TicketType,
    seats: Seats,
    paid_with: Wallet,
) -> JsonValue:
    """Book seats on a train.

    passenger_id: Who books
    train_id: Train to travel on
    travel_class: Class of travel
    ticket_type: Terms of the ticket
    seats: How many travel
    paid_with: Stored card, or travel wallet
    """
    existing(db, "passengers", passenger_id)
    train = boardable(db, train_id, travel_class, seats)
    fare = fare_of(db, train, passenger_id, travel_class, ticket_type, seats)
    if paid_with == "wallet":
        pay(db, passenger_id, fare)
    take_seats(db, train_id, travel_class, seats)
    booking = db.insert(
        "bookings",
        "BK",
        passenger_id=passenger_id,
        train_id=train_id,
        travel_class=travel_class,
        ticket_type=ticket_type,
        seats=seats,
        bicycles=0,
        fare=fare,
        paid_with=paid_with,
        booked_at=db.spec.now,
        status="confirmed",
    )
    wallet = money_text(db.at("passengers", passenger_id)["wallet"])
    shown = db.show("bookings", db.at("bookings", booking["booking_id"]))
    return {**shown, "fare_per_seat": money_text(train[f"{travel_class}_fare"]), "wallet": wallet}


@tool(side_effects="destructive")
def cancel_booking(db: Database, *, booking_id: str, refund_to: Wallet) -> JsonValue:
    """Cancel a booking and return what its terms say.

    booking_id: Booking to be cancelled
    refund_to: Where the money goes
    """
    booking = confirmed(db, booking_id)
    amount = refund_of(db, booking)
    if amount == 0:
        raise ToolRefusal("not_refundable", f"booking {booking_id} is an advance ticket and would return nothing")
    take_seats(db, booking["train_id"], booking["travel_class"], -booking["seats"])
    db.update("bookings", booking_id, status="cancelled")
    refund = repay(db, booking, amount, "cancellation", refund_to)
    wallet = money_text(db.at("passengers", booking["passenger_id"])["wallet"])
    shown = db.show("refunds", db.at("refunds", refund["refund_id"]))
    return {**shown, "fare": money_text(booking["fare"]), "kept": money_text(booking["fare"] - amount), "wallet": wallet}


@tool(side_effects="destructive")
def change_train(db: Database, *, booking_id: str, train_id: str) -> JsonValue:
    """Move a booking to another train between the same stations; fee and difference go through the wallet.

    booking_id: Booking to be changed
    train_id: The new train
    """
    booking = confirmed(db, booking_id)
    if booking["ticket_type"] not in CHANGE_FEE:
        raise ToolRefusal("not_changeable", f"booking {booking_id} is an advance ticket")
    before, train = db.at("trains", booking["train_id"]), boardable(db, train_id, booking["travel_class"], booking["seats"])
    if train_id == booking["train_id"]:
        raise ToolRefusal("same_train", f"booking {booking_id} is for train {train_id} already")
    if any(before[end] != train[end] for end in ("origin_id", "destination_id")):
        raise ToolRefusal("other_route", f"train {train_id} runs between other stations")
    terms = (booking["travel_class"], booking["ticket_type"], booking["seats"])
    fare = fare_of(db, train, booking["passenger_id"], *terms)
    fee = CHANGE_FEE[booking["ticket_type"]]
    pay(db, booking["passenger_id"], fare - booking["fare"] + fee)
    take_seats(db, booking["train_id"], booking["travel_class"], -booking["seats"])
    take_seats(db, train_id, booking["travel_class"], booking["seats"])
    changed = db.update("bookings", booking_id, train_id=train_id, fare=fare)
    wallet = money_text(db.at("passengers", booking["passenger_id"])["wallet"])
    charged = money_text(fare - booking["fare"] + fee)
    return {**db.show("bookings", changed), "change_fee": money_text(fee), "charged": charged, "wallet": wallet}


@tool(side_effects="destructive")
def upgrade_booking(db: Database, *, booking_id: str) -> JsonValue:
    """Move all seats of a booking to first class; the difference is taken from the wallet.

    booking_id: Booking to be upgraded
    """
    booking = confirmed(db, booking_id)
    if booking["travel_class"] == "first":
        raise ToolRefusal("already_first", f"booking {booking_id} is in first class already")
    train = boardable(db, booking["train_id"], "first", booking["seats"])
    fare = fare_of(db, train, booking["passenger_id"], "first", booking["ticket_type"], booking["seats"])
    difference = max(0, fare - booking["fare"])
    pay(db, booking["passenger_id"], difference)
    take_seats(db, booking["train_id"], "standard", -booking["seats"])
    take_seats(db, booking["train_id"], "first", booking["seats"])
    changed = db.update("bookings", booking_id, travel_class="first", fare=booking["fare"] + difference)
    wallet = money_text(db.at("passengers", booking["passenger_id"])["wallet"])
    return {**db.show("bookings", changed), "charged": money_text(difference), "wallet": wallet}


@tool(side_effects="idempotent")
def reserve_bicycles(db: Database, *, booking_id: str, bicycles: Annotated[int, Field(ge=1, le=9)]) -> JsonValue:
    """Reserve bicycle spaces for a booking; says how many are reserved then.

    booking_id: Booking of the journey
    bicycles: How many spaces the booking is to have in all
    """
    booking = confirmed(db, booking_id)
    if bicycles > booking["seats"]:
        raise ToolRefusal("too_many", f"booking {booking_id} is for {booking['seats']} seats; at most one bicycle per seat")
    train = boardable(db, booking["train_id"], booking["travel_class"], 0)
    free = train["bicycle_spaces"] + booking["bicycles"] - bicycles
    if free < 0:
        raise ToolRefusal("no_space", f"train {train['train_id']} has {train['bicycle_spaces']} bicycle spaces left")
    db.update("trains", train["train_id"], bicycle_spaces=free)
    return db.show("bookings", db.update("bookings", booking_id, bicycles=bicycles))


@tool(side_effects="destructive")
def claim_delay_compensation(db: Database, *, booking_id: str, refund_to: Wallet) -> JsonValue:
    """Claim money back for a journey that was made and arrived late.

    booking_id: Booking of the journey
    refund_to: Where the money goes
    """
    booking = existing(db, "bookings", booking_id)
    if booking["status"] != "travelled":
        raise ToolRefusal("not_travelled", f"booking {booking_id} is {booking['status']}")
    if db.find("refunds", booking_id=booking_id, reason="delay"):
        raise ToolRefusal("already_claimed", f"booking {booking_id} has a claim already")
    late = db.at("trains", booking["train_id"])["delay_minutes"]
    percent = next((percent for minutes, percent in LATE if late >= minutes), 0)
    if percent == 0:
        raise ToolRefusal("not_late_enough", f"the train was {late} minutes late; claims begin at {LATE[-1][0]}")
    refund = repay(db, booking, booking["fare"] * percent // 100, "delay", refund_to)
    wallet = money_text(db.at("passengers", booking["passenger_id"])["wallet"])
    shown = db.show("refunds", db.at("refunds", refund["refund_id"]))
    return {**shown, "fare": money_text(booking["fare"]), "percent": percent, "delay_minutes": late, "wallet": wallet}


@tool(side_effects="destructive")
def redeem_voucher(db: Database, *, voucher_id: str) -> JsonValue:
    """Put a voucher's amount into the wallet of its owner.

    voucher_id: Voucher to be redeemed
    """
    voucher = existing(db, "vouchers", voucher_id)
    if voucher["status"] != "active" or voucher["expires_on"] < db.spec.today:
        raise ToolRefusal("not_redeemable", f"voucher {voucher_id} is {voucher['status']} or out of date")
    pay(db, voucher["passenger_id"], -voucher["amount"])
    changed = db.update("vouchers", voucher_id, status="redeemed")
    return {**db.show("vouchers", changed), "wallet": money_text(db.at("passengers", voucher["passenger_id"])["wallet"])}


@tool(side_effects="destructive")
def renew_railcard(db: Database, *, railcard_id: str, years: Annotated[int, Field(ge=1, le=3)]) -> JsonValue:
    """Renew a railcard for one to three years; the yearly fee is taken from the wallet.

    railcard_id: Card to be renewed
    years: For how many years
    """
    card = existing(db, "railcards", railcard_id)
    if card["status"] == "suspended":
        raise ToolRefusal("suspended", f"railcard {railcard_id} is suspended and cannot be renewed")
    pay(db, card["passenger_id"], card["yearly_fee"] * years)
    start = date.fromisoformat(max(card["valid_until"], db.spec.today))
    until = (start + timedelta(days=365 * years)).isoformat()
    changed = db.update("railcards", railcard_id, valid_until=until, status="active")
    charged = money_text(card["yearly_fee"] * years)
    wallet = money_text(db.at("passengers", card["passenger_id"])["wallet"])
    return {**db.show("railcards", changed), "charged": charged, "wallet": wallet}


@tool(side_effects="destructive")
def claim_lost_item(db: Database, *, item_id: str, passenger_id: str) -> JsonValue:
    """Hand a found item to its owner; the fee is taken from the wallet.

    item_id: The item
    passenger_id: Its owner
    """
    item = existing(db, "lost_items", item_id)
    existing(db, "passengers", passenger_id)
    if item["status"] != "stored":
        raise ToolRefusal("not_stored", f"item {item_id} is {item['status']}")
    pay(db, passenger_id, item["fee"])
    changed = db.update("lost_items", item_id, status="claimed", claimed_by=passenger_id)
    return {**db.show("lost_items", changed), "wallet": money_text(db.at("passengers", passenger_id)["wallet"])}


@tool(side_effects="destructive")
def request_assistance(
    db: Database, *, booking_id: str, station_id: str, kind: Literal["ramp", "guide", "luggage"]
) -> JsonValue:
    """Ask for help at a station of a booked journey, at least a day ahead.

    booking_id: Booking of the journey
    station_id: Where help is needed: origin or destination
    kind: A ramp, a guide, or somebody for the luggage
    """
    train = db.at("trains", confirmed(db, booking_id)["train_id"])
    if station_id not in (train["origin_id"], train["destination_id"]):
        raise ToolRefusal("not_on_route", f"station {station_id} is not on the journey of booking {booking_id}")
    latest = datetime.fromisoformat(train["departs"]) - timedelta(days=NOTICE_DAYS)
    if db.spec.clock > latest:
        raise ToolRefusal("too_late", f"train {train['train_id']} leaves in less than a day")
    if db.find("assistance", booking_id=booking_id, station_id=station_id, kind=kind):
        raise ToolRefusal("already_requested", f"this help is arranged for booking {booking_id} already")
    new = db.insert("assistance", "AS", booking_id=booking_id, station_id=station_id, kind=kind, status="requested")
    return {**db.show("assistance", db.at("assistance", new["assistance_id"])), "departs": train["departs"]}


TOOLS = (
    look_up("find_passenger", "passengers", by="email"),
    look_up("get_passenger", "passengers"),
    look_up("find_station", "stations", by="name"),
    look_up("get_station", "stations"),
    look_up("get_train", "trains"),
    look_up("get_booking", "bookings"),
    look_up("get_lost_item", "lost_items"),
    search(
        "search_trains",
        "trains",
        {"origin_id": ("origin_id", "is"), "destination_id": ("destination_id", "is"), "day": ("departs", "on")},
        description="Find the trains between two stations on one day, earliest first.",
        required=("origin_id", "destination_id", "day"),
        order="departs",
    ),
    search(
        "list_bookings",
        "bookings",
        {"passenger_id": ("passenger_id", "is"), "status": ("status", "is")},
        description="List the bookings of a passenger in short; trains and terms are in get_train and get_booking.",
        required=("passenger_id",),
        show=("booking_id", "train_id", "travel_class", "seats", "status"),
    ),
    search(
        "list_disruptions",
        "disruptions",
        {"train_id": ("train_id", "is")},
        description="Why a train is late or does not run; empty if nothing is reported.",
        required=("train_id",),
    ),
    search(
        "list_railcards",
        "railcards",
        {"passenger_id": ("passenger_id", "is")},
        description="List the railcards of a passenger.",
        required=("passenger_id",),
    ),
    search(
        "list_vouchers",
        "vouchers",
        {"passenger_id": ("passenger_id", "is"), "status": ("status", "is")},
        description="List the vouchers of a passenger, the first to expire first.",
        required=("passenger_id",),
        order="expires_on",
    ),
    search(
        "list_refunds",
        "refunds",
        {"passenger_id": ("passenger_id", "is"), "status": ("status", "is")},
        description="List the refunds of a passenger.",
        required=("passenger_id",),
        order="requested_at",
    ),
    search(
        "search_lost_items",
        "lost_items",
        {"station_id": ("station_id", "is"), "category": ("category", "is"), "found_from": ("found_on", "from")},
        description="Find lost items that are stored at a station, oldest first.",
        required=("station_id",),
        where={"status": "stored"},
        order="found_on",
    ),
    quote_fare,
    quote_refund,
    book_train,
    cancel_booking,
    change_train,
    upgrade_booking,
    reserve_bicycles,
    claim_delay_compensation,
    redeem_voucher,
    renew_railcard,
    claim_lost_item,
    request_assistance,
    transition(
        "update_phone",
        "passengers",
        description="Change the telephone number of an account.",
        arguments=("phone",),
        to={},
        requires=(
            Require(lambda _, row: row["phone"] != row["new_phone"], "unchanged", "{new_phone} is the number on file already"),
        ),
    ),
    transfer(
        "transfer_points",
        "passengers",
        "points",
        "points",
        description="Move loyalty points from one account to another.",
        requires=(Require(lambda _, row: row["tier"] != "standard", "tier_too_low", "only silver and gold may give points"),),
    ),
    create(
        "open_case",
        "cases",
        "CS",
        ("passenger_id", "booking_id", "topic", "notes"),
        description="Open a case about a journey, to be looked into by a person.",
        values={"opened_on": lambda db, _: db.spec.today, "status": "open"},
        requires=(
            Require(
                lambda db, row: db.at("bookings", row["booking_id"])["passenger_id"] == row["passenger_id"],
                "not_theirs",
                "booking {booking_id} belongs to another passenger",
            ),
        ),
    ),
)
