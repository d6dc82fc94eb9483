"""What is decided of a Tool, from what was observed of it: every reason."""

from dataclasses import replace
from typing import Any

import pytest

from tests.unit.operator.making import NOW, conditions, tool
from toolorchestra.core.registry import DiscoveredOperation, Observation
from toolorchestra.operator.plan import Condition, State
from toolorchestra.operator.services.tools import (
    MAX_OPERATIONS,
    ToolObserved,
    operations_of,
    pins,
    reconcile_tool,
    tool_secrets,
)

WORKS = Observation(ready=True, reason="Ready")
SEEN = ToolObserved(
    operations=(), collision=None, hidden=None, secrets=None, probe=WORKS, latency_ms=3, now=NOW, probe_interval_ms=60_000
)
MCP: dict[str, Any] = {"mcp": {"url": "https://example.org/mcp"}}
PLUGIN = {"plugin": {"name": "p"}}
HEADER = {"name": "A", "secretKeyRef": {"name": "s", "key": "k"}}
UNREADABLE = Condition("SecretsReadable", State.FALSE, "SecretMissing", "create it")


def operation(name: str, digest: str = "h1", description: str = "d") -> DiscoveredOperation:
    details = {"remoteName": name}
    return DiscoveredOperation(
        name=name, description=description, parameters={"type": "object"}, schema_hash=digest, details=details
    )


def found(*operations: DiscoveredOperation, drifted: dict[str, str] | None = None, message: str = "") -> Observation:
    reason = "Ready" if operations else "Drifted" if drifted else "NothingOffered"
    details = {"drifted": drifted} if drifted else {}
    return Observation(ready=bool(operations), reason=reason, message=message, operations=operations, details=details)


@pytest.mark.parametrize(
    ("spec", "observed", "expected"),
    [
        ({}, SEEN, {"Accepted": "Accepted", "Reachable": "Reachable", "Ready": "Ready"}),
        ({}, replace(SEEN, hidden="it hides one"), {"Accepted": "HidesLent", "Ready": "HidesLent"}),
        ({"plugin": {"name": "p"}}, SEEN, {"Reachable": "Installed", "Ready": "Ready"}),
        ({}, replace(SEEN, secrets=Condition("SecretsReadable", State.TRUE, "Readable")), {"SecretsReadable": "Readable"}),
        (
            MCP,
            replace(SEEN, probe=found(operation("a"), message="two tools are called 'b'")),
            {"Accepted": "Accepted", "Reachable": "PartlyOffered", "Ready": "PartlyOffered"},
        ),
        (
            MCP,
            replace(SEEN, probe=found(operation("a"), drifted={"b": "h2"})),
            {"Accepted": "PartlyDrifted", "Ready": "PartlyDrifted"},
        ),
        (PLUGIN | {"retries": 2, "sideEffects": "destructive"}, SEEN, {"Accepted": "NeverRetried", "Ready": "NeverRetried"}),
        (PLUGIN | {"retries": 2, "sideEffects": "readOnly"}, SEEN, {"Accepted": "Accepted"}),
        (MCP | {"parameters": {"type": "object"}}, SEEN, {"Accepted": "ParametersUnused"}),
    ],
)
def test_ready(spec: dict[str, Any], observed: ToolObserved, expected: dict[str, str]):
    got = conditions(reconcile_tool(tool(**_pinned(spec)), observed))
    assert {kind: got[kind] for kind in expected} == {kind: ("True", reason) for kind, reason in expected.items()}


@pytest.mark.parametrize(
    ("spec", "observed", "expected"),
    [
        (
            {"mcp": {"stdio": {"command": "x"}}},
            replace(SEEN, probe=None),
            {"Accepted": ("False", "StdioNotAllowed"), "Reachable": ("Unknown", "StdioNotAllowed")},
        ),
        ({}, replace(SEEN, collision="rename one"), {"Accepted": ("False", "NameCollision")}),
        (
            {"plugin": {"name": "p", "secrets": {"key": {"name": "s", "key": "k"}}}, "execution": "sandbox"},
            SEEN,
            {"Accepted": ("False", "SecretsInSandbox")},
        ),
        (
            {},
            replace(SEEN, probe=None, secrets=UNREADABLE),
            {"SecretsReadable": ("False", "SecretMissing"), "Reachable": ("Unknown", "SecretsNotReadable")},
        ),
        *(
            ({}, replace(SEEN, probe=Observation(ready=False, reason=reason)), {"Accepted": ("False", reason)})
            for reason in ("InvalidSpec", "NotInstalled", "NoBackend")
        ),
        *(
            ({}, replace(SEEN, probe=Observation(ready=False, reason=reason)), {"Reachable": ("False", reason)})
            for reason in ("Timeout", "Unreachable", "EgressDenied", "NothingOffered", "Failed")
        ),
        (
            MCP,
            replace(SEEN, probe=found(drifted={"a": "h2"})),
            {"Accepted": ("False", "Drifted"), "Reachable": ("True", "Reachable")},
        ),
    ],
)
def test_not_ready(spec: dict[str, Any], observed: ToolObserved, expected: dict[str, tuple[str, str]]):
    plan = reconcile_tool(tool(**_pinned(spec)), observed)
    got = conditions(plan)
    assert {kind: got[kind] for kind in expected} == expected
    assert got["Ready"] == next(one for one in expected.values() if one[0] == "False")
    assert plan.again_ms is not None
    assert plan.again_ms <= 30_000


