"""What a run pins, what it may spend and how long, and who tries what."""

from dataclasses import replace

import pytest

from tests.unit.orchestrator.making import wish
from toolorchestra.core.errors import ForbiddenError, InvalidRequestError
from toolorchestra.core.resources import BudgetPolicySpec
from toolorchestra.core.testing import a_catalog, a_tool, an_expert, an_orchestrator, manifest
from toolorchestra.ledger.journal import Existing
from toolorchestra.orchestrator.services.budget import Budgets
from toolorchestra.orchestrator.services.chat import with_headers
from toolorchestra.orchestrator.services.entry import Entry
from toolorchestra.orchestrator.services.opening import Opener
from toolorchestra.orchestrator.services.principal import Principal
from toolorchestra.orchestrator.services.repeating import Attempt
from toolorchestra.orchestrator.testing import FixedRegistry

CALLER = Principal("default", "key")
USD = 1_000_000_000


class Noted(Entry):
    """Notes what would be stored."""

    def __init__(self):
        self.opened = []

    async def open_once(self, revision, opened, *, idempotency_key, body_hash):
        self.opened.append((revision, opened))
        return Existing("run", "running")


class Bench:
    def __init__(self, *, policy=None, tools=("lookup", "search"), **spec):
        resources = [an_orchestrator(**spec), an_expert(), *(a_tool(name) for name in tools)]
        catalog = a_catalog(*resources)
        if policy is not None:
            budget = manifest("BudgetPolicy", "default", policy)
            catalog = replace(catalog, budgets={("default", "default"): budget})
        self.registry = FixedRegistry(catalog)
        self.entry = Noted()
        self.opener = Opener(self.registry, Budgets(self.registry, BudgetPolicySpec()), self.entry)

    def opening(self, caller=CALLER, **fields):
        return self.opener.opening(caller, wish(**fields), self.opener.pinned(caller, "main"))

    async def open(self, body_hash):
        await self.opener.open(CALLER, wish(), idempotency_key=None, body_hash=body_hash)
        return self.entry.opened[-1]


@pytest.mark.parametrize(
    ("request_usd", "orchestrator_usd", "tenant_usd", "preferred_usd", "most"),
    [
        (None, None, None, None, None),
        ("0.30", None, None, None, 0.30),
        (None, "0.20", None, None, 0.20),
        (None, None, "0.10", None, 0.10),
        (None, None, None, "0.05", 0.05),
        ("0.30", "0.20", "0.10", "0.05", 0.05),
        ("0.01", "0.20", "0.10", "0.05", 0.01),
        ("0.30", "0.20", "0.02", None, 0.02),
        ("0.30", "0.20", "0.50", None, 0.20),
    ],
)
def test_the_tightest_cap_on_money_holds(request_usd, orchestrator_usd, tenant_usd, preferred_usd, most):
    bench = Bench(
        policy={"perRun": tenant_usd} if tenant_usd else None,
        limits={"maxCost": orchestrator_usd} if orchestrator_usd else {},
    )
    extension = {"max_cost_usd": request_usd} if request_usd else {}
    if preferred_usd:
        extension["preference"] = {"maxCost": preferred_usd}
    found = bench.opening(toolorchestra=extension).limits.max_cost_nano_usd
    assert found == (None if most is None else round(most * USD))


@pytest.mark.parametrize(
    ("fields", "turns", "output", "timeout_ms"),
    [
        ({}, 6, 200, 20_000),
        ({"max_tokens": 100, "toolorchestra": {"max_turns": 2, "timeout_seconds": 1.5}}, 2, 100, 1_500),
        ({"max_completion_tokens": 9_000, "toolorchestra": {"max_turns": 50, "timeout_seconds": 3600}}, 6, 200, 20_000),
        ({"toolorchestra": {"preference": {"maxLatency": "3s"}}}, 6, 200, 3_000),
    ],
)
def test_a_request_can_tighten_limits_and_not_loosen_them(fields, turns, output, timeout_ms):
    limits = Bench(limits={"maxTurns": 6, "maxOutputTokens": 200, "timeout": "20s"}).opening(**fields).limits
    assert (limits.max_turns, limits.max_output_tokens, limits.timeout_ms) == (turns, output, timeout_ms)


