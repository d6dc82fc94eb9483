"""The charts on a real API server: accepted as they are, stable over upgrades, and what stays after them."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.cluster.local import LocalControlPlane
from infra.cluster.steps import wait_for
from tests.support.cluster import control_plane
from tests.support.helm import CHART, CI, CRD_CHART, Helm, HelmError

RESTRICTED = "pod-security.kubernetes.io/enforce=restricted"
LOCAL = f"--values={CHART / 'ci' / 'local-values.yaml'}"


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalControlPlane]:
    """A control plane of these tests' own: the charts have objects that belong to no namespace."""
    with control_plane() as running:
        yield running


@pytest.fixture(scope="module")
def installer(cluster: LocalControlPlane, helm: Helm) -> Helm:
    """Helm for that cluster, with the resource definitions installed."""
    installer = Helm(helm.program, helm.home, cluster.kubeconfig)
    installer("install", "toolorchestra-crds", CRD_CHART, "--namespace=default")
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")
    return installer


@pytest.fixture
def place(cluster: LocalControlPlane, request: pytest.FixtureRequest) -> str:
    """A namespace that admits restricted pods only."""
    name = f"place-{abs(hash(request.node.name)) % 10**8}"
    cluster.kubectl("create", "namespace", name)
    cluster.kubectl("label", "namespace", name, RESTRICTED)
    return name


@pytest.fixture
def release(installer: Helm, place: str) -> Iterator[str]:
    """A namespace whose release `to` is removed at the end."""
    yield place
    with suppress(HelmError):
        installer("uninstall", "to", f"--namespace={place}")


def stored(cluster: LocalControlPlane, place: str, kinds: str) -> dict[str, dict]:
    items = json.loads(cluster.kubectl("get", kinds, "--namespace", place, "-o", "json"))["items"]
    return {f"{item['kind']}/{item['metadata']['name']}": item for item in items}


def located(item: Mapping[str, Any]) -> Mapping[str, Any]:
    """With the release's namespace, which Helm leaves to whoever applies it."""
    if item["kind"].startswith("Cluster"):
        return item
    return {**item, "metadata": {"namespace": "platform", **item["metadata"]}}


@pytest.fixture
def may(cluster: LocalControlPlane):
    """Whether a user may do something: (user, verb, "group/resource" or "group/resource/subresource", namespace)."""

    def allowed(user: str, verb: str, what: str, namespace: str) -> bool:
        group, resource, subresource, *_ = [*what.split("/"), ""] if "/" in what else ["", what, ""]
        attributes = {"group": group, "resource": resource, "subresource": subresource, "verb": verb, "namespace": namespace}
        spec = {"user": user, "groups": ["system:authenticated"], "resourceAttributes": attributes}
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
        return json.loads(cluster.kubectl("create", "-o", "json", "-f", "-", stdin=json.dumps(review)))["status"]["allowed"]

    return allowed


@pytest.mark.parametrize("values", [None, *CI], ids=lambda path: path.stem if path else "default")
def test_the_api_server_accepts_every_object(cluster: LocalControlPlane, installer: Helm, values: Path | None):
    """A dry run on the server checks each field; unknown ones are errors."""
    rendered = installer.render(values)
    namespaces = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in ("platform", "tenant")]
    accounts = [located(item) for item in rendered.of("ServiceAccount").values()]  # a Pod is refused without its own
    cluster.kubectl.apply(yaml.safe_dump_all([*namespaces, *accounts]))
    arguments = ("apply", "--server-side", "--dry-run=server", "--validate=strict", "--force-conflicts", "-f", "-")
    said = cluster.kubectl(*arguments, stdin=yaml.safe_dump_all(located(item) for item in rendered.objects))
    assert said.count("serverside-applied") == len(rendered.objects)


def test_an_upgrade_without_a_change_changes_nothing(cluster: LocalControlPlane, installer: Helm, release: str):
    kinds = "secrets,configmaps,deployments,statefulsets,jobs,services,networkpolicies,poddisruptionbudgets,serviceaccounts"
    own = "app.kubernetes.io/instance=to"

    def versions() -> dict[str, tuple[str, int]]:
        items = json.loads(cluster.kubectl("get", kinds, "-l", own, "--namespace", release, "-o", "json"))["items"]
        return {f"{i['kind']}/{i['metadata']['name']}": (i.get("data"), i["metadata"].get("generation")) for i in items}

    installer("install", "to", CHART, f"--namespace={release}", LOCAL)
    before = versions()
    installer("upgrade", "to", CHART, f"--namespace={release}", LOCAL)
    assert versions() == before
    assert any(name.startswith("Secret/") for name in before)


def test_an_upgrade_with_another_image_is_possible_and_keeps_the_secrets(cluster, installer, release):
    installer("install", "to", CHART, f"--namespace={release}", LOCAL)
    before = stored(cluster, release, "secrets,jobs")
    installer("upgrade", "to", CHART, f"--namespace={release}", LOCAL, "--set=image.tag=0.2.0")
    after = stored(cluster, release, "secrets,jobs")
    jobs = [{name for name in found if name.startswith("Job/")} for found in (before, after)]
    assert len(jobs[0]) == 1
    assert not jobs[0] & jobs[1]
    name = "Secret/to-toolorchestra-connections"
    assert before[name]["data"] == after[name]["data"]


