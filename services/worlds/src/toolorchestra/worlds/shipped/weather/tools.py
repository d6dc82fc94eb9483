"""What Halyard Weather Services' systems can do; the rules are those of policy.md."""

from datetime import date, timedelta
from typing import Annotated, Literal

from pydantic import Field, JsonValue

from toolorchestra.worlds.combinators import create, look_up, search, transition
from toolorchestra.worlds.errors import ToolRefusal
from toolorchestra.worlds.state import Database, money_text
from toolorchestra.worlds.tools import Amount, Day, cents, tool

from .rules import (
    CLAIM_DAYS,
    COVER_DAYS,
    COVER_MOVE_FEE,
    JOB_FEE,
    LICENCE_FEE,
    MOST_USERS,
    MOVE_DAYS,
    MOVE_FEE,
    NEW_ALERT,
    NEW_THRESHOLD,
    NOT_ENDED,
    YEAR_DAYS,
    Event,
    alert_fee,
    booked_visit,
    charge,
    check_payout,
    coverable,
    days_ahead,
    existing,
    far_enough,
    free_slot,
    licence_fee,
    payment_of,
    premium_of,
    renewable,
    renewal_fee,
    visit_fee,
    visit_refund,
)

Job = Literal["cleaning", "calibration", "repair"]
Product = Literal["daily", "hourly", "archive"]
Users = Annotated[int, Field(ge=1, le=MOST_USERS)]
Trigger = Literal[5, 10, 20]


@tool(side_effects="idempotent")
def pause_alert(db: Database, *, alert_id: str, paused_until: Day) -> JsonValue:
    """Pause an active alert; it goes on by itself.

    alert_id: The alert
    paused_until: Day on which it goes on, after today
    """
    alert = existing(db, "alerts", alert_id)
    if alert["status"] != "active":
        raise ToolRefusal("not_active", f"alert {alert_id} is {alert['status']}")
    if days_ahead(db, paused_until) <= 0:
        raise ToolRefusal("in_the_past", f"{paused_until} is not after today")
    return db.show("alerts", db.update("alerts", alert_id, status="paused", paused_until=paused_until))


@tool(side_effects="readOnly")
def list_visits(db: Database, *, customer_id: str, status: Literal["booked", "done", "cancelled"] | None = None) -> JsonValue:
    """List the visits that a customer has ordered, with engineer and time.

    customer_id: Whose visits
    status: Only those of this status
    """
    visits = db.find("visits", customer_id=customer_id, **({"status": status} if status else {}))
    slots = [db.show("slots", db.at("slots", row["slot_id"]), "engineer", "begins") for row in visits]
    shown: list[JsonValue] = [{**db.show("visits", row), **slot} for row, slot in zip(visits, slots, strict=True)]
    return {"found": len(visits), "visits": shown}


@tool(side_effects="readOnly")
def quote_visit(db: Database, *, station_id: str, job: Job) -> JsonValue:
    """Tell what a visit to a station would cost its keeper, without booking it.

    station_id: The station
    job: What the engineer is to do
    """
    station = existing(db, "stations", station_id)
    fee = visit_fee(station, job, db.spec.today)
    return {**db.show("stations", station), "job": job, "full_price": money_text(JOB_FEE[job]), "fee": money_text(fee)}


@tool(side_effects="destructive")
def book_visit(db: Database, *, customer_id: str, station_id: str, slot_id: str, job: Job) -> JsonValue:
    """Book an engineer for a station that the customer keeps; the fee is taken from the balance.

    customer_id: Keeper of the station
    station_id: The station
    slot_id: When: a free slot of the station's region
    job: What the engineer is to do
    """
    existing(db, "customers", customer_id)
    station = existing(db, "stations", station_id)
    if station["keeper_id"] != customer_id:
        raise ToolRefusal("not_keeper", f"customer {customer_id} does not keep station {station_id}")
    slot, fee = free_slot(db, slot_id, station), visit_fee(station, job, db.spec.today)
    balance = charge(db, customer_id, fee)
    taken = db.update("slots", slot_id, free=False)
    where = {"customer_id": customer_id, "station_id": station_id, "slot_id": slot_id}
    new = db.insert("visits", "VI", **where, job=job, fee=fee, status="booked")
    shown = db.show("slots", taken, "engineer", "begins")
    return {**db.show("visits", new), **shown, "region": slot["region"], "balance": balance}


