"""One operator for all namespaces, on a control plane of its own: kinds that appear late, and an API server that goes away."""

import json
import time
from collections.abc import Callable, Iterator

import pytest

from infra.cluster.steps import ClusterError
from tests.support.cluster import control_plane, kserve_crds
from tests.support.crds import install_crds
from tests.support.operators import OperatorSpace, grant, signed_in

CALCULATOR = {"description": "Adds.", "plugin": {"name": "calculator"}}
NAMESPACES = ("team-a", "team-b")


@pytest.fixture(scope="module")
def everywhere(
    new_database: Callable[[str], str], migrated_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OperatorSpace]:
    folder = tmp_path_factory.mktemp("everywhere")
    with control_plane() as running:
        install_crds(running)
        for name in NAMESPACES:
            running.kubectl("create", "namespace", name)
        kubeconfig = signed_in(running, folder)
        grant(running, None)
        environment = {
            "TOOLORCHESTRA_DATABASE_URL": new_database(migrated_template),
            "TOOLORCHESTRA_WATCH_NAMESPACES": "[]",
            "TOOLORCHESTRA_EGRESS_ALLOW": '["127.0.0.1"]',
        }
        yield OperatorSpace(running, NAMESPACES[0], kubeconfig, folder, environment)


def in_namespace(space: OperatorSpace, namespace: str) -> OperatorSpace:
    return OperatorSpace(space.cluster, namespace, space.kubeconfig, space.folder, space.environment)


def test_it_serves_every_namespace(everywhere: OperatorSpace) -> None:
    with everywhere.operator():
        for namespace in NAMESPACES:
            space = in_namespace(everywhere, namespace)
            space.apply("Tool", "sum", CALCULATOR)
            space.wait("Tool", "sum", "Ready", "True")


def test_the_api_server_goes_away_and_comes_back(everywhere: OperatorSpace) -> None:
    with everywhere.operator() as operator:
        everywhere.apply("Tool", "before", CALCULATOR)
        everywhere.wait("Tool", "before", "Ready", "True")
        everywhere.cluster.restart()
        everywhere.apply("Tool", "after", CALCULATOR)
        everywhere.wait("Tool", "after", "Ready", "True", seconds=60)
        assert operator.process.poll() is None, "it needed no new start"


def test_kinds_that_appear_while_it_runs_are_watched(everywhere: OperatorSpace) -> None:
    with everywhere.operator(resync_interval_s="600", probe_interval_s="600"):
        expert = {"description": "Serves.", "model": "m", "inferenceServiceRef": {"name": "served"}}
        everywhere.apply("ExpertModel", "late", expert)
        everywhere.wait("ExpertModel", "late", "Served", "False")
        before = everywhere.condition("ExpertModel", "late", "Served")["reason"]
        everywhere.cluster.kubectl("apply", "--server-side", "-f", kserve_crds())
        predictor = {"containers": [{"name": "kserve-container", "image": "nowhere.example/image"}]}
        service = {
            "apiVersion": "serving.kserve.io/v1beta1",
            "kind": "InferenceService",
            "metadata": {"name": "served", "namespace": everywhere.namespace},
            "spec": {"predictor": predictor},
        }
        eventually(lambda: _applied(everywhere, service))
        eventually(lambda: everywhere.condition("ExpertModel", "late", "Served")["reason"] != before)


def eventually(check: Callable[[], bool], *, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.2)


def _applied(space: OperatorSpace, body: dict[str, object]) -> bool:
    """A kind that was just installed is not served at once."""
    try:
        space.cluster.kubectl.apply(json.dumps(body))
    except ClusterError:
        return False
    return True
