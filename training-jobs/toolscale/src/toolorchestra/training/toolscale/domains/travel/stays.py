"""Intents around stays: book one, change it, cancel it."""

from toolorchestra.training.toolscale.composing import Composer, Row
from toolorchestra.training.toolscale.domains.travel.steps import (
    BOARDS,
    CHANGEABLE,
    KINDS,
    SOONEST,
    a_purse,
    a_trip,
    coming,
    extras_of,
    list_trips,
    party,
    refs,
    room_terms,
    say_room,
    somebody,
    tell_hotel,
)
from toolorchestra.worlds.shipped.travel.tools import kept_of, refund_of
from toolorchestra.worlds.tools import cents
from toolorchestra.worlds.values import Kind


def is_bookable(row: Row) -> bool:
    return bool(row["left"] > 0 and row["arrives_on"] >= SOONEST)


def book_or_leave(do: Composer, customer_id: str, room: Row, travellers: int) -> None:
    """Books the room, unless the user's limit forbids that; perhaps with insurance."""
    terms = {"customer_id": customer_id, "room_id": room["room_id"], "travellers": travellers}
    quote = do.call("quote_stay", **terms)
    row = ("rooms", room["room_id"])
    do.tell("stay", Kind.MONEY, cents(quote["stay"]), row, ("customers", customer_id))
    if do.evolve("limit") and not do.at_most(cents(quote["stay"])):
        return
    booking = do.call("book_stay", **terms)
    do.tell("reference", Kind.ID, booking["booking_id"], ("bookings", booking["booking_id"]))
    if do.evolve("insured"):
        cover = do.random.choice(("basic", "plus"))
        do.say(cover=cover)
        done = do.call("buy_insurance", booking_id=booking["booking_id"], cover=cover)
        do.tell("premium", Kind.MONEY, cents(done["premium"]), ("bookings", booking["booking_id"]))
    else:
        do.tell("charged", Kind.MONEY, cents(booking["paid"]), ("bookings", booking["booking_id"]))


def book_stay(do: Composer) -> None:
    """A room of a hotel that is named."""
    room = do.pick("rooms", lambda row: is_bookable(dict(row)))
    customer, travellers = somebody(do), do.random.randint(max(1, room["sleeps"] - 1), room["sleeps"])
    hotel = do.row("hotels", room["hotel_id"])
    say_room(do, room)
    do.say(hotel=hotel["name"], party=party(do, travellers))
    do.once("find_hotel", name=hotel["name"])
    do.call("search_rooms", hotel_id=hotel["hotel_id"], **room_terms(room))
    book_or_leave(do, customer["customer_id"], room, travellers)


def find_stay(do: Composer) -> None:
    """The cheapest room of a kind at a destination, in the hotels that have what is wished for."""
    sample = do.pick("rooms", lambda row: is_bookable(dict(row)))
    customer, travellers = somebody(do), do.random.randint(max(1, sample["sleeps"] - 1), sample["sleeps"])
    place = do.row("destinations", do.row("hotels", sample["hotel_id"])["destination_id"])
    say_room(do, sample)
    do.say(place=place["name"], party=party(do, travellers))
    do.once("find_destination", name=place["name"])
    wanted = {"destination_id": place["destination_id"], **wishes(do)}
    hotels = do.call("search_hotels", **wanted)["hotels"]
    terms = {name: sample[name] for name in ("arrives_on", "leaves_on", "kind")}
    if not do.evolve("any_board"):
        do.phrase("board")
        terms["board"] = sample["board"]
    found = [row for hotel in hotels for row in do.call("search_rooms", hotel_id=hotel["hotel_id"], **terms)["rooms"]]
    free = sorted((row for row in found if row["left"] > 0), key=lambda row: float(row["price"]))
    do.need(len(free) > 1 and free[0]["price"] != free[1]["price"])
    tell_hotel(do, free[0]["hotel_id"])
    book_or_leave(do, customer["customer_id"], free[0], travellers)


def wishes(do: Composer) -> Row:
    """What the hotel must have."""
    if do.evolve("stars"):
        stars = do.random.choice((3, 4))
        do.say(stars=stars)
        return {"least_stars": stars}
    return {"pool": True} if do.evolve("pool") else {}


