"""The real orchestrator on a real API server, with the rights that the chart gives it and no more."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from typing_extensions import override

from infra.cluster.local import LocalControlPlane
from infra.cluster.steps import wait_for
from tests.support.platform import Platform, expert, manifest
from toolorchestra.executors.testing import CountingProvider

AUDIENCE = "toolorchestra"
PLATFORM_NAMESPACE = "toolorchestra-platform"

# As in the section "Orchestrator/worker RBAC" of the chart: what the platform may do, and what its users may be given.
RULES = """\
apiVersion: v1
kind: Namespace
metadata: {name: toolorchestra-platform}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: orchestrator, namespace: toolorchestra-platform}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: test-orchestrator}
rules:
- apiGroups: [toolorchestra.dev]
  resources: [tools, expertmodels, orchestrators, budgetpolicies]
  verbs: [get, list, watch]
- apiGroups: [authentication.k8s.io]
  resources: [tokenreviews]
  verbs: [create]
- apiGroups: [authorization.k8s.io]
  resources: [subjectaccessreviews]
  verbs: [create]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: test-orchestrator}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: test-orchestrator}
subjects: [{kind: ServiceAccount, name: orchestrator, namespace: toolorchestra-platform}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: toolorchestra-secret-reader}
rules: [{apiGroups: [""], resources: [secrets], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: toolorchestra-admin}
rules:
- {apiGroups: [toolorchestra.dev], resources: [keys], verbs: [list, create, delete]}
- {apiGroups: [toolorchestra.dev], resources: [usage, budgets], verbs: [get]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: toolorchestra-view}
rules: [{apiGroups: [toolorchestra.dev], resources: [usage, budgets], verbs: [get]}]
"""


@dataclass
class ClusterPlatform(Platform):
    """A platform whose resources are objects of an API server; ``apply`` and keys go there."""

    cluster: LocalControlPlane = field(kw_only=True)
    namespace: str = field(kw_only=True)
    kubeconfig: Path = field(kw_only=True)

    @override
    def environment(self) -> dict[str, str]:
        files = {"TOOLORCHESTRA_MANIFESTS", "TOOLORCHESTRA_ADMIN_TOKEN_FILE"}
        given = {name: value for name, value in super().environment().items() if name not in files}
        return {
            **given,
            "TOOLORCHESTRA_REGISTRY": "cluster",
            "TOOLORCHESTRA_WATCH_NAMESPACES": f'["{self.namespace}"]',
            "TOOLORCHESTRA_AUTHORITY": "kubernetes",
            "TOOLORCHESTRA_KUBECONFIG": str(self.kubeconfig),
            "TOOLORCHESTRA_SECRET_READERS": f'["{PLATFORM_NAMESPACE}:orchestrator"]',
            "TOOLORCHESTRA_DEFAULT_BUDGET": '{"limits": {"total": "100"}}',
            **self.extra,
        }

    @override
    def apply(self, *documents: Any, file: str = "") -> None:
        """As ``kubectl apply`` in the platform's namespace."""
        del file
        for document in documents:
            document["metadata"]["namespace"] = self.namespace
        self.cluster.kubectl.apply(yaml.safe_dump_all(documents, sort_keys=False))

    def delete(self, kind: str, name: str) -> None:
        self.cluster.kubectl("delete", kind, name, "--namespace", self.namespace)

    def token(self, account: str, *, audience: str | None = AUDIENCE, namespace: str | None = None) -> str:
        """A token of a ServiceAccount, which is made if need be; None is the API server's own audience."""
        where = ("--namespace", namespace or self.namespace)
        if not self.cluster.kubectl.succeeds("get", "serviceaccount", account, *where):
            self.cluster.kubectl("create", "serviceaccount", account, *where)
        options = (f"--audience={audience}",) if audience else ()
        return self.cluster.kubectl("create", "token", account, *where, *options).strip()

    def bind(self, role: str, account: str) -> None:
        """What a tenant's administrator does for a ServiceAccount of the namespace."""
        name = f"{role}-{account}"
        where = ("--namespace", self.namespace)
        self.cluster.kubectl(
            "create", "rolebinding", name, f"--clusterrole={role}", f"--serviceaccount={self.namespace}:{account}", *where
        )

    def patch_status(self, kind: str, name: str, **status: object) -> None:
        """What the operator would write, for the newest generation unless ``observedGeneration`` is given."""
        where = ("--namespace", self.namespace)
        generation = int(self.cluster.kubectl("get", kind, name, *where, "-o", "jsonpath={.metadata.generation}"))
        body = {"status": {"observedGeneration": generation, **status}}
        self.cluster.kubectl("patch", kind, name, *where, "--subresource=status", "--type=merge", "-p", yaml.safe_dump(body))

    def as_admin(self, token: str, method: str, path: str, **arguments: Any) -> httpx.Response:
        """A call of the administration API of the namespace with a cluster's token."""
        url = f"{self.url}/admin/v1/tenants/{self.namespace}{path}"
        return httpx.request(method, url, headers={"authorization": f"Bearer {token}"}, timeout=30, **arguments)

    def caller(self, account: str = "app") -> httpx.Client:
        """A client with the token of a ServiceAccount."""
        return self.http(self.token(account))

    def tools(self, client: httpx.Client) -> dict[str, Any]:
        """What can be called, by name."""
        return {tool["name"]: tool for tool in client.get("/v1/tools").raise_for_status().json()["data"]}

    def ask(self, client: httpx.Client, model: str = "main", **fields: object) -> httpx.Response:
        body = {"model": model, "messages": [{"role": "user", "content": "What is it?"}], **fields}
        return client.post("/v1/chat/completions", json=body)


def orchestrator(name: str = "main", **spec: object) -> dict[str, object]:
    """An Orchestrator that asks the strongest expert."""
    body = {"description": "Asks the strongest.", "policy": {"baseline": "strongest"}, **spec}
    return manifest("Orchestrator", name, body)


def calculator(name: str, **spec: object) -> dict[str, object]:
    """A Tool that needs nothing outside."""
    parameters = {"type": "object", "properties": {"expression": {"type": "string"}}, "required": ["expression"]}
    body = {
        "description": f"Computes ({name}).",
        "parameters": parameters,
        "plugin": {"name": "calculator"},
        "sideEffects": "readOnly",
        **spec,
    }
    return manifest("Tool", name, body)


@pytest.fixture(scope="session")
def orchestrator_account(platform_api: LocalControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A kubeconfig of the orchestrator's ServiceAccount."""
    return sign_in(platform_api, tmp_path_factory.mktemp("account"))


def sign_in(running: LocalControlPlane, folder: Path) -> Path:
    """Install the rules, and write a kubeconfig of the orchestrator's ServiceAccount."""
    running.kubectl.apply(RULES)
    wait_for(
        "the account may list",
        lambda: running.kubectl.succeeds(
            "auth", "can-i", "list", "tools.toolorchestra.dev", "--as=system:serviceaccount:toolorchestra-platform:orchestrator"
        ),
    )
    token = running.kubectl("create", "token", "orchestrator", "--namespace", PLATFORM_NAMESPACE).strip()
    document = yaml.safe_load(running.kubeconfig.read_text())
    document["users"][0]["user"] = {"token": token}
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(document))
    return path


MakePlatform = Callable[..., AbstractContextManager[ClusterPlatform]]


@pytest.fixture(scope="session")
def cluster_platform_on(
    tmp_path_factory: pytest.TempPathFactory,
    new_database: Callable[[str], str],
    migrated_template: str,
    valkey_server_url: str,
) -> MakePlatform:
    """Makes a platform on a control plane, in a namespace."""
    numbers = itertools.count(1)

    @contextmanager
    def make(
        running: LocalControlPlane, namespace: str, account: Path, provider: CountingProvider, **extra: str
    ) -> Iterator[ClusterPlatform]:
        made = ClusterPlatform(
            tmp_path_factory.mktemp(f"cluster-platform-{next(numbers)}"),
            new_database(migrated_template),
            valkey_server_url,
            allow=[f"127.0.0.1:{provider.port}"],
            extra=extra,
            cluster=running,
            namespace=namespace,
            kubeconfig=account,
        )
        try:
            yield made
        finally:
            made.close()

    return make


@pytest.fixture
def cluster(
    cluster_platform_on: MakePlatform,
    platform_api: LocalControlPlane,
    orchestrator_account: Path,
    namespace: str,
    provider: CountingProvider,
) -> Iterator[ClusterPlatform]:
    """A platform in a namespace of this test's own; ``apply`` objects, ``start`` orchestrators."""
    with cluster_platform_on(platform_api, namespace, orchestrator_account, provider) as made:
        yield made


@pytest.fixture(scope="session")
def serving(
    cluster_platform_on: MakePlatform,
    platform_api: LocalControlPlane,
    orchestrator_account: Path,
    new_namespace: Callable[[], str],
) -> Iterator[ClusterPlatform]:
    """An orchestrator that all tests share, with one expert behind the model ``main``; each test names its own objects."""
    with (
        CountingProvider() as provider,
        cluster_platform_on(platform_api, new_namespace(), orchestrator_account, provider) as made,
    ):
        made.apply(expert("one", provider), orchestrator())
        made.start()
        yield made
