"""Calendar windows in time zones: daylight saving, odd offsets, no gap and no overlap."""

import pytest

from tests.integration.ledger.shorthand import Ledger


async def window(ledger: Ledger, kind: str, zone: str, moment: str) -> tuple[str, str]:
    rows = await ledger.ask(
        "SELECT to_char(wstart(%s, %s, %s::timestamptz) AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI') AS a,"
        " to_char(wend(%s, %s, wstart(%s, %s, %s::timestamptz)) AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI') AS b",
        kind, zone, moment, kind, zone, kind, zone, moment,
    )  # fmt: skip
    return rows[0]["a"], rows[0]["b"]


@pytest.mark.parametrize(
    ("kind", "zone", "moment", "start", "end"),
    [
        ("hour", "UTC", "2026-05-01 10:59:59.999999Z", "2026-05-01 10:00", "2026-05-01 11:00"),
        ("hour", "Asia/Kathmandu", "2026-05-01 10:20Z", "2026-05-01 10:15", "2026-05-01 11:15"),
        ("hour", "Europe/Berlin", "2026-10-25 00:30Z", "2026-10-25 00:00", "2026-10-25 01:00"),  # 02:30, the first
        ("hour", "Europe/Berlin", "2026-10-25 01:30Z", "2026-10-25 01:00", "2026-10-25 02:00"),  # 02:30, the second
        ("day", "Europe/Berlin", "2026-10-25 12:00Z", "2026-10-24 22:00", "2026-10-25 23:00"),  # 25 hours
        ("day", "Europe/Berlin", "2026-03-29 12:00Z", "2026-03-28 23:00", "2026-03-29 22:00"),  # 23 hours
        ("day", "America/Los_Angeles", "2026-01-01 05:00Z", "2025-12-31 08:00", "2026-01-01 08:00"),
        ("month", "Europe/Berlin", "2026-03-31 21:59Z", "2026-02-28 23:00", "2026-03-31 22:00"),
        ("month", "Europe/Berlin", "2026-03-31 22:00Z", "2026-03-31 22:00", "2026-04-30 22:00"),
        ("month", "UTC", "2028-02-29 12:00Z", "2028-02-01 00:00", "2028-03-01 00:00"),
    ],
)
async def test_windows_follow_the_calendar_of_their_time_zone(ledger: Ledger, kind, zone, moment, start, end):
    assert await window(ledger, kind, zone, moment) == (start, end)


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/St_Johns", "Pacific/Apia", "America/Sao_Paulo"])
async def test_windows_touch_without_gap_or_overlap(ledger: Ledger, zone):
    odd = await ledger.ask(
        "SELECT k, t FROM unnest(ARRAY['hour', 'day', 'month']) AS k,"
        " generate_series(timestamptz '2026-01-01Z', timestamptz '2027-01-02Z', interval '173 minutes') AS t,"
        " LATERAL (SELECT wstart(k, %s, t) AS a) x, LATERAL (SELECT wend(k, %s, a) AS b) y"
        " WHERE NOT (a <= t AND t < b AND wstart(k, %s, b) = b AND wstart(k, %s, b - interval '1 microsecond') = a)",
        zone, zone, zone, zone,
    )  # fmt: skip
    assert odd == []


async def test_the_total_has_no_bounds_in_time(ledger: Ledger):
    rows = await ledger.ask(
        "SELECT wstart('total', 'UTC', now()) = '-infinity' AS a, wend('total', 'UTC', '-infinity') = 'infinity' AS b"
    )
    assert rows == [{"a": True, "b": True}]


async def test_a_settlement_belongs_to_the_window_in_which_the_hold_was_granted(ledger: Ledger):
    await ledger.policy(limits={"hour": "1"})
    run = await ledger.open()
    hold = await run.take(1000)
    # An hour passes: what was granted then lies in the window before this one.
    await ledger.ask("UPDATE windows SET start = start - interval '1 hour' WHERE kind = 'hour' RETURNING id")
    await run.take(5, "2/0/1")
    await run.settle(hold, 400)
    rows = await ledger.ask("SELECT spent, held FROM windows WHERE account = 't:acme' AND kind = 'hour' ORDER BY start")
    assert [(row["spent"], row["held"]) for row in rows] == [(400, 0), (0, 5)]
    await ledger.check()
