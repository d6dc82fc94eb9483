"""A BudgetPolicy holds within seconds, and those whom it limits cannot change it."""

import time

import openai
import pytest

from infra.cluster.steps import ClusterError
from tests.e2e.installation import Tenant, resource, wait_until
from tests.e2e.resources import cascade, multiplier

WITHIN_S = 5.0
QUESTION = "What is 12 * 12?"


def policy(total: str) -> dict[str, object]:
    return resource("BudgetPolicy", "default", {"limits": {"total": total}})


def refused(tenant: Tenant) -> str:
    """The code of the refusal; empty while it is answered."""
    with tenant.openai(retries=0) as client:
        try:
            client.chat.completions.create(model="cascade", messages=[{"role": "user", "content": QUESTION}])
        except openai.RateLimitError as error:
            return str(error.code)
    return ""


def test_a_budget_holds_within_five_seconds_and_its_tenant_cannot_raise_it(tenant: Tenant, figures: list[str]) -> None:
    tenant.apply(cascade())
    developer, treasurer = tenant.account("developer", "edit"), tenant.account("treasurer", "toolorchestra-budget-admin")
    tenant.apply(multiplier(), by=developer)
    tenant.wait("tool/multiplier", "Ready")
    assert tenant.ask("cascade", QUESTION) == "144"

    began = time.monotonic()
    tenant.apply(policy("0.0005"), by=treasurer)
    wait_until(lambda: refused(tenant) == "insufficient_quota", what="the refusal")
    took = time.monotonic() - began
    tenant.wait("budgetpolicy/default", "Enforced", seconds=5)
    enforced = time.monotonic() - began
    status = tenant.get("budgetpolicy", "default")["status"]
    assert status["limit"].startswith("0.0005")
    assert max(took, enforced) < WITHIN_S

    for attempt in (
        ("patch", "budgetpolicy", "default", "--type=merge", '--patch={"spec":{"limits":{"total":"100"}}}'),
        ("patch", "budgetpolicy", "default", "--subresource=status", "--type=merge", '--patch={"status":{"spent":"0"}}'),
        ("delete", "budgetpolicy", "default"),
    ):
        with pytest.raises(ClusterError, match="Forbidden"):
            developer(*attempt, "-n", tenant.name)
    assert refused(tenant) == "insufficient_quota"

    began = time.monotonic()
    tenant.apply(policy("1"), by=treasurer)
    wait_until(lambda: not refused(tenant), what="the answer")
    raised = time.monotonic() - began
    assert raised < WITHIN_S
    figures.append(
        f"BudgetPolicy: applied → refused in {took:.2f} s, Enforced in {enforced:.2f} s; raised → answered in {raised:.2f} s"
    )
