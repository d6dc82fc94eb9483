"""What customers of Hollowell Goods want: each intent does it once, and so becomes a task."""

from typing import Final

from toolorchestra.training.toolscale.composing import Composer, Fits, Intent, Row
from toolorchestra.training.toolscale.customers import Customers
from toolorchestra.training.toolscale.domain import make_domain
from toolorchestra.training.toolscale.domains.ecommerce.rows import CITIES, STREETS, draw_rows
from toolorchestra.worlds.tools import cents
from toolorchestra.worlds.values import Kind

LEAST_POINTS: Final = 200
NAME: Final = ("products", "name")
LABELS: Final = {
    "home": "my home address",
    "work": "my work address",
    "parents": "my parents' address",
    "cabin": "my cabin",
}
CUSTOMERS: Final = Customers("customers", "customer_id", "find_customer")
meet, somebody, is_theirs = CUSTOMERS.meet, CUSTOMERS.somebody, CUSTOMERS.owns


def an_order(do: Composer, status: str, fits: Fits = lambda _: True) -> Row:
    """An order of the customer, told by the day on which it was placed."""
    order = do.pick("orders", lambda row: is_theirs(do, row) and row["status"] == status and fits(row))
    who = order["customer_id"]
    do.need(len(do.rows("orders", customer_id=who, status=status, placed_on=order["placed_on"])) == 1)
    meet(do, who)
    do.say(day=order["placed_on"])
    do.unknown("order number")
    do.once("list_orders", customer_id=who, status=status)
    return order


def purse(do: Composer) -> str:
    found = do.random.choice(("card", "credit"))
    do.say(purse={"card": "card", "credit": "shop credit"}[found])
    return found


def buy(do: Composer) -> None:
    product = do.pick("products", lambda row: row["stock"] > 0)
    do.say(product=product["name"])
    do.once("find_product", name=product["name"])
    order_it(do, product)


def buy_cheapest(do: Composer) -> None:
    """The cheapest of a category, or the cheapest that is rated well enough."""
    category = do.pick("products")["category"]
    do.say(category=category)
    wanted = {"category": category}
    least = 0.0
    if do.evolve("well_rated"):
        least = do.random.choice((3.5, 4.0, 4.5))
        do.say(rating=str(least))
        wanted["rating"] = least
    found = do.call("search_products", **wanted)["products"]
    in_stock = [row for row in found if row["stock"] >= 1]
    do.need(len(in_stock) > 1 and in_stock[0]["price"] != in_stock[1]["price"])
    product = do.row("products", in_stock[0]["product_id"])
    do.tell("product", Kind.TEXT, product["name"], ("products", product["product_id"]), column=NAME)
    order_it(do, product)


def order_it(do: Composer, product: Row) -> None:
    """Where to, how, with what; perhaps with a coupon or a limit."""
    customer = somebody(do)
    who = customer["customer_id"]
    quantity = do.random.randint(1, min(4, product["stock"]))
    shipping, paid_with = do.random.choice(("standard", "express")), purse(do)
    address = do.choose(do.rows("addresses", customer_id=who))
    do.say(quantity=quantity, shipping=shipping, label=LABELS[address["label"]])
    do.once("list_addresses", customer_id=who)
    terms: Row = {"customer_id": who, "product_id": product["product_id"], "quantity": quantity, "shipping": shipping}
    if do.evolve("coupon"):
        do.once("list_coupons", customer_id=who, status="active")
        goods, today = product["price"] * quantity, do.world.spec.today
        usable = [
            row
            for row in do.rows("coupons", customer_id=who, status="active")
            if row["expires_on"] >= today and row["least"] <= goods
        ]
        do.need(len({row["percent"] for row in usable}) == len(usable) > 0)
        terms["coupon_id"] = max(usable, key=lambda row: int(row["percent"]))["coupon_id"]
    total = cents(do.call("quote_order", **terms)["total"])
    do.tell("total", Kind.MONEY, total, ("products", product["product_id"]), ("customers", who))
    if do.evolve("limit"):
        within = do.at_most(total)
        if not within:
            return
    done = do.call("place_order", **terms, address_id=address["address_id"], paid_with=paid_with)
    do.tell("order_number", Kind.ID, done["order_id"], ("orders", done["order_id"]))


