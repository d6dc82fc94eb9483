"""The chart of the CRDs in the hands of real Helm: installed, upgraded, uninstalled with and without what it defines."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from infra.cluster.local import LocalControlPlane
from infra.cluster.steps import run, wait_for
from tests.support.cluster import cluster_store, control_plane
from tests.support.crds import TEMPLATES
from toolorchestra.core.crds import CATEGORY, NAMES

CHART = TEMPLATES.parent
TOOL = """
apiVersion: toolorchestra.dev/v1alpha1
kind: Tool
metadata: {name: counter, namespace: default}
spec: {description: Counts., plugin: {name: counter}}
"""


@pytest.fixture
def cluster() -> Iterator[LocalControlPlane]:
    with control_plane(controllers=False) as running:
        yield running


@pytest.fixture
def helm(tmp_path: Path) -> Callable[..., str]:
    program = cluster_store("helm").program("helm")
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    return lambda *arguments: run(program, *arguments, env=environment)


def kinds(cluster: LocalControlPlane) -> set[str]:
    listed = cluster.kubectl("api-resources", f"--categories={CATEGORY}", "--no-headers", "--cached=false")
    return {line.split()[0] for line in listed.splitlines()}


def test_definitions_and_objects_outlive_the_release_unless_it_says_otherwise(
    cluster: LocalControlPlane, helm: Callable[..., str]
) -> None:
    everything = {naming.plural for naming in NAMES.values()}
    there = f"--kubeconfig={cluster.kubeconfig}"
    install = ("upgrade", "--install", "toolorchestra-crds", CHART, "--wait", there)
    helm(*install)
    wait_for("the kinds are served", lambda: kinds(cluster) == everything)
    cluster.kubectl.apply(TOOL)
    helm(*install)

    helm("uninstall", "toolorchestra-crds", there)
    assert kinds(cluster) == everything
    assert cluster.kubectl("get", "tool", "counter", "-o", "name").strip() == "tool.toolorchestra.dev/counter"

    helm(*install, "--set", "keep=false")
    helm("uninstall", "toolorchestra-crds", there)
    wait_for("the kinds are gone", lambda: kinds(cluster) == set())


def test_a_value_that_does_not_exist_is_refused(helm: Callable[..., str]) -> None:
    helm("lint", "--strict", CHART)
    with pytest.raises(Exception, match="keeep"):
        helm("template", CHART, "--set", "keeep=false", "--kube-version", "1.35")
