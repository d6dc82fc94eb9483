"""Usage: every nano-dollar once, grouped as asked, in FOCUS columns too."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.integration.ledger.shorthand import Ledger, asked
from toolorchestra.core.errors import InvalidRequestError
from toolorchestra.core.loop.journal import CallStart, Settle, Take
from toolorchestra.core.money import parse_usd
from toolorchestra.ledger import money
from toolorchestra.ledger.usage import adjustments, focus_rows, usage


def span() -> dict[str, datetime]:
    now = datetime.now(UTC)
    return {"since": now - timedelta(days=1), "until": now + timedelta(days=1)}


async def spend(ledger: Ledger, key: str, team: str | None, policy: str = "expert:acme/manager") -> None:
    run = await ledger.open(key=key, policy=policy, metadata={"team": team} if team else {}, takes=())
    decision = await run.take(100, "1/0/1")
    call = f"{run.id}/1/1/1"
    row = CallStart(1, 1, 1, "search", {}, "inline", "readOnly", 1000, call, 50)
    await run.commit(asked(), settles=(Settle(decision, 80),), takes=(Take(call, 50, 1000),), starts=(row,))
    final = await run.take(30, "final")
    await run.close(settles=(Settle(call, 50, estimate=True), Settle(final, 7)))


async def grouped(ledger: Ledger, *by: str):
    async with ledger.database.tenant("acme") as connection:
        rows = await usage(connection, "acme", group_by=by, **span())
    return {tuple(row.group.values()): (row.spent_nano_usd, row.calls) for row in rows}


async def test_usage_is_grouped_by_what_was_asked(ledger: Ledger):
    await ledger.policy()
    first, second = [(await ledger.key()).record.id for _ in range(2)]
    await spend(ledger, first, "blue")
    await spend(ledger, first, None, policy="baseline:cascade")
    await spend(ledger, second, "red", policy="passthrough:acme/strong")
    assert await grouped(ledger) == {(): (411, 9)}
    assert await grouped(ledger, "key") == {(first,): (274, 6), (second,): (137, 3)}
    assert await grouped(ledger, "kind") == {
        ("decision",): (160, 2),
        ("call",): (150, 3),
        ("passthrough",): (80, 1),
        ("final",): (21, 3),
    }
    assert await grouped(ledger, "function") == {(None,): (261, 6), ("search",): (150, 3)}
    assert await grouped(ledger, "model") == {("acme/manager",): (87, 2), ("acme/strong",): (87, 2), (None,): (237, 5)}
    assert await grouped(ledger, "metadata:team", "kind") == {
        ("decision", "blue"): (80, 1),
        ("call", "blue"): (50, 1),
        ("final", "blue"): (7, 1),
        ("decision", None): (80, 1),
        ("call", None): (50, 1),
        ("final", None): (7, 1),
        ("passthrough", "red"): (80, 1),
        ("call", "red"): (50, 1),
        ("final", "red"): (7, 1),
    }
    assert await grouped(ledger, "day") == {(datetime.now(UTC).date().isoformat(),): (411, 9)}


async def test_estimates_stand_apart_and_openings_do_not_count_twice(ledger: Ledger):
    await ledger.policy()
    key = (await ledger.key()).record.id
    await spend(ledger, key, None)
    await ledger.policy(limits={"day": "1", "month": "1"})
    async with ledger.database.tenant("acme") as connection:
        (row,) = await usage(connection, "acme", **span())
    assert (row.spent_nano_usd, row.estimated_nano_usd, row.calls, row.runs) == (137, 50, 3, 1)
    assert (await ledger.windows("t:acme"))["month"] == (137, 0, 0)


async def test_the_name_behind_a_function_is_its_model(ledger: Ledger):
    await ledger.policy()
    run = await ledger.open(models={"solver": "acme/maths"})
    call = f"{run.id}/1/1/1"
    row = CallStart(1, 1, 1, "solver", {}, "inline", "readOnly", 1000, call, 50)
    await run.commit(takes=(Take(call, 50, 1000),), starts=(row,))
    await run.settle(call, 40)
    assert await grouped(ledger, "model", "function") == {("acme/maths", "solver"): (40, 1)}


async def test_focus_rows_add_up_and_name_people_and_days(ledger: Ledger, database):
    await ledger.policy()
    key = (await ledger.key()).record.id
    await spend(ledger, key, "blue")
    async with database.system() as connection:
        await money.adjust(connection, "acme", amount_nano_usd=-37, reason="apology", author="ann")
    async with database.tenant("acme") as connection:
        rows = await focus_rows(connection, "acme", **span())
        made = await adjustments(connection, "acme", **span())
    assert sum(parse_usd(row["BilledCost"].lstrip("-")) * (-1 if row["BilledCost"][0] == "-" else 1) for row in rows) == 100
    (credit,) = [row for row in rows if row["ChargeCategory"] == "Credit"]
    assert (credit["BilledCost"], credit["ChargeDescription"]) == ("-0.000000037", "apology")
    (search,) = [row for row in rows if row["ResourceId"] == "search"]
    assert (search["BilledCost"], search["ConsumedQuantity"], search["x_KeyId"], search["Tags"], search["ResourceType"]) == (
        "0.00000005",
        "1",
        key,
        '{"team":"blue"}',
        "Tool",
    )
    today = datetime.now(UTC).strftime("%Y-%m-%dT00:00:00Z")
    assert {row["ChargePeriodStart"] for row in rows} == {today}
    assert {(row["SubAccountId"], row["BillingCurrency"]) for row in rows} == {("acme", "USD")}
    assert all(list(row) == list(rows[0]) for row in rows)
    assert [(one.nano_usd, one.reason, one.author) for one in made] == [(-37, "apology", "ann")]


@pytest.mark.parametrize(
    ("by", "since", "until", "field"),
    [
        (("colour",), datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC), "group_by"),
        ((), datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC), "since"),
        ((), datetime(2026, 1, 1, tzinfo=UTC).replace(tzinfo=None), datetime(2026, 1, 2, tzinfo=UTC), "since"),
    ],
)
async def test_a_question_that_makes_no_sense_is_refused(database, by, since, until, field):
    async with database.tenant("acme") as connection:
        with pytest.raises(InvalidRequestError) as refused:
            await usage(connection, "acme", since=since, until=until, group_by=by)
    assert refused.value.param == field
