"""What customers want of alerts and of engineers' visits."""

from collections.abc import Mapping
from typing import Final

from toolorchestra.training.toolscale.composing import MOSTLY, Composer, Fits, Row
from toolorchestra.training.toolscale.domains.weather.steps import (
    CHANNELS,
    CUSTOMERS,
    LEVELS,
    UNITS,
    WHEN,
    clear_days,
    day_after,
    first_free,
    named_station,
    running_station,
    somebody,
    tell_slot,
    theirs,
)
from toolorchestra.training.toolscale.draws import chance
from toolorchestra.worlds.shipped.weather.rules import MOVE_DAYS, far_enough, visit_refund
from toolorchestra.worlds.tools import cents
from toolorchestra.worlds.values import Kind

NOON: Final = "12:00"
WISHES: Final[Mapping[str, Fits]] = {"first": lambda _: True, "morning": lambda slot: bool(slot["begins"][11:] < NOON)}


def a_channel(do: Composer) -> str:
    found: str = do.random.choice(sorted(CHANNELS))
    do.say(channel=CHANNELS[found])
    return found


def a_level(do: Composer, measure: str, threshold: int) -> int:
    """A threshold in words: {level} with its unit, {when} as a condition."""
    level = f"{threshold} {UNITS[measure]}"
    do.say(level=level, when=f"{WHEN[measure]} {level}")
    return threshold


def new_alert(do: Composer) -> None:
    """An alert, perhaps only if the forecast for some days makes it worth having."""
    who, station = somebody(do)["customer_id"], running_station(do)
    do.claim("alerts")
    order: Row = {"customer_id": who, "station_id": station["station_id"], "channel": a_channel(do)}
    if do.evolve("if_forecast"):
        first, last = day_after(do, do.random.randint(1, 3)), day_after(do, do.random.randint(6, 10))
        do.say(first=first, last=last)
        days = do.call("search_forecasts", station_id=station["station_id"], first_day=first, last_day=last)["forecasts"]
        peak = max(days, key=lambda row: int(row["gust_kmh"]))
        worth_it = chance(do.random, MOSTLY)
        threshold = peak["gust_kmh"] // 5 * 5 + do.random.choice((-5, 0) if worth_it else (5, 10))
        a_level(do, "wind", threshold)
        do.tell("peak", Kind.NUMBER, peak["gust_kmh"], ("forecasts", peak["forecast_id"]))
        if worth_it:
            do.call("add_alert", **order, measure="wind", threshold=threshold)
        return
    measure = do.random.choice(sorted(LEVELS))
    threshold = a_level(do, measure, do.random.randrange(*LEVELS[measure]))
    done = do.call("add_alert", **order, measure=measure, threshold=threshold)
    do.tell("alert_number", Kind.ID, done["alert_id"], ("alerts", done["alert_id"]))
    do.tell("monthly_fee", Kind.MONEY, cents(done["monthly_fee"]), ("alerts", done["alert_id"]))


def windier(do: Composer) -> None:
    """An alert at that of two stations where stronger gusts are expected."""
    who, day = somebody(do)["customer_id"], day_after(do, do.random.randint(1, 9))
    do.claim("alerts")
    do.say(day=day)
    found = do.random.sample(do.rows("stations", status="running"), 2)
    gusts: list[tuple[int, str, str]] = []
    for slot, station in zip(("station", "other_station"), found, strict=True):
        key = named_station(do, station["station_id"], slot)["station_id"]
        days = do.once("search_forecasts", station_id=key, first_day=day, last_day=day)["forecasts"]
        gusts.append((days[0]["gust_kmh"], key, days[0]["forecast_id"]))
    (weaker, *_), (gust, chosen, forecast) = sorted(gusts)
    do.need(weaker < gust)
    channel, threshold = a_channel(do), a_level(do, "wind", do.random.randrange(*LEVELS["wind"]))
    order = {"customer_id": who, "station_id": chosen, "channel": channel}
    done = do.call("add_alert", **order, measure="wind", threshold=threshold)
    do.tell("gust", Kind.NUMBER, gust, ("forecasts", forecast))
    do.tell("alert_number", Kind.ID, done["alert_id"], ("alerts", done["alert_id"]))


def change_alert(do: Composer) -> None:
    alert = theirs(do, "alerts", lambda row: row["status"] == "active")
    do.claim("alerts")
    measure, me = alert["measure"], ("alerts", alert["alert_id"])
    named_station(do, alert["station_id"])
    do.say(measure=measure)
    do.unknown("alert number")
    do.once("list_alerts", customer_id=alert["customer_id"])
    threshold = a_level(do, measure, do.random.randrange(*LEVELS[measure]))
    do.need(threshold != alert["threshold"])
    do.call("change_alert", alert_id=alert["alert_id"], threshold=threshold)
    do.tell("old_threshold", Kind.NUMBER, alert["threshold"], me)
    do.tell("monthly_fee", Kind.MONEY, alert["monthly_fee"], me)


def several_alerts(do: Composer, column: str, value: str) -> list[Row]:
    """Two or more active alerts of one customer that have something in common; all of theirs are listed."""

    def alike(customer_id: str) -> list[Row]:
        return do.rows("alerts", **{"customer_id": customer_id, "status": "active", column: value})

    who = somebody(do, lambda row: len(alike(row["customer_id"])) > 1)["customer_id"]
    do.claim("alerts")
    do.unknown("alert numbers")
    do.once("list_alerts", customer_id=who, status="active")
    return alike(who)