def test_every_pod_is_admitted_where_only_restricted_ones_are(cluster, installer, release):
    installer("install", "to", CHART, f"--namespace={release}", LOCAL)
    expected = {"orchestrator", "worker", "sandbox", "operator", "migrate", "postgres", "valkey"}

    def components() -> set[str]:
        pods = stored(cluster, release, "pods").values()
        return {pod["metadata"]["labels"]["app.kubernetes.io/component"] for pod in pods}

    wait_for("every component has its pod", lambda: components() == expected, hint="see the events of the namespace")


def test_the_platform_s_accounts_may_do_what_they_need_and_no_secret_is_among_it(installer, may, release):
    installer("install", "to", CHART, f"--namespace={release}", LOCAL)

    def account(component: str) -> str:
        return f"system:serviceaccount:{release}:to-toolorchestra-{component}"

    assert may(account("orchestrator"), "watch", "toolorchestra.dev/tools", "default")
    assert may(account("orchestrator"), "create", "authentication.k8s.io/tokenreviews", "")
    assert not may(account("orchestrator"), "patch", "toolorchestra.dev/tools", "default")
    assert may(account("operator"), "patch", "toolorchestra.dev/tools/status", "default")
    assert may(account("operator"), "create", "batch/jobs", "default")
    for component in ("orchestrator", "worker", "operator", "sandbox", "migrate", "test"):
        assert not any(may(account(component), "get", "secrets", place) for place in ("default", release))
    assert not any(may(account("sandbox"), "get", what, release) for what in ("pods", "configmaps", "toolorchestra.dev/tools"))


def test_a_tenant_edits_tools_but_not_its_own_budget(cluster, installer, may, release):
    installer("install", "to", CHART, f"--namespace={release}", LOCAL)
    for user, role in (("tenant", "admin"), ("finance", "toolorchestra-budget-admin")):
        cluster.kubectl("create", "rolebinding", user, f"--clusterrole={role}", f"--user={user}", "--namespace", release)
    mine = partial(may, namespace=release)
    wait_for(
        "the roles are aggregated", lambda: mine("tenant", "create", "toolorchestra.dev/keys"), hint="see clusterrole admin"
    )
    assert mine("tenant", "create", "toolorchestra.dev/tools")
    assert mine("tenant", "get", "toolorchestra.dev/budgetpolicies")
    for verb in ("create", "patch", "update", "delete"):
        assert not mine("tenant", verb, "toolorchestra.dev/budgetpolicies")
    assert not mine("tenant", "create", "toolorchestra.dev/adjustments")
    assert not mine("tenant", "patch", "toolorchestra.dev/tools/status")
    assert mine("finance", "update", "toolorchestra.dev/budgetpolicies")
    assert mine("finance", "create", "toolorchestra.dev/adjustments")
    assert not may("tenant", "create", "toolorchestra.dev/keys", "default")


def test_notes_name_the_next_command(installer, place):
    def notes(*options: str) -> str:
        return installer("install", "to", CHART, f"--namespace={place}", "--dry-run=server", *options)

    said = notes()
    assert f"kubectl --namespace {place} rollout status deployment/to-toolorchestra-orchestrator" in said
    assert f"--serviceaccount={place}:to-toolorchestra-worker" in said
    assert "toolorchestra-crds" not in said
    assert "helm test to" not in said
    assert f"helm test to --namespace {place} --logs" in notes("--set=examples.enabled=true")


def test_what_must_outlive_the_release_stays_and_is_taken_up_again(cluster, installer, release):
    def kept() -> dict[str, object]:
        names = ("Secret/to-toolorchestra-connections", "Secret/to-toolorchestra-key-pepper")
        return {name: item["data"] for name, item in stored(cluster, release, "secrets").items() if name in names}

    installer("install", "to", CHART, f"--namespace={release}", LOCAL)
    before = kept()
    assert len(before) == 2
    installer("uninstall", "to", f"--namespace={release}")
    assert kept() == before
    installer("install", "to", CHART, f"--namespace={release}", LOCAL)
    assert kept() == before


def test_the_definitions_stay_when_their_release_goes(cluster, installer):
    installer("uninstall", "toolorchestra-crds", "--namespace=default")
    assert cluster.kubectl.succeeds("get", "crd", "tools.toolorchestra.dev")
    installer("install", "toolorchestra-crds", CRD_CHART, "--namespace=default")


def test_the_examples_are_valid_resources(cluster, installer, release):
    installer("install", "to", CHART, f"--namespace={release}", LOCAL)
    assert set(stored(cluster, release, "tools,orchestrators")) == {
        "Tool/calculator",
        "Tool/local-search",
        "Orchestrator/toolorchestra",
    }


def test_helm_itself_is_real(helm):
    done = subprocess.run([helm.program, "version", "--short"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("v3.")
