"""Rows of Hollowell Goods: products that stay, customers with what they have ordered, returned, saved and subscribed to."""

from collections.abc import Iterator
from datetime import date, timedelta
from random import Random
from typing import Any, Final, TypeAlias

from toolorchestra.training.toolscale.draws import chance, some, weighted
from toolorchestra.training.toolscale.names import draw_people
from toolorchestra.worlds.shipped.ecommerce.tools import LABEL_FEE, fee_of

Row: TypeAlias = dict[str, Any]
Tables: TypeAlias = dict[str, list[Row]]
TODAY: Final = date(2026, 4, 13)
CUSTOMERS: Final = 120
HANDLING, ARRIVED = 4, 12  # days until an order is sent, and until it has arrived
MODELS: Final = (
    "Alder Birch Cedar Drift Ember Fjord Granite Harbour Indigo Juniper Kelp Linden Meadow North Onyx Pebble Quarry Rowan "
    "Slate Thistle Umber Willow"
)
CATEGORIES: Final = {
    "kettle": (2900, 9900, 1200),
    "lamp": (1900, 14900, 1800),
    "chair": (4900, 24900, 6500),
    "blanket": (2500, 8900, 1100),
    "backpack": (3900, 15900, 900),
    "speaker": (3500, 29900, 1400),
    "knife": (1500, 12900, 300),
    "clock": (1200, 7900, 500),
}
STREETS: Final = ("Mill Lane", "Orchard Road", "Station Street", "Canal Walk", "Hill Rise", "Old Market", "Church Row")
CITIES: Final = ("Aldersea", "Brookhaven", "Crestwick", "Dunmere", "Eastholm", "Fenbridge", "Garrow", "Highmoor")
CARRIERS: Final = ("Parcel Fox", "Redwheel", "Norpost")


def draw_rows(random: Random) -> Tables:
    """All tables; every reference leads to a row, every amount follows from the shop's rules."""
    tables: Tables = {"products": list(_products(random)), "customers": list(_customers(random))}
    tables["addresses"] = list(_addresses(random, tables["customers"]))
    tables["orders"], tables["order_items"] = _orders(random, tables)
    tables["shipments"] = list(_shipments(random, tables["orders"]))
    tables["returns"] = list(_returns(random, tables))
    tables["coupons"] = list(_coupons(random, tables["customers"]))
    tables["subscriptions"] = list(_subscriptions(random, tables))
    tables["reviews"] = list(_reviews(random, tables))
    return tables


def _keys(random: Random, prefix: str, count: int) -> Iterator[str]:
    return (f"{prefix}-{number}" for number in random.sample(range(10_000, 99_999), count))


def _day(days: int) -> str:
    return (TODAY + timedelta(days=days)).isoformat()


def _products(random: Random) -> Iterator[Row]:
    keys = _keys(random, "PR", 200)
    for category, (least, most, weight) in CATEGORIES.items():
        for model in some(random, MODELS.split(), 14):
            yield {
                "product_id": next(keys),
                "name": f"{model} {category.title()}",
                "category": category,
                "price": random.randrange(least, most, 50) + random.choice((0, 45, 49)),
                "stock": weighted(random, (0, 0.06), (random.randint(1, 5), 0.14), (random.randint(6, 200), 0.8)),
                "rating": round(random.uniform(2.6, 5.0), 1),
                "weight_grams": weight + random.randrange(-200, 400, 10),
                "warranty_months": random.choice((12, 24, 36)),
            }


def _customers(random: Random) -> Iterator[Row]:
    for key, person in zip(_keys(random, "CU", CUSTOMERS), draw_people(random, CUSTOMERS), strict=True):
        yield {
            "customer_id": key,
            "name": person.name,
            "email": person.email,
            "member_since": _day(-random.randint(200, 2500)),
            "points": random.randrange(0, 3000, 5),
            "credit": weighted(random, (0, 0.15), (random.randrange(500, 40_000, 5), 0.85)),
        }


def _addresses(random: Random, customers: list[Row]) -> Iterator[Row]:
    keys = _keys(random, "AD", CUSTOMERS * 4)
    for customer in customers:
        for label in ("home", *some(random, ("work", "parents", "cabin"), random.randint(0, 2))):
            street = f"{random.randint(1, 180)} {random.choice(STREETS)}"
            place = {"label": label, "street": street, "city": random.choice(CITIES)}
            yield {"address_id": next(keys), "customer_id": customer["customer_id"], **place}


def _orders(random: Random, tables: Tables) -> tuple[list[Row], list[Row]]:
    orders: list[Row] = []
    items: list[Row] = []
    keys, lines = _keys(random, "OR", CUSTOMERS * 6), _keys(random, "IT", CUSTOMERS * 20)
    for customer in tables["customers"]:
        homes = [row for row in tables["addresses"] if row["customer_id"] == customer["customer_id"]]
        for age in random.sample(range(75), random.randint(2, 5)):
            address = random.choice(homes)["address_id"]
            order = {"order_id": next(keys), "customer_id": customer["customer_id"], "address_id": address}
            bought = [
                {
                    "item_id": next(lines),
                    "order_id": order["order_id"],
                    "product_id": product["product_id"],
                    "quantity": weighted(random, (1, 0.7), (2, 0.2), (3, 0.1)),
                    "unit_price": product["price"],
                    "returned": False,
                }
                for product in some(random, tables["products"], random.randint(1, 3))
            ]
            items += bought
            orders.append({**order, **_terms(random, age, sum(row["unit_price"] * row["quantity"] for row in bought))})
    return orders, items


