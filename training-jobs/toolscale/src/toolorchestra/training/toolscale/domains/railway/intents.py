"""What passengers of Northmark Rail want: each intent does it once, and so becomes a task."""

from typing import Any, Final

from toolorchestra.training.toolscale.composing import Composer, Intent
from toolorchestra.training.toolscale.domain import make_domain
from toolorchestra.training.toolscale.domains.railway.rows import draw_rows
from toolorchestra.training.toolscale.domains.railway.steps import (
    a_booking,
    ahead,
    book_one,
    somebody,
    trains_between,
    wallet_or_card,
    wanted_train,
)
from toolorchestra.worlds.tools import cents
from toolorchestra.worlds.values import Kind

STATION: Final = ("stations", "name")
LATE: Final = 30  # minutes from which a delay is paid for
LEAST_POINTS: Final = 300


def cancel_booking(do: Composer) -> None:
    booking, _ = a_booking(do, "confirmed", lambda row: row["ticket_type"] != "advance", ahead)
    key, refund_to = booking["booking_id"], wallet_or_card(do)
    refund = cents(do.call("quote_refund", booking_id=key)["refund"])
    go_on = True
    if do.evolve("condition"):
        go_on = do.at_least(refund)
    if go_on:
        done = do.call("cancel_booking", booking_id=key, refund_to=refund_to)
        if refund_to == "wallet" and do.evolve("balance"):
            do.tell("balance", Kind.MONEY, cents(done["wallet"]), ("passengers", booking["passenger_id"]))
    do.tell("refund", Kind.MONEY, refund, ("bookings", key))


def cancelled_train(do: Composer) -> None:
    booking, train = a_booking(do, "confirmed", lambda _: True, lambda row: row["status"] == "cancelled")
    reports = do.call("list_disruptions", train_id=train["train_id"])["disruptions"]
    do.need(len(reports) == 1)
    do.tell(
        "cause", Kind.TEXT, reports[0]["cause"], ("disruptions", reports[0]["disruption_id"]), column=("disruptions", "cause")
    )
    done = do.call("cancel_booking", booking_id=booking["booking_id"], refund_to=wallet_or_card(do))
    do.tell("refund", Kind.MONEY, cents(done["amount"]), ("bookings", booking["booking_id"]))
    if do.evolve("rebook"):
        others = trains_between(do, train["origin_id"], train["destination_id"], train["departs"][:10])
        book_one(do, [row for row in others if ahead(row)], booking["travel_class"], "advance", booking["seats"])


def book_trip(do: Composer) -> None:
    sample = do.pick("trains", ahead)
    person = somebody(do)
    trains = trains_between(do, sample["origin_id"], sample["destination_id"], sample["departs"][:10])
    travel_class, seats = do.random.choice(("standard", "standard", "first")), do.random.randint(1, 4)
    ticket_type = do.random.choice(("advance", "semi_flexible", "flexible"))
    paid_with = do.random.choice(("card", "wallet"))
    terms = {"travel_class": travel_class, "ticket_type": ticket_type, "seats": seats}
    do.say(travel_class=travel_class, ticket_type=ticket_type.replace("_", "-"), seats=seats, paid_with=paid_with)
    free = [row for row in trains if ahead(row) and row[f"{travel_class}_seats"] >= seats]
    do.need(len(trains) > 1 and bool(free))
    train = wanted_train(do, free, f"{travel_class}_fare")
    quote = do.call("quote_fare", train_id=train["train_id"], passenger_id=person["passenger_id"], **terms)
    fare = cents(quote["fare"])
    do.tell("fare", Kind.MONEY, fare, ("trains", train["train_id"]), ("passengers", person["passenger_id"]))
    if do.evolve("budget"):
        within = do.at_most(fare)
        if not within:
            return
    where = {"passenger_id": person["passenger_id"], "train_id": train["train_id"]}
    booking = do.call("book_train", **where, **terms, paid_with=paid_with)
    do.tell("booking_number", Kind.ID, booking["booking_id"], ("bookings", booking["booking_id"]))
    if do.evolve("bicycles"):
        bicycles = do.random.randint(1, seats)
        do.say(bicycles=bicycles)
        do.call("reserve_bicycles", booking_id=booking["booking_id"], bicycles=bicycles)


