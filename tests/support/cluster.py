"""Real Kubernetes for tests: a control plane of its own per session, or per block where a test stops it or looks at its end."""

import itertools
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from infra.cluster import local
from infra.cluster.build import Store, default_cache
from infra.cluster.local import LocalControlPlane
from infra.cluster.recipes import CONTROL_PLANE, KSERVE


def cluster_store(*names: str) -> Store:
    """The built parts of a cluster; fails when they are not all there, because building them outlasts a test's time."""
    store = Store(default_cache())
    if missing := store.missing(names):
        pytest.fail(
            f"not built: {', '.join(missing)}; run: .venv/bin/python -m infra.cluster build {' '.join(missing)}", pytrace=False
        )
    return store


@contextmanager
def control_plane(*, controllers: bool = True) -> Iterator[LocalControlPlane]:
    """An API server on etcd, with RBAC, on loopback ports of its own: ready in a few seconds, gone with the block.

    With ``controllers`` a controller manager runs beside it: namespaces and owned objects are deleted, ServiceAccounts, Jobs'
    Pods and ReplicaSets are made. Nothing runs a Pod. It dies with this process, however that ends.
    """
    store = cluster_store(*CONTROL_PLANE)
    with (
        tempfile.TemporaryDirectory(prefix="to-tests-") as folder,
        local.control_plane(Path(folder), store, controllers=controllers) as running,
    ):
        yield running


def kserve_crds() -> Path:
    """KServe's custom resource definitions as released, for ``kubectl apply --server-side -f``."""
    return cluster_store("kserve-manifests").folder("kserve-manifests") / f"install/v{KSERVE}/kserve-crds.yaml"


def kueue_crds() -> Path:
    """A folder with Kueue's custom resource definitions."""
    return cluster_store("kueue-chart").folder("kueue-chart") / "config/components/crd/bases"


@pytest.fixture(scope="session")
def api_server() -> Iterator[LocalControlPlane]:
    """A control plane that the session shares; tests keep to namespaces of their own."""
    with control_plane() as running:
        yield running


@pytest.fixture(scope="session")
def new_namespace(api_server: LocalControlPlane) -> Callable[..., str]:
    """Makes a namespace, with labels like ``"a=b"``, and returns its name."""
    numbers = itertools.count(1)

    def create(*labels: str) -> str:
        name = f"test-{next(numbers)}"
        api_server.kubectl("create", "namespace", name)
        if labels:
            api_server.kubectl("label", "namespace", name, *labels)
        return name

    return create


@pytest.fixture
def namespace(new_namespace: Callable[..., str]) -> str:
    """A namespace of this test's own."""
    return new_namespace()
