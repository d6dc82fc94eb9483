"""What members want with courts: book, move, bring guests, cancel, and stay away for a while."""

from datetime import date, timedelta
from typing import Any, Final

from toolorchestra.training.toolscale.composing import Composer, Row
from toolorchestra.training.toolscale.domains.sport.rows import SPORTS, TODAY
from toolorchestra.training.toolscale.domains.sport.steps import (
    SAFE,
    TAKEN,
    a_booking,
    a_length,
    a_time,
    ahead_of,
    guests_of,
    may_act,
    may_book,
    say_when,
    somebody,
    when_taken,
)
from toolorchestra.training.toolscale.draws import chance
from toolorchestra.worlds.shipped.sport.tools import CLOSES, MOST_BOOKINGS, MOST_GUESTS, ends_at
from toolorchestra.worlds.tools import cents
from toolorchestra.worlds.values import Kind

COURT: Final = ("courts", "name")
TWO_SORTS: Final = ("tennis", "padel")  # sports with courts indoors and outdoors


def free_then(do: Composer, member: Row, sport: str, starts_at: str, hours: int) -> dict[str, Row]:
    """The free courts by key, as the tool shows them."""
    who = member["member_id"]
    found = do.once("free_courts", member_id=who, sport=sport, starts_at=starts_at, hours=hours)
    return {row["court_id"]: row for row in found["courts"]}


def book_it(do: Composer, member: Row, court: Row, starts_at: str, hours: int) -> None:
    """Within the limit if there is one, with guests if some come; the price is that of the court alone."""
    price = cents(court["price"])
    if do.evolve("limit"):
        within = do.at_most(price)
        if not within:
            do.tell("price", Kind.MONEY, price, ("courts", court["court_id"]))
            return
    who = member["member_id"]
    new = do.call("book_court", member_id=who, court_id=court["court_id"], starts_at=starts_at, hours=hours)
    do.tell("price", Kind.MONEY, price, ("bookings", new["booking_id"]))
    do.tell("booking_number", Kind.ID, new["booking_id"], ("bookings", new["booking_id"]))
    if do.evolve("guests"):
        guests, pay_with = guests_of(do, member, MOST_GUESTS)
        do.call("add_guests", booking_id=new["booking_id"], guests=guests, pay_with=pay_with)


def book_court(do: Composer) -> None:
    """A court by its name, or another one if it is taken."""
    do.share("bookings")
    court, hours = do.pick("courts"), a_length(do)
    starts_at = a_time(do, hours)
    chosen = court
    second = do.evolve("second_choice")
    if second:
        other = do.pick("courts", lambda row: row["sport"] == court["sport"] and row["court_id"] != court["court_id"])
        do.say(other=other["name"])
        if chance(do.random, TAKEN):
            starts_at, hours, chosen = when_taken(do, court["court_id"]), 1, other
    member = somebody(do, lambda row: may_book(do, row))
    do.say(court=court["name"])
    say_when(do, starts_at, hours)
    do.once("find_court", name=court["name"])
    free = free_then(do, member, court["sport"], starts_at, hours)
    do.need(chosen["court_id"] in free)
    book_it(do, member, free[chosen["court_id"]], starts_at, hours)


def cheapest_court(do: Composer) -> None:
    """The cheapest that is free, of a sport, under a roof or not."""
    do.share("bookings")
    sport, hours = do.random.choice(SPORTS), a_length(do)
    starts_at, indoor = a_time(do, hours), do.random.choice((True, False))
    member = somebody(do, lambda row: may_book(do, row))
    say_when(do, starts_at, hours)
    free = free_then(do, member, sport, starts_at, hours)
    found = list(free.values())
    if sport in TWO_SORTS:
        do.say(sort=f"an {'indoor' if indoor else 'outdoor'} {sport} court")
        found = [row for row in found if row["indoor"] is indoor]
    else:
        do.say(sort=f"a {sport} court")
    do.need(len(found) > 1 and cents(found[0]["price"]) < cents(found[1]["price"]))
    do.tell("court", Kind.TEXT, found[0]["name"], ("courts", found[0]["court_id"]), column=COURT)
    book_it(do, member, found[0], starts_at, hours)