def change_train(do: Composer) -> None:
    booking, train = a_booking(do, "confirmed", lambda row: row["ticket_type"] != "advance", ahead)
    days = sorted(
        {row["departs"][:10] for row in do.rows("trains", origin_id=train["origin_id"], destination_id=train["destination_id"])}
    )
    do.say(old_day=train["departs"][:10])
    new_day = do.choose([day for day in days if day > train["departs"][:10]])
    trains = trains_between(do, train["origin_id"], train["destination_id"], new_day)
    free = [row for row in trains if ahead(row) and row[f"{booking['travel_class']}_seats"] >= booking["seats"]]
    do.need(bool(free))
    do.say(new_day=new_day)
    last = do.evolve("last_train")
    if not last:
        do.phrase("first_train")
    new = free[-1] if last else free[0]
    done = do.call("change_train", booking_id=booking["booking_id"], train_id=new["train_id"])
    charged = cents(done["charged"]) if not done["charged"].startswith("-") else 0
    do.need(charged > 0)
    do.tell("charged", Kind.MONEY, charged, ("bookings", booking["booking_id"]))
    do.tell("departure", Kind.DATETIME, new["departs"], ("trains", new["train_id"]))


def upgrade(do: Composer) -> None:
    booking, train = a_booking(do, "confirmed", lambda row: row["travel_class"] == "standard", ahead)
    who, key = booking["passenger_id"], booking["booking_id"]
    if do.evolve("condition"):
        held = do.call("get_booking", booking_id=key)
        terms = {"ticket_type": booking["ticket_type"], "seats": booking["seats"]}
        quote = do.call("quote_fare", train_id=train["train_id"], passenger_id=who, travel_class="first", **terms)
        price = cents(quote["fare"]) - cents(held["fare"])
        do.need(price > 0)
        affordable = do.at_most(price)
        if not affordable:
            do.tell("price", Kind.MONEY, price, ("bookings", key), ("trains", train["train_id"]))
            return
    done = do.call("upgrade_booking", booking_id=key)
    do.tell("price", Kind.MONEY, cents(done["charged"]), ("bookings", key))
    if do.evolve("balance"):
        do.tell("balance", Kind.MONEY, cents(done["wallet"]), ("passengers", who))


def delay_compensation(do: Composer) -> None:
    claimed = {row["booking_id"] for row in do.rows("refunds", reason="delay")}
    booking, train = a_booking(
        do, "travelled", lambda row: row["booking_id"] not in claimed, lambda row: row["delay_minutes"] >= LATE
    )
    if do.evolve("cause"):
        reports = do.call("list_disruptions", train_id=train["train_id"])["disruptions"]
        do.need(len(reports) == 1)
        report = ("disruptions", reports[0]["disruption_id"])
        do.tell("cause", Kind.TEXT, reports[0]["cause"], report, column=("disruptions", "cause"))
    done = do.call("claim_delay_compensation", booking_id=booking["booking_id"], refund_to=wallet_or_card(do))
    do.tell("compensation", Kind.MONEY, cents(done["amount"]), ("bookings", booking["booking_id"]))
    do.tell("delay", Kind.NUMBER, train["delay_minutes"], ("trains", train["train_id"]))


