"""What customers of Halyard Weather Services want: each intent does it once, and so becomes a task."""

from typing import Final

from toolorchestra.training.toolscale.composing import Composer, Fits, Intent, Row
from toolorchestra.training.toolscale.domain import make_domain
from toolorchestra.training.toolscale.domains.weather.desk import (
    book_visit,
    cancel_visit,
    change_alert,
    end_channel,
    move_visit,
    new_alert,
    pause_all,
    raise_winds,
    windier,
)
from toolorchestra.training.toolscale.domains.weather.rows import EVENTS, draw_rows
from toolorchestra.training.toolscale.domains.weather.steps import (
    PRODUCTS,
    day_after,
    named_station,
    running_station,
    somebody,
    tell_balance,
    theirs,
)
from toolorchestra.training.toolscale.wording import Cents
from toolorchestra.worlds.shipped.weather.rules import MOST_PAYOUT, TRIGGER_SHARE, payment_of, renewable, renewal_fee
from toolorchestra.worlds.state import money_text
from toolorchestra.worlds.tools import cents
from toolorchestra.worlds.values import Kind

STARTS: Final = (3, 6)  # days from which an event whose day is open may be
PERIOD: Final = (6, 18)  # days that are looked back on


def buy_licence(do: Composer) -> None:
    customer = somebody(do)
    who, station = customer["customer_id"], running_station(do)
    product, users = do.random.choice(sorted(PRODUCTS)), do.random.randint(1, 10)
    do.claim(("licence", station["station_id"], product))
    do.need(not do.rows("licences", customer_id=who, station_id=station["station_id"], product=product))
    do.say(product=PRODUCTS[product], users=users)
    what = {"customer_id": who, "product": product, "users": users}
    if do.evolve("limit"):
        fee = cents(do.call("quote_licence", **what)["fee"])
        do.tell("fee", Kind.MONEY, fee, ("customers", who))
        if do.at_most(fee):
            do.call("buy_licence", **what, station_id=station["station_id"])
        return
    done = do.call("buy_licence", **what, station_id=station["station_id"])
    do.tell("fee", Kind.MONEY, cents(done["fee"]), ("licences", done["licence_id"]))
    do.tell("licence_number", Kind.ID, done["licence_id"], ("licences", done["licence_id"]))


def renew_licence(do: Composer) -> None:
    licence = theirs(do, "licences", lambda row: renewable(row, do.world.spec.clock.date()))
    who, me = licence["customer_id"], ("licences", licence["licence_id"])
    do.claim(me)
    named_station(do, licence["station_id"])
    do.say(product=PRODUCTS[licence["product"]])
    do.unknown("licence number")
    do.once("list_licences", customer_id=who)
    kind = do.row("customers", who)["kind"]
    if do.evolve("limit"):
        do.call("quote_licence", customer_id=who, product=licence["product"], users=licence["users"])
        fee = renewal_fee(kind, licence, do.world.spec.today)
        do.tell("fee", Kind.MONEY, fee, me)
        if do.at_most(fee):
            do.call("renew_licence", licence_id=licence["licence_id"])
        return
    done = do.call("renew_licence", licence_id=licence["licence_id"])
    do.tell("fee", Kind.MONEY, cents(done["fee"]), me)
    do.tell("valid_until", Kind.DATE, done["valid_until"], me)


def renew_all(do: Composer) -> None:
    """All licences that run out until a day."""
    day = day_after(do, do.random.randint(14, 55))

    def due(customer_id: str) -> list[Row]:
        return [row for row in do.rows("licences", customer_id=customer_id) if row["valid_until"] <= day]

    who = somebody(do, lambda row: len(due(row["customer_id"])) > 1)["customer_id"]
    licences = due(who)
    do.claim(*(("licences", row["licence_id"]) for row in licences))
    do.say(day=day)
    do.unknown("licence numbers")
    do.call("list_licences", customer_id=who, last_day=day)
    total = 0
    for licence in licences:
        total += cents(do.call("renew_licence", licence_id=licence["licence_id"])["fee"])
    do.tell("total", Kind.MONEY, total, *(("licences", row["licence_id"]) for row in licences))