@tool(side_effects="destructive")
def move_visit(db: Database, *, visit_id: str, slot_id: str) -> JsonValue:
    """Move a booked visit to another free slot of the region; late changes cost a fee.

    visit_id: The visit
    slot_id: The new slot
    """
    visit, before = booked_visit(db, visit_id)
    slot = free_slot(db, slot_id, db.at("stations", visit["station_id"]))
    fee = 0 if far_enough(db, before["begins"], MOVE_DAYS) else MOVE_FEE
    balance = charge(db, visit["customer_id"], fee)
    db.update("slots", before["slot_id"], free=True)
    taken = db.update("slots", slot["slot_id"], free=False)
    changed = db.update("visits", visit_id, slot_id=slot_id)
    moved = {"was": before["begins"], "change_fee": money_text(fee), "balance": balance}
    return {**db.show("visits", changed), **db.show("slots", taken, "engineer", "begins"), **moved}


@tool(side_effects="destructive")
def cancel_visit(db: Database, *, visit_id: str) -> JsonValue:
    """Cancel a booked visit and pay back what the rules say.

    visit_id: The visit
    """
    visit, slot = booked_visit(db, visit_id)
    refund = visit_refund(visit["fee"], slot["begins"], db.spec.clock)
    db.update("slots", slot["slot_id"], free=True)
    balance = charge(db, visit["customer_id"], -refund)
    changed = db.update("visits", visit_id, status="cancelled")
    back = {"refund": money_text(refund), "kept": money_text(visit["fee"] - refund), "balance": balance}
    return {**db.show("visits", changed), "begins": slot["begins"], **back}