def all_compensations(do: Composer) -> None:
    """Every late journey of a customer; the finder of one has to look at all."""
    trains = {row["train_id"]: row for row in do.rows("trains")}
    claimed = {row["booking_id"] for row in do.rows("refunds", reason="delay")}

    def late(passenger_id: str) -> list[Any]:
        made = do.rows("bookings", passenger_id=passenger_id, status="travelled")
        open_claims = [row for row in made if row["booking_id"] not in claimed]
        return [row for row in open_claims if trains[row["train_id"]]["delay_minutes"] >= LATE]

    person = somebody(do, lambda row: len(late(row["passenger_id"])) > 1)
    who, due = person["passenger_id"], late(person["passenger_id"])
    do.unknown("booking numbers", "which trains were late")
    listed = do.call("list_bookings", passenger_id=who, status="travelled")["bookings"]
    do.once("list_refunds", passenger_id=who)
    for booking in listed:
        do.once("get_train", train_id=booking["train_id"])
    paid_to, total = wallet_or_card(do), 0
    for booking in sorted(due, key=lambda row: row["booking_id"]):
        total += cents(do.call("claim_delay_compensation", booking_id=booking["booking_id"], refund_to=paid_to)["amount"])
    do.tell("total", Kind.MONEY, total, *(("bookings", row["booking_id"]) for row in due))


def redeem_vouchers(do: Composer) -> None:
    today = do.world.spec.today

    def usable(passenger_id: str) -> list[Any]:
        rows = do.rows("vouchers", passenger_id=passenger_id, status="active")
        return [row for row in rows if str(row["expires_on"]) >= today]

    person = somebody(do, lambda row: bool(usable(row["passenger_id"])))
    vouchers = sorted(usable(person["passenger_id"]), key=lambda row: (row["expires_on"], row["voucher_id"]))
    do.call("list_vouchers", passenger_id=person["passenger_id"], status="active")
    do.unknown("voucher numbers")
    if len(vouchers) > 1 and do.evolve("first_to_expire"):
        do.need(vouchers[0]["expires_on"] < vouchers[1]["expires_on"])
        kept = vouchers[1]
        vouchers = vouchers[:1]
        do.tell("next_expiry", Kind.DATE, kept["expires_on"], ("vouchers", kept["voucher_id"]))
    wallet = ""
    for voucher in vouchers:
        wallet = do.call("redeem_voucher", voucher_id=voucher["voucher_id"])["wallet"]
    do.tell("balance", Kind.MONEY, cents(wallet), ("passengers", person["passenger_id"]))


def renew_railcard(do: Composer) -> None:
    def renewable(passenger_id: str) -> list[Any]:
        return [row for row in do.rows("railcards", passenger_id=passenger_id) if row["status"] != "suspended"]

    person = somebody(do, lambda row: len(renewable(row["passenger_id"])) == 1)
    card = renewable(person["passenger_id"])[0]
    years = do.random.randint(1, 3)
    do.say(kind=card["kind"], years=years)
    do.call("list_railcards", passenger_id=person["passenger_id"])
    do.unknown("railcard number")
    if do.evolve("condition"):
        affordable = do.at_most(card["yearly_fee"] * years)
        if not affordable:
            do.tell("valid_until", Kind.DATE, card["valid_until"], ("railcards", card["railcard_id"]))
            return
    done = do.call("renew_railcard", railcard_id=card["railcard_id"], years=years)
    do.tell("valid_until", Kind.DATE, done["valid_until"], ("railcards", card["railcard_id"]))
    do.tell("balance", Kind.MONEY, cents(done["wallet"]), ("passengers", person["passenger_id"]))


def claim_lost_item(do: Composer) -> None:
    item = do.pick("lost_items", lambda row: row["status"] == "stored")
    person = somebody(do, lambda row: row["wallet"] >= item["fee"])
    alike = list(do.rows("lost_items", station_id=item["station_id"], category=item["category"], status="stored"))
    do.need(sum(row["colour"] == item["colour"] and row["mark"] == item["mark"] for row in alike) == 1)
    station = do.row("stations", item["station_id"])
    do.say(station=station["name"], category=item["category"], colour=item["colour"], mark=item["mark"])
    do.unknown("item number")
    do.once("find_station", name=station["name"])
    do.call("search_lost_items", station_id=item["station_id"], category=item["category"])
    done = do.call("claim_lost_item", item_id=item["item_id"], passenger_id=person["passenger_id"])
    do.tell("fee", Kind.MONEY, item["fee"], ("lost_items", item["item_id"]))
    do.tell("found_on", Kind.DATE, item["found_on"], ("lost_items", item["item_id"]))
    if do.evolve("balance"):
        do.tell("balance", Kind.MONEY, cents(done["wallet"]), ("passengers", person["passenger_id"]))