def settle_and_book(do: Composer) -> None:
    """Fines stand in the way and have to be paid first."""
    do.claim("fines")
    do.share("bookings")
    court, hours = do.pick("courts"), a_length(do)
    starts_at = a_time(do, hours)
    member = somebody(do, lambda row: not may_act(do, row) and len(ahead_of(do, row["member_id"])) < MOST_BOOKINGS)
    who = member["member_id"]
    do.say(court=court["name"])
    say_when(do, starts_at, hours)
    fines = do.call("list_fines", member_id=who, status="open")["fines"]
    paid = sum(cents(do.call("pay_fine", fine_id=fine["fine_id"])["paid"]) for fine in fines)
    do.tell("fines", Kind.MONEY, paid, *(("fines", fine["fine_id"]) for fine in fines))
    do.once("find_court", name=court["name"])
    free = free_then(do, member, court["sport"], starts_at, hours)
    do.need(court["court_id"] in free)
    book_it(do, member, free[court["court_id"]], starts_at, hours)


def cancel_booking(do: Composer) -> None:
    do.share("bookings")
    booking, _ = a_booking(do, lambda _: True)
    key = booking["booking_id"]
    refund = cents(do.call("quote_cancellation", booking_id=key)["refund"])
    do.need(refund > 0)
    if do.evolve("condition"):
        worth_it = do.at_least(refund)
        do.tell("possible_refund", Kind.MONEY, refund, ("bookings", key))
        if not worth_it:
            return
    else:
        do.tell("refund", Kind.MONEY, refund, ("bookings", key))
    done = do.call("cancel_booking", booking_id=key)
    if do.evolve("balance"):
        do.tell("balance", Kind.MONEY, cents(done["balance"]), ("members", booking["member_id"]))


def cancel_dearest(do: Composer) -> None:
    """Of all coming bookings the one for which most was paid."""
    do.claim("bookings")
    member = somebody(do, lambda row: len(ahead_of(do, row["member_id"])) > 1)
    who = member["member_id"]
    rows = sorted(ahead_of(do, who), key=lambda row: row["starts_at"])
    do.once("list_bookings", member_id=who, status="booked")
    paid = {row["booking_id"]: row["price"] + row["guest_fees"] for row in rows}
    for row in rows:
        do.call("quote_cancellation", booking_id=row["booking_id"])
    dearest = max(rows, key=lambda row: paid[row["booking_id"]])
    key = dearest["booking_id"]
    do.need(sum(amount == paid[key] for amount in paid.values()) == 1)
    do.unknown("booking numbers")
    done = do.call("cancel_booking", booking_id=key)
    do.need(cents(done["refunded"]) > 0)
    do.tell("refund", Kind.MONEY, cents(done["refunded"]), ("bookings", key))
    do.tell("start", Kind.DATETIME, dearest["starts_at"], ("bookings", key))


def away(do: Composer) -> None:
    """Every booking within some days, and none outside."""
    do.claim("bookings")
    member = somebody(do, lambda row: len(ahead_of(do, row["member_id"])) > 1)
    who = member["member_id"]
    rows = sorted(ahead_of(do, who), key=lambda row: row["starts_at"])
    first, size = do.random.randrange(len(rows)), do.random.randint(1, 3)
    chosen = rows[first : first + size]
    do.need(chosen[0]["starts_at"] > SAFE and len(chosen) < len(rows))
    start, end = chosen[0]["starts_at"][:10], chosen[-1]["starts_at"][:10]
    last = (date.fromisoformat(end) + timedelta(days=do.random.randint(1, 3))).isoformat()
    do.need(all(row in chosen or not start <= row["starts_at"][:10] <= last for row in rows))
    do.say(start=start, last=last)
    do.unknown("booking numbers")
    do.once("list_bookings", member_id=who, status="booked")
    refunds = [do.call("cancel_booking", booking_id=row["booking_id"])["refunded"] for row in chosen]
    do.tell("total", Kind.MONEY, sum(map(cents, refunds)), *(("bookings", row["booking_id"]) for row in chosen))


