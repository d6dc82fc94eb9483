"""A status informs and never gates: whatever stands in it, the spec is read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolorchestra.core.resources import Tool, parse_resource
from toolorchestra.core.resources.status import OperationStatus

CONDITION = {"type": "Ready", "status": "True", "reason": "Ready", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}
OPERATION = {"name": "count", "schemaHash": "1", "state": "Accepted", "parameters": {"type": "object"}}


def a_tool(status):
    return parse_resource(
        {
            "apiVersion": "toolorchestra.dev/v1alpha1",
            "kind": "Tool",
            "metadata": {"name": "counter"},
            "spec": {"description": "Counts.", "plugin": {"name": "counter"}},
            "status": status,
        },
        source="test",
    )


def read(status):
    tool = a_tool(status)
    assert isinstance(tool, Tool)
    assert tool.status is not None
    return tool.status


def test_a_status_is_read_with_its_types():
    status = read({"conditions": [CONDITION], "operations": [OPERATION], "latencyMs": 5, "observedGeneration": 2})
    assert status.conditions[0].reason == "Ready"
    assert status.operations == [OperationStatus.model_validate(OPERATION)]
    assert (status.latency_ms, status.observed_generation) == (5, 2)


def test_fields_of_a_newer_operator_are_left_out():
    status = read({"latencyMs": 5, "colour": "red", "conditions": [CONDITION | {"severity": 3}]})
    assert status.latency_ms == 5
    assert status.conditions[0].type == "Ready"


@pytest.mark.parametrize(
    ("broken", "left"),
    [
        ({"latencyMs": "fast", "sandbox": "gvisor"}, {"sandbox": "gvisor"}),
        ({"operations": [OPERATION, {"name": "other"}]}, {"operations": [OPERATION]}),
        ({"operations": "many", "latencyMs": 1}, {"latencyMs": 1}),
        ({"conditions": [CONDITION | {"status": "Maybe"}]}, {}),
        ({"functions": ["a", 3, "b"]}, {"functions": ["a", "b"]}),
    ],
)
def test_only_what_cannot_be_read_is_lost(broken, left):
    assert read(broken) == read(left)


def test_an_operation_in_an_unknown_state_is_not_taken_for_an_accepted_one():
    assert read({"operations": [OPERATION | {"state": "Quarantined"}]}).operations == []


@pytest.mark.parametrize("status", [None, "fine", 3, []])
def test_a_status_that_is_no_object_is_none(status):
    assert a_tool(status).status is None


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=6,
)
fields = st.sampled_from(["conditions", "operations", "functions", "latencyMs", "probedAt", "observedGeneration", "else"])


@given(st.one_of(json_values, st.dictionaries(fields, json_values, max_size=4)))
def test_no_status_makes_a_spec_unreadable(status):
    assert a_tool(status).spec.plugin.name == "counter"