def assistance(do: Composer) -> None:
    booking, train = a_booking(do, "confirmed", lambda _: True, ahead)
    end, kind = do.random.choice(("origin", "destination")), do.random.choice(("ramp", "guide", "luggage"))
    station = do.row("stations", train[f"{end}_id"])
    do.say(at=station["name"], help={"ramp": "a ramp", "guide": "a guide", "luggage": "somebody for my luggage"}[kind])
    do.once("find_station", name=station["name"])
    if do.evolve("unless_step_free") and station["step_free"]:
        do.tell("departure", Kind.DATETIME, train["departs"], ("trains", train["train_id"]))
        do.tell("step_free", Kind.YESNO, True, ("stations", station["station_id"]))
        return
    order = {"booking_id": booking["booking_id"], "station_id": station["station_id"], "kind": kind}
    done = do.call("request_assistance", **order)
    do.tell("reference", Kind.ID, done["assistance_id"], ("assistance", done["assistance_id"]))
    do.tell("departure", Kind.DATETIME, train["departs"], ("trains", train["train_id"]))


def bicycles(do: Composer) -> None:
    booking, train = a_booking(do, "confirmed", lambda row: row["bicycles"] == 0, ahead)
    wanted = do.random.randint(1, booking["seats"])
    do.say(bicycles=wanted)
    do.call("reserve_bicycles", booking_id=booking["booking_id"], bicycles=wanted)
    do.tell("departure", Kind.DATETIME, train["departs"], ("trains", train["train_id"]))
    do.tell("booking_number", Kind.ID, booking["booking_id"], ("bookings", booking["booking_id"]))


def all_bicycles(do: Composer) -> None:
    """A bicycle on every coming journey that has a space left."""
    trains = {row["train_id"]: row for row in do.rows("trains")}

    def coming(passenger_id: str) -> list[Any]:
        return [row for row in do.rows("bookings", passenger_id=passenger_id, status="confirmed") if row["bicycles"] == 0]

    person = somebody(do, lambda row: len(coming(row["passenger_id"])) > 1)
    bookings = sorted(coming(person["passenger_id"]), key=lambda row: row["booking_id"])
    do.unknown("booking numbers")
    listed = do.once("list_bookings", passenger_id=person["passenger_id"], status="confirmed")
    do.need(listed["found"] == len(bookings))
    for booking in bookings:
        do.once("get_train", train_id=booking["train_id"])
    fit = [row for row in bookings if ahead(trains[row["train_id"]]) and trains[row["train_id"]]["bicycle_spaces"]]
    do.need(bool(fit) and len({row["train_id"] for row in fit}) == len(fit))
    for booking in fit:
        do.call("reserve_bicycles", booking_id=booking["booking_id"], bicycles=1)
    first = min((trains[row["train_id"]] for row in fit), key=lambda row: str(row["departs"]))
    do.tell("first_departure", Kind.DATETIME, first["departs"], *(("trains", row["train_id"]) for row in fit))


def cancel_flexible(do: Composer) -> None:
    """Everything that can be given back in full, and nothing else."""
    trains = {row["train_id"]: row for row in do.rows("trains")}

    def coming(passenger_id: str) -> list[Any]:
        return do.rows("bookings", passenger_id=passenger_id, status="confirmed")

    def flexible(passenger_id: str) -> list[Any]:
        return [row for row in coming(passenger_id) if row["ticket_type"] == "flexible"]

    person = somebody(do, lambda row: len(coming(row["passenger_id"])) > 1 and bool(flexible(row["passenger_id"])))
    who = person["passenger_id"]
    do.once("list_bookings", passenger_id=who, status="confirmed")
    do.need(all(trains[row["train_id"]]["status"] != "cancelled" for row in coming(who)))
    paid_to, total, chosen = wallet_or_card(do), 0, sorted(flexible(who), key=lambda row: row["booking_id"])
    for booking in sorted(coming(who), key=lambda row: row["booking_id"]):
        do.call("get_booking", booking_id=booking["booking_id"])
    for booking in chosen:
        total += cents(do.call("cancel_booking", booking_id=booking["booking_id"], refund_to=paid_to)["amount"])
    do.unknown("booking numbers", "ticket types")
    do.tell("total", Kind.MONEY, total, *(("bookings", row["booking_id"]) for row in chosen))