def injured(do: Composer) -> None:
    """Nothing for some months: courts are cancelled, courses left, the membership frozen."""
    do.need(not do.done.parts)  # what other parts would bring about before, this one would undo
    do.claim("bookings")
    member = somebody(do, lambda row: bool(ahead_of(do, row["member_id"])))
    who = member["member_id"]
    until = (TODAY + timedelta(days=do.random.randint(35, 170))).isoformat()
    do.say(until=until)
    do.unknown("booking numbers")
    do.once("list_bookings", member_id=who, status="booked")
    rows = sorted(ahead_of(do, who), key=lambda row: row["starts_at"])
    done: list[Any] = [do.call("cancel_booking", booking_id=row["booking_id"]) for row in rows]
    proof = [("bookings", row["booking_id"]) for row in done]
    courses = leavable(do, who)
    if courses and do.evolve("courses"):
        do.claim("courses")
        listed = do.once("list_enrolments", member_id=who, status="enrolled")["enrolments"]
        for row in listed:
            do.call("get_course", course_id=row["course_id"])
        for row in courses:
            done.append(do.call("leave_course", enrolment_id=row["enrolment_id"]))
            proof.append(("enrolments", row["enrolment_id"]))
    do.call("freeze_membership", member_id=who, until=until)
    do.tell("total", Kind.MONEY, sum(cents(row["refunded"]) for row in done), *proof)


def leavable(do: Composer, member_id: str) -> list[Row]:
    """Enrolments in courses that have not begun."""
    begins = {row["course_id"]: row["begins_on"] for row in do.rows("courses")}
    rows = do.rows("enrolments", member_id=member_id, status="enrolled")
    old = [row for row in rows if not do.has_written("enrolments", row["enrolment_id"])]
    return [row for row in old if begins[row["course_id"]] > do.world.spec.today]


def move_booking(do: Composer) -> None:
    """To another day on the same court, or on the cheapest one if it is taken."""
    do.share("bookings")
    booking, court = a_booking(do, lambda _: True)
    hours, chosen = booking["hours"], court["court_id"]
    member = do.row("members", booking["member_id"])
    starts_at, cheapest = a_time(do, hours), do.evolve("other_court")
    if cheapest and chance(do.random, TAKEN):
        starts_at = when_taken(do, chosen)
    do.need(starts_at[:10] != booking["starts_at"][:10])
    do.need(int(starts_at[11:13]) + hours <= CLOSES)
    do.say(new_day=starts_at[:10], time=starts_at[11:])
    free = free_then(do, member, court["sport"], starts_at, hours)
    if cheapest and chosen not in free:
        found = list(free.values())
        do.need(len(found) > 1 and cents(found[0]["price"]) < cents(found[1]["price"]))
        chosen = found[0]["court_id"]
    do.need(chosen in free)
    done = do.call("move_booking", booking_id=booking["booking_id"], court_id=chosen, starts_at=starts_at)
    row = ("bookings", booking["booking_id"])
    do.tell("price", Kind.MONEY, cents(done["price"]), row)
    do.tell("booking_number", Kind.ID, booking["booking_id"], row)


def add_guests(do: Composer) -> None:
    do.share("bookings")
    booking, _ = a_booking(do, lambda row: row["guests"] == 0)
    who, key = booking["member_id"], booking["booking_id"]
    member = do.row("members", who)
    guests, pay_with = guests_of(do, member, MOST_GUESTS)
    if do.evolve("passes_first"):
        pay_with = "passes" if member["guest_passes"] >= guests else "account"
    else:
        do.phrase("paid_so")
    done = do.call("add_guests", booking_id=key, guests=guests, pay_with=pay_with)
    do.tell("price", Kind.MONEY, booking["price"], ("bookings", key))
    do.tell("end", Kind.DATETIME, ends_at(booking["starts_at"], booking["hours"]), ("bookings", key))
    if do.evolve("balance"):
        do.tell("balance", Kind.MONEY, cents(done["balance"]), ("members", who))
