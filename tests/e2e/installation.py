"""The platform as it is installed on the node, and the people who use it."""

import base64
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx
import openai
import psycopg
import yaml

from infra.cluster.kubectl import Kubectl
from infra.cluster.node import Node
from infra.cluster.steps import ClusterError, run
from tests.e2e.peers import ADDRESSES, PEERS, PORT, restricted_namespace
from tests.support.helm import CHART, CRD_CHART, Helm
from tests.support.operators import condition_of

RELEASE: Final = "toolorchestra"
NAMESPACE: Final = "toolorchestra"
AUDIENCE: Final = "toolorchestra"
VALUES: Final = (CHART / "ci" / "local-values.yaml", Path(__file__).with_name("values.yaml"))
COMPONENT: Final = "app.kubernetes.io/component"
T = TypeVar("T")


@dataclass(frozen=True)
class Installation:
    """Both charts on one node. ``folder`` is for kubeconfigs."""

    node: Node
    helm: Helm
    folder: Path

    @property
    def kubectl(self) -> Kubectl:
        """As the cluster's administrator."""
        return self.node.kubectl

    def install_kinds(self) -> None:
        self.helm("upgrade", "--install", "toolorchestra-crds", CRD_CHART)

    def install(self, **values: str) -> None:
        """Install or upgrade the release and wait for it; ``values`` with ``__`` for dots."""
        files = [f"--values={path}" for path in VALUES]
        given = [f"--set={name.replace('__', '.')}={value}" for name, value in values.items()]
        allowed = f"--set-json=egress.allow={json.dumps(ADDRESSES)}"
        place = ("--namespace", NAMESPACE, "--wait", "--timeout=5m")
        self.helm("upgrade", "--install", RELEASE, CHART, *place, *files, allowed, *given)

    def address(self, service: str, namespace: str = NAMESPACE) -> str:
        """The ClusterIP, which this machine reaches as pods do."""
        return self.kubectl("get", "service", service, "-n", namespace, "-o", "jsonpath={.spec.clusterIP}").strip()

    @property
    def url(self) -> str:
        return f"http://{self.address('toolorchestra-orchestrator')}"

    def peer(self, name: str, path: str) -> Any:
        """What a peer tells, as JSON."""
        answer = httpx.get(f"http://{self.address(name, PEERS)}:{PORT}{path}", trust_env=False, timeout=10)
        return answer.raise_for_status().json()

    def tenant(self, name: str) -> "Tenant":
        """A namespace of this name that enforces the restricted standard."""
        self.kubectl.apply(json.dumps(restricted_namespace(name)))
        wait_until(
            lambda: self.kubectl.succeeds("get", "serviceaccount", "default", "-n", name), what="the first ServiceAccount"
        )
        return Tenant(self, name)

    def pods(self, component: str) -> list[str]:
        """Names of the release's pods of a component that are not on their way out."""
        return [one["metadata"]["name"] for one in self.all_pods() if one["metadata"]["labels"].get(COMPONENT) == component]

    def all_pods(self) -> list[dict[str, Any]]:
        """The release's pods that are not on their way out."""
        listed = json.loads(self.kubectl("get", "pods", "-n", NAMESPACE, "-o", "json"))["items"]
        return [one for one in listed if not one["metadata"].get("deletionTimestamp")]

    def delete_pod(self, pod: str) -> None:
        """At once, as when a node dies: nobody is told."""
        self.kubectl("delete", "pod", pod, "-n", NAMESPACE, "--force", "--grace-period=0", "--wait=false")

    def kill_process(self, pod: str) -> None:
        """kill -9 of the container's first process, from outside: inside it cannot be killed."""
        body = json.loads(self.kubectl("get", "pod", pod, "-n", NAMESPACE, "-o", "json"))
        container = body["status"]["containerStatuses"][0]["containerID"].removeprefix("containerd://")
        os.kill(first_process(container), signal.SIGKILL)

    def wait_for_pods(self) -> None:
        """Until every Deployment has all its replicas."""
        for name in self.kubectl("get", "deployments", "-n", NAMESPACE, "-o", "name").split():
            self.kubectl("rollout", "status", name, "-n", NAMESPACE, "--timeout=180s")

    def sql(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Read the database as its owner."""
        secret = json.loads(self.kubectl("get", "secret", "toolorchestra-connections", "-n", NAMESPACE, "-o", "json"))
        url = base64.b64decode(secret["data"]["owner-url"]).decode()
        server = self.address("toolorchestra-postgres")
        with psycopg.connect(url, hostaddr=server, options="-c search_path=toolorchestra", autocommit=True) as connection:
            return connection.execute(query, values or None).fetchall()  # type: ignore[call-overload,no-any-return]

    def ledger_laws(self) -> str:
        """What ``invariants`` says, run in a pod of the platform."""
        command = ("python", "-m", "toolorchestra.ledger", "invariants")
        return self.kubectl("exec", "-n", NAMESPACE, "deploy/toolorchestra-orchestrator", "-c", "orchestrator", "--", *command)


@dataclass(frozen=True)
class Tenant:
    """A namespace and whoever works in it."""

    installation: Installation
    name: str

    @property
    def kubectl(self) -> Kubectl:
        return self.installation.kubectl

    def apply(self, *resources: dict[str, Any], by: Kubectl | None = None) -> None:
        """As a user does with ``kubectl apply -f``."""
        bodies = [{**one, "metadata": {**one["metadata"], "namespace": self.name}} for one in resources]
        (by or self.kubectl)("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": bodies}))

    def get(self, what: str, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.kubectl("get", what, name, "-n", self.name, "-o", "json"))
        return found

    def condition(self, what: str, name: str, condition: str) -> dict[str, Any]:
        """A condition as stored; without reason and message before it is."""
        return condition_of(self.get(what, name), condition) or {"reason": "", "message": ""}

    def wait(self, what: str, condition: str, *, seconds: int = 60) -> None:
        self.kubectl("wait", what, "-n", self.name, f"--for=condition={condition}", f"--timeout={seconds}s")

    def account(self, name: str, *roles: str) -> Kubectl:
        """kubectl as a ServiceAccount of this namespace that has these ClusterRoles here."""
        self.kubectl.apply(json.dumps({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": self._named(name)}))
        subject = f"--serviceaccount={self.name}:{name}"
        for role in roles:
            self.kubectl("create", "rolebinding", f"{name}-{role}", "-n", self.name, f"--clusterrole={role}", subject)
        token = self.kubectl("create", "token", name, "-n", self.name, "--duration=1h").strip()
        document = yaml.safe_load(self.installation.node.kubeconfig.read_text())
        document["users"][0]["user"] = {"token": token}
        document["contexts"][0]["context"]["namespace"] = self.name
        path = self.installation.folder / f"{self.name}-{name}.config"
        path.write_text(yaml.safe_dump(document))
        return replace(self.kubectl, kubeconfig=path)

    def token(self, account: str = "default") -> str:
        """For the platform alone, as a pod's projected one."""
        return self.kubectl("create", "token", account, "-n", self.name, f"--audience={AUDIENCE}").strip()

    def openai(self, *, key: str | None = None, retries: int = 2) -> openai.OpenAI:
        """The official SDK against the orchestrator's Service."""
        client = httpx.Client(trust_env=False, timeout=120)
        return openai.OpenAI(
            base_url=f"{self.installation.url}/v1", api_key=key or self.token(), max_retries=retries, http_client=client
        )

    def ask(self, model: str, question: str, *, key: str | None = None) -> str:
        with self.openai(key=key) as client:
            answer = client.chat.completions.create(model=model, messages=[{"role": "user", "content": question}])
        return answer.choices[0].message.content or ""

    def _named(self, name: str) -> dict[str, str]:
        return {"name": name, "namespace": self.name}


def resource(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "toolorchestra.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def first_process(container: str) -> int:
    """The process id, on this machine, of the process that is number 1 in a container."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            inside = container in (folder / "cgroup").read_text()
            status = (folder / "status").read_text() if inside else ""
        except OSError:
            continue
        if any(line.split()[-1] == "1" for line in status.splitlines() if line.startswith("NSpid:")):
            return int(folder.name)
    raise AssertionError(f"no process of container {container}")


def wait_until(happened: Callable[[], T], *, seconds: float = 60, what: str = "it", pause: float = 0.1) -> T:
    """What it returns once that is true; an object that is not there yet is false."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if found := happened():
                return found
        except (ClusterError, openai.APIError, httpx.HTTPError) as error:
            last: object = error
        else:
            last = "not yet"
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds} s: {last}")
        time.sleep(pause)


def command_line(arguments: Sequence[str], *, kubectl: Kubectl, folder: Path) -> str:
    """The ``toolorchestra`` command of somebody with this kubeconfig, and nothing else."""
    environment = {
        "PATH": f"{kubectl.program.parent}:/usr/bin:/bin",
        "HOME": str(folder),
        "KUBECONFIG": str(kubectl.kubeconfig),
    }
    return run(sys.executable, "-m", "toolorchestra.cli", *arguments, env=environment)
