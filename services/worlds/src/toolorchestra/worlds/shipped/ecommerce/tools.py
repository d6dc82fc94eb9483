"""What Hollowell Goods' systems can do; the rules are those of policy.md."""

from datetime import date, timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import Field, JsonValue

from toolorchestra.worlds.combinators import Require, create, look_up, search, transition
from toolorchestra.worlds.errors import ToolRefusal
from toolorchestra.worlds.state import Database, money_text
from toolorchestra.worlds.tools import tool

Shipping = Literal["standard", "express"]
Purse = Literal["card", "credit"]
Quantity = Annotated[int, Field(ge=1, le=20)]
STANDARD_FEE: Final = 395
EXPRESS_FEE: Final = 895
FREE_FROM: Final = 5000
LABEL_FEE: Final = 250
RETURN_DAYS: Final = 30
POINTS: Final = 100  # worth one of the currency
MOST_WEEKS, MOST_STARS = 12, 5


def existing(db: Database, table: str, key: str) -> dict[str, Any]:
    row = db.get(table, key)
    if row is None:
        raise ToolRefusal("not_found", f"there is no {key!r} in {table.replace('_', ' ')}")
    return row


def placed(db: Database, order_id: str) -> dict[str, Any]:
    order = existing(db, "orders", order_id)
    if order["status"] != "placed":
        raise ToolRefusal("too_late", f"order {order_id} is {order['status']}")
    return order


def pay(db: Database, customer_id: str, amount: int) -> None:
    """Take from the credit, or add to it where the amount is negative."""
    credit = db.at("customers", customer_id)["credit"]
    if credit < amount:
        raise ToolRefusal("insufficient_credit", f"the credit is {money_text(credit)}, {money_text(amount)} are needed")
    db.update("customers", customer_id, credit=credit - amount)


def credit_of(db: Database, customer_id: str) -> str:
    return money_text(db.at("customers", customer_id)["credit"])


def fee_of(goods: int, shipping: str) -> int:
    """The shipping fee in cents."""
    if shipping == "express":
        return EXPRESS_FEE
    return 0 if goods >= FREE_FROM else STANDARD_FEE


def discounted(db: Database, customer_id: str, goods: int, coupon_id: str | None) -> int:
    """The price of the goods in cents after the coupon, if there is one."""
    if coupon_id is None:
        return goods
    coupon = existing(db, "coupons", coupon_id)
    if coupon["customer_id"] != customer_id:
        raise ToolRefusal("not_theirs", f"coupon {coupon_id} belongs to another customer")
    if coupon["status"] != "active" or coupon["expires_on"] < db.spec.today:
        raise ToolRefusal("not_valid", f"coupon {coupon_id} is {coupon['status']} or has expired")
    if goods < coupon["least"]:
        raise ToolRefusal("too_small", f"coupon {coupon_id} needs goods of {money_text(coupon['least'])}")
    return goods * (100 - int(coupon["percent"])) // 100


@tool(side_effects="readOnly")
def quote_order(
    db: Database, *, customer_id: str, product_id: str, quantity: Quantity, shipping: Shipping, coupon_id: str | None = None
) -> JsonValue:
    """Tell what an order would cost, without placing it.

    customer_id: Who orders
    product_id: What is ordered
    quantity: How many
    shipping: How it is sent
    coupon_id: A coupon to be used
    """
    customer, product = existing(db, "customers", customer_id), existing(db, "products", product_id)
    goods = discounted(db, customer_id, product["price"] * quantity, coupon_id)
    fee = fee_of(goods, shipping)
    return {
        **db.show("products", product, "product_id", "price", "stock"),
        **db.show("customers", customer, "customer_id", "credit"),
        "goods": money_text(goods),
        "shipping_fee": money_text(fee),
        "total": money_text(goods + fee),
    }