def change_room(do: Composer) -> None:
    """Another room at the same destination for the same days."""
    trip = a_trip(do, lambda row: row["starts_on"] >= CHANGEABLE)
    key, hotels = trip["booking_id"], {row["hotel_id"]: row for row in do.rows("hotels", destination_id=trip["destination_id"])}
    old = do.row("rooms", trip["room_id"])
    room = do.pick(
        "rooms",
        lambda row: (
            row["hotel_id"] in hotels
            and (row["arrives_on"], row["leaves_on"]) == (old["arrives_on"], old["leaves_on"])
            and row["room_id"] != old["room_id"]
            and row["left"] > 0
            and row["sleeps"] >= trip["travellers"]
        ),
    )
    hotel = hotels[room["hotel_id"]]
    do.say(hotel=hotel["name"], kind=KINDS[room["kind"]], board=BOARDS[room["board"]])
    do.once("find_hotel", name=hotel["name"])
    do.call("search_rooms", hotel_id=hotel["hotel_id"], **room_terms(room))
    if do.evolve("limit"):
        do.once("get_booking", booking_id=key)
        terms = {"customer_id": trip["customer_id"], "room_id": room["room_id"], "travellers": trip["travellers"]}
        stay = cents(do.call("quote_stay", **terms)["stay"])
        if not do.at_most(stay):
            do.tell("stay", Kind.MONEY, stay, ("rooms", room["room_id"]), ("customers", trip["customer_id"]))
            do.tell("pay_by", Kind.DATE, trip["pay_by"], ("bookings", key))
            return
    tell_changed(do, do.call("change_room", booking_id=key, room_id=room["room_id"]))


def tell_changed(do: Composer, done: Row) -> None:
    left = cents(done["total"]) - cents(done["paid"])
    row = ("bookings", done["booking_id"])
    do.tell("total", Kind.MONEY, cents(done["total"]), row)
    if left > 0:
        do.tell("left", Kind.MONEY, left, row)


def shift_trip(do: Composer) -> None:
    """The same room of the same hotel on other days."""
    trip = a_trip(do, lambda row: row["starts_on"] >= CHANGEABLE and not extras_of(do, row))
    old = do.row("rooms", trip["room_id"])
    room = do.pick(
        "rooms",
        lambda row: (
            all(row[name] == old[name] for name in ("hotel_id", "kind", "board"))
            and row["arrives_on"] >= CHANGEABLE
            and row["room_id"] != old["room_id"]
            and row["left"] > 0
        ),
    )
    do.say(arrives=room["arrives_on"], leaves=room["leaves_on"])
    do.once("get_booking", booking_id=trip["booking_id"])
    do.once("get_room", room_id=trip["room_id"])
    do.call("search_rooms", hotel_id=room["hotel_id"], **room_terms(room))
    done = do.call("change_room", booking_id=trip["booking_id"], room_id=room["room_id"])
    tell_changed(do, done)
    do.tell("pay_by", Kind.DATE, done["pay_by"], ("bookings", trip["booking_id"]))


def cancel_trip(do: Composer) -> None:
    """For what the terms give back."""
    trip = a_trip(do, lambda row: kept_of(dict(row), do.world.spec.today) < row["paid"])
    key, refund_to = trip["booking_id"], a_purse(do)
    quote = do.call("quote_cancellation", booking_id=key)
    refund = cents(quote[f"refund_to_{refund_to}"])
    do.tell("refund", Kind.MONEY, refund, ("bookings", key))
    do.tell("kept", Kind.MONEY, cents(quote["kept"]), ("bookings", key))
    if do.evolve("condition"):
        worth_it = do.at_least(refund)
        if not worth_it:
            return
    done = do.call("cancel_booking", booking_id=key, refund_to=refund_to)
    if refund_to == "credit" and do.evolve("credit"):
        do.tell("credit", Kind.MONEY, cents(done["credit"]), ("customers", trip["customer_id"]))


def cancel_best(do: Composer) -> None:
    """Of all trips the one for which most comes back."""
    do.go_by("bookings")
    today = do.world.spec.today
    customer = somebody(do, lambda row: len(coming(do, row["customer_id"])) > 1)
    trips = list_trips(do, customer["customer_id"])
    refund_to = a_purse(do)
    for trip in trips:
        do.call("quote_cancellation", booking_id=trip["booking_id"])
    rows = sorted(coming(do, customer["customer_id"]), key=lambda row: -refund_of(row, today, refund_to))
    do.need(refund_of(rows[0], today, refund_to) > refund_of(rows[1], today, refund_to))
    done = do.call("cancel_booking", booking_id=rows[0]["booking_id"], refund_to=refund_to)
    place = do.once("get_destination", destination_id=rows[0]["destination_id"])
    where = ("destinations", place["destination_id"])
    do.tell("place", Kind.TEXT, place["name"], where, column=("destinations", "name"))
    do.tell("refund", Kind.MONEY, cents(done["refund"]), ("bookings", rows[0]["booking_id"]))
    others = rows[1:]
    do.tell("others_total", Kind.MONEY, sum(row["total"] for row in others), *refs(others))
