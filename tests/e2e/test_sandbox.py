"""What this node gives to code, as observed from inside; what it cannot enforce is not claimed."""

import json
from typing import Any

import httpx
import pytest
import yaml

from infra.cluster.recipes import KUBERNETES
from tests.e2e.installation import NAMESPACE, VALUES, Installation, Tenant, resource
from tests.e2e.resources import parameters
from tests.support.helm import CHART, OURS

PROBE = "import socket; socket.create_connection(('kubernetes.default.svc', 443), timeout=3).close(); print('reached')"


def code_tool(name: str, **spec: Any) -> dict[str, Any]:
    body = {
        "description": "Runs Python.",
        "parameters": parameters("code"),
        "plugin": {"name": "python"},
        "execution": "sandbox",
        "sideEffects": "readOnly",
        **spec,
    }
    return resource("Tool", name, body)


def call(tenant: Tenant, tool: str, code: str) -> dict[str, Any]:
    url = f"{tenant.installation.url}/v1/tools/{tool}/call"
    headers = {"authorization": f"Bearer {tenant.token()}"}
    answer = httpx.post(url, json={"arguments": {"code": code}}, headers=headers, timeout=60, trust_env=False)
    found: dict[str, Any] = answer.json()
    return found


def test_the_sandbox_claims_what_it_observed_and_no_more(
    installation: Installation, tenant: Tenant, figures: list[str]
) -> None:
    (pod,) = installation.pods("sandbox")
    logged = installation.kubectl("logs", pod, "-n", NAMESPACE, "-c", "worker").splitlines()
    observed = next(one for one in map(json.loads, logged) if one["event"] == "sandbox_observed")
    figures.append(f"sandbox: rung {observed['rung']}, layers {observed['layers']}, reach of code {observed['reach']}")
    assert set(observed["reach"].values()) <= {"closed", "silent"}
    assert observed["rung"] == "process", "a pod's rung would need a NetworkPolicy that holds"

    # The policy that closes this is there; this node's network does not enforce it.
    assert installation.kubectl("get", "networkpolicy", "toolorchestra-sandbox", "-n", NAMESPACE)
    reached = installation.kubectl("exec", pod, "-n", NAMESPACE, "-c", "worker", "--", "python", "-c", PROBE)
    assert reached.strip() == "reached"
    figures.append("NetworkPolicy on this node: the sandbox's pod can reach the API server, its code cannot")

    tenant.apply(code_tool("python"), code_tool("python-in-a-pod", minimumSandbox="pod"))
    tenant.wait("tool/python", "Ready")
    tenant.wait("tool/python-in-a-pod", "Ready=False")
    assert [tenant.get("tool", name)["status"]["sandbox"] for name in ("python", "python-in-a-pod")] == ["process", "process"]
    weak = tenant.condition("tool", "python-in-a-pod", "Sandboxed")
    assert weak["reason"] == "SandboxTooWeak"
    assert "spec.minimumSandbox demands 'pod'" in weak["message"]
    assert "391" in json.dumps(call(tenant, "python", "print(17 * 23)"))
    assert "Temporary failure in name resolution" in json.dumps(call(tenant, "python", PROBE))
    refused = json.dumps(call(tenant, "python-in-a-pod", "print(1)"))
    assert "demands the sandbox 'pod', this worker has 'process'" in refused


@pytest.mark.parametrize("kind", ["NetworkPolicy", "HorizontalPodAutoscaler"])
def test_the_server_accepts_what_this_node_cannot_enforce(installation: Installation, kind: str) -> None:
    scaled = [f"--set={name}.autoscaling.enabled=true" for name in ("orchestrator", "workerDefaults", "sandbox")]
    files = [f"--values={path}" for path in VALUES]
    place = ("--namespace", NAMESPACE, f"--api-versions={OURS}", f"--kube-version={KUBERNETES}")
    rendered = installation.helm("template", "toolorchestra", CHART, *place, *files, *scaled)
    found = [one for one in yaml.safe_load_all(rendered) if one and one["kind"] == kind]
    assert found
    for body in found:
        body["metadata"]["namespace"] = NAMESPACE
        installation.kubectl(
            "apply", "--server-side", "--force-conflicts", "--dry-run=server", "-f", "-", stdin=yaml.safe_dump(body)
        )