def update_phone(do: Composer) -> None:
    def usable(passenger_id: str) -> list[Any]:
        return do.rows("vouchers", passenger_id=passenger_id, status="active")

    person = somebody(do, lambda row: len(usable(row["passenger_id"])) > 1)
    vouchers = usable(person["passenger_id"])
    phone = f"07700 {do.random.randint(900_100, 900_999)}"
    do.say(phone=phone)
    do.call("update_phone", passenger_id=person["passenger_id"], phone=phone)
    station = do.call("get_station", station_id=person["home_station_id"])
    home = ("stations", station["station_id"])
    do.tell("home_station", Kind.TEXT, station["name"], home, column=STATION)
    do.call("list_vouchers", passenger_id=person["passenger_id"], status="active")
    worth = sum(row["amount"] for row in vouchers)
    do.tell("vouchers", Kind.MONEY, worth, *(("vouchers", row["voucher_id"]) for row in vouchers))
    if do.evolve("points"):
        do.need(person["points"] > 0)
        do.tell("points", Kind.NUMBER, person["points"], ("passengers", person["passenger_id"]))


def transfer_points(do: Composer) -> None:
    giver = somebody(do, lambda row: row["tier"] != "standard" and row["points"] >= LEAST_POINTS)
    taker = do.pick("passengers", lambda row: row["passenger_id"] != giver["passenger_id"])
    points = do.random.randrange(100, giver["points"], 50)
    do.say(friend=taker["email"], points=points)
    do.once("find_passenger", email=taker["email"])
    sides = {"from_passenger_id": giver["passenger_id"], "to_passenger_id": taker["passenger_id"]}
    done = do.call("transfer_points", **sides, points=points)
    do.tell("points_left", Kind.NUMBER, done["from"]["points"], ("passengers", giver["passenger_id"]))
    if do.evolve("their_balance"):
        do.tell("their_points", Kind.NUMBER, done["to"]["points"], ("passengers", taker["passenger_id"]))


def open_case(do: Composer) -> None:
    booking, train = a_booking(do, "travelled", lambda _: True)
    topics = {
        "cleanliness": "the carriage was filthy",
        "staff": "the guard was rude to us",
        "seat": "my seat was broken",
        "catering": "there was nothing left to eat or drink",
    }
    topic = do.random.choice(sorted(topics))
    do.say(complaint=topics[topic])
    order = {"passenger_id": booking["passenger_id"], "booking_id": booking["booking_id"]}
    done = do.call("open_case", **order, topic=topic, notes=topics[topic])
    do.tell("case_number", Kind.ID, done["case_id"], ("cases", done["case_id"]))
    do.tell("arrival", Kind.DATETIME, train["arrives"], ("trains", train["train_id"]))


def total_spent(do: Composer) -> None:
    person = somebody(do, lambda row: len(do.rows("bookings", passenger_id=row["passenger_id"], status="confirmed")) > 1)
    listed = do.once("list_bookings", passenger_id=person["passenger_id"], status="confirmed")["bookings"]
    paid = [do.call("get_booking", booking_id=row["booking_id"]) for row in listed]
    do.unknown("fares")
    do.tell("total", Kind.MONEY, sum(cents(row["fare"]) for row in paid), *(("bookings", row["booking_id"]) for row in paid))