def _terms(random: Random, age: int, goods: int) -> Row:
    """What an order of ``age`` days has come to."""
    shipping = weighted(random, ("standard", 0.8), ("express", 0.2))
    fee = fee_of(goods, shipping)
    status = "placed" if age < HANDLING or chance(random, 0.2) else "shipped" if age < ARRIVED else "delivered"
    if chance(random, 0.05):
        status = "cancelled"
    paid_with = weighted(random, ("card", 0.7), ("credit", 0.3))
    return {
        "placed_on": _day(-age),
        "shipping": shipping,
        "shipping_fee": fee,
        "goods": goods,
        "total": goods + fee,
        "paid_with": paid_with,
        "status": status,
        "delivered_on": _day(-age + random.randint(2, 9)) if status == "delivered" else None,
        "refunded_to": paid_with if status == "cancelled" else None,
    }


def _shipments(random: Random, orders: list[Row]) -> Iterator[Row]:
    keys = _keys(random, "SH", len(orders))
    for order in (row for row in orders if row["status"] == "shipped"):
        shipped = date.fromisoformat(order["placed_on"]) + timedelta(days=random.randint(1, 4))
        yield {
            "shipment_id": next(keys),
            "order_id": order["order_id"],
            "carrier": random.choice(CARRIERS),
            "shipped_on": min(shipped, TODAY).isoformat(),
            "expected_on": _day(random.randint(1, 9)),
        }


def _returns(random: Random, tables: Tables) -> Iterator[Row]:
    """Some lines of delivered orders; these lines are marked."""
    orders = {row["order_id"]: row for row in tables["orders"]}
    lines = [row for row in tables["order_items"] if orders[row["order_id"]]["status"] == "delivered"]
    keys = _keys(random, "RT", len(lines))
    for line in some(random, lines, len(lines) // 6):
        line["returned"] = True
        order = orders[line["order_id"]]
        opened = min(date.fromisoformat(order["delivered_on"]) + timedelta(days=random.randint(1, 20)), TODAY)
        reason, refund_to = random.choice(("damaged", "wrong_item", "changed_mind")), random.choice(("card", "credit"))
        yield {
            "return_id": next(keys),
            "item_id": line["item_id"],
            "customer_id": order["customer_id"],
            "reason": reason,
            "amount": line["unit_price"] * line["quantity"] - (LABEL_FEE if reason == "changed_mind" else 0),
            "refund_to": refund_to,
            "opened_on": opened.isoformat(),
            "status": "refunded" if refund_to == "credit" or chance(random, 0.3) else "open",
        }


def _coupons(random: Random, customers: list[Row]) -> Iterator[Row]:
    keys = _keys(random, "CO", CUSTOMERS * 3)
    for customer in customers:
        for _ in range(weighted(random, (0, 0.3), (1, 0.4), (2, 0.3))):
            yield {
                "coupon_id": next(keys),
                "customer_id": customer["customer_id"],
                "percent": random.choice((5, 10, 15, 20)),
                "least": random.choice((2000, 4000, 6000)),
                "expires_on": _day(random.randint(-40, 90)),
                "status": weighted(random, ("active", 0.75), ("used", 0.25)),
            }


def _subscriptions(random: Random, tables: Tables) -> Iterator[Row]:
    keys = _keys(random, "SU", CUSTOMERS * 3)
    for customer in tables["customers"]:
        for product in some(random, tables["products"], weighted(random, (0, 0.4), (1, 0.3), (2, 0.2), (3, 0.1))):
            yield {
                "subscription_id": next(keys),
                "customer_id": customer["customer_id"],
                "product_id": product["product_id"],
                "weeks": random.choice((2, 4, 6, 8)),
                "price": product["price"] * 9 // 10,
                "next_on": _day(random.randint(2, 50)),
                "status": weighted(random, ("active", 0.75), ("paused", 0.15), ("ended", 0.1)),
            }


def _reviews(random: Random, tables: Tables) -> Iterator[Row]:
    orders = {row["order_id"]: row for row in tables["orders"]}
    words = {1: "Broke at once.", 2: "Not what I hoped for.", 3: "It does its work.", 4: "Good value.", 5: "I'd buy it again."}
    lines = [row for row in tables["order_items"] if orders[row["order_id"]]["status"] == "delivered"]
    keys, seen = _keys(random, "RV", len(lines)), set[tuple[str, str]]()
    for line in some(random, lines, len(lines) // 4):
        who = orders[line["order_id"]]["customer_id"]
        if (who, line["product_id"]) not in seen:
            seen.add((who, line["product_id"]))
            stars = random.randint(1, 5)
            written = date.fromisoformat(orders[line["order_id"]]["delivered_on"]) + timedelta(days=random.randint(0, 3))
            yield {
                "review_id": next(keys),
                "product_id": line["product_id"],
                "customer_id": who,
                "stars": stars,
                "written_on": min(written, TODAY).isoformat(),
                "words": words[stars],
            }
