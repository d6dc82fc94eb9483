"""What the operator builds is what the real schemas take: a server-side dry run of every golden manifest."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from infra.cluster.local import LocalControlPlane
from infra.cluster.steps import ClusterError, wait_for
from tests.support.cluster import control_plane, kserve_crds

GOLDEN = Path(__file__).parents[2] / "unit" / "operator" / "golden"


@pytest.fixture(scope="module")
def with_kserve() -> Iterator[LocalControlPlane]:
    """A control plane with KServe's CRDs as released, with their whole schema."""
    with control_plane(controllers=False) as running:
        running.kubectl("apply", "--server-side", "-f", kserve_crds())
        # Established is told by a condition that a new CRD lacks at first, so the kind itself is asked for.
        wait_for("KServe's kinds", lambda: running.kubectl.succeeds("get", "inferenceservices", "--all-namespaces"))
        running.kubectl("create", "namespace", "team-a")
        restricted = "pod-security.kubernetes.io/enforce=restricted"
        running.kubectl("label", "namespace", "team-a", restricted)
        yield running


def dry_run(running: LocalControlPlane, document: dict[str, object]) -> str:
    """What a strict server answers: "" if it takes the object, with no unknown field."""
    try:
        running.kubectl(
            "apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-", stdin=json.dumps(document)
        )
    except ClusterError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_server_takes_what_is_built(with_kserve: LocalControlPlane, path: Path):
    _, *built = yaml.safe_load_all(path.read_text())

    assert {document["kind"]: dry_run(with_kserve, document) for document in built} == {
        document["kind"]: "" for document in built
    }


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("job-*.yaml")), ids=lambda path: path.stem)
def test_a_namespace_with_restricted_pod_security_takes_the_pods_of_jobs(with_kserve: LocalControlPlane, path: Path):
    _, _, job = yaml.safe_load_all(path.read_text())
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "team-a"}, **job["spec"]["template"]}
    pod["metadata"] = {"name": "p", "namespace": "team-a"}
    pod["spec"].pop("serviceAccountName", None)  # no controller makes accounts here

    assert "violates PodSecurity" not in dry_run(with_kserve, pod)


def test_the_dry_run_refuses_what_kserve_does_not_know(with_kserve: LocalControlPlane):
    _, service = yaml.safe_load_all((GOLDEN / "vllm-8b.yaml").read_text())
    service["spec"]["predictor"]["model"]["tensorParallelSize"] = 2

    assert "tensorParallelSize" in dry_run(with_kserve, service)
