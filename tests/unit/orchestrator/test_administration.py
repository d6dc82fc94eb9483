"""Keys, usage, budget and adjustments, as bodies."""

from datetime import UTC, datetime, timedelta

import pytest

from toolorchestra.core.errors import InvalidRequestError
from toolorchestra.core.registry import Catalog
from toolorchestra.core.resources import BudgetPolicySpec
from toolorchestra.core.testing import manifest
from toolorchestra.ledger.money import Unit
from toolorchestra.ledger.policies import WindowBudget
from toolorchestra.ledger.usage import UsageRow
from toolorchestra.orchestrator.services.administration import Administration
from toolorchestra.orchestrator.testing import FixedRegistry, MemoryAccounts

POLICY = Catalog(budgets={("acme", "default"): manifest("BudgetPolicy", "default", {}, namespace="acme")})


@pytest.fixture
def accounts():
    return MemoryAccounts()


@pytest.fixture
def admin(accounts):
    return Administration(accounts, FixedRegistry(POLICY), BudgetPolicySpec())


async def test_a_new_key_shows_its_text_once(admin, accounts):
    body = await admin.create_key("acme", {"name": "ci", "models": ["main"], "limits": {"limits": {"day": "1.50"}}})
    assert body["key"] in accounts.keys
    assert body["models"] == ["main"]
    assert body["limits"]["limits"]["day"] == "1.50"
    (listed,) = (await admin.keys("acme"))["data"]
    assert "key" not in listed
    assert body["key"] not in str(listed)
    assert await admin.keys("other") == {"object": "list", "data": []}


async def test_a_key_expires_in_90_days_unless_it_says_otherwise(admin):
    body = await admin.create_key("acme", {"name": "ci"})
    left = datetime.fromisoformat(body["expires_at"]) - datetime.now(UTC)
    assert timedelta(days=89) < left <= timedelta(days=90)


async def test_a_tenant_without_a_policy_gets_the_default_with_its_first_key(admin, accounts):
    await admin.create_key("acme", {"name": "a"})
    assert accounts.defaults == []
    await admin.create_key("fresh", {"name": "a"})
    assert accounts.defaults == [("fresh", False)]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": "x" * 129}, "name"),
        ({"name": "a", "expires_in_days": 0}, "expires_in_days"),
        ({"name": "a", "limts": {}}, "limts"),
        ({"name": "a", "limits": {"concurrency": -1}}, "limits.concurrency"),
    ],
)
async def test_a_wrong_body_names_its_field(admin, accounts, body, param):
    with pytest.raises(InvalidRequestError) as caught:
        await admin.create_key("acme", body)
    assert caught.value.param == param
    assert accounts.keys == {}


@pytest.mark.parametrize("body", [None, [], "name", 3])
async def test_a_body_that_is_no_object_is_refused(admin, body):
    with pytest.raises(InvalidRequestError):
        await admin.create_key("acme", body)
    with pytest.raises(InvalidRequestError):
        await admin.adjust("acme", body, "me")


async def test_revoking_says_when(admin, accounts):
    new = await admin.create_key("acme", {"name": "ci"})
    assert (await admin.revoke_key("acme", new["id"]))["revoked_at"] is not None


async def test_a_credit_turns_the_amount_around(admin, accounts):
    charge = await admin.adjust("acme", {"amount_usd": "1.25", "reason": "late invoice"}, "admin")
    credit = await admin.adjust("acme", {"amount_usd": "1.25", "credit": True, "reason": "goodwill"}, "admin")
    assert [a[1] for a in accounts.adjustments] == [1_250_000_000, -1_250_000_000]
    assert (charge["amount_usd"], credit["amount_usd"]) == ("1.25", "-1.25")


@pytest.mark.parametrize("amount", ["-1", "1e3", "0.0000000001", "", "NaN"])
async def test_an_amount_that_is_no_money_is_refused(admin, accounts, amount):
    with pytest.raises(InvalidRequestError) as caught:
        await admin.adjust("acme", {"amount_usd": amount, "reason": "r"}, "admin")
    assert caught.value.param == "amount_usd"
    assert accounts.adjustments == []


async def test_usage_takes_groups_apart_and_prints_money(admin, accounts):
    accounts.rows.append(UsageRow({"key": "k", "model": None}, 1_500_000_000, 500_000_000, 3, 2))
    body = await admin.usage("acme", None, datetime(2026, 2, 1, tzinfo=UTC), ["key,model", "", "tool"])
    assert body["group_by"] == ["key", "model", "tool"]
    assert body["since"] == "2026-01-02T00:00:00+00:00"
    assert body["data"] == [{"key": "k", "model": None, "spent_usd": "1.50", "estimated_usd": "0.50", "calls": 3, "runs": 2}]


async def test_focus_rows_are_csv_with_a_header_even_without_rows(admin, accounts):
    assert (await admin.focus_csv("acme", None, None)).splitlines() == ["BilledCost"]
    accounts.focus.append({"BilledCost": "1.5", "ServiceName": 'a "b", c'})
    assert (await admin.focus_csv("acme", None, None)).splitlines() == ["BilledCost,ServiceName", '1.5,"a ""b"", c"']


async def test_windows_of_money_are_dollars_and_others_are_numbers(admin, accounts):
    start = datetime(2026, 1, 1, tzinfo=UTC)
    accounts.windows += [
        WindowBudget(Unit.MONEY, "day", "UTC", 2_000_000_000, 500_000_000, 0, 0, 1_500_000_000, start, None),
        WindowBudget(Unit.MONEY, "total", "UTC", None, 1, 0, 0, None, None, None),
        WindowBudget(Unit.REQUESTS, "day", "UTC", 10, 4, 0, 0, 6, start, None),
    ]
    money, unlimited, requests = (await admin.budget("acme"))["data"]
    assert (money["unit"], money["remaining"]) == ("usd", "1.50")
    assert (unlimited["limit"], unlimited["spent"], unlimited["remaining"]) == (None, "0.000000001", None)
    assert (requests["unit"], requests["remaining"]) == ("requests", 6)


async def test_a_budget_says_which_of_the_policys_percentages_are_reached(accounts):
    policy = manifest("BudgetPolicy", "default", {"alerts": [25, 50, 75]}, namespace="acme")
    admin = Administration(accounts, FixedRegistry(Catalog(budgets={("acme", "default"): policy})), BudgetPolicySpec())
    accounts.windows += [
        WindowBudget(Unit.MONEY, "day", "UTC", 200, 90, 10, 0, 100, None, None),
        WindowBudget(Unit.MONEY, "total", "UTC", None, 100, 0, 0, None, None, None),
    ]

    limited, unlimited = (await admin.budget("acme"))["data"]

    assert (limited["used_percent"], limited["alerts"]) == (50, [25, 50])
    assert (unlimited["used_percent"], unlimited["alerts"]) == (None, [])
