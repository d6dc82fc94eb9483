"""What is decided of an Orchestrator, from what is known of its models."""

from typing import Any

import pytest

from tests.unit.operator.making import NOW, body, conditions, orchestrator
from toolorchestra.operator.plan import Condition, State
from toolorchestra.operator.services.index import Index
from toolorchestra.operator.services.kinds import Reference, Seen
from toolorchestra.operator.services.orchestrators import (
    OrchestratorObserved,
    PolicyObserved,
    orchestrator_kind,
    reconcile_orchestrator,
    used_models,
)

MANAGED = {"policy": {"expertModelRef": {"name": "sage"}}}
CANARY = {"canary": {"policy": {"expertModelRef": {"name": "bird"}}, "weight": 5}}
READY = PolicyObserved(found=True, ready=Condition("Ready", State.TRUE, "Ready"))
BROKEN = PolicyObserved(found=True, ready=Condition("Ready", State.FALSE, "Unreachable", "no answer"))
STARTING = PolicyObserved(found=True, ready=Condition("Ready", State.UNKNOWN, "Starting"))
NEW = PolicyObserved(found=True, ready=None)
ABSENT = PolicyObserved(found=False, ready=None)


@pytest.mark.parametrize(
    ("spec", "policy", "canary", "expected"),
    [
        ({}, None, None, ("True", "Baseline")),
        (MANAGED, READY, None, ("True", "PolicyReady")),
        (MANAGED, BROKEN, None, ("False", "PolicyNotReady")),
        (MANAGED, STARTING, None, ("Unknown", "PolicyUnknown")),
        (MANAGED, NEW, None, ("Unknown", "PolicyUnknown")),
        (MANAGED, ABSENT, None, ("False", "PolicyNotFound")),
        (CANARY, None, READY, ("True", "Baseline")),
        (CANARY, None, ABSENT, ("False", "CanaryNotFound")),
        (CANARY, None, BROKEN, ("False", "CanaryNotReady")),
        (CANARY | MANAGED, ABSENT, BROKEN, ("False", "PolicyNotFound")),
    ],
)
def test_the_policy(
    spec: dict[str, Any], policy: PolicyObserved | None, canary: PolicyObserved | None, expected: tuple[str, str]
):
    plan = reconcile_orchestrator(orchestrator(**spec), OrchestratorObserved(policy, canary, taken=False, functions=3))
    assert conditions(plan)["PolicyReady"] == expected
    assert conditions(plan)["Ready"][0] == expected[0]


def test_a_name_that_a_model_has_is_not_accepted():
    plan = reconcile_orchestrator(orchestrator(), OrchestratorObserved(None, None, taken=True, functions=0))
    assert conditions(plan)["Ready"] == ("False", "NameCollision")


def test_it_says_who_decides_and_how_the_canary_is():
    spec = {"policy": {"expertModelRef": {"name": "sage", "namespace": "lender"}}, **CANARY}
    plan = reconcile_orchestrator(orchestrator(**spec), OrchestratorObserved(READY, BROKEN, taken=False, functions=3))
    assert plan.status == {
        "modelName": "one", "policy": "ExpertModel/lender/sage", "functions": 3,
        "canary": {"state": "CanaryNotReady", "weight": 5},
    }  # fmt: skip


def test_it_depends_on_its_models_and_on_the_one_that_would_have_its_name():
    assert used_models(orchestrator(**MANAGED, **CANARY)) == [
        Reference("ExpertModel", "team", "sage"), Reference("ExpertModel", "team", "bird"), Reference("ExpertModel", "team", "one"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("allowed", "found"),
    [
        ({}, False),
        ({"from": "All"}, True),
        ({"from": "Names", "names": ["team"]}, True),
        ({"from": "Names", "names": ["else"]}, False),
    ],
)
async def test_a_model_of_another_namespace_counts_only_if_it_is_lent(allowed: dict[str, Any], found: bool):
    index = Index()
    spec = {"description": "d", "model": "m", "endpoint": {"baseUrl": "https://example.org/v1"}, "allowedNamespaces": allowed}
    index.put(body("ExpertModel", "sage", spec, namespace="lender"))
    ref = {"policy": {"expertModelRef": {"name": "sage", "namespace": "lender"}}}
    seen = Seen(uid="u", generation=1, status={}, fresh=True, written_ms_ago=None, now=NOW)
    observed = await orchestrator_kind(index).gather(orchestrator(**ref), seen)
    assert observed.policy is not None
    assert observed.policy.found is found
    assert observed.functions == int(found)


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"tools": {"include": ["sarch*"]}}, "spec.tools.include: 'sarch*'"),
        ({"tools": {"exclude": ["serch"]}}, "spec.tools.exclude: 'serch'"),
        ({"defaultPreference": {"allow": ["foreign"]}}, "spec.defaultPreference.allow: 'foreign'"),
        ({"defaultPreference": {"deny": ["serch"]}}, "spec.defaultPreference.deny: 'serch'"),
        ({"defaultPreference": {"weights": {"tools": {"serch": 1}}}}, "spec.defaultPreference.weights.tools: 'serch'"),
        ({"defaultPreference": {"deny": ["delete*"], "allow": ["s*"]}}, None),
    ],
)
async def test_a_pattern_that_matches_nothing_is_told(spec: dict[str, Any], field: str | None):
    index = Index()
    index.put(body("Tool", "search"))
    index.put(body("Tool", "foreign", namespace="other"))
    seen, kind = Seen(uid="u", generation=1, status={}, fresh=True, written_ms_ago=None, now=NOW), orchestrator_kind(index)
    built = orchestrator(**spec)
    plan = kind.reconcile(built, await kind.gather(built, seen))
    ready = plan.conditions[-1]
    assert (ready.state, ready.reason) == (State.TRUE, "PatternUnmatched" if field else "Ready")
    assert (field or "") in ready.message
    assert plan.again_ms == (10_000 if field else None)


async def test_functions_are_those_that_its_selector_picks():
    index = Index()
    for name in ("search", "sum", "delete"):
        index.put(body("Tool", name))
    index.put(body("Tool", "foreign", namespace="other"))
    chosen = orchestrator(tools={"include": ["s*", "delete"], "exclude": ["delete"]})
    seen = Seen(uid="u", generation=1, status={}, fresh=True, written_ms_ago=None, now=NOW)
    assert (await orchestrator_kind(index).gather(chosen, seen)).functions == 2
