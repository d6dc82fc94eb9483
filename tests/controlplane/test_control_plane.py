"""The control plane that tests get: a real API server with what the platform relies on, which leaves nothing behind."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from infra.cluster.local import LocalControlPlane
from infra.cluster.recipes import KUBERNETES
from infra.cluster.steps import ClusterError, wait_for
from tests.support.cluster import control_plane, kserve_crds, kueue_crds

ROOT = Path(__file__).parents[2]


def test_the_api_server_answers_with_its_version(api_server: LocalControlPlane) -> None:
    assert json.loads(api_server.kubectl("get", "--raw", "/version"))["gitVersion"] == f"v{KUBERNETES}"


def test_a_service_account_may_only_do_what_a_role_grants(api_server: LocalControlPlane, namespace: str) -> None:
    token = _token_of(api_server, namespace, "reader")
    with pytest.raises(ClusterError, match="forbidden"):
        _as_bearer(api_server, token, "get", "configmaps", "-n", namespace)

    api_server.kubectl(
        "create", "rolebinding", "reader", "-n", namespace, "--clusterrole=view", f"--serviceaccount={namespace}:reader"
    )

    question = ("auth", "can-i", "list", "configmaps", "-n", namespace, f"--as=system:serviceaccount:{namespace}:reader")
    wait_for("the grant holds", lambda: api_server.kubectl.succeeds(*question))
    assert "kube-root-ca.crt" in _as_bearer(api_server, token, "get", "configmaps", "-n", namespace)


def test_a_token_is_accepted_for_its_audience_only(api_server: LocalControlPlane, namespace: str) -> None:
    token = _token_of(api_server, namespace, "app", "--audience=toolorchestra")

    assert _review(api_server, token, "toolorchestra") == {
        "authenticated": True,
        "audiences": ["toolorchestra"],
        "username": f"system:serviceaccount:{namespace}:app",
    }
    assert _review(api_server, token, "another")["authenticated"] is False
    with pytest.raises(ClusterError, match=r"Unauthorized|must be logged in"):
        _as_bearer(api_server, token, "get", "namespaces")


def test_restricted_pod_security_is_enforced(api_server: LocalControlPlane, new_namespace: Callable[..., str]) -> None:
    namespace = new_namespace("pod-security.kubernetes.io/enforce=restricted")
    wait_for(
        "the ServiceAccount exists", lambda: api_server.kubectl.succeeds("get", "serviceaccount", "default", "-n", namespace)
    )
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": namespace}}
    container = {"name": "c", "image": "localhost/c:1"}
    restricted = {
        "allowPrivilegeEscalation": False,
        "runAsNonRoot": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }

    with pytest.raises(ClusterError, match='violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false'):
        api_server.kubectl.apply(yaml.safe_dump({**pod, "spec": {"containers": [container]}}))

    api_server.kubectl.apply(yaml.safe_dump({**pod, "spec": {"containers": [{**container, "securityContext": restricted}]}}))


def test_what_a_deleted_object_owns_is_deleted_too(api_server: LocalControlPlane, namespace: str) -> None:
    kubectl = api_server.kubectl
    kubectl("create", "configmap", "owner", "-n", namespace)
    uid = kubectl("get", "configmap", "owner", "-n", namespace, "-o", "jsonpath={.metadata.uid}")
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid}
    owned = {"name": "owned", "namespace": namespace, "ownerReferences": [owner]}
    kubectl.apply(yaml.safe_dump({"apiVersion": "v1", "kind": "ConfigMap", "metadata": owned}))

    kubectl("delete", "configmap", "owner", "-n", namespace)

    wait_for("the owned object is gone", lambda: not kubectl.succeeds("get", "configmap", "owned", "-n", namespace))


def test_a_restart_keeps_what_was_written_and_two_run_side_by_side(api_server: LocalControlPlane) -> None:
    with control_plane(controllers=False) as other:
        other.kubectl("create", "configmap", "kept", "-n", "default", "--from-literal=a=b")
        other.restart()

        assert other.kubectl("get", "configmap", "kept", "-n", "default", "-o", "jsonpath={.data.a}") == "b"
        assert other.url != api_server.url
        assert not api_server.kubectl.succeeds("get", "configmap", "kept", "-n", "default")
        pids = other.pids.values()
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_the_resources_of_kserve_and_kueue_can_be_installed(api_server: LocalControlPlane) -> None:
    for crds in (kserve_crds(), kueue_crds()):
        api_server.kubectl("apply", "--server-side", "-f", crds)

    wait_for("they are served", lambda: api_server.kubectl.succeeds("get", "inferenceservices,workloads.kueue.x-k8s.io", "-A"))
    explained = ("explain", "inferenceservice.spec.predictor.minReplicas")
    wait_for("they are described", lambda: api_server.kubectl.succeeds(*explained))  # a moment after they are served
    assert "minReplicas" in api_server.kubectl(*explained)


def test_no_process_is_left_when_the_parent_is_killed() -> None:
    program = "import time; from tests.support.cluster import control_plane\nwith control_plane() as c: print(*c.pids.values(), flush=True); time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        alive_before = [pid for pid in pids if _runs(pid)]
        os.kill(parent.pid, signal.SIGKILL)

    assert len(alive_before) == 3
    wait_for("all processes are gone", lambda: not any(map(_runs, pids)), seconds=5)


def _runs(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def _token_of(api_server: LocalControlPlane, namespace: str, account: str, *options: str) -> str:
    api_server.kubectl("create", "serviceaccount", account, "-n", namespace)
    return api_server.kubectl("create", "token", account, "-n", namespace, *options).strip()


def _as_bearer(api_server: LocalControlPlane, token: str, *arguments: str) -> str:
    """kubectl with a token and without the administrator's."""
    server = (f"--server={api_server.url}", f"--certificate-authority={api_server.ca_path}", f"--token={token}")
    return api_server.kubectl("--kubeconfig=/dev/null", *server, *arguments)


def _review(api_server: LocalControlPlane, token: str, audience: str) -> dict[str, object]:
    """What the API server says about a token that was shown to somebody who expects ``audience``."""
    spec = {"token": token, "audiences": [audience]}
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec}
    said = json.loads(api_server.kubectl("create", "-f", "-", "-o", "json", stdin=json.dumps(review)))["status"]
    return {
        "authenticated": said.get("authenticated", False),
        "audiences": said.get("audiences"),
        "username": said.get("user", {}).get("username"),
    }
