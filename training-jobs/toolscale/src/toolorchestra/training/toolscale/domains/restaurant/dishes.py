"""What guests want with dishes: order them ahead or to take away, mind allergens, cancel them."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from toolorchestra.training.toolscale.composing import Composer, Row
from toolorchestra.training.toolscale.domains.restaurant.rows import MIDNIGHT
from toolorchestra.training.toolscale.domains.restaurant.steps import (
    TAKEN,
    a_purse,
    a_reservation,
    dishes_for,
    say_portions,
    somebody,
)
from toolorchestra.training.toolscale.draws import chance
from toolorchestra.worlds.shipped.restaurant.tools import seats_guests, takeaway_price
from toolorchestra.worlds.tools import cents
from toolorchestra.worlds.values import Kind

DISH: Final = ("dishes", "name")
ALLERGENS: Final = ("gluten", "dairy", "nuts", "fish", "shellfish", "egg", "sesame")
COURSES: Final = {"starter": "starter", "main": "main course", "dessert": "dessert"}


def contains(dish: Row, allergens: Sequence[str]) -> bool:
    return not set(allergens).isdisjoint(dish["allergens"].split(", "))


def minding(do: Composer, menu: Sequence[Row]) -> Row:
    """A dish by its name, or another one if it contains what somebody must not eat."""
    dish = do.choose(menu)
    if do.evolve("allergy"):
        bad = chance(do.random, TAKEN)
        dish = do.choose([row for row in menu if (row["allergens"] != "none") is bad or not bad])
        allergen = do.choose([one for one in ALLERGENS if contains(dish, [one]) is bad])
        other = do.choose([row for row in menu if row["dish_id"] != dish["dish_id"] and not contains(row, [allergen])])
        do.say(allergen=allergen, other=other["name"], dish=dish["name"])
        return dict(other if bad else dish)
    do.say(dish=dish["name"])
    return dict(dish)


def order_ahead(do: Composer) -> None:
    """A dish for a reservation, by its name."""
    do.share("orders")
    found, venue = a_reservation(do)
    dish = minding(do, do.rows("dishes", venue_id=venue["venue_id"]))
    portions = do.random.randint(1, found["party"])
    say_portions(do, portions)
    do.once("find_dishes", venue_id=venue["venue_id"])
    order = {"reservation_id": found["reservation_id"], "dish_id": dish["dish_id"], "portions": portions}
    done = do.call("preorder_dish", **order, pay_with=a_purse(do))
    tell_order(do, done)


def tell_order(do: Composer, done: Row) -> None:
    row = ("orders", done["order_id"])
    do.tell("price", Kind.MONEY, cents(done["price"]), row)
    do.tell("order_number", Kind.ID, done["order_id"], row)


def suited(do: Composer, menu: Sequence[Row]) -> tuple[Row, Row]:
    """The cheapest dish of a course that everybody can eat, and how it was searched for."""
    course = do.random.choice(sorted(COURSES))
    do.say(course=COURSES[course])
    found = [row for row in menu if row["course"] == course]
    if do.evolve("vegan"):
        search: Row = {"course": course, "vegan": True}
        found = [row for row in found if row["vegan"]]
    else:
        avoided = sorted(do.random.sample(ALLERGENS, do.random.randint(1, 2)))
        do.phrase("free_of")
        do.say(avoided=" or ".join(avoided))
        search = {"course": course, "free_of": avoided}
        found = [row for row in found if not contains(row, avoided)]
    do.need(len(found) > 1)
    return min(found, key=lambda row: int(row["price"])), search


def order_for_all(do: Composer) -> None:
    """One portion for everybody who comes, of what suits all."""
    do.share("orders")
    found, venue = a_reservation(do)
    dish, search = suited(do, do.rows("dishes", venue_id=venue["venue_id"]))
    do.once("find_dishes", venue_id=venue["venue_id"], **search)
    order = {"reservation_id": found["reservation_id"], "dish_id": dish["dish_id"], "portions": found["party"]}
    done = do.call("preorder_dish", **order, pay_with=a_purse(do))
    do.tell("dish", Kind.TEXT, dish["name"], ("dishes", dish["dish_id"]), column=DISH)
    tell_order(do, done)


def order_menu(do: Composer) -> None:
    """A starter, a main course and a dessert for everybody, without what somebody must not eat."""
    do.share("orders")
    found, venue = a_reservation(do)
    avoided = sorted(do.random.sample(ALLERGENS, do.random.randint(1, 2)))
    do.say(avoided=" or ".join(avoided))
    menu = [row for row in do.rows("dishes", venue_id=venue["venue_id"]) if not contains(row, avoided)]
    chosen = []
    for course in ("starter", "main", "dessert"):
        fit = [row for row in menu if row["course"] == course]
        do.need(bool(fit))
        chosen.append(min(fit, key=lambda row: int(row["price"])))
        do.once("find_dishes", venue_id=venue["venue_id"], course=course, free_of=avoided)
    order = {"reservation_id": found["reservation_id"], "portions": found["party"], "pay_with": a_purse(do)}
    done = [do.call("preorder_dish", **order, dish_id=row["dish_id"]) for row in chosen]
    do.tell("main", Kind.TEXT, chosen[1]["name"], ("dishes", chosen[1]["dish_id"]), column=DISH)
    do.tell("total", Kind.MONEY, sum(cents(row["price"]) for row in done), *(("orders", row["order_id"]) for row in done))


def pick_up(do: Composer, venue: Row) -> str:
    """A moment of the next days at which the restaurant hands out food."""
    start = MIDNIGHT + timedelta(days=do.random.randint(1, 6), hours=do.random.randint(13, 19))
    found = (start + timedelta(minutes=do.random.choice((0, 15, 30, 45)))).strftime("%Y-%m-%dT%H:%M")
    do.need(seats_guests(venue, found))
    do.say(day=found[:10], time=found[11:])
    return found


def fetch(do: Composer, guest: Row, dish: Row, ready_at: str) -> None:
    """Order it to be taken away, within the limit if there is one."""
    portions = do.random.randint(1, 5)
    say_portions(do, portions)
    purse, price = a_purse(do), takeaway_price(dish, portions)
    if do.evolve("limit"):
        within = do.at_most(price)
        if not within:
            do.tell("price", Kind.MONEY, price, ("dishes", dish["dish_id"]))
            return
    order = {"guest_id": guest["guest_id"], "dish_id": dish["dish_id"], "portions": portions, "ready_at": ready_at}
    tell_order(do, do.call("order_takeaway", **order, pay_with=purse))


def takeaway(do: Composer) -> None:
    """A dish by its name."""
    do.share("orders")
    venue, guest = do.pick("venues"), somebody(do)
    ready_at = pick_up(do, venue)
    do.say(venue=venue["name"])
    dish = minding(do, do.rows("dishes", venue_id=venue["venue_id"], takeaway=True))
    do.once("find_venue", name=venue["name"])
    do.once("find_dishes", venue_id=venue["venue_id"])
    fetch(do, guest, dish, ready_at)


def takeaway_for_all(do: Composer) -> None:
    """What suits all, of the dishes that can be taken away."""
    do.share("orders")
    venue, guest = do.pick("venues"), somebody(do)
    ready_at = pick_up(do, venue)
    do.say(venue=venue["name"])
    do.once("find_venue", name=venue["name"])
    dish, search = suited(do, do.rows("dishes", venue_id=venue["venue_id"], takeaway=True))
    do.once("find_dishes", venue_id=venue["venue_id"], **search)
    do.tell("dish", Kind.TEXT, dish["name"], ("dishes", dish["dish_id"]), column=DISH)
    fetch(do, guest, dish, ready_at)


def cancel_dishes(do: Composer) -> None:
    """Everything that was ordered ahead for one reservation."""
    do.share("orders")
    found, _ = a_reservation(do, lambda row: bool(dishes_for(do, row["reservation_id"])))
    orders = dishes_for(do, found["reservation_id"])
    do.once("list_orders", guest_id=found["guest_id"], status="placed")
    done = [do.call("cancel_order", order_id=row["order_id"]) for row in orders]
    do.tell("total", Kind.MONEY, sum(cents(row["price"]) for row in done), *(("orders", row["order_id"]) for row in orders))
    do.tell("balance", Kind.MONEY, cents(done[-1]["credit"]), ("guests", found["guest_id"]))
