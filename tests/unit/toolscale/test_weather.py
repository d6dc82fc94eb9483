"""The weather company: rows are what its rules would have made, its limits hold, and what they forbid is refused."""

from datetime import date

import pytest

from toolorchestra.training.toolscale.building import draw_world
from toolorchestra.training.toolscale.domain import find_domain
from toolorchestra.worlds.session import Session

TODAY = date(2026, 9, 7)


@pytest.fixture(scope="module")
def world():
    """The world with rows and no tasks."""
    return draw_world(find_domain("weather"), 11)


@pytest.fixture(scope="module")
def tables(world):
    return world.rows.tables


def days(row, column):
    return (date.fromisoformat(row[column][:10]) - TODAY).days


def test_alerts_cost_what_channel_and_measure_say_and_are_not_too_many(tables):
    most = {"private": 3, "business": 8, "public": 12}
    fees = {"email": 150, "text": 300, "call": 600}
    seen = set()
    for alert in tables["alerts"].values():
        assert alert["monthly_fee"] == fees[alert["channel"]] + {"rain": 0, "wind": 40, "frost": 25}[alert["measure"]]
        assert (alert["paused_until"] is not None) == (alert["status"] == "paused")
        assert tables["stations"][alert["station_id"]]["status"] == "running"
        seen.add((alert["customer_id"], alert["station_id"], alert["measure"]))
    assert len(seen) == len(tables["alerts"])
    for customer in tables["customers"].values():
        assert sum(row["customer_id"] == customer["customer_id"] for row in tables["alerts"].values()) <= most[customer["kind"]]


def test_visits_are_made_to_kept_stations_in_slots_of_the_region(tables):
    full = {"cleaning": 4500, "calibration": 9500, "repair": 14_000}
    for visit in tables["visits"].values():
        station, slot = tables["stations"][visit["station_id"]], tables["slots"][visit["slot_id"]]
        contract = station["contract_until"] is not None and station["contract_until"] >= TODAY.isoformat()
        fee = full[visit["job"]] if not contract else 0 if visit["job"] == "cleaning" else full[visit["job"]] // 2
        assert visit["fee"] == fee + (3500 if station["altitude_m"] > 800 else 0)
        assert visit["customer_id"] == station["keeper_id"]
        assert slot["region"] == station["region"]
        assert not slot["free"]
        assert (visit["status"] == "done") == (days(slot, "begins") < 0)
    assert len({row["slot_id"] for row in tables["visits"].values()}) == len(tables["visits"])


def test_licences_cost_by_product_users_and_customer(tables):
    full = {"daily": 12_000, "hourly": 26_000, "archive": 48_000}
    for licence in tables["licences"].values():
        fee = full[licence["product"]] + full[licence["product"]] // 5 * (licence["users"] - 1)
        public = tables["customers"][licence["customer_id"]]["kind"] == "public"
        assert licence["fee"] == (fee * 3 // 4 if public else fee)
        assert (licence["status"] == "active") == (days(licence, "valid_until") >= 0)


def test_cover_has_the_premium_of_its_chance_and_pays_by_what_was_measured(tables):
    rain = {(row["station_id"], row["day"]): row["rain_mm"] for row in tables["observations"].values()}
    for policy in tables["policies"].values():
        share = {5: 100, 10: 65, 20: 35}[policy["trigger_mm"]]
        assert policy["premium"] == max(2500, policy["payout"] * (policy["chance_then"] + 6) * share // 10_000)
        if policy["status"] == "claimed":
            fell = rain[policy["station_id"], policy["day"]]
            assert fell >= policy["trigger_mm"] / 2
            assert policy["paid_out"] == policy["payout"] * (100 if fell >= policy["trigger_mm"] else 40) // 100


def test_warnings_and_observations_are_of_their_time(world, tables):
    for warning in tables["warnings"].values():
        over, begun = warning["ends"] <= world.spec.now, warning["begins"] <= world.spec.now
        assert warning["status"] == ("ended" if over else "in_force" if begun else "planned")
    assert all((row["quality"] == "checked") == (days(row, "day") < -2) for row in tables["observations"].values())
    assert all(0 <= days(row, "day") <= 10 for row in tables["forecasts"].values())


@pytest.mark.parametrize(("tool", "find", "rest", "code"), [
    ("claim_cover", ("policies", lambda row: row["status"] == "claimed"), {}, "already_claimed"),
    ("claim_cover", ("policies", lambda row: row["day"] > "2026-09-07"), {}, "not_now"),
    ("move_cover", ("policies", lambda row: row["day"] < "2026-09-07"), {"day": "2026-09-12"}, "too_late"),
    ("cancel_visit", ("visits", lambda row: row["status"] == "done"), {}, "not_booked"),
    ("renew_licence", ("licences", lambda row: row["valid_until"] > "2026-11-06"), {}, "not_renewable"),
    ("change_alert", ("alerts", lambda row: row["status"] == "paused"), {"threshold": 50}, "not_active"),
    ("pause_alert", ("alerts", lambda row: row["status"] == "active"), {"paused_until": "2026-09-07"}, "in_the_past"),
])  # fmt: skip
def test_what_the_rules_forbid_is_refused(world, tool, find, rest, code):
    table, fits = find
    key = next(key for key, row in world.rows.tables[table].items() if fits(row))
    result = Session(world).call(tool, {world.spec.tables[table].key: key, **rest})
    assert result.error_code == code
