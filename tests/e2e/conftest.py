"""One node with the platform on it for the whole tier, and what its pods say when a test fails."""

import json
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.cluster.node import Node
from infra.cluster.steps import ClusterError
from infra.tiers import IMAGES
from tests.e2e.installation import NAMESPACE, Installation, Tenant
from tests.e2e.peers import PEERS, manifests
from tests.support.cluster import cluster_store
from tests.support.helm import Helm
from tests.support.node import node
from toolorchestra.cli.embedded.leash import leashed

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 900  # the first test waits for the node and, when the sources have changed, for images
INSTALLED = pytest.StashKey[Installation]()
FIGURES = pytest.StashKey[list[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--cluster", type=Path, help="folder of a node that runs already (`make cluster`: .cluster), instead of one of its own"
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(TIMEOUT_S))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    installation = item.config.stash.get(INSTALLED, None)
    if installation and report.failed:
        report.sections.extend(what_pods_say(installation))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if figures := config.stash.get(FIGURES, []):
        terminalreporter.section("figures")
        terminalreporter.write("\n".join([*figures, ""]))


def what_pods_say(installation: Installation) -> Iterator[tuple[str, str]]:
    """Sections for a report: all pods, events, and of each pod that is not well what the cluster and itself say about it."""
    yield said(installation, "get", "pods,jobs,toolorchestra", "-A", "-o", "wide")
    yield said(installation, "get", "events", "-A", "--sort-by=.lastTimestamp")
    for namespace in (NAMESPACE, PEERS):
        _, listed = said(installation, "get", "pods", "-n", namespace, "-o", "json", lines=None)
        for pod in json.loads(listed)["items"] if listed.startswith("{") else []:
            here = (pod["metadata"]["name"], "-n", namespace)
            if not is_well(pod):
                yield said(installation, "describe", "pod", *here)
            yield said(installation, "logs", *here, "--all-containers", "--tail=30")
            if any(one["restartCount"] for one in pod["status"].get("containerStatuses", ())):
                yield said(installation, "logs", *here, "--previous", "--tail=30")


def said(installation: Installation, *words: str, lines: int | None = 120) -> tuple[str, str]:
    """A command of kubectl and the end of what it said, be it an error."""
    try:
        text = installation.kubectl(*words)
    except ClusterError as error:
        text = str(error)
    return f"kubectl {' '.join(words)}", text if lines is None else "\n".join(text.splitlines()[-lines:])


def is_well(pod: dict[str, Any]) -> bool:
    ready = {one["type"]: one["status"] for one in pod["status"].get("conditions", ())}
    return ready.get("Ready") == "True" or pod["status"].get("phase") == "Succeeded"


@pytest.fixture(scope="session")
def images() -> list[Path]:
    """The images, as archives; those whose sources have not changed are there already."""
    subprocess.run(leashed((str(ROOT / "infra/images/build.sh"), *IMAGES)), cwd=ROOT, check=True)
    return [ROOT / "build/images" / f"{name}.tar" for name in IMAGES]


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Iterator[Node]:
    given = request.config.getoption("--cluster", None)
    if given:
        running = Node(given.resolve(), cluster_store("kubectl", "helm"))
        with nullcontext(running):
            yield running
        return
    with node(images=request.getfixturevalue("images"), with_kueue=True) as running:
        yield running


@pytest.fixture(scope="session")
def figures(request: pytest.FixtureRequest) -> list[str]:
    """Lines that are printed at the end."""
    return request.config.stash.setdefault(FIGURES, [])


@pytest.fixture(scope="session")
def bare(cluster: Node, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """The node with the kinds, the peers and a restricted namespace for the release, which is not there yet."""
    helm = Helm(cluster.store.program("helm"), tmp_path_factory.mktemp("helm"), cluster.kubeconfig)
    installation = Installation(cluster, helm, tmp_path_factory.mktemp("people"))
    request.config.stash[INSTALLED] = installation
    installation.install_kinds()
    installation.tenant(NAMESPACE)
    cluster.kubectl.apply(yaml.safe_dump_all(manifests()))
    return installation


@pytest.fixture(scope="session")
def installation(bare: Installation) -> Installation:
    """The platform, installed and ready."""
    bare.install()
    bare.kubectl("wait", "pods", "--all", "-n", PEERS, "--for=condition=Ready", "--timeout=120s")
    return bare


@pytest.fixture
def tenant(installation: Installation, request: pytest.FixtureRequest) -> Iterator[Tenant]:
    """A namespace of this test's own."""
    name = request.node.name.removeprefix("test_").replace("_", "-")[:40].strip("-")
    # The ledger remembers tenants for longer than the cluster remembers namespaces.
    made = installation.tenant(f"{name}-{secrets.token_hex(2)}")
    yield made
    installation.kubectl("delete", "namespace", made.name, "--wait=false")
