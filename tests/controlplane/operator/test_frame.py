"""The operator as a good citizen: few writes, no marks on users' objects, and nothing lost when it or others go away."""

import json
import time

import httpx

from tests.controlplane.operator.test_tools import http_tool
from tests.support.operators import OperatorProcess, OperatorSpace

CALCULATOR = {"description": "Adds.", "plugin": {"name": "calculator"}}


def reconciles(operator: OperatorProcess, kind: str) -> float:
    return operator.metrics().get(f'toolorchestra_operator_reconciles_total{{kind="{kind}",result="ok"}}', 0.0)


def wait_for_reconciles(operator: OperatorProcess, kind: str, count: int) -> None:
    deadline = time.monotonic() + 30
    while reconciles(operator, kind) < count:
        assert time.monotonic() < deadline, f"{reconciles(operator, kind)} of {count} reconciles"
        time.sleep(0.2)


def test_a_resource_takes_two_writes_and_then_none(operator_space: OperatorSpace, http_peer: str) -> None:
    with operator_space.operator() as operator:
        operator_space.apply("Tool", "ask", http_tool(http_peer))
        version = operator_space.wait("Tool", "ask", "Ready", "True")["metadata"]["resourceVersion"]
        wait_for_reconciles(operator, "Tool", 4)
        assert operator.writes("status") == 1
        assert operator.writes("event") == 1
        assert operator.writes() == 2
    assert operator_space.get("Tool", "ask")["metadata"]["resourceVersion"] == version
    with operator_space.operator() as again:
        wait_for_reconciles(again, "Tool", 2)
        assert again.writes() == 0, "a new start rewrites nothing"
    assert again.process.returncode == 0


def test_it_leaves_no_mark_but_the_status(operator_space: OperatorSpace) -> None:
    operator_space.apply("Tool", "plain", CALCULATOR)
    with operator_space.operator():
        body = operator_space.wait("Tool", "plain", "Ready", "True")
    metadata = body["metadata"]
    assert not metadata.get("finalizers")
    assert not metadata.get("annotations")
    listed = operator_space.cluster.kubectl(
        "get", "tool", "plain", "-n", operator_space.namespace, "-o", "json", "--show-managed-fields"
    )
    managers = json.loads(listed)["metadata"]["managedFields"]
    ours = [one for one in managers if one["manager"] == "toolorchestra-operator"]
    assert [(one["operation"], one["subresource"], list(one["fieldsV1"])) for one in ours] == [
        ("Apply", "status", ["f:status"])
    ]
    operator_space.delete("Tool", "plain")  # nothing holds it back while no operator runs


def test_killed_in_the_middle_it_goes_on_where_it_was(operator_space: OperatorSpace, http_peer: str) -> None:
    names = [f"tool-{number}" for number in range(20)]
    with operator_space.operator() as operator:
        for name in names[:10]:
            operator_space.apply("Tool", name, http_tool(http_peer))
        operator.kill()
    for name in names[10:]:
        operator_space.apply("Tool", name, http_tool(http_peer))
    operator_space.delete("Tool", names[0])
    with operator_space.operator():
        for name in names[1:]:
            operator_space.wait("Tool", name, "Ready", "True")


def test_what_others_write_into_a_status_is_put_right(operator_space: OperatorSpace) -> None:
    with operator_space.operator():
        operator_space.apply("Tool", "mine", CALCULATOR)
        operator_space.wait("Tool", "mine", "Ready", "True")
        lie = {"status": {"functions": ["somebody-elses"], "schemaHash": "0"}}
        kubectl = operator_space.cluster.kubectl
        kubectl(
            "patch", "tool", "mine", "-n", operator_space.namespace,
            "--subresource=status", "--type=merge", "-p", json.dumps(lie),
        )  # fmt: skip
        deadline = time.monotonic() + 15
        while operator_space.get("Tool", "mine")["status"]["functions"] != ["mine"]:
            assert time.monotonic() < deadline
            time.sleep(0.2)


def test_an_object_made_again_under_its_name_starts_afresh(operator_space: OperatorSpace) -> None:
    with operator_space.operator():
        operator_space.apply("Tool", "phoenix", CALCULATOR)
        first = operator_space.wait("Tool", "phoenix", "Ready", "True")
        operator_space.delete("Tool", "phoenix")
        operator_space.apply("Tool", "phoenix", CALCULATOR)
        second = operator_space.wait("Tool", "phoenix", "Ready", "True")
    assert first["metadata"]["uid"] != second["metadata"]["uid"]


def test_a_silent_watch_makes_it_unhealthy_by_name(operator_space: OperatorSpace) -> None:
    with operator_space.operator(watch_silence_s="2", resync_interval_s="300") as operator:
        assert httpx.get(f"{operator.url}/healthz", trust_env=False).status_code == 200
        time.sleep(2.5)
        answer = httpx.get(f"{operator.url}/healthz", trust_env=False)
    assert answer.status_code == 503
    assert "the watch of Tool is silent" in answer.text


def test_lists_that_miss_nothing_are_signs_of_life(operator_space: OperatorSpace) -> None:
    with operator_space.operator(watch_silence_s="18", resync_interval_s="1") as operator:
        time.sleep(20)
        assert httpx.get(f"{operator.url}/healthz", trust_env=False).text == "ok"


def test_settings_that_are_wrong_end_it_with_the_fix(operator_space: OperatorSpace) -> None:
    running = operator_space.launch(probe_interval_s="0")
    assert running.process.wait(30) == 2
    assert "TOOLORCHESTRA_PROBE_INTERVAL_S" in running.log.read_text()