def test_operations_stand_in_the_status_with_all_that_a_call_needs():
    plan = reconcile_tool(tool(**MCP), replace(SEEN, probe=found(operation("add"), operation("sub"))))
    assert plan.status["functions"] == ["one__add", "one__sub"]
    assert plan.status["operationCount"] == 2
    assert plan.status["operations"][0] == {
        "name": "add", "description": "d", "parameters": {"type": "object"}, "schemaHash": "h1",
        "details": {"remoteName": "add"}, "state": "Accepted",
    }  # fmt: skip


def test_a_drifted_operation_stays_as_it_was_accepted_and_names_what_is_offered():
    before = reconcile_tool(tool(**MCP), replace(SEEN, probe=found(operation("add")))).status["operations"]
    assert pins(before) == {"add": "h1"}
    plan = reconcile_tool(tool(**MCP), replace(SEEN, operations=before, probe=found(drifted={"add": "h2"})))
    (kept,) = plan.status["operations"]
    assert (kept["state"], kept["schemaHash"], kept["details"]["offeredHash"]) == ("Drifted", "h1", "h2")
    assert plan.status["functions"] == []
    assert pins([kept]) == {"add": "h1"}, "the first hash stays pinned"
    assert "acceptedHashes (add: h2)" in plan.conditions[0].message


def test_a_hash_that_was_accepted_beforehand_can_be_missed_at_first_sight():
    spec = {"mcp": {**MCP["mcp"], "acceptedHashes": {"add": "wanted"}}}
    (seen,) = operations_of(tool(**spec), replace(SEEN, probe=found(drifted={"add": "other"})))
    assert (seen["state"], seen["schemaHash"]) == ("Drifted", "wanted")


def test_what_is_known_stays_while_nobody_answers():
    known = operations_of(tool(**MCP), replace(SEEN, probe=found(operation("add"))))
    silent = Observation(ready=False, reason="Unreachable", message="no answer")
    plan = reconcile_tool(tool(**MCP), replace(SEEN, operations=known, probe=silent))
    assert plan.status["operations"] == known
    assert conditions(plan)["Ready"] == ("False", "Unreachable")


def test_no_more_is_stored_than_an_object_has_room_for():
    many = found(*(operation(f"op{number}") for number in range(300)))
    plan = reconcile_tool(tool(**MCP), replace(SEEN, probe=many))
    assert (len(plan.status["operations"]), plan.status["operationCount"]) == (MAX_OPERATIONS, 300)
    large = found(*(operation(f"op{number}", description="x" * 100_000) for number in range(20)))
    plan = reconcile_tool(tool(**MCP), replace(SEEN, probe=large))
    assert len(plan.status["operations"]) == 8


def test_the_hash_follows_what_a_model_is_told():
    def digest(**spec: Any) -> Any:
        return reconcile_tool(tool(**spec), SEEN).status["schemaHash"]

    http = {"http": {"url": "https://example.org/x"}}
    assert digest(**http) == digest(**http, timeout="5s")
    assert digest(**http) != digest(**http, description="another")


@pytest.mark.parametrize(
    ("backend", "path"),
    [
        ({"http": {"url": "https://example.org/x", "headers": [HEADER]}}, "spec.http.headers[A].secretKeyRef"),
        ({"openapi": {"url": "https://example.org/x", "headers": [HEADER]}}, "spec.openapi.headers[A].secretKeyRef"),
        ({"mcp": {"url": "https://example.org/x", "headers": [HEADER]}}, "spec.mcp.headers[A].secretKeyRef"),
        ({"plugin": {"name": "p", "secrets": {"key": {"name": "s", "key": "k"}}}}, "spec.plugin.secrets.key"),
    ],
)
def test_every_secret_is_found_with_its_path(backend: dict[str, Any], path: str):
    assert {where: (ref.name, ref.key) for where, ref in tool_secrets(tool(**backend).spec).items()} == {path: ("s", "k")}


def _pinned(spec: dict[str, Any]) -> dict[str, Any]:
    """A tool whose server is said to have drifted has accepted something before."""
    if spec is not MCP:
        return spec
    return {"mcp": {**MCP["mcp"], "acceptedHashes": {"a": "h1", "b": "h1"}}}