@tool(side_effects="destructive")
def place_order(
    db: Database,
    *,
    customer_id: str,
    product_id: str,
    quantity: Quantity,
    address_id: str,
    shipping: Shipping,
    paid_with: Purse,
    coupon_id: str | None = None,
) -> JsonValue:
    """Order a product.

    customer_id: Who orders
    product_id: What is ordered
    quantity: How many
    address_id: Where it goes
    shipping: How it is sent
    paid_with: Stored card, or shop credit
    coupon_id: A coupon to be used
    """
    existing(db, "customers", customer_id)
    product = existing(db, "products", product_id)
    if existing(db, "addresses", address_id)["customer_id"] != customer_id:
        raise ToolRefusal("not_theirs", f"address {address_id} belongs to another customer")
    if product["stock"] < quantity:
        raise ToolRefusal("out_of_stock", f"{product['stock']} of {product_id} are left")
    goods = discounted(db, customer_id, product["price"] * quantity, coupon_id)
    fee = fee_of(goods, shipping)
    if paid_with == "credit":
        pay(db, customer_id, goods + fee)
    if coupon_id is not None:
        db.update("coupons", coupon_id, status="used")
    db.update("products", product_id, stock=product["stock"] - quantity)
    order = db.insert(
        "orders",
        "OR",
        customer_id=customer_id,
        address_id=address_id,
        placed_on=db.spec.today,
        shipping=shipping,
        shipping_fee=fee,
        goods=goods,
        total=goods + fee,
        paid_with=paid_with,
        status="placed",
        delivered_on=None,
        refunded_to=None,
    )
    line: dict[str, Any] = {"product_id": product_id, "quantity": quantity, "unit_price": goods // quantity, "returned": False}
    db.insert("order_items", "IT", order_id=order["order_id"], **line)
    return {**db.show("orders", order), "quantity": quantity, "credit": credit_of(db, customer_id)}


@tool(side_effects="destructive")
def cancel_order(db: Database, *, order_id: str, refund_to: Purse) -> JsonValue:
    """Cancel an order that has not been shipped, and pay it back.

    order_id: The order
    refund_to: Where the money goes
    """
    order = placed(db, order_id)
    if refund_to == "card" and order["paid_with"] == "credit":
        raise ToolRefusal("not_to_card", f"order {order_id} was paid with credit")
    for item in db.find("order_items", order_id=order_id):
        product = db.at("products", item["product_id"])
        db.update("products", item["product_id"], stock=product["stock"] + item["quantity"])
    if refund_to == "credit":
        pay(db, order["customer_id"], -order["total"])
    changed = db.update("orders", order_id, status="cancelled", refunded_to=refund_to)
    return {**db.show("orders", changed), "credit": credit_of(db, order["customer_id"])}


@tool(side_effects="destructive")
def make_express(db: Database, *, order_id: str) -> JsonValue:
    """Send an order by express instead; the difference is taken from the credit.

    order_id: The order
    """
    order = placed(db, order_id)
    if order["shipping"] == "express":
        raise ToolRefusal("already_express", f"order {order_id} is sent by express already")
    extra = EXPRESS_FEE - order["shipping_fee"]
    pay(db, order["customer_id"], extra)
    changed = db.update("orders", order_id, shipping="express", shipping_fee=EXPRESS_FEE, total=order["total"] + extra)
    return {**db.show("orders", changed), "charged": money_text(extra), "credit": credit_of(db, order["customer_id"])}


@tool(side_effects="destructive")
def return_item(
    db: Database, *, item_id: str, reason: Literal["damaged", "wrong_item", "changed_mind"], refund_to: Purse
) -> JsonValue:
    """Return one line of a delivered order, with all of its quantity.

    item_id: The line of the order
    reason: Why it goes back
    refund_to: Where the money goes
    """
    item = existing(db, "order_items", item_id)
    order = db.at("orders", item["order_id"])
    if item["returned"] or order["status"] != "delivered":
        raise ToolRefusal("not_returnable", f"item {item_id} was returned already, or its order is {order['status']}")
    if date.fromisoformat(order["delivered_on"]) + timedelta(days=RETURN_DAYS) < db.spec.clock.date():
        raise ToolRefusal("too_late", f"order {order['order_id']} was delivered more than {RETURN_DAYS} days ago")
    amount = item["unit_price"] * item["quantity"] - (LABEL_FEE if reason == "changed_mind" else 0)
    db.update("order_items", item_id, returned=True)
    if refund_to == "credit":
        pay(db, order["customer_id"], -amount)
    new = db.insert(
        "returns",
        "RT",
        item_id=item_id,
        customer_id=order["customer_id"],
        reason=reason,
        amount=amount,
        refund_to=refund_to,
        opened_on=db.spec.today,
        status="refunded" if refund_to == "credit" else "open",
    )
    return {**db.show("returns", new), **db.show("order_items", item), "credit": credit_of(db, order["customer_id"])}


@tool(side_effects="destructive")
def redeem_points(db: Database, *, customer_id: str, points: Annotated[int, Field(ge=POINTS, multiple_of=POINTS)]) -> JsonValue:
    """Turn reward points into shop credit.

    customer_id: Whose points
    points: How many, by the hundred
    """
    customer = existing(db, "customers", customer_id)
    if customer["points"] < points:
        raise ToolRefusal("not_enough", f"there are {customer['points']} points")
    changed = db.update("customers", customer_id, points=customer["points"] - points, credit=customer["credit"] + points)
    return db.show("customers", changed, "customer_id", "points", "credit")


def delivered_to(db: Database, row: Any) -> bool:
    lines = db.find("order_items", product_id=row["product_id"])
    orders = (db.at("orders", line["order_id"]) for line in lines)
    return any(order["customer_id"] == row["customer_id"] and order["status"] == "delivered" for order in orders)


NOT_ENDED: Final = Require(lambda _, row: row["status"] != "ended", "ended", "subscription {subscription_id} has ended")
STILL_PLACED: Final = Require(lambda _, row: row["status"] == "placed", "too_late", "order {order_id} is {status}")
OWN_ADDRESS: Final = Require(
    lambda db, row: db.at("addresses", row["new_address_id"])["customer_id"] == row["customer_id"],
    "not_theirs",
    "address {new_address_id} belongs to another customer",
)
TOOLS = (
    look_up("find_customer", "customers", by="email"),
    look_up("get_customer", "customers"),
    look_up("find_product", "products", by="name"),
    look_up("get_product", "products"),
    look_up("get_order", "orders"),
    search(
        "search_products",
        "products",
        {
            "category": ("category", "is"),
            "most": ("price", "until"),
            "rating": ("rating", "from"),
            "words": ("name", "contains"),
        },
        description="Find products of a category, the cheapest first.",
        required=("category",),
        order="price",
    ),
    search(
        "list_orders",
        "orders",
        {"customer_id": ("customer_id", "is"), "status": ("status", "is"), "placed_from": ("placed_on", "from")},
        description="List the orders of a customer in short, the oldest first; get_order and list_items have the rest.",
        required=("customer_id",),
        order="placed_on",
        show=("order_id", "placed_on", "status", "shipping"),
    ),
    search(
        "list_items",
        "order_items",
        {"order_id": ("order_id", "is")},
        description="List the lines of an order.",
        required=("order_id",),
    ),
    search(
        "track_order",
        "shipments",
        {"order_id": ("order_id", "is")},
        description="Where an order is that has been shipped; empty if it has not.",
        required=("order_id",),
    ),
    search(
        "list_addresses",
        "addresses",
        {"customer_id": ("customer_id", "is"), "label": ("label", "is")},
        description="List the addresses of a customer.",
        required=("customer_id",),
    ),
    search(
        "list_coupons",
        "coupons",
        {"customer_id": ("customer_id", "is"), "status": ("status", "is")},
        description="List the coupons of a customer, the first to expire first.",
        required=("customer_id",),
        order="expires_on",
    ),
    search(
        "list_subscriptions",
        "subscriptions",
        {"customer_id": ("customer_id", "is"), "status": ("status", "is")},
        description="List the subscriptions of a customer.",
        required=("customer_id",),
    ),
    search(
        "list_returns",
        "returns",
        {"customer_id": ("customer_id", "is"), "status": ("status", "is")},
        description="List the returns of a customer, the oldest first.",
        required=("customer_id",),
        order="opened_on",
    ),
    quote_order,
    place_order,
    cancel_order,
    make_express,
    return_item,
    redeem_points,
    transition(
        "send_elsewhere",
        "orders",
        description="Send an order to another address of the customer.",
        arguments=("address_id",),
        to={},
        requires=(STILL_PLACED, OWN_ADDRESS),
    ),
    create(
        "add_address",
        "addresses",
        "AD",
        ("customer_id", "label", "street", "city"),
        description="Add an address to an account.",
    ),
    transition(
        "pause_subscription",
        "subscriptions",
        description="Pause a subscription; next_on is the day on which it goes on.",
        arguments=("next_on",),
        to={"status": "paused"},
        requires=(
            NOT_ENDED,
            Require(lambda db, row: row["new_next_on"] > db.spec.today, "in_the_past", "{new_next_on} is not after today"),
        ),
    ),
    transition(
        "change_interval",
        "subscriptions",
        description="Change the weeks between two deliveries of a subscription.",
        arguments=("weeks",),
        to={},
        requires=(
            NOT_ENDED,
            Require(lambda _, row: 1 <= row["new_weeks"] <= MOST_WEEKS, "not_offered", "1 to 12 weeks are offered"),
        ),
    ),
    transition(
        "end_subscription",
        "subscriptions",
        description="End a subscription for good.",
        to={"status": "ended"},
        requires=(NOT_ENDED,),
    ),
    create(
        "write_review",
        "reviews",
        "RV",
        ("product_id", "customer_id", "stars", "words"),
        description="Review a product that was delivered.",
        values={"written_on": lambda db, _: db.spec.today},
        requires=(
            Require(lambda _, row: 1 <= row["stars"] <= MOST_STARS, "not_stars", "stars are from 1 to 5"),
            Require(delivered_to, "not_delivered", "{product_id} was not delivered to this customer"),
            Require(
                lambda db, row: not db.find("reviews", product_id=row["product_id"], customer_id=row["customer_id"]),
                "already_reviewed",
                "this customer has reviewed {product_id}",
            ),
        ),
    ),
)
