"""What guests want with tables: reserve, wait, move, come with more or fewer people, cancel."""

from datetime import date, timedelta
from typing import Any, Final

from toolorchestra.training.toolscale.composing import Composer, Row
from toolorchestra.training.toolscale.domains.restaurant.steps import (
    PLACES,
    SAFE,
    TAKEN,
    a_purse,
    a_reservation,
    a_time,
    coming,
    dishes_for,
    refund_for,
    say_portions,
    say_when,
    somebody,
)
from toolorchestra.training.toolscale.draws import chance
from toolorchestra.worlds.shipped.restaurant.tools import ends_at
from toolorchestra.worlds.tools import cents
from toolorchestra.worlds.values import Kind

VENUE: Final = ("venues", "name")
LARGEST: Final = (7, 8)  # parties for which each restaurant has one table


def taken_time(do: Composer, fits: Any) -> Row:
    """A reservation that somebody else has, whose table is therefore not to be had then."""
    known = do.shared.get("customer")
    return do.pick(
        "reservations",
        lambda row: row["status"] == "confirmed" and row["starts_at"] > SAFE and row["guest_id"] != known and fits(row),
    )


def free_places(do: Composer, guest: Row, venue: Row, starts_at: str, party: int) -> tuple[set[str], int]:
    """The places where a table is free for the party, and the deposit."""
    who = guest["guest_id"]
    found = do.call("free_tables", guest_id=who, venue_id=venue["venue_id"], starts_at=starts_at, party=party)
    return {row["place"] for row in found["dining_tables"]}, cents(found["deposit"])


def reserve_it(do: Composer, guest: Row, venue: Row, starts_at: str, party: int, place: str) -> Row:
    where = {"guest_id": guest["guest_id"], "venue_id": venue["venue_id"]}
    new: Row = do.call("reserve_table", **where, starts_at=starts_at, party=party, place=place)
    row = ("reservations", new["reservation_id"])
    do.claim(row[1])
    do.tell("reservation_number", Kind.ID, row[1], row)
    if cents(new["deposit"]):
        do.tell("deposit", Kind.MONEY, cents(new["deposit"]), row)
    return new


def reserve(do: Composer) -> None:
    """A table in a restaurant by its name; in another place if there is none."""
    do.share("reservations")
    venue, party = do.pick("venues"), do.random.randint(2, 6)
    starts_at = a_time(do, venue)
    place, other = do.random.sample(sorted(PLACES), 2)
    second = do.evolve("other_place")
    if second and chance(do.random, TAKEN):
        taken = taken_time(do, lambda row: row["party"] in (4, 6))
        table = do.row("dining_tables", taken["table_id"])
        venue, party, starts_at = do.row("venues", taken["venue_id"]), taken["party"], taken["starts_at"]
        place, other = table["place"], do.choose([one for one in sorted(PLACES) if one != table["place"]])
    guest = somebody(do)
    do.say(venue=venue["name"], place=PLACES[place])
    say_when(do, starts_at, party)
    if second:
        do.say(other=PLACES[other])
    do.once("find_venue", name=venue["name"])
    places, deposit = free_places(do, guest, venue, starts_at, party)
    chosen = place if place in places or not second else other
    do.need(chosen in places)
    if deposit and do.evolve("deposit_limit"):
        within = do.at_most(deposit)
        if not within:
            do.tell("deposit", Kind.MONEY, deposit, ("venues", venue["venue_id"]), ("guests", guest["guest_id"]))
            return
    new = reserve_it(do, guest, venue, starts_at, party, chosen)
    do.tell("until", Kind.DATETIME, ends_at(starts_at, party), ("reservations", new["reservation_id"]))
    if do.evolve("dish"):
        add_dish(do, guest, new)


def add_dish(do: Composer, guest: Row, reservation: Row) -> None:
    """A dish that is ordered ahead for the new reservation."""
    dish = do.choose(do.rows("dishes", venue_id=reservation["venue_id"]))
    portions = do.random.randint(1, reservation["party"])
    say_portions(do, portions)
    do.say(dish=dish["name"])
    do.call("find_dishes", venue_id=reservation["venue_id"])
    order = {"reservation_id": reservation["reservation_id"], "dish_id": dish["dish_id"], "portions": portions}
    done = do.call("preorder_dish", **order, pay_with=a_purse(do))
    do.tell("dish_price", Kind.MONEY, cents(done["price"]), ("orders", done["order_id"]), ("guests", guest["guest_id"]))