def cancel_order(do: Composer) -> None:
    """An order told by what is in it, so that all that might be meant are looked into."""
    order = do.pick("orders", lambda row: is_theirs(do, row) and row["status"] == "placed")
    who = order["customer_id"]
    product = do.row("products", do.rows("order_items", order_id=order["order_id"])[0]["product_id"])
    meet(do, who)
    do.say(product=product["name"])
    do.unknown("order number")
    do.once("find_product", name=product["name"])
    listed = do.once("list_orders", customer_id=who, status="placed")["orders"]
    lines = [one for row in listed for one in do.once("list_items", order_id=row["order_id"])["order_items"]]
    do.need(sum(one["product_id"] == product["product_id"] for one in lines) == 1)
    refund_to = purse(do)
    if do.evolve("condition"):
        do.call("get_order", order_id=order["order_id"])
        worth_it = do.at_least(order["total"])
        if not worth_it:
            do.tell("paid", Kind.MONEY, order["total"], ("orders", order["order_id"]))
            return
    done = do.call("cancel_order", order_id=order["order_id"], refund_to=refund_to)
    do.tell("paid", Kind.MONEY, cents(done["total"]), ("orders", order["order_id"]))
    if refund_to == "credit":
        do.tell("credit", Kind.MONEY, cents(done["credit"]), ("customers", who))


def make_express(do: Composer) -> None:
    order = an_order(do, "placed", lambda row: row["shipping"] == "standard")
    do.once("get_order", order_id=order["order_id"])
    done = do.call("make_express", order_id=order["order_id"])
    do.tell("new_total", Kind.MONEY, cents(done["total"]), ("orders", order["order_id"]))
    do.tell("credit", Kind.MONEY, cents(done["credit"]), ("customers", order["customer_id"]))


def send_elsewhere(do: Composer) -> None:
    """To another address, known already or new."""
    order = an_order(do, "placed")
    who = order["customer_id"]
    if do.evolve("new_address"):
        street, city = f"{do.random.randint(1, 180)} {do.random.choice(STREETS)}", do.random.choice(CITIES)
        label = do.random.choice(("work", "parents", "cabin"))
        do.say(street=street, city=city, new_label=label)
        address = do.call("add_address", customer_id=who, label=label, street=street, city=city)["address_id"]
        do.tell("address_number", Kind.ID, address, ("addresses", address))
    else:
        others = [row for row in do.rows("addresses", customer_id=who) if row["address_id"] != order["address_id"]]
        chosen = do.choose(others)
        do.say(label=LABELS[chosen["label"]])
        do.phrase("known_address")
        do.once("list_addresses", customer_id=who)
        address = chosen["address_id"]
        do.tell("street", Kind.TEXT, chosen["street"], ("addresses", address), column=("addresses", "street"))
    done = do.call("send_elsewhere", order_id=order["order_id"], address_id=address)
    do.tell("total", Kind.MONEY, cents(done["total"]), ("orders", order["order_id"]))


def returnable(do: Composer, customer_id: str | None) -> list[tuple[Row, Row]]:
    """Lines that can go back, with their orders."""
    delivered = {
        row["order_id"]: row
        for row in do.rows("orders", status="delivered")
        if customer_id in (None, row["customer_id"]) and row["delivered_on"] >= "2026-03-15"
    }
    lines = do.rows("order_items", returned=False)
    return [(line, delivered[line["order_id"]]) for line in lines if line["order_id"] in delivered]