def pending_refunds(do: Composer) -> None:
    def pending(passenger_id: str) -> list[Any]:
        return do.rows("refunds", passenger_id=passenger_id, status="pending")

    person = somebody(do, lambda row: bool(pending(row["passenger_id"])))
    listed = do.call("list_refunds", passenger_id=person["passenger_id"], status="pending")["refunds"]
    total = sum(cents(row["amount"]) for row in listed)
    do.tell("total", Kind.MONEY, total, *(("refunds", row["refund_id"]) for row in listed))
    do.need(len({row["requested_at"] for row in listed}) == len(listed))
    oldest = do.call("get_booking", booking_id=listed[0]["booking_id"])
    train = do.once("get_train", train_id=oldest["train_id"])
    do.tell("oldest_journey", Kind.DATE, train["departs"][:10], ("trains", train["train_id"]))


def compare_trains(do: Composer) -> None:
    sample = do.pick("trains", ahead)
    trains = trains_between(do, sample["origin_id"], sample["destination_id"], sample["departs"][:10])
    travel_class = do.random.choice(("standard", "first"))
    do.say(travel_class=travel_class)
    running = sorted((row for row in trains if ahead(row)), key=lambda row: (row["minutes"], row["departs"]))
    do.need(len(running) > 1 and running[0]["minutes"] < running[1]["minutes"])
    best = running[0]
    do.tell("departure", Kind.DATETIME, best["departs"], ("trains", best["train_id"]))
    do.tell("fare", Kind.MONEY, best[f"{travel_class}_fare"], ("trains", best["train_id"]))
    if do.evolve("arrival"):
        do.tell("arrival", Kind.DATETIME, best["arrives"], ("trains", best["train_id"]))


def next_trip(do: Composer) -> None:
    trains = {row["train_id"]: row for row in do.rows("trains")}
    person = somebody(do, lambda row: len(do.rows("bookings", passenger_id=row["passenger_id"], status="confirmed")) > 1)
    listed = do.once("list_bookings", passenger_id=person["passenger_id"], status="confirmed")["bookings"]
    do.need(all(trains[row["train_id"]]["status"] != "cancelled" for row in listed))
    for booking in listed:
        do.once("get_train", train_id=booking["train_id"])
    first = min((trains[row["train_id"]] for row in listed), key=lambda row: str(row["departs"]))
    station = do.once("get_station", station_id=first["destination_id"])
    do.unknown("travel dates")
    do.tell("departure", Kind.DATETIME, first["departs"], ("trains", first["train_id"]))
    do.tell("destination", Kind.TEXT, station["name"], ("stations", station["station_id"]), column=STATION)


INTENTS: Final = (
    Intent("cancel_booking", cancel_booking, ("condition", "balance")),
    Intent("cancelled_train", cancelled_train, ("rebook",)),
    Intent("book_trip", book_trip, ("cheapest", "not_before", "budget", "bicycles")),
    Intent("change_train", change_train, ("last_train",)),
    Intent("upgrade", upgrade, ("condition", "balance")),
    Intent("delay_compensation", delay_compensation, ("cause",)),
    Intent("all_compensations", all_compensations),
    Intent("redeem_vouchers", redeem_vouchers, ("first_to_expire",)),
    Intent("renew_railcard", renew_railcard, ("condition",)),
    Intent("claim_lost_item", claim_lost_item, ("balance",)),
    Intent("assistance", assistance, ("unless_step_free",)),
    Intent("bicycles", bicycles),
    Intent("all_bicycles", all_bicycles),
    Intent("cancel_flexible", cancel_flexible),
    Intent("update_phone", update_phone, ("points",)),
    Intent("transfer_points", transfer_points, ("their_balance",)),
    Intent("open_case", open_case),
    Intent("total_spent", total_spent),
    Intent("pending_refunds", pending_refunds),
    Intent("compare_trains", compare_trains, ("arrival",)),
    Intent("next_trip", next_trip),
)
DOMAIN: Final = make_domain(__file__, INTENTS, draw_rows)