def tell_fees(do: Composer, name: str, alerts: list[Row]) -> None:
    total = sum(int(row["monthly_fee"]) for row in alerts)
    do.tell(name, Kind.MONEY, total, *(("alerts", row["alert_id"]) for row in alerts))


def raise_winds(do: Composer) -> None:
    """One threshold for all alerts about wind."""
    alerts = several_alerts(do, "measure", "wind")
    threshold = a_level(do, "wind", do.random.randrange(*LEVELS["wind"]))
    do.need(all(row["threshold"] != threshold for row in alerts))
    for alert in alerts:
        do.call("change_alert", alert_id=alert["alert_id"], threshold=threshold)
    tell_fees(do, "monthly_total", alerts)


def pause_all(do: Composer) -> None:
    """Every active alert until a day, perhaps but those by telephone."""
    alerts = several_alerts(do, "status", "active")
    until = day_after(do, do.random.randint(8, 75))
    do.say(until=until)
    if any(row["channel"] == "call" for row in alerts) and do.evolve("but_calls"):
        alerts = [row for row in alerts if row["channel"] != "call"]
    do.need(bool(alerts))
    for alert in alerts:
        do.call("pause_alert", alert_id=alert["alert_id"], paused_until=until)
    tell_fees(do, "paused_total", alerts)


def end_channel(do: Composer) -> None:
    """Every active alert that comes in one way."""
    alerts = several_alerts(do, "channel", a_channel(do))
    for alert in alerts:
        do.call("end_alert", alert_id=alert["alert_id"])
    tell_fees(do, "saved", alerts)


def book_visit(do: Composer) -> None:
    """The first slot that suits, for a station that the customer keeps."""
    kept = do.pick("stations", lambda row: row["keeper_id"] is not None and CUSTOMERS.may_be(do, row["keeper_id"]))
    who = somebody(do, lambda row: row["customer_id"] == kept["keeper_id"])["customer_id"]
    station, job = named_station(do, kept["station_id"]), do.random.choice(("cleaning", "calibration", "repair"))
    do.claim(("visits", station["station_id"]))
    day = day_after(do, do.random.randint(2, 12))
    do.say(job=job, day=day)
    order = {"customer_id": who, "station_id": station["station_id"], "job": job}
    wish = next((step for step in ("no_warning", "morning") if do.evolve(step)), "first")
    if wish == "first":
        do.phrase("first")
    limited = do.evolve("limit")
    if limited:
        fee = cents(do.call("quote_visit", station_id=station["station_id"], job=job)["fee"])
        do.need(fee > 0)
        do.tell("fee", Kind.MONEY, fee, ("stations", station["station_id"]))
        if not do.at_most(fee):
            return
    fits = clear_days(do, station["region"]) if wish == "no_warning" else WISHES[wish]
    slot = first_free(do, station["region"], day, fits)
    done = do.call("book_visit", **order, slot_id=slot["slot_id"])
    if not limited:
        tell_slot(do, slot)
        do.tell("visit_number", Kind.ID, done["visit_id"], ("visits", done["visit_id"]))


def a_visit(do: Composer) -> tuple[Row, Row, Row]:
    """A booked visit told by its station, with slot and station."""
    visit = theirs(do, "visits", lambda row: row["status"] == "booked")
    do.claim(("visits", visit["station_id"]))
    same = do.rows("visits", customer_id=visit["customer_id"], station_id=visit["station_id"], status="booked")
    do.need(len(same) == 1)
    station = named_station(do, visit["station_id"])
    do.unknown("visit number")
    do.once("list_visits", customer_id=visit["customer_id"], status="booked")
    return visit, do.row("slots", visit["slot_id"]), station


def move_visit(do: Composer) -> None:
    """To the first free slot from a day on, perhaps only if that is free of charge."""
    visit, before, station = a_visit(do)
    day = day_after(do, do.random.randint(3, 14))
    do.need(day > before["begins"][:10])
    do.say(day=day)
    limited = do.evolve("if_free")
    if limited:
        do.tell("was", Kind.DATETIME, before["begins"], ("slots", before["slot_id"]))
        if not far_enough(do.session.database, before["begins"], MOVE_DAYS):
            return
    slot = first_free(do, station["region"], day)
    do.call("move_visit", visit_id=visit["visit_id"], slot_id=slot["slot_id"])
    if not limited:
        tell_slot(do, slot)


def cancel_visit(do: Composer) -> None:
    visit, slot, station = a_visit(do)
    do.claim(("slots", station["region"]))
    refund = visit_refund(visit["fee"], slot["begins"], do.world.spec.clock)
    do.need(refund > 0)
    me = ("visits", visit["visit_id"])
    do.tell("refund", Kind.MONEY, refund, me)
    if do.evolve("condition"):
        worth_it = do.at_least(refund)
        do.tell("was", Kind.DATETIME, slot["begins"], ("slots", slot["slot_id"]))
        if worth_it:
            do.call("cancel_visit", visit_id=visit["visit_id"])
        return
    done = do.call("cancel_visit", visit_id=visit["visit_id"])
    do.tell("balance", Kind.MONEY, cents(done["balance"]), ("customers", visit["customer_id"]))
