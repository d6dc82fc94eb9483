"""Both charts, installed with Helm into a namespace that enforces the restricted Pod Security Standard."""

import json

import pytest

from infra.cluster.steps import ClusterError
from tests.e2e.installation import NAMESPACE, RELEASE, Installation


def test_all_pods_are_ready_in_a_restricted_namespace(installation: Installation) -> None:
    installation.wait_for_pods()
    labels = json.loads(installation.kubectl("get", "namespace", NAMESPACE, "-o", "json"))["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    components = ("orchestrator", "worker", "sandbox", "operator", "postgres", "valkey")
    assert [len(installation.pods(component)) for component in components] == [2, 2, 1, 1, 1, 1]
    with pytest.raises(ClusterError, match="violates PodSecurity"):
        installation.kubectl(
            "run", "root", "-n", NAMESPACE, "--image=localhost/toolorchestra/platform:0.1.0", "--dry-run=server"
        )


def test_helm_test_asks_a_question_with_a_service_accounts_token(installation: Installation, figures: list[str]) -> None:
    said = installation.helm("test", RELEASE, "--namespace", NAMESPACE, "--logs")
    answer = next(line for line in said.splitlines() if "17 * 23" in line)
    assert "Phase:          Succeeded" in said
    assert answer == "What is 17 * 23? 391 (US$ 0.0001)"
    figures.append(f"helm test: {answer}")
