"""The operator as a process of its own, signed in as a ServiceAccount with no more rights than it needs."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import yaml

from infra.cluster.local import LocalControlPlane
from toolorchestra.cli.embedded.leash import leashed
from toolorchestra.cli.embedded.parts import free_port
from toolorchestra.core.crds import NAMES

PLURALS: Final = [naming.plural for naming in NAMES.values()]
SYSTEM: Final = "toolorchestra-system"
ACCOUNT: Final = "toolorchestra-operator"
CHANGE: Final = ["get", "list", "watch", "create", "patch", "delete"]
RULES: Final = [
    {"apiGroups": ["toolorchestra.dev"], "resources": PLURALS, "verbs": ["get", "list", "watch"]},
    {"apiGroups": ["toolorchestra.dev"], "resources": [f"{name}/status" for name in PLURALS], "verbs": ["patch"]},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "list"]},
    {"apiGroups": ["serving.kserve.io"], "resources": ["inferenceservices"], "verbs": CHANGE},
    {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": CHANGE},
    {"apiGroups": ["kueue.x-k8s.io"], "resources": ["workloads"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "create", "patch", "delete"]},
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]},
    {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
    {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get"]},
]
DISCOVERY: Final = [
    {"apiGroups": ["apiextensions.k8s.io"], "resources": ["customresourcedefinitions"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get", "list", "watch"]},
]
SECRET_READER: Final = [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]
START_S: Final = 60.0


@dataclass
class OperatorProcess:
    """One operator. ``url`` serves /healthz, /readyz and /metrics."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM, as Kubernetes does; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self.kill()
        return self.process.returncode

    def metrics(self) -> dict[str, float]:
        """Metric with its labels → value."""
        lines = httpx.get(f"{self.url}/metrics", trust_env=False).text.splitlines()
        return {name: float(value) for name, _, value in (one.rpartition(" ") for one in lines if one[0] != "#")}

    def writes(self, what: str = "") -> float:
        """Requests that changed something at the API server so far, of one sort (``status``, ``event`` …) or all."""
        prefix = "toolorchestra_operator_api_writes_total{"
        found = {name: value for name, value in self.metrics().items() if name.startswith(prefix)}
        return sum(value for name, value in found.items() if not what or f'what="{what}"' in name)

    def resident_mb(self) -> float:
        """Memory that it really holds, in MB."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@dataclass
class OperatorSpace:
    """A namespace of a real API server, and operators that serve it."""

    cluster: LocalControlPlane
    namespace: str
    kubeconfig: Path
    folder: Path
    environment: dict[str, str]

    def apply(self, kind: str, name: str, spec: object, **metadata: object) -> None:
        """As a user does."""
        body = {
            "apiVersion": "toolorchestra.dev/v1alpha1",
            "kind": kind,
            "metadata": {"name": name, "namespace": self.namespace, **metadata},
            "spec": spec,
        }
        self.cluster.kubectl.apply(json.dumps(body))

    def delete(self, kind: str, name: str) -> None:
        self.cluster.kubectl("delete", kind, name, "--namespace", self.namespace)

    def get(self, kind: str, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.cluster.kubectl("get", kind, name, "-n", self.namespace, "-o", "json"))
        return found

    def condition(self, kind: str, name: str, condition: str) -> dict[str, Any]:
        """A condition as stored; {} before it is."""
        return condition_of(self.get(kind, name), condition)

    def wait(self, kind: str, name: str, condition: str, status: str, *, reason: str | None = None, seconds: float = 30) -> Any:
        """Wait for a condition; the whole object."""
        deadline = time.monotonic() + seconds
        while True:
            body = self.get(kind, name)
            found = condition_of(body, condition)
            if found.get("status") == status and reason in (None, found["reason"]):
                return body
            if time.monotonic() > deadline:
                pytest.fail(f"{kind} {name}: {condition} is not {status}/{reason}: {json.dumps(body.get('status'), indent=1)}")
            time.sleep(0.1)

    def events(self, name: str) -> list[tuple[str, str]]:
        """(type, reason) of the events about an object, oldest first."""
        fields = f"involvedObject.name={name}"
        listed = self.cluster.kubectl("get", "events", "-n", self.namespace, f"--field-selector={fields}", "-o", "json")
        found = sorted(json.loads(listed)["items"], key=lambda one: int(one["metadata"]["resourceVersion"]))
        return [(one["type"], one["reason"]) for one in found]

    @contextmanager
    def operator(self, **settings: str) -> Iterator[OperatorProcess]:
        """An operator that runs as long as the block lasts; ready."""
        running = self.start(**settings)
        try:
            yield running
        finally:
            running.stop()

    def start(self, **settings: str) -> OperatorProcess:
        """An operator, ready; whoever starts it ends it."""
        running = self.launch(**settings)
        try:
            _await_ready(running)
        except BaseException:
            running.kill()
            raise
        return running

    def launch(self, **settings: str) -> OperatorProcess:
        """An operator, not waited for. ``settings`` by their names in lower case."""
        port = free_port()
        log = self.folder / f"operator-{port}.log"
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "KUBECONFIG": str(self.kubeconfig),
            "TOOLORCHESTRA_PORT": str(port),
            "TOOLORCHESTRA_WATCH_NAMESPACES": json.dumps([self.namespace]),
            "TOOLORCHESTRA_RESYNC_INTERVAL_S": "5",
            "TOOLORCHESTRA_PROBE_INTERVAL_S": "2",
            **self.environment,
            **{f"TOOLORCHESTRA_{name.upper()}": value for name, value in settings.items()},
        }
        with log.open("ab") as output:
            command = leashed([sys.executable, "-m", "toolorchestra.operator"], end=signal.SIGKILL)
            process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        return OperatorProcess(process, f"http://127.0.0.1:{port}", log)


def condition_of(body: Mapping[str, Any], condition: str) -> dict[str, Any]:
    """A condition of an object; {} without it."""
    found = body.get("status", {}).get("conditions", [])
    return next((one for one in found if one["type"] == condition), {})


def grant(cluster: LocalControlPlane, namespaces: Sequence[str] | None, rules: object = RULES, *, name: str = ACCOUNT) -> None:
    """Give the operator's account rights in namespaces, or everywhere."""
    subject = {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": SYSTEM}
    for namespace in namespaces or [None]:
        scope, place = ("Role", {"namespace": namespace}) if namespace else ("ClusterRole", {})
        made = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": name, **place}}
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": scope, "name": name}
        role = {**made, "kind": scope, "rules": rules}
        binding = {**made, "kind": f"{scope}Binding", "roleRef": reference, "subjects": [subject]}
        cluster.kubectl.apply(yaml.safe_dump_all([role, binding]))


def signed_in(cluster: LocalControlPlane, folder: Path) -> Path:
    """A kubeconfig of the operator's ServiceAccount."""
    if not cluster.kubectl.succeeds("get", "serviceaccount", ACCOUNT, "--namespace", SYSTEM):
        cluster.kubectl("create", "namespace", SYSTEM)
        cluster.kubectl("create", "serviceaccount", ACCOUNT, "--namespace", SYSTEM)
    grant(cluster, None, DISCOVERY, name=f"{ACCOUNT}-discovery")
    token = cluster.kubectl("create", "token", ACCOUNT, "--namespace", SYSTEM, "--duration=2h").strip()
    document = yaml.safe_load(cluster.kubeconfig.read_text())
    document["users"][0]["user"] = {"token": token}
    path = folder / "operator.config"
    path.write_text(yaml.safe_dump(document))
    return path


@pytest.fixture(scope="session")
def new_operator_space(
    platform_api: LocalControlPlane,
    new_namespace: Callable[..., str],
    new_database: Callable[[str], str],
    migrated_template: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[], OperatorSpace]:
    """Makes a namespace with a database, in which the operator has its rights; none runs yet."""

    def create() -> OperatorSpace:
        folder, namespace = tmp_path_factory.mktemp("operator"), new_namespace()
        grant(platform_api, [namespace])
        environment = {
            "TOOLORCHESTRA_DATABASE_URL": new_database(migrated_template),
            "TOOLORCHESTRA_EGRESS_ALLOW": '["127.0.0.1"]',
            "TOOLORCHESTRA_SECRET_READERS": json.dumps([f"{SYSTEM}:{ACCOUNT}"]),
        }
        return OperatorSpace(platform_api, namespace, signed_in(platform_api, folder), folder, environment)

    return create


@pytest.fixture
def operator_space(new_operator_space: Callable[[], OperatorSpace]) -> OperatorSpace:
    """A namespace for operators that the test starts and ends itself."""
    return new_operator_space()


@pytest.fixture(scope="session")
def shared_space(new_operator_space: Callable[[], OperatorSpace]) -> Iterator[OperatorSpace]:
    """A namespace that one operator serves for the whole session: tests use names of their own in it."""
    space = new_operator_space()
    with space.operator():
        yield space


def _await_ready(running: OperatorProcess) -> None:
    deadline = time.monotonic() + START_S
    while True:
        try:
            if httpx.get(f"{running.url}/readyz", trust_env=False).is_success:
                return
        except httpx.TransportError:
            pass
        if running.process.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"the operator did not start:\n{running.log.read_text()}", pytrace=False)
        time.sleep(0.1)
