"""Names of accounts and rows of limits."""

import json

from toolorchestra.core.resources.budget import BudgetPolicySpec
from toolorchestra.ledger import money
from toolorchestra.ledger.keys import KeyLimits
from toolorchestra.ledger.money import Limit, Unit
from toolorchestra.ledger.policies import spec_hash


def test_accounts_are_named_by_kind_and_service_accounts_by_tenant_too():
    assert money.tenant_account("acme") == "t:acme"
    assert money.key_account("acme", "0a1b") == "k:0a1b"
    assert money.key_account("acme", "sa:builder") == "k:acme/sa:builder"
    assert money.run_account("run1") == "r:run1"


def test_a_policy_without_limits_still_has_a_total_per_unit():
    assert money.limits_of(BudgetPolicySpec()) == [
        Limit(Unit.MONEY, "total", "UTC", None),
        Limit(Unit.REQUESTS, "total", "UTC", None),
        Limit(Unit.SLOTS, "total", "UTC", None),
    ]


def test_limits_follow_the_policy_and_its_time_zone():
    spec = BudgetPolicySpec.model_validate(
        {
            "timeZone": "Europe/Berlin",
            "limits": {"hour": "0", "month": "12.50", "total": "100"},
            "requests": {"day": 7},
            "concurrency": 0,
        }
    )
    assert money.limits_of(spec) == [
        Limit(Unit.MONEY, "hour", "Europe/Berlin", 0),
        Limit(Unit.MONEY, "month", "Europe/Berlin", 12_500_000_000),
        Limit(Unit.MONEY, "total", "UTC", 100_000_000_000),
        Limit(Unit.REQUESTS, "day", "Europe/Berlin", 7),
        Limit(Unit.REQUESTS, "total", "UTC", None),
        Limit(Unit.SLOTS, "total", "UTC", 0),
    ]


def test_a_keys_limits_are_read_as_a_policys():
    limits = KeyLimits.model_validate({"limits": {"day": "1"}})
    rows = json.loads(money.limits_text(money.limits_of(limits)))
    assert rows[0] == {"unit": "nano_usd", "kind": "day", "tz": "UTC", "amount": 1_000_000_000}


def test_a_policys_hash_changes_with_its_content_only():
    one, same, other = [BudgetPolicySpec.model_validate({"limits": {"day": day}}) for day in ("1", "1", "2")]
    assert spec_hash(one) == spec_hash(same) != spec_hash(other)