def reserve_or_wait(do: Composer) -> None:
    """A large party: the one table, or the waiting list."""
    do.share("reservations")
    venue, party = do.pick("venues"), do.random.choice(LARGEST)
    starts_at = a_time(do, venue)
    if chance(do.random, TAKEN):
        taken = taken_time(do, lambda row: row["party"] in LARGEST)
        venue, starts_at = do.row("venues", taken["venue_id"]), taken["starts_at"]
    guest = somebody(do)
    do.say(venue=venue["name"])
    say_when(do, starts_at, party)
    do.once("find_venue", name=venue["name"])
    places, _ = free_places(do, guest, venue, starts_at, party)
    wish = {"guest_id": guest["guest_id"], "venue_id": venue["venue_id"], "starts_at": starts_at, "party": party}
    if places:
        new = do.call("reserve_table", **wish, place=min(places))
        row = ("reservations", new["reservation_id"])
    else:
        row = ("waiting_list", do.call("join_waiting_list", **wish)["entry_id"])
    do.claim(row[1])
    do.tell("number", Kind.ID, row[1], row)
    do.tell("until", Kind.DATETIME, ends_at(starts_at, party), row)


def best_rated(do: Composer) -> None:
    """The best rated restaurant of a kind that has a table."""
    do.share("reservations")
    first, party = do.pick("venues"), do.random.randint(2, 6)
    starts_at, place = a_time(do, first), do.random.choice(sorted(PLACES))
    wanted = {"cuisine": first["cuisine"]}
    if do.evolve("dogs"):
        wanted["dogs"] = True
    if chance(do.random, TAKEN):
        taken = taken_time(do, lambda row: row["party"] in (4, 6) and row["venue_id"] == first["venue_id"])
        starts_at, party, place = taken["starts_at"], taken["party"], do.row("dining_tables", taken["table_id"])["place"]
    guest = somebody(do)
    do.say(cuisine=first["cuisine"].replace("italian", "Italian").replace("levantine", "Levantine"), place=PLACES[place])
    say_when(do, starts_at, party)
    do.call("search_venues", **wanted)
    found = sorted(do.rows("venues", **wanted), key=lambda row: -float(row["rating"]))
    do.need(len(found) > 1)
    for venue in found:
        if place in free_places(do, guest, venue, starts_at, party)[0]:
            do.tell("venue", Kind.TEXT, venue["name"], ("venues", venue["venue_id"]), column=VENUE)
            reserve_it(do, guest, venue, starts_at, party, place)
            return
    do.need(holds=False)


def cancel_reservation(do: Composer) -> None:
    do.share("reservations")
    found, venue = a_reservation(do, lambda row: row["deposit"] > 0 and not dishes_for(do, row["reservation_id"]))
    key, refund = found["reservation_id"], refund_for(do, found, venue)
    if do.evolve("condition"):
        worth_it = do.at_least(refund)
        do.tell("possible_refund", Kind.MONEY, refund, ("reservations", key), ("venues", venue["venue_id"]))
        if not worth_it:
            return
    else:
        do.tell("refund", Kind.MONEY, refund, ("reservations", key))
    done = do.call("cancel_reservation", reservation_id=key)
    if do.evolve("balance"):
        do.tell("balance", Kind.MONEY, cents(done["credit"]), ("guests", found["guest_id"]))