@tool(side_effects="readOnly")
def quote_licence(db: Database, *, customer_id: str, product: Product, users: Users) -> JsonValue:
    """Tell what a new data licence would cost this customer for a year; renewing in time costs a tenth less.

    customer_id: Who buys
    product: Daily values, hourly values, or the archive
    users: How many people use it
    """
    customer = existing(db, "customers", customer_id)
    single, fee = LICENCE_FEE[product], licence_fee(customer["kind"], product, users)
    prices = {"one_user": money_text(single), "each_further_user": money_text(single // 5), "fee": money_text(fee)}
    return {**db.show("customers", customer), "product": product, "users": users, **prices}


@tool(side_effects="destructive")
def buy_licence(db: Database, *, customer_id: str, station_id: str, product: Product, users: Users) -> JsonValue:
    """Buy a year of a station's data; the fee is taken from the balance.

    customer_id: Who buys
    station_id: Whose data
    product: Daily values, hourly values, or the archive
    users: How many people use it
    """
    customer = existing(db, "customers", customer_id)
    existing(db, "stations", station_id)
    if db.find("licences", customer_id=customer_id, station_id=station_id, product=product):
        raise ToolRefusal("already_there", f"there is a {product} licence for {station_id}; renew it")
    fee = licence_fee(customer["kind"], product, users)
    balance = charge(db, customer_id, fee)
    until = (db.spec.clock.date() + timedelta(days=YEAR_DAYS)).isoformat()
    what = {"customer_id": customer_id, "station_id": station_id, "product": product, "valid_until": until}
    new = db.insert("licences", "LC", **what, users=users, fee=fee, status="active")
    return {**db.show("licences", new), "balance": balance}


@tool(side_effects="destructive")
def renew_licence(db: Database, *, licence_id: str) -> JsonValue:
    """Renew a data licence for a year; the fee is taken from the balance.

    licence_id: The licence
    """
    licence, today = existing(db, "licences", licence_id), db.spec.clock.date()
    if not renewable(licence, today):
        raise ToolRefusal("not_renewable", f"licence {licence_id} is valid until {licence['valid_until']}")
    fee = renewal_fee(db.at("customers", licence["customer_id"])["kind"], licence, db.spec.today)
    balance = charge(db, licence["customer_id"], fee)
    start = max(date.fromisoformat(licence["valid_until"]), today)
    until = (start + timedelta(days=YEAR_DAYS)).isoformat()
    changed = db.update("licences", licence_id, valid_until=until, fee=fee, status="active")
    return {**db.show("licences", changed), "was_valid_until": licence["valid_until"], "balance": balance}


@tool(side_effects="readOnly")
def quote_cover(db: Database, *, station_id: str, day: Day, trigger_mm: Trigger, payout: Amount) -> JsonValue:
    """Tell what rain cover would cost, without taking it.

    station_id: Station that measures
    day: Day of the event
    trigger_mm: Rain in mm from which all is paid
    payout: Paid at most, e.g. 500.00
    """
    station, forecast = coverable(db, station_id, day)
    premium = premium_of(cents(payout), forecast["rain_chance"], trigger_mm)
    return {**db.show("forecasts", forecast), "station": db.show("stations", station), "premium": money_text(premium)}


@tool(side_effects="destructive")
def take_cover(
    db: Database, *, customer_id: str, station_id: str, event: Event, day: Day, trigger_mm: Trigger, payout: Amount
) -> JsonValue:
    """Take rain cover for an event; the premium is taken from the balance.

    customer_id: Who is covered
    station_id: Station that measures
    event: What is covered
    day: Day of the event
    trigger_mm: Rain in mm from which all is paid
    payout: Paid at most, e.g. 500.00
    """
    check_payout(existing(db, "customers", customer_id), cents(payout))
    _, forecast = coverable(db, station_id, day)
    if db.find("policies", customer_id=customer_id, event=event, day=day):
        raise ToolRefusal("already_there", f"{event} is covered on {day} already")
    chance = forecast["rain_chance"]
    premium = premium_of(cents(payout), chance, trigger_mm)
    balance = charge(db, customer_id, premium)
    what = {"customer_id": customer_id, "station_id": station_id, "event": event, "day": day}
    terms = {"trigger_mm": trigger_mm, "payout": cents(payout), "chance_then": chance, "premium": premium, "paid_out": 0}
    new = db.insert("policies", "RP", **what, **terms, status="active")
    return {**db.show("policies", new), "balance": balance}


@tool(side_effects="destructive")
def move_cover(db: Database, *, policy_id: str, day: Day) -> JsonValue:
    """Move rain cover to another day; a fee and the difference in premium go through the balance.

    policy_id: The policy
    day: New day of the event
    """
    policy = existing(db, "policies", policy_id)
    if policy["status"] != "active" or days_ahead(db, policy["day"]) < COVER_DAYS:
        raise ToolRefusal("too_late", f"policy {policy_id} is {policy['status']}, for {policy['day']}")
    if day == policy["day"]:
        raise ToolRefusal("same_day", f"policy {policy_id} is for {day} already")
    _, forecast = coverable(db, policy["station_id"], day)
    chance = forecast["rain_chance"]
    premium = premium_of(policy["payout"], chance, policy["trigger_mm"])
    balance = charge(db, policy["customer_id"], premium - policy["premium"] + COVER_MOVE_FEE)
    changed = db.update("policies", policy_id, day=day, chance_then=chance, premium=premium)
    paid = {"old_premium": money_text(policy["premium"]), "fee": money_text(COVER_MOVE_FEE), "balance": balance}
    return {**db.show("policies", changed), **paid}


@tool(side_effects="destructive")
def claim_cover(db: Database, *, policy_id: str) -> JsonValue:
    """Claim on rain cover after the event; what the measured rain brings is paid to the balance.

    policy_id: The policy
    """
    policy = existing(db, "policies", policy_id)
    if policy["status"] != "active":
        raise ToolRefusal("already_claimed", f"policy {policy_id} is {policy['status']}")
    if not -CLAIM_DAYS <= days_ahead(db, policy["day"]) < 0:
        raise ToolRefusal("not_now", f"the event of policy {policy_id} is on {policy['day']}")
    found = db.find("observations", station_id=policy["station_id"], day=policy["day"])
    if not found or found[0]["quality"] != "checked":
        raise ToolRefusal("not_checked", f"what was measured on {policy['day']} has not been checked yet")
    amount = payment_of(policy, found[0]["rain_mm"])
    if amount == 0:
        raise ToolRefusal("too_dry", f"{found[0]['rain_mm']} mm were measured, which brings nothing")
    balance = charge(db, policy["customer_id"], -amount)
    changed = db.update("policies", policy_id, status="claimed", paid_out=amount)
    return {"policy": db.show("policies", changed), "observation": db.show("observations", found[0]), "balance": balance}


TOOLS = (
    look_up("find_customer", "customers", by="email"),
    look_up("find_station", "stations", by="name"),
    look_up("get_station", "stations"),
    search(
        "search_forecasts",
        "forecasts",
        {"station_id": ("station_id", "is"), "first_day": ("day", "from"), "last_day": ("day", "until")},
        description="The forecasts for a station, day by day, for today and ten days more.",
        required=("station_id",),
        order="day",
    ),
    search(
        "list_observations",
        "observations",
        {"station_id": ("station_id", "is"), "first_day": ("day", "from"), "last_day": ("day", "until")},
        description="What a station measured, day by day; at most 20 days are listed.",
        required=("station_id", "first_day"),
        order="day",
    ),
    search(
        "list_warnings",
        "warnings",
        {"region": ("region", "is"), "status": ("status", "is"), "hazard": ("hazard", "is")},
        description="List the warnings of a region, the first to begin first.",
        required=("region",),
        order="begins",
    ),
    search(
        "list_alerts",
        "alerts",
        {"customer_id": ("customer_id", "is"), "status": ("status", "is")},
        description="List the alerts of a customer.",
        required=("customer_id",),
    ),
    search(
        "search_slots",
        "slots",
        {"region": ("region", "is"), "first_day": ("begins", "from"), "last_day": ("begins", "until")},
        description="Find the free slots of the engineers in a region, the earliest first; at most 20 are listed.",
        required=("region", "first_day"),
        where={"free": True},
        order="begins",
    ),
    list_visits,
    search(
        "list_licences",
        "licences",
        {"customer_id": ("customer_id", "is"), "status": ("status", "is"), "last_day": ("valid_until", "until")},
        description="List the data licences of a customer, the first to run out first.",
        required=("customer_id",),
        order="valid_until",
    ),
    search(
        "list_policies",
        "policies",
        {"customer_id": ("customer_id", "is"), "status": ("status", "is")},
        description="List the rain cover of a customer, by day.",
        required=("customer_id",),
        order="day",
    ),
    quote_visit,
    quote_licence,
    quote_cover,
    book_visit,
    move_visit,
    cancel_visit,
    buy_licence,
    renew_licence,
    take_cover,
    move_cover,
    claim_cover,
    create(
        "add_alert",
        "alerts",
        "AL",
        ("customer_id", "station_id", "measure", "threshold", "channel"),
        description="Have a customer told when the forecast for a station reaches a threshold.",
        values={
            "monthly_fee": lambda _, row: alert_fee(row["channel"], row["measure"]),
            "paused_until": None,
            "status": "active",
        },
        requires=NEW_ALERT,
    ),
    transition(
        "change_alert",
        "alerts",
        description="Change the threshold of an alert.",
        arguments=("threshold",),
        to={},
        requires=NEW_THRESHOLD,
    ),
    pause_alert,
    transition(
        "end_alert",
        "alerts",
        description="End an alert for good.",
        to={"status": "ended", "paused_until": None},
        requires=(NOT_ENDED,),
    ),
)