def test_the_reserve_pays_one_clamped_closing_answer():
    opened = Bench().opening(max_tokens=50)
    assert opened.reserve.hold == "final"
    assert opened.reserve.max_tokens == 50
    assert opened.reserve.nano_usd > 0


def test_a_pin_is_the_same_until_a_resource_changes():
    bench = Bench()
    first = bench.opener.pinned(CALLER, "main")
    assert bench.opener.pinned(CALLER, "main") is first
    narrow = bench.opener.pinned(replace(CALLER, tools=("lookup",)), "main")
    assert [f.name for f in narrow.functions if not f.is_expert] == ["lookup"]
    bench.registry.put(bench.registry.catalog())
    assert bench.opener.pinned(CALLER, "main") is not first


def test_a_hard_rule_that_excludes_the_manager_is_refused():
    bench = Bench()
    bench.registry.put(
        a_catalog(
            an_orchestrator(policy={"expertModelRef": {"name": "away"}}),
            an_expert("away", endpoint={"baseUrl": "https://example.com/v1"}),
        )
    )
    with pytest.raises(ForbiddenError):
        bench.opening(toolorchestra={"preference": {"insideOnly": True}})


async def test_a_canary_gets_its_share_and_a_request_stays_on_its_side():
    bench = Bench(canary={"policy": {"baseline": "strongest"}, "weight": 30})
    hashes = [f"{n * 2_654_435_761 % 2**32:08x}" for n in range(1_000)]
    sides = [(await bench.open(text))[1].policy for text in hashes]
    assert set(sides) == {"baseline:cascade", "baseline:strongest"}
    assert 250 < sides.count("baseline:strongest") < 350
    assert [(await bench.open(text))[1].policy for text in hashes[:50]] == sides[:50]


@pytest.mark.parametrize(("weight", "policy"), [(0, "baseline:cascade"), (100, "baseline:strongest")])
async def test_a_canary_of_nothing_or_all(weight, policy):
    bench = Bench(canary={"policy": {"baseline": "strongest"}, "weight": weight})
    assert {(await bench.open(f"{n:02x}000000"))[1].policy for n in range(100)} == {policy}


def test_a_share_of_runs_explores_within_the_hard_rules():
    bench = Bench(explore=0.05)
    drawn = [bench.opening(seed=n, toolorchestra={"preference": {"deny": ["search"]}}).explored for n in range(2_000)]
    assert 60 < sum(name is not None for name in drawn) < 140
    assert {name for name in drawn if name} == {"lookup", "expert"}
    assert drawn[:50] == [bench.opening(seed=n, toolorchestra={"preference": {"deny": ["search"]}}).explored for n in range(50)]
    assert all(Bench().opening(seed=n).explored is None for n in range(50))


def test_headers_stand_in_for_fields_that_are_not_set():
    both = Attempt(preference_words="cheap if possible", max_cost_usd="0.05")
    found = with_headers(wish(), both).toolorchestra
    assert (found.preference.words, found.max_cost_usd) == ("cheap if possible", "0.05")
    said = wish(toolorchestra={"preference": "fast", "max_cost_usd": "0.01", "progress": False})
    found = with_headers(said, both).toolorchestra
    assert (found.preference.words, found.max_cost_usd, found.progress) == ("fast", "0.01", False)


@pytest.mark.parametrize(
    "attempt", [Attempt(max_cost_usd="-1"), Attempt(max_cost_usd="much"), Attempt(preference_words="x" * 2_000)]
)
def test_a_header_that_makes_no_sense_is_refused_by_name(attempt):
    with pytest.raises(InvalidRequestError) as caught:
        with_headers(wish(), attempt)
    assert caught.value.param.split(".")[0] in ("max_cost_usd", "preference")
