"""What guests of Marlowick Tables want: each intent does it once, and so becomes a task."""

from datetime import datetime, timedelta
from typing import Final

from toolorchestra.training.toolscale.composing import Composer, Intent, Row
from toolorchestra.training.toolscale.domain import make_domain
from toolorchestra.training.toolscale.domains.restaurant.dishes import (
    cancel_dishes,
    order_ahead,
    order_for_all,
    order_menu,
    takeaway,
    takeaway_for_all,
)
from toolorchestra.training.toolscale.domains.restaurant.rows import draw_rows
from toolorchestra.training.toolscale.domains.restaurant.steps import COUNTS, a_purse, is_theirs, meet, somebody
from toolorchestra.training.toolscale.domains.restaurant.tables import (
    away,
    best_rated,
    cancel_reservation,
    change_party,
    deposits,
    move_reservation,
    reserve,
    reserve_or_wait,
)
from toolorchestra.training.toolscale.wording import Cents
from toolorchestra.worlds.shipped.restaurant.tools import EVENT_REFUND, event_price, event_refund
from toolorchestra.worlds.tools import cents
from toolorchestra.worlds.values import Kind

EVENT: Final = ("events", "name")
MOST_SEATS: Final = 6
KINDS: Final = {"tasting": "tasting", "supper": "supper", "cooking_class": "cooking class", "concert": "concert"}


def valid_vouchers(do: Composer, guest_id: str) -> list[Row]:
    """Vouchers that can still be used, the first to expire first."""
    rows = do.rows("vouchers", guest_id=guest_id, status="active")
    return sorted((row for row in rows if row["expires_on"] >= do.world.spec.today), key=lambda row: str(row["expires_on"]))


def redeem_vouchers(do: Composer) -> None:
    """All that can still be used, or the first to expire."""
    do.claim("vouchers")
    guest = somebody(do, lambda row: bool(valid_vouchers(do, row["guest_id"])))
    vouchers = valid_vouchers(do, guest["guest_id"])
    do.once("list_vouchers", guest_id=guest["guest_id"], status="active")
    do.unknown("voucher numbers")
    if len(vouchers) > 1 and do.evolve("first_to_expire"):
        kept = vouchers[1]
        vouchers = vouchers[:1]
        do.tell("next_expiry", Kind.DATE, kept["expires_on"], ("vouchers", kept["voucher_id"]))
    for voucher in vouchers:
        do.call("redeem_voucher", voucher_id=voucher["voucher_id"])
    amount = sum(row["amount"] for row in vouchers)
    balance = do.row("guests", guest["guest_id"])["credit"]
    do.tell("added", Kind.MONEY, amount, *(("vouchers", row["voucher_id"]) for row in vouchers))
    do.tell("balance", Kind.MONEY, balance, ("guests", guest["guest_id"]))


def give_voucher(do: Composer) -> None:
    """One voucher of several to a friend, told by its amount or by how long it is valid."""
    do.claim("vouchers")
    guest = somebody(do, lambda row: len(valid_vouchers(do, row["guest_id"])) > 1)
    who = guest["guest_id"]
    friend = do.pick("guests", lambda row: row["guest_id"] != who)
    vouchers = valid_vouchers(do, who)
    do.say(friend=friend["email"])
    do.unknown("voucher numbers")
    do.once("list_vouchers", guest_id=who, status="active")
    if do.evolve("longest"):
        given = vouchers[-1]
        do.tell("amount", Kind.MONEY, given["amount"], ("vouchers", given["voucher_id"]))
    else:
        given = do.choose(vouchers)
        do.need(sum(row["amount"] == given["amount"] for row in vouchers) == 1)
        do.say(amount=Cents(given["amount"]))
        do.phrase("by_amount")
        do.tell("expires_on", Kind.DATE, given["expires_on"], ("vouchers", given["voucher_id"]))
    do.once("find_guest", email=friend["email"])
    do.call("give_voucher", voucher_id=given["voucher_id"], guest_id=friend["guest_id"])
    do.tell("voucher_number", Kind.ID, given["voucher_id"], ("vouchers", given["voucher_id"]))


def seats_at(do: Composer, guest: Row, event: Row, seats: int) -> None:
    """Book them, within the limit if there is one."""
    price, row = event_price(event, guest["tier"], seats), ("events", event["event_id"])
    purse = a_purse(do)
    do.tell("starts_at", Kind.DATETIME, event["starts_at"], row)
    if do.evolve("limit"):
        within = do.at_most(price)
        if not within:
            do.tell("price", Kind.MONEY, price, row, ("guests", guest["guest_id"]))
            return
    order = {"event_id": event["event_id"], "guest_id": guest["guest_id"], "seats": seats}
    done = do.call("book_event", **order, pay_with=purse)
    do.claim(done["booking_id"])
    do.tell("price", Kind.MONEY, cents(done["paid"]), ("event_bookings", done["booking_id"]))
    do.tell("booking_number", Kind.ID, done["booking_id"], ("event_bookings", done["booking_id"]))