def a_cover(do: Composer) -> Row:
    """What somebody wants covered, without the day."""
    customer = somebody(do)
    event = do.random.choice(EVENTS)
    do.claim(("event", event))
    do.need(not do.rows("policies", customer_id=customer["customer_id"], event=event))
    trigger = do.random.choice(sorted(TRIGGER_SHARE))
    payout = Cents(do.random.randrange(20_000, MOST_PAYOUT[customer["kind"]] // 2, 10_000))
    do.say(event=event, trigger=str(trigger), payout=payout)
    return {"customer_id": customer["customer_id"], "event": event, "trigger_mm": trigger, "payout": money_text(payout)}


def take_cover(do: Composer) -> None:
    order, station, day = a_cover(do), running_station(do)["station_id"], day_after(do, do.random.randint(3, 10))
    do.say(day=day)
    if do.evolve("limit"):
        terms = {"trigger_mm": order["trigger_mm"], "payout": order["payout"]}
        quote = do.call("quote_cover", station_id=station, day=day, **terms)
        do.tell("premium", Kind.MONEY, cents(quote["premium"]), ("forecasts", quote["forecast_id"]))
        if do.at_most(cents(quote["premium"])):
            do.call("take_cover", **order, station_id=station, day=day)
        return
    done = do.call("take_cover", **order, station_id=station, day=day)
    me = ("policies", done["policy_id"])
    do.tell("premium", Kind.MONEY, cents(done["premium"]), me)
    do.tell("policy_number", Kind.ID, done["policy_id"], me)


def cover_driest(do: Composer) -> None:
    """The day is still open: that with the least chance of rain."""
    order, station = a_cover(do), running_station(do)["station_id"]
    start = do.random.randint(*STARTS)
    first, last = day_after(do, start), day_after(do, start + do.random.randint(3, 4))
    do.say(first=first, last=last)
    days = do.call("search_forecasts", station_id=station, first_day=first, last_day=last)["forecasts"]
    best = sorted(days, key=lambda row: int(row["rain_chance"]))
    do.need(best[0]["rain_chance"] < best[1]["rain_chance"] and best[0]["day"] not in (first, last))
    done = do.call("take_cover", **order, station_id=station, day=best[0]["day"])
    me = ("policies", done["policy_id"])
    do.tell("day", Kind.DATE, done["day"], me)
    do.tell("premium", Kind.MONEY, cents(done["premium"]), me)


def paying(do: Composer) -> Fits:
    """Whether a policy can be claimed on now, and brings something."""
    first, last = day_after(do, -28), day_after(do, -3)
    rain = {(row["station_id"], row["day"]): row["rain_mm"] for row in do.rows("observations", quality="checked")}

    def fits(row: Row) -> bool:
        fell = rain.get((row["station_id"], row["day"]), 0.0)
        return row["status"] == "active" and first <= row["day"] <= last and payment_of(row, fell) > 0

    return lambda row: fits(dict(row))


def claim_cover(do: Composer) -> None:
    policy = theirs(do, "policies", paying(do))
    who, me = policy["customer_id"], ("policies", policy["policy_id"])
    do.claim(me)
    do.say(event=policy["event"])
    do.unknown("policy number", "how much it rained")
    do.once("list_policies", customer_id=who, status="active")
    measured = {"station_id": policy["station_id"], "first_day": policy["day"], "last_day": policy["day"]}
    seen = do.once("list_observations", **measured)["observations"][0]
    done = do.call("claim_cover", policy_id=policy["policy_id"])
    do.tell("paid_out", Kind.MONEY, cents(done["policy"]["paid_out"]), me)
    do.tell("rain", Kind.NUMBER, seen["rain_mm"], ("observations", seen["observation_id"]))
    if do.evolve("balance"):
        tell_balance(do, who, done["balance"])


def claim_all(do: Composer) -> None:
    """Everything that is over and brings something; each has to be looked at."""
    fits, today = paying(do), do.world.spec.today

    def over(customer_id: str) -> list[Row]:
        return [row for row in do.rows("policies", customer_id=customer_id, status="active") if row["day"] < today]

    who = somebody(do, lambda row: sum(map(fits, over(row["customer_id"]))) > 1)["customer_id"]
    policies = over(who)
    do.claim(*(("policies", row["policy_id"]) for row in policies))
    do.unknown("policy numbers", "where it rained enough")
    do.once("list_policies", customer_id=who, status="active")
    for policy in policies:
        do.once("list_observations", station_id=policy["station_id"], first_day=policy["day"], last_day=policy["day"])
    total, chosen = 0, [row for row in policies if fits(row)]
    for policy in chosen:
        total += cents(do.call("claim_cover", policy_id=policy["policy_id"])["policy"]["paid_out"])
    do.tell("total", Kind.MONEY, total, *(("policies", row["policy_id"]) for row in chosen))


def move_cover(do: Composer) -> None:
    """To another day, perhaps only if the premium stays within a limit."""
    policy = theirs(do, "policies", lambda row: row["status"] == "active" and row["day"] >= day_after(do, 3))
    who, me, day = policy["customer_id"], ("policies", policy["policy_id"]), day_after(do, do.random.randint(3, 10))
    do.claim(me, ("event", policy["event"]))
    do.need(day != policy["day"])
    do.say(event=policy["event"], day=day)
    do.unknown("policy number")
    do.once("list_policies", customer_id=who, status="active")
    if do.evolve("limit"):
        terms = {"trigger_mm": policy["trigger_mm"], "payout": money_text(policy["payout"])}
        premium = cents(do.call("quote_cover", station_id=policy["station_id"], day=day, **terms)["premium"])
        do.tell("premium", Kind.MONEY, premium, me)
        if do.at_most(premium):
            do.call("move_cover", policy_id=policy["policy_id"], day=day)
        return
    done = do.call("move_cover", policy_id=policy["policy_id"], day=day)
    do.tell("premium", Kind.MONEY, cents(done["premium"]), me)
    tell_balance(do, who, done["balance"])


def rain_total(do: Composer) -> None:
    """What fell at a station in a while, and when most of it did."""
    somebody(do)
    start, length = do.random.randint(20, 33), do.random.randint(*PERIOD)
    first, last = day_after(do, -start), day_after(do, length - start)
    station = named_station(do, do.pick("stations")["station_id"])["station_id"]
    do.say(first=first, last=last)
    days = do.once("list_observations", station_id=station, first_day=first, last_day=last)["observations"]
    wettest = sorted(days, key=lambda row: -float(row["rain_mm"]))
    do.need(wettest[0]["rain_mm"] > wettest[1]["rain_mm"])
    rows = [("observations", row["observation_id"]) for row in days]
    do.tell("total", Kind.NUMBER, round(sum(row["rain_mm"] for row in days), 1), *rows)
    do.tell("wettest", Kind.DATE, wettest[0]["day"], *rows)


INTENTS: Final = (
    Intent("new_alert", new_alert, ("if_forecast",)),
    Intent("windier", windier),
    Intent("change_alert", change_alert),
    Intent("raise_winds", raise_winds),
    Intent("pause_all", pause_all, ("but_calls",)),
    Intent("end_channel", end_channel),
    Intent("book_visit", book_visit, ("limit", "no_warning", "morning")),
    Intent("move_visit", move_visit, ("if_free",)),
    Intent("cancel_visit", cancel_visit, ("condition",)),
    Intent("buy_licence", buy_licence, ("limit",)),
    Intent("renew_licence", renew_licence, ("limit",)),
    Intent("renew_all", renew_all),
    Intent("take_cover", take_cover, ("limit",)),
    Intent("cover_driest", cover_driest),
    Intent("claim_cover", claim_cover, ("balance",)),
    Intent("claim_all", claim_all),
    Intent("move_cover", move_cover, ("limit",)),
    Intent("rain_total", rain_total),
)
DOMAIN: Final = make_domain(__file__, INTENTS, draw_rows)