def return_product(do: Composer) -> None:
    """One product of an order that has to be found among several."""
    line, order = do.choose(returnable(do, do.shared.get("customer")))
    who, product = order["customer_id"], do.row("products", line["product_id"])
    reason = do.random.choice(("damaged", "wrong_item", "changed_mind"))
    words = {"damaged": "it arrived damaged", "wrong_item": "it isn't what I ordered", "changed_mind": "I've changed my mind"}
    meet(do, who)
    do.say(product=product["name"], reason=words[reason])
    do.unknown("order number", "item number")
    do.once("find_product", name=product["name"])
    listed = do.once("list_orders", customer_id=who, status="delivered")["orders"]
    lines = [one for row in listed for one in do.once("list_items", order_id=row["order_id"])["order_items"]]
    do.need(sum(one["product_id"] == product["product_id"] for one in lines) == 1)
    done = do.call("return_item", item_id=line["item_id"], reason=reason, refund_to=purse(do))
    do.tell("refund", Kind.MONEY, cents(done["amount"]), ("order_items", line["item_id"]))
    do.tell("return_number", Kind.ID, done["return_id"], ("returns", done["return_id"]))


def return_order(do: Composer) -> None:
    """Everything of one order."""
    lines = returnable(do, do.shared.get("customer"))
    counts: dict[str, int] = {}
    for line, _ in lines:
        counts[line["order_id"]] = counts.get(line["order_id"], 0) + 1
    order = an_order(do, "delivered", lambda row: counts.get(row["order_id"], 0) > 1)
    mine = [line for line, one in lines if one["order_id"] == order["order_id"]]
    do.call("list_items", order_id=order["order_id"])
    refund_to, total = purse(do), 0
    for line in mine:
        done = do.call("return_item", item_id=line["item_id"], reason="damaged", refund_to=refund_to)
        total += cents(done["amount"])
    do.tell("refund", Kind.MONEY, total, *(("order_items", line["item_id"]) for line in mine))


