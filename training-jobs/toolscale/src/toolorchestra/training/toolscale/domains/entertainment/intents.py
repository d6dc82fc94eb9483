"""What patrons of Orrin House want: each intent does it once, and so becomes a task."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from toolorchestra.training.toolscale.composing import Composer, Intent, Row
from toolorchestra.training.toolscale.domain import make_domain
from toolorchestra.training.toolscale.domains.entertainment.rows import draw_rows
from toolorchestra.training.toolscale.domains.entertainment.steps import (
    HALL,
    a_booking,
    a_friend,
    block,
    buy_seats,
    by_start,
    days_ahead,
    first_with_room,
    on_sale,
    on_the_day,
    party,
    purse,
    quoted,
    somebody,
)
from toolorchestra.training.toolscale.domains.entertainment.streaming import STREAMING
from toolorchestra.worlds.shipped.entertainment.tools import (
    EXCHANGE_DAYS,
    EXCHANGE_FEE,
    HALF_DAYS,
    SPACE_DAYS,
    returned_of,
)
from toolorchestra.worlds.tools import cents
from toolorchestra.worlds.values import Kind

CATEGORIES: Final = ("stalls", "circle", "balcony", "gallery")
MOMENT: Final = "%Y-%m-%dT%H:%M"
MANY: Final = 4  # bookings that one looks through for a single answer


def a_production(do: Composer) -> tuple[Row, list[Row]]:
    """Something on stage that the patron names, and its performances on sale."""
    production = do.row("productions", do.pick("performances", on_sale(do))["production_id"])
    do.say(title=production["title"])
    do.once("find_production", title=production["title"])
    coming = [row for row in do.rows("performances", production_id=production["production_id"]) if on_sale(do)(row)]
    return production, by_start(coming)


def named(do: Composer, blocks: Sequence[Row]) -> Row:
    """Seats of a category that the patron names."""
    found: Row = do.choose(blocks)
    do.say(category=found["category"])
    do.phrase("named")
    return found


def cheapest(do: Composer, blocks: Sequence[Row]) -> Row:
    """The seats with the lowest price, if only one block has it."""
    found = sorted(blocks, key=lambda row: int(row["price"]))
    do.need(bool(found) and (len(found) == 1 or found[0]["price"] < found[1]["price"]))
    return found[0]


def tell_total(do: Composer, seats: Row, total: int) -> None:
    """What seats would cost the patron of this task."""
    do.tell("total", Kind.MONEY, total, ("seat_blocks", seats["block_id"]), ("patrons", do.shared["customer"]))


def tell_credit(do: Composer, done: Row, patron_id: str) -> None:
    """What the house credit comes to after money went there or came from there."""
    do.tell("balance", Kind.MONEY, cents(done["credit"]), ("patrons", patron_id))


def extra_cost(do: Composer, booking: Row, performance_id: str, category: str) -> Row:
    """Looks up what other seats cost more than those of a booking, and whether there is a booking fee."""
    held = do.call("get_booking", booking_id=booking["booking_id"])
    quote = quoted(do, performance_id, category, booking["seats"])
    return {"extra": quote["seats_price"] - cents(held["paid"]) + cents(held["fee"]), "fee": quote["booking_fee"]}


def book(do: Composer) -> None:
    """Seats for one performance, in a category that is named or the cheapest."""
    do.go_by("memberships")
    somebody(do)
    production, coming = a_production(do)
    performance, seats, paid_with = do.choose(coming), do.random.randint(1, 5), purse(do)
    key = performance["performance_id"]
    party(do, seats)
    on_the_day(do, production["production_id"], performance)
    do.call("list_performances", production_id=production["production_id"])
    do.once("list_seats", performance_id=key)
    free = [row for row in do.rows("seat_blocks", performance_id=key) if row["free"] >= seats]
    chosen = cheapest(do, free) if do.evolve("cheapest") else named(do, free)
    category, total = chosen["category"], quoted(do, key, chosen["category"], seats)["total"]
    tell_total(do, chosen, total)
    if do.evolve("budget") and not do.at_most(total):
        return
    where = {"patron_id": do.shared["customer"], "performance_id": key}
    booking = do.call("book_seats", **where, category=category, seats=seats, paid_with=paid_with)["booking_id"]
    do.tell("booking_number", Kind.ID, booking, ("bookings", booking))
    if performance["wheelchair_spaces"] and days_ahead(do, performance) > SPACE_DAYS and do.evolve("wheelchair"):
        do.call("reserve_wheelchair_spaces", booking_id=booking, spaces=1)


def book_first(do: Composer) -> None:
    """The first performance from a day on that has enough seats of a category."""
    do.go_by("memberships")
    somebody(do)
    production, coming = a_production(do)
    after = do.choose(coming)["starts"][:10]
    category, seats, paid_with = do.random.choice(CATEGORIES), do.random.randint(1, 6), purse(do)
    party(do, seats)
    do.say(after=after, category=category)
    do.call("list_performances", production_id=production["production_id"], from_day=after)
    later = [row for row in coming if row["starts"][:10] >= after]
    found = first_with_room(do, later, category, seats)
    booking = buy_seats(do, found, category, seats, paid_with)
    do.tell("total", Kind.MONEY, cents(booking["paid"]), ("bookings", booking["booking_id"]))


def book_cheapest(do: Composer) -> None:
    """Of all performances until a day the one with the cheapest seats of a category."""
    do.go_by("memberships")
    somebody(do)
    production, coming = a_production(do)
    do.need(len(coming) > 1)
    until = coming[do.random.randrange(1, min(4, len(coming)))]["starts"][:10]
    category, seats, paid_with = do.random.choice(CATEGORIES), do.random.randint(1, 4), purse(do)
    party(do, seats)
    do.say(until=until, category=category)
    do.call("list_performances", production_id=production["production_id"], until_day=until)
    earlier = [row for row in coming if row["starts"][:10] <= until]
    for row in earlier:
        do.once("list_seats", performance_id=row["performance_id"])
    blocks = [block(do, row["performance_id"], category) for row in earlier]
    free = [row for row in blocks if row["free"] >= seats]
    do.need(len(free) > 1)
    chosen = cheapest(do, free)
    found = do.row("performances", chosen["performance_id"])
    if do.evolve("budget"):
        total = quoted(do, found["performance_id"], category, seats)["total"]
        tell_total(do, chosen, total)
        if not do.at_most(total):
            return
    buy_seats(do, found, category, seats, paid_with)


def cancel_booking(do: Composer) -> None:
    booking, performance = a_booking(do, lambda _: True, lambda row: on_sale(do)(row) and days_ahead(do, row) >= HALF_DAYS)
    key, refund_to = booking["booking_id"], purse(do)
    held = do.call("get_booking", booking_id=key)
    refund = returned_of(cents(held["paid"]), cents(held["fee"]), days_ahead(do, performance), refund_to)
    do.tell("refund", Kind.MONEY, refund, ("bookings", key))
    if do.evolve("condition"):
        go_on = do.at_least(refund)
        if not go_on:
            return
    done = do.call("cancel_booking", booking_id=key, refund_to=refund_to)
    if refund_to == "credit" and do.evolve("balance"):
        tell_credit(do, done, booking["patron_id"])


def cancelled_show(do: Composer) -> None:
    """The house has called the performance off: everything back, and perhaps another evening."""
    do.go_by("memberships")
    booking, performance = a_booking(do, lambda _: True, lambda row: row["status"] == "cancelled")
    done = do.call("cancel_booking", booking_id=booking["booking_id"], refund_to=purse(do))
    do.tell("refund", Kind.MONEY, cents(done["refunded"]), ("bookings", booking["booking_id"]))
    if do.evolve("rebook"):
        same = do.rows("performances", production_id=performance["production_id"])
        found = first_with_room(do, by_start([row for row in same if on_sale(do)(row)]), booking["category"], booking["seats"])
        buy_seats(do, found, booking["category"], booking["seats"], "card")
    elif done["refunded_to"] == "credit":
        tell_credit(do, done, booking["patron_id"])


def exchange(do: Composer) -> None:
    """To another day of the same production, or the next that has room; perhaps only for so much."""
    do.go_by("memberships")
    booking, before = a_booking(do, lambda _: True, lambda row: on_sale(do)(row) and days_ahead(do, row) > EXCHANGE_DAYS)
    same = do.rows("performances", production_id=before["production_id"])
    later = by_start([row for row in same if on_sale(do)(row) and row["starts"] > before["starts"]])
    do.need(bool(later))
    terms = (booking["category"], booking["seats"])
    if do.evolve("next_one"):
        new = first_with_room(do, later, *terms)
    else:
        new = do.choose([row for row in later if block(do, row["performance_id"], terms[0])["free"] >= terms[1]])
        do.phrase("to_day")
        on_the_day(do, before["production_id"], new, "new_day")
    if do.evolve("limit"):
        cost = extra_cost(do, booking, new["performance_id"], booking["category"])
        charge = cost["extra"] + (EXCHANGE_FEE if cost["fee"] else 0)
        do.need(charge > 0)
        if not do.at_most(charge):
            do.tell("price", Kind.MONEY, charge, ("bookings", booking["booking_id"]))
            return
    done = do.call("exchange_booking", booking_id=booking["booking_id"], performance_id=new["performance_id"])
    do.tell("starts", Kind.DATETIME, new["starts"], ("performances", new["performance_id"]))
    tell_credit(do, done, booking["patron_id"])


def change_category(do: Composer) -> None:
    """To better seats: a category that is named, or the best that has room."""
    do.go_by("memberships")
    booking, performance = a_booking(do, lambda row: row["category"] != "stalls", on_sale(do))
    key, seats = booking["booking_id"], booking["seats"]
    do.once("list_seats", performance_id=performance["performance_id"])
    now = block(do, performance["performance_id"], booking["category"])
    blocks = do.rows("seat_blocks", performance_id=performance["performance_id"])
    better = [row for row in blocks if row["price"] > now["price"] and row["free"] >= seats]
    best = len(better) > 1 and do.evolve("best")
    category = (max(better, key=lambda row: int(row["price"])) if best else named(do, better))["category"]
    if do.evolve("limit"):
        charge = extra_cost(do, booking, performance["performance_id"], category)["extra"]
        if not do.at_most(charge):
            do.tell("price", Kind.MONEY, charge, ("bookings", key))
            return
    done = do.call("change_category", booking_id=key, category=category)
    do.tell("price", Kind.MONEY, cents(done["charged"]), ("bookings", key))
    tell_credit(do, done, booking["patron_id"])


def hand_over(do: Composer) -> None:
    """To a friend, or back to the house where the rules do not let the friend have it."""
    do.go_by("memberships")
    booking, performance = a_booking(do, lambda _: True, lambda row: on_sale(do)(row) and days_ahead(do, row) >= HALF_DAYS)
    members = {row["patron_id"] for row in do.rows("memberships", status="active")}
    either = do.evolve("or_cancel")
    friend = a_friend(do, lambda row: either or not booking["member_rate"] or row["patron_id"] in members)
    to, key = friend["patron_id"], booking["booking_id"]
    do.call("get_booking", booking_id=key)
    if booking["member_rate"]:
        do.call("list_memberships", patron_id=to)
    if booking["member_rate"] and to not in members:
        done = do.call("cancel_booking", booking_id=key, refund_to="credit")
        tell_credit(do, done, booking["patron_id"])
    else:
        do.call("hand_over_booking", booking_id=key, patron_id=to)
        do.tell("paid", Kind.MONEY, booking["paid"], ("bookings", key))
    do.tell("starts", Kind.DATETIME, performance["starts"], ("performances", performance["performance_id"]))


def wheelchair(do: Composer) -> None:
    booking, performance = a_booking(
        do,
        lambda row: row["wheelchair_spaces"] == 0,
        lambda row: on_sale(do)(row) and days_ahead(do, row) > SPACE_DAYS and row["wheelchair_spaces"] > 0,
    )
    spaces = do.random.randint(1, min(2, booking["seats"], performance["wheelchair_spaces"]))
    do.say(spaces=("", "a wheelchair space", "two wheelchair spaces")[spaces])
    hall = do.once("get_hall", hall_id=performance["hall_id"])
    do.call("reserve_wheelchair_spaces", booking_id=booking["booking_id"], spaces=spaces)
    do.tell("hall", Kind.TEXT, hall["name"], ("halls", hall["hall_id"]), column=HALL)
    doors_open(do, performance, hall)


def doors_open(do: Composer, performance: Row, hall: Row) -> None:
    """Tells when the doors open."""
    opens = datetime.fromisoformat(performance["starts"]) - timedelta(minutes=hall["doors_minutes"])
    rows = (("performances", performance["performance_id"]), ("halls", hall["hall_id"]))
    do.tell("doors", Kind.DATETIME, opens.strftime(MOMENT), *rows)


def upcoming(do: Composer, patron_id: str) -> list[tuple[Row, Row]]:
    """Bookings of somebody with their performances, by number."""
    found = do.rows("bookings", patron_id=patron_id, status="booked")
    return [(row, do.row("performances", row["performance_id"])) for row in found]


def clear_diary(do: Composer) -> None:
    """Everything between two days that still returns something."""
    do.go_by("bookings")
    start = do.random.randint(1, 20)
    first, last = (
        (do.world.spec.clock + timedelta(days=days)).strftime("%Y-%m-%d") for days in (start, start + do.random.randint(12, 28))
    )

    def meant(patron_id: str) -> list[tuple[Row, Row]]:
        pairs = [pair for pair in upcoming(do, patron_id) if first <= pair[1]["starts"][:10] <= last]
        return [pair for pair in pairs if pair[1]["status"] == "cancelled" or days_ahead(do, pair[1]) >= HALF_DAYS]

    patron = somebody(do, lambda row: 1 < len(meant(row["patron_id"])) < len(upcoming(do, row["patron_id"])) <= MANY)
    refund_to, total = purse(do), 0
    do.say(first=first, last=last)
    do.unknown("booking numbers")
    do.once("list_bookings", patron_id=patron["patron_id"], status="booked")
    for booking, _ in upcoming(do, patron["patron_id"]):
        do.once("get_performance", performance_id=booking["performance_id"])
    chosen = meant(patron["patron_id"])
    for booking, _ in chosen:
        total += cents(do.call("cancel_booking", booking_id=booking["booking_id"], refund_to=refund_to)["refunded"])
    do.tell("total", Kind.MONEY, total, *(("bookings", booking["booking_id"]) for booking, _ in chosen))


def total_spent(do: Composer) -> None:
    """What was paid for everything ahead."""
    do.go_by("bookings")
    patron = somebody(do, lambda row: 1 < len(upcoming(do, row["patron_id"])) <= MANY)
    pairs = upcoming(do, patron["patron_id"])
    do.need(all(performance["status"] == "on_sale" for _, performance in pairs))
    do.once("list_bookings", patron_id=patron["patron_id"], status="booked")
    for booking, _ in pairs:
        do.once("get_booking", booking_id=booking["booking_id"])
    do.unknown("booking numbers", "amounts")
    total = sum(booking["paid"] for booking, _ in pairs)
    do.tell("total", Kind.MONEY, total, *(("bookings", booking["booking_id"]) for booking, _ in pairs))


def next_visit(do: Composer) -> None:
    """When and where the patron is expected next."""
    do.go_by("bookings")
    patron = somebody(do, lambda row: 1 < len(upcoming(do, row["patron_id"])) <= MANY)
    pairs = sorted(upcoming(do, patron["patron_id"]), key=lambda pair: str(pair[1]["starts"]))
    do.need(all(row["status"] == "on_sale" for _, row in pairs) and pairs[0][1]["starts"] < pairs[1][1]["starts"])
    do.once("list_bookings", patron_id=patron["patron_id"], status="booked")
    for _, performance in pairs:
        do.once("get_performance", performance_id=performance["performance_id"])
    hall, do.shared["next"] = do.once("get_hall", hall_id=pairs[0][1]["hall_id"]), pairs[0][0]["booking_id"]
    do.unknown("dates")
    do.tell("hall", Kind.TEXT, hall["name"], ("halls", hall["hall_id"]), column=HALL)
    doors_open(do, pairs[0][1], hall)


INTENTS: Final = (
    Intent("book", book, ("cheapest", "budget", "wheelchair")),
    Intent("book_first", book_first),
    Intent("book_cheapest", book_cheapest, ("budget",)),
    Intent("cancel_booking", cancel_booking, ("condition", "balance")),
    Intent("cancelled_show", cancelled_show, ("rebook",)),
    Intent("exchange", exchange, ("next_one", "limit")),
    Intent("change_category", change_category, ("best", "limit")),
    Intent("hand_over", hand_over, ("or_cancel",)),
    Intent("wheelchair", wheelchair),
    Intent("clear_diary", clear_diary),
    Intent("total_spent", total_spent),
    Intent("next_visit", next_visit),
    *STREAMING,
)
DOMAIN: Final = make_domain(__file__, INTENTS, draw_rows)
