"""The node that `make cluster` gives: from nothing to a model that KServe serves, and back to nothing, however it ends."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest
import yaml

from infra.cluster import record
from infra.cluster.build import Store, default_cache
from infra.cluster.machine import require_node_host
from infra.cluster.node import Node
from infra.cluster.steps import ClusterError, run, wait_for
from infra.cluster.teardown import down, is_running
from tests.support.node import busybox_image, node

ROOT = Path(__file__).parents[2]
IMAGE = "localhost/web:1"
MODELS = json.dumps({"object": "list", "data": [{"id": "tiny", "object": "model"}]})
pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def web_image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    archive = tmp_path_factory.mktemp("images") / "web.tar"
    busybox_image(IMAGE, {"/v1/models": MODELS}).write(archive, machine=os.uname().machine)
    return archive


@pytest.fixture(scope="session", autouse=True)
def packages() -> None:
    """What a node needs of the machine: traces are looked for with it, before the first node installs it."""
    require_node_host()


@pytest.fixture
def untouched_machine() -> Iterator[None]:
    """What the machine has before a test it has after it, and nothing more."""
    before = traces()
    yield
    wait_for("nothing is left", lambda: traces() == before, seconds=10, hint=f"{before} became {traces()}")


@pytest.mark.parametrize("attempt", ["first", "again"])
@pytest.mark.usefixtures("untouched_machine")
def test_from_nothing_to_a_model_and_back(web_image: Path, attempt: str) -> None:
    with node(images=[web_image]) as running:
        kubectl = running.kubectl
        kubectl("create", "namespace", "models")
        kubectl.apply(inference_service(min_replicas=2))

        began = time.monotonic()
        wait_for("the model is ready", lambda: condition(running, "Ready") == "True", seconds=90)
        print(f"{attempt}: InferenceService ready after {time.monotonic() - began:.1f} s")

        status = json.loads(kubectl("get", "inferenceservice", "tiny", "-n", "models", "-o", "json"))["status"]
        assert status["url"] == status["address"]["url"] == "http://tiny-predictor.models.svc.cluster.local"
        address = kubectl("get", "service", "tiny-predictor", "-n", "models", "-o", "jsonpath={.spec.clusterIP}")
        wait_for("it answers at its Service", lambda: get(address, "/v1/models") == MODELS, seconds=10)
        pod = kubectl("get", "pods", "-n", "models", "-o", "jsonpath={.items[0].metadata.name}")
        assert address in kubectl("exec", pod, "-n", "models", "--", "nslookup", "tiny-predictor.models.svc.cluster.local")
        request = rf"printf 'GET /v1/models HTTP/1.0\r\n\r\n' | nc {address} 80"
        assert MODELS in kubectl("exec", pod, "-n", "models", "--", "sh", "-c", request)

        with pytest.raises(ClusterError, match=r"inferenceservice\.kserve-webhook-server\.validator.* denied the request"):
            kubectl.apply(inference_service(min_replicas=9))
        assert_volume_binds(running)


@pytest.mark.usefixtures("untouched_machine")
def test_nothing_is_left_when_whoever_uses_it_is_killed() -> None:
    program = "from tests.support.node import node\nwith node() as n: print('the node is there', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as user:
        assert user.stdout
        assert next(line for line in user.stdout if "the node is there" in line)
        noted = record.load()
        assert noted
        assert is_running(noted)
        user.kill()

    wait_for("the guard has taken it down", lambda: record.load() is None, seconds=30)
    assert not is_running(noted)
    assert not Path(noted.folder).exists()


@pytest.mark.usefixtures("untouched_machine")
def test_an_interrupted_start_is_continued(tmp_path: Path) -> None:
    folder = Path(f"/var/tmp/to-node-{os.getpid()}")
    command = [sys.executable, "-m", "infra.cluster", "--folder", str(folder), "up"]
    try:
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as interrupted:
            assert interrupted.stdout
            next(line for line in interrupted.stdout if line.startswith("containerd"))
            interrupted.send_signal(signal.SIGKILL)
        noted = record.load()

        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)

        assert noted == record.load()
        assert "keys, settings and network" not in done.stdout
        assert f"export KUBECONFIG={folder}/kubeconfig" in done.stdout
        assert "node1" in Node(folder, Store(default_cache())).kubectl("get", "nodes")
        with pytest.raises(subprocess.CalledProcessError) as refused:
            subprocess.run([*command[:4], str(tmp_path), "up"], cwd=ROOT, capture_output=True, text=True, check=True)
        assert f"a node is already there, kept in {folder}" in refused.value.stderr
    finally:
        down(folder)
    assert not folder.exists()


def traces() -> dict[str, object]:
    """What a node could leave on a machine."""
    processes = run("ps", "-eo", "comm=").split("\n")
    names = re.compile("containerd|kubelet|kube-proxy|kube-scheduler|coredns|pause")
    settings = (
        "net.ipv4.ip_forward",
        "net.bridge.bridge-nf-call-iptables",
        "kernel.panic",
        "kernel.panic_on_oops",
        "vm.overcommit_memory",
    )
    folders = ("/run/containerd", "/var/lib/cni", "/var/lib/kubelet", "/var/log/pods", "/var/log/containers", "/opt/containerd")
    return {
        "processes": sorted(name for name in processes if names.match(name)),
        "mounts": sorted(line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()),
        "links": sorted(link["ifname"] for link in json.loads(run("ip", "-j", "link"))),
        "tables": run("nft", "list", "tables"),
        "cgroups": sorted(str(path) for name in ("k8s.io", "kubepods") for path in Path("/sys/fs/cgroup").glob(f"**/{name}")),
        "settings": run("sysctl", *settings),
        "folders": [folder for folder in folders if Path(folder).exists()],
        "record": record.load(),
    }


def inference_service(*, min_replicas: int) -> str:
    container = {
        "name": "kserve-container",
        "image": IMAGE,
        "imagePullPolicy": "Never",
        "ports": [{"containerPort": 8080, "protocol": "TCP"}],
        "readinessProbe": {"httpGet": {"path": "/v1/models", "port": 8080}, "periodSeconds": 1},
    }
    return yaml.safe_dump(
        {
            "apiVersion": "serving.kserve.io/v1beta1",
            "kind": "InferenceService",
            "metadata": {"name": "tiny", "namespace": "models"},
            "spec": {"predictor": {"minReplicas": min_replicas, "maxReplicas": 2, "containers": [container]}},
        }
    )


def condition(running: Node, kind: str) -> str:
    path = f'jsonpath={{.status.conditions[?(@.type=="{kind}")].status}}'
    return running.kubectl("get", "inferenceservice", "tiny", "-n", "models", "-o", path)


def get(address: str, path: str) -> str:
    connection = HTTPConnection(address, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().read().decode()
    except OSError:
        return ""
    finally:
        connection.close()


def assert_volume_binds(running: Node) -> None:
    resources = {"requests": {"storage": "1Gi"}}
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data", "namespace": "models"}}
    running.kubectl.apply(yaml.safe_dump({**claim, "spec": {"accessModes": ["ReadWriteOnce"], "resources": resources}}))
    phase = ("get", "pvc", "data", "-n", "models", "-o", "jsonpath={.status.phase}")
    wait_for("the claim is bound", lambda: running.kubectl(*phase) == "Bound", seconds=20)