def redeem_points(do: Composer) -> None:
    waiting = {row["customer_id"] for row in do.rows("returns", status="open")}
    customer = somebody(do, lambda row: row["points"] >= LEAST_POINTS and row["customer_id"] in waiting)
    points = do.random.randrange(100, customer["points"] // 100 * 100 + 1, 100)
    do.say(points=points)
    done = do.call("redeem_points", customer_id=customer["customer_id"], points=points)
    me = ("customers", customer["customer_id"])
    do.tell("credit", Kind.MONEY, cents(done["credit"]), me)
    do.need(customer["points"] > points)
    do.tell("points_left", Kind.NUMBER, done["points"], me)
    returns = do.call("list_returns", customer_id=customer["customer_id"], status="open")["returns"]
    rows = (("returns", row["return_id"]) for row in returns)
    do.tell("open_returns", Kind.MONEY, sum(cents(row["amount"]) for row in returns), *rows)


def a_subscription(do: Composer) -> Row:
    """A subscription of the customer, told by its product."""
    found = do.pick("subscriptions", lambda row: is_theirs(do, row) and row["status"] == "active")
    meet(do, found["customer_id"])
    product = do.row("products", found["product_id"])
    do.say(product=product["name"])
    do.unknown("subscription number")
    do.once("find_product", name=product["name"])
    do.once("list_subscriptions", customer_id=found["customer_id"])
    return found


def pause_subscription(do: Composer) -> None:
    found = a_subscription(do)
    until = f"2026-{do.random.choice(('06', '07', '08'))}-{do.random.randint(1, 28):02d}"
    do.say(until=until)
    do.call("pause_subscription", subscription_id=found["subscription_id"], next_on=until)
    do.tell("price", Kind.MONEY, found["price"], ("subscriptions", found["subscription_id"]))
    do.tell("was_next", Kind.DATE, found["next_on"], ("subscriptions", found["subscription_id"]))


def change_interval(do: Composer) -> None:
    weeks = do.random.choice((3, 5, 7, 9, 10, 12))
    found = a_subscription(do)
    do.say(weeks=weeks)
    do.call("change_interval", subscription_id=found["subscription_id"], weeks=weeks)
    do.tell("next_on", Kind.DATE, found["next_on"], ("subscriptions", found["subscription_id"]))
    do.tell("price", Kind.MONEY, found["price"], ("subscriptions", found["subscription_id"]))


def end_dearest(do: Composer) -> None:
    """Of several subscriptions the one that costs most."""

    def active(customer_id: str) -> list[Row]:
        return do.rows("subscriptions", customer_id=customer_id, status="active")

    customer = somebody(do, lambda row: len(active(row["customer_id"])) > 1)
    rows = sorted(active(customer["customer_id"]), key=lambda row: -int(row["price"]))
    do.need(rows[0]["price"] > rows[1]["price"])
    do.once("list_subscriptions", customer_id=customer["customer_id"])
    product = do.once("get_product", product_id=rows[0]["product_id"])
    do.call("end_subscription", subscription_id=rows[0]["subscription_id"])
    do.tell("product", Kind.TEXT, product["name"], ("products", product["product_id"]), column=NAME)
    left = rows[1:]
    total = sum(row["price"] for row in left)
    do.tell("remaining", Kind.MONEY, total, *(("subscriptions", row["subscription_id"]) for row in left))


def review(do: Composer) -> None:
    line, order = do.choose(returnable(do, do.shared.get("customer")))
    who, product = order["customer_id"], do.row("products", line["product_id"])
    do.need(not do.rows("reviews", product_id=product["product_id"], customer_id=who))
    meet(do, who)
    stars = do.random.randint(1, 5)
    said = {1: "it fell apart", 2: "it disappoints", 3: "it's all right", 4: "it's good", 5: "I love it"}[stars]
    do.say(product=product["name"], stars=stars, said=said)
    do.once("find_product", name=product["name"])
    do.once("list_orders", customer_id=who, status="delivered")
    done = do.call("write_review", product_id=product["product_id"], customer_id=who, stars=stars, words=said)
    do.tell("review_number", Kind.ID, done["review_id"], ("reviews", done["review_id"]))
    do.tell("price", Kind.MONEY, product["price"], ("products", product["product_id"]))


def track(do: Composer) -> None:
    order = an_order(do, "shipped")
    shipment = do.call("track_order", order_id=order["order_id"])["shipments"][0]
    row = ("shipments", shipment["shipment_id"])
    do.tell("expected", Kind.DATE, shipment["expected_on"], row)
    do.tell("carrier", Kind.TEXT, shipment["carrier"], row, column=("shipments", "carrier"))
    lines = do.call("list_items", order_id=order["order_id"])["order_items"]
    worth = sum(cents(line["unit_price"]) * line["quantity"] for line in lines)
    do.tell("worth", Kind.MONEY, worth, *(("order_items", line["item_id"]) for line in lines))


def total_open(do: Composer) -> None:
    """What was paid for everything that has not arrived."""

    def coming(customer_id: str) -> list[Row]:
        return [row for row in do.rows("orders", customer_id=customer_id) if row["status"] in ("placed", "shipped")]

    customer = somebody(do, lambda row: len(coming(row["customer_id"])) > 1)
    do.once("list_orders", customer_id=customer["customer_id"])
    orders = coming(customer["customer_id"])
    for order in orders:
        do.once("get_order", order_id=order["order_id"])
    do.unknown("order numbers")
    do.tell("total", Kind.MONEY, sum(row["total"] for row in orders), *(("orders", row["order_id"]) for row in orders))


INTENTS: Final = (
    Intent("buy", buy, ("coupon", "limit")),
    Intent("buy_cheapest", buy_cheapest, ("well_rated", "coupon", "limit")),
    Intent("cancel_order", cancel_order, ("condition",)),
    Intent("make_express", make_express),
    Intent("send_elsewhere", send_elsewhere, ("new_address",)),
    Intent("return_product", return_product),
    Intent("return_order", return_order),
    Intent("redeem_points", redeem_points),
    Intent("pause_subscription", pause_subscription),
    Intent("change_interval", change_interval),
    Intent("end_dearest", end_dearest),
    Intent("review", review),
    Intent("track", track),
    Intent("total_open", total_open),
)
DOMAIN: Final = make_domain(__file__, INTENTS, draw_rows)