def a_party(do: Composer) -> int:
    seats = do.random.randint(2, MOST_SEATS)
    do.say(seats=COUNTS[seats])
    return seats


def book_event(do: Composer) -> None:
    """An event by its name."""
    do.share("events")
    seats = a_party(do)
    event, guest = do.pick("events", lambda row: row["seats_left"] >= seats), somebody(do)
    do.claim(event["event_id"])
    do.say(event=event["name"])
    do.once("find_event", name=event["name"])
    seats_at(do, guest, event, seats)


def choose_event(do: Composer) -> None:
    """Of a kind of events the next one with enough seats, or the cheapest."""
    do.claim("events")
    seats, guest = a_party(do), somebody(do)
    kind = do.random.choice(sorted(KINDS))
    do.say(kind=KINDS[kind])
    do.once("search_events", kind=kind)
    order = "price" if do.evolve("cheapest") else "starts_at"
    if order == "starts_at":
        do.phrase("next")
    found = sorted((row for row in do.rows("events", kind=kind) if row["seats_left"] >= seats), key=lambda row: row[order])
    do.need(len(found) > 1 and found[0][order] < found[1][order])
    do.tell("event", Kind.TEXT, found[0]["name"], ("events", found[0]["event_id"]), column=EVENT)
    seats_at(do, guest, found[0], seats)


def cancel_event(do: Composer) -> None:
    """Seats at an event, told by its name."""
    do.share("events")
    booking = do.pick("event_bookings", lambda row: row["status"] == "booked" and is_theirs(do, row))
    who, key, event = booking["guest_id"], booking["booking_id"], do.row("events", booking["event_id"])
    do.claim(event["event_id"])
    starts_at = datetime.fromisoformat(event["starts_at"])
    refund = event_refund(booking["paid"], (starts_at - do.world.spec.clock) / timedelta(hours=1))
    do.need(refund is not None and len(do.rows("event_bookings", guest_id=who, event_id=event["event_id"])) == 1)
    meet(do, who)
    do.say(event=event["name"])
    do.unknown("booking number")
    do.once("find_event", name=event["name"])
    do.once("list_event_bookings", guest_id=who, status="booked")
    free_until = (starts_at - timedelta(hours=EVENT_REFUND[0][0])).strftime("%Y-%m-%dT%H:%M")
    do.tell("free_until", Kind.DATETIME, free_until, ("events", event["event_id"]))
    if do.evolve("condition"):
        worth_it = do.at_least(int(refund or 0))
        do.tell("possible_refund", Kind.MONEY, refund, ("event_bookings", key), ("events", event["event_id"]))
        if not worth_it:
            return
    else:
        do.tell("refund", Kind.MONEY, refund, ("event_bookings", key))
    done = do.call("cancel_event_booking", booking_id=key)
    do.tell("balance", Kind.MONEY, cents(done["credit"]), ("guests", who))


INTENTS: Final = (
    Intent("reserve", reserve, ("other_place", "deposit_limit", "dish")),
    Intent("reserve_or_wait", reserve_or_wait),
    Intent("best_rated", best_rated, ("dogs",)),
    Intent("cancel_reservation", cancel_reservation, ("condition", "balance")),
    Intent("away", away, ("dishes",)),
    Intent("move_reservation", move_reservation, ("other_place",)),
    Intent("change_party", change_party),
    Intent("deposits", deposits),
    Intent("order_ahead", order_ahead, ("allergy",)),
    Intent("order_for_all", order_for_all, ("vegan",)),
    Intent("order_menu", order_menu),
    Intent("takeaway", takeaway, ("allergy", "limit")),
    Intent("takeaway_for_all", takeaway_for_all, ("vegan", "limit")),
    Intent("cancel_dishes", cancel_dishes),
    Intent("redeem_vouchers", redeem_vouchers, ("first_to_expire",)),
    Intent("give_voucher", give_voucher, ("longest",)),
    Intent("book_event", book_event, ("limit",)),
    Intent("choose_event", choose_event, ("cheapest", "limit")),
    Intent("cancel_event", cancel_event, ("condition",)),
)
DOMAIN: Final = make_domain(__file__, INTENTS, draw_rows)