def away(do: Composer) -> None:
    """Every reservation within some days, and none outside."""
    do.claim("reservations")
    guest = somebody(do, lambda row: sum(one["deposit"] > 0 for one in coming(do, row["guest_id"])) > 1)
    rows = coming(do, guest["guest_id"])
    first, size = do.random.randrange(len(rows)), do.random.randint(1, 3)
    chosen = rows[first : first + size]
    do.need(chosen[0]["starts_at"] > SAFE and len(chosen) < len(rows))
    dishes = [order for row in chosen for order in dishes_for(do, row["reservation_id"])]
    do.need(not dishes or do.evolve("dishes"))
    start = (date.fromisoformat(chosen[0]["starts_at"][:10]) - timedelta(days=do.random.randint(0, 2))).isoformat()
    last = (date.fromisoformat(chosen[-1]["starts_at"][:10]) + timedelta(days=do.random.randint(0, 2))).isoformat()
    do.need(all(row in chosen or not start <= row["starts_at"][:10] <= last for row in rows))
    do.need(start < last)
    do.say(start=start, last=last)
    do.unknown("reservation numbers")
    do.once("list_reservations", guest_id=guest["guest_id"], status="confirmed")
    refunds = [do.call("cancel_reservation", reservation_id=row["reservation_id"])["refunded"] for row in chosen]
    total = sum(map(cents, refunds))
    do.need(total > 0)
    do.tell("total", Kind.MONEY, total, *(("reservations", row["reservation_id"]) for row in chosen))
    if dishes:
        do.share("orders")
        do.once("list_orders", guest_id=guest["guest_id"], status="placed")
        done = [do.call("cancel_order", order_id=row["order_id"]) for row in dishes]
        returned = sum(cents(row["price"]) for row in done)
        do.tell("dishes_total", Kind.MONEY, returned, *(("orders", row["order_id"]) for row in dishes))


def move_reservation(do: Composer) -> None:
    """To another day in the same restaurant; in another place if there is no table."""
    do.share("reservations")
    found, venue = a_reservation(do, lambda row: not dishes_for(do, row["reservation_id"]))
    party, starts_at = found["party"], a_time(do, venue)
    place, other = do.random.sample(sorted(PLACES), 2)
    second = do.evolve("other_place")
    if second and chance(do.random, TAKEN):
        taken = taken_time(do, lambda row: row["venue_id"] == venue["venue_id"])
        starts_at, place = taken["starts_at"], do.row("dining_tables", taken["table_id"])["place"]
        other = do.choose([one for one in sorted(PLACES) if one != place])
    do.need(starts_at[:10] != found["starts_at"][:10])
    do.say(new_day=starts_at[:10], time=starts_at[11:], place=PLACES[place])
    if second:
        do.say(other=PLACES[other])
    places, _ = free_places(do, do.row("guests", found["guest_id"]), venue, starts_at, party)
    chosen = place if place in places or not second else other
    do.need(chosen in places)
    done = do.call("move_reservation", reservation_id=found["reservation_id"], starts_at=starts_at, place=chosen)
    row = ("reservations", found["reservation_id"])
    do.tell("reservation_number", Kind.ID, row[1], row)
    do.tell("until", Kind.DATETIME, ends_at(starts_at, party), row)
    if cents(done["deposit"]):
        do.tell("deposit", Kind.MONEY, cents(done["deposit"]), row)


def change_party(do: Composer) -> None:
    """More people, or fewer."""
    do.share("reservations")
    found, _ = a_reservation(do, lambda row: not dishes_for(do, row["reservation_id"]))
    party = do.choose([number for number in range(2, 9) if number != found["party"]])
    do.say(party=party)
    done = do.call("change_party", reservation_id=found["reservation_id"], party=party)
    row = ("reservations", found["reservation_id"])
    do.tell("until", Kind.DATETIME, ends_at(found["starts_at"], party), row)
    if cents(done["deposit"]):
        do.tell("deposit", Kind.MONEY, cents(done["deposit"]), row)
    else:
        do.tell("reservation_number", Kind.ID, row[1], row)


def deposits(do: Composer) -> None:
    """What is held for all coming reservations, and where the next one is."""
    do.claim("reservations")
    guest = somebody(do, lambda row: sum(one["deposit"] > 0 for one in coming(do, row["guest_id"])) > 1)
    rows = coming(do, guest["guest_id"])
    do.once("list_reservations", guest_id=guest["guest_id"], status="confirmed")
    venue = do.once("get_venue", venue_id=rows[0]["venue_id"])
    do.tell(
        "total", Kind.MONEY, sum(row["deposit"] for row in rows), *(("reservations", row["reservation_id"]) for row in rows)
    )
    do.tell("venue", Kind.TEXT, venue["name"], ("venues", venue["venue_id"]), column=VENUE)
    do.tell("next", Kind.DATETIME, rows[0]["starts_at"], ("reservations", rows[0]["reservation_id"]))
