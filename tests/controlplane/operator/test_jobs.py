"""TrainingRuns and their like on a real API server with its Job controller. The test plays the node, and Kueue with its CRDs."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from infra.cluster.steps import ClusterError, wait_for
from tests.controlplane.operator.everywhere import operator_everywhere
from tests.support.cluster import kueue_crds
from tests.support.operators import OperatorSpace, condition_of

IMAGE = {"image": "registry.example.org/evaluate:1"}
NO_QUOTA = "couldn't assign flavors to pod set main: insufficient quota for cpu in flavor default, 0 more needed"


@pytest.fixture(scope="module")
def new_space(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], OperatorSpace]]:
    with operator_everywhere(tmp_path_factory.mktemp("operator")) as new_space:
        yield new_space


@pytest.fixture
def space(new_space: Callable[[], OperatorSpace]) -> OperatorSpace:
    """A namespace that takes restricted pods only, as a tenant's may be."""
    space = new_space()
    space.cluster.kubectl("label", "namespace", space.namespace, "pod-security.kubernetes.io/enforce=restricted")
    return space


def until(happened: Callable[[], Any], what: str) -> Any:
    """What it returns once that is something."""
    deadline = time.monotonic() + 30
    while True:
        try:
            found = happened()
        except ClusterError:
            found = None
        if found:
            return found
        assert time.monotonic() < deadline, f"{what}: not within 30 s"
        time.sleep(0.1)


def the_pod(space: OperatorSpace) -> dict[str, Any]:
    """The pod that the Job controller made."""

    def only() -> dict[str, Any] | None:
        items: list[dict[str, Any]] = json.loads(space.cluster.kubectl("get", "pods", "-n", space.namespace, "-o", "json"))[
            "items"
        ]
        return items[0] if items else None

    found: dict[str, Any] = until(only, "the Job's pod")
    return found


def run(space: OperatorSpace, state: dict[str, Any], *, phase: str = "Running") -> None:
    """What the kubelet writes of the pod."""
    name = the_pod(space)["metadata"]["name"]
    container = {"name": "job", "image": IMAGE["image"], "imageID": "", "ready": False, "restartCount": 0, "state": state}
    patch(space, "pod", name, {"phase": phase, "containerStatuses": [container]})


def end(space: OperatorSpace, code: int, said: str = "") -> None:
    """The container ends with a termination message."""
    times = {"startedAt": "2026-11-23T02:00:00Z", "finishedAt": "2026-11-23T02:10:00Z"}
    ended = {"exitCode": code, "message": said, "reason": "Error" if code else "Completed", **times}
    run(space, {"terminated": ended}, phase="Failed" if code else "Succeeded")


def patch(space: OperatorSpace, kind: str, name: str, status: dict[str, Any]) -> None:
    body = json.dumps({"status": status})
    space.cluster.kubectl("patch", kind, name, "-n", space.namespace, "--subresource=status", "--type=merge", "-p", body)


def test_a_run_ends_with_what_it_reported_and_never_runs_again(space: OperatorSpace) -> None:
    space.apply("Evaluation", "nightly", {**IMAGE, "config": {"benchmark": "worlds"}})
    space.wait("Evaluation", "nightly", "Complete", "Unknown", reason="Starting")
    config = space.get("configmap", "evaluation-nightly")
    assert json.loads(config["data"]["config.json"]) == {"benchmark": "worlds"}

    run(space, {"running": {"startedAt": "2026-11-23T02:00:00Z"}})
    space.wait("Evaluation", "nightly", "Running", "True")
    end(space, 0, '{"metrics": {"accuracy": 0.81}, "location": "/data/report.json"}')
    status = space.wait("Evaluation", "nightly", "Complete", "True")["status"]
    assert (status["exitCode"], status["metrics"], status["location"]) == (0, {"accuracy": "0.81"}, "/data/report.json")
    assert status["completedAt"]

    space.delete("job", "evaluation-nightly")
    time.sleep(3)
    assert space.get("Evaluation", "nightly")["status"] == status
    assert not space.cluster.kubectl.succeeds("get", "job", "evaluation-nightly", "-n", space.namespace)


def test_a_failure_shows_the_exit_code_and_the_end_of_the_log(space: OperatorSpace) -> None:
    space.apply("TrainingRun", "run", IMAGE)
    end(space, 3, "Traceback (most recent call last):\nKeyError: 'dataset'\n")
    body = space.wait("TrainingRun", "run", "Complete", "False", reason="Failed")
    assert "exit code 3" in condition_of(body, "Complete")["message"]
    assert "KeyError: 'dataset'" in condition_of(body, "Complete")["message"]
    assert condition_of(body, "Published")["status"] == "Unknown"
    assert ("Warning", "Failed") in space.events("run")


def conditions(**told: tuple[str, str]) -> str:
    """A report with these conditions: type=(status, reason)."""
    written = {kind: {"status": status, "reason": reason, "message": reason} for kind, (status, reason) in told.items()}
    return json.dumps({"conditions": written})


def test_a_gate_that_was_not_passed_ends_the_job_at_once(space: OperatorSpace) -> None:
    space.apply("TrainingRun", "run", {**IMAGE, "backoffLimit": 5})
    refused = ("False", "GateNotPassed")
    end(space, 3, conditions(Trained=("True", "Trained"), GatePassed=refused, Published=refused))
    body = space.wait("TrainingRun", "run", "Complete", "False", reason="GateNotPassed")
    assert condition_of(body, "Trained")["status"] == "True"
    assert space.get("job", "trainingrun-run")["status"]["failed"] == 1


def test_a_job_that_was_told_to_stop_starts_again_and_it_counts_for_nothing(space: OperatorSpace) -> None:
    space.apply("TrainingRun", "run", IMAGE)
    first = the_pod(space)["metadata"]["name"]
    end(space, 75, conditions(Trained=("False", "Stopped")))
    until(lambda: [name for name in pods(space) if name != first], "another pod")
    assert condition_of(space.get("TrainingRun", "run"), "Complete")["status"] == "Unknown"


def pods(space: OperatorSpace) -> list[str]:
    return space.cluster.kubectl("get", "pods", "-n", space.namespace, "-o", "jsonpath={.items[*].metadata.name}").split()


def test_a_training_waits_for_its_dataset_and_gets_it(space: OperatorSpace) -> None:
    space.apply("TrainingRun", "run", {**IMAGE, "dataset": "worlds"})
    space.wait("TrainingRun", "run", "Accepted", "False", reason="DatasetNotFound")
    space.apply("ToolScaleDataset", "worlds", {**IMAGE, "claim": "data"})
    space.wait("TrainingRun", "run", "Accepted", "Unknown", reason="DatasetNotComplete")
    end(space, 0, '{"location": "/data/worlds"}')
    space.wait("TrainingRun", "run", "Accepted", "True")
    pod = space.get("job", "trainingrun-run")["spec"]["template"]["spec"]
    mounts = {one["mountPath"]: one.get("subPath") for one in pod["containers"][0]["volumeMounts"]}
    assert mounts["/dataset"] == "worlds"


def test_an_image_that_cannot_be_pulled_is_told(space: OperatorSpace) -> None:
    space.apply("Evaluation", "nightly", IMAGE)
    run(space, {"waiting": {"reason": "ErrImagePull", "message": "manifest unknown"}}, phase="Pending")
    body = space.wait("Evaluation", "nightly", "Complete", "Unknown", reason="ImagePullBackOff")
    assert "check spec.image" in condition_of(body, "Running")["message"]


def test_a_quota_that_refuses_the_pod_is_told(space: OperatorSpace) -> None:
    space.cluster.kubectl("create", "quota", "none", "-n", space.namespace, "--hard=pods=0")
    until(lambda: space.get("resourcequota", "none").get("status", {}).get("hard"), "the quota")
    space.apply("Evaluation", "nightly", IMAGE)
    body = space.wait("Evaluation", "nightly", "Complete", "Unknown", reason="QuotaExceeded")
    assert "ResourceQuota" in condition_of(body, "Complete")["message"]


def test_a_job_deleted_by_hand_before_its_end_is_made_again(space: OperatorSpace) -> None:
    space.apply("ToolScaleDataset", "worlds", IMAGE)
    first = until(lambda: space.get("job", "toolscaledataset-worlds"), "the Job")["metadata"]["uid"]
    space.delete("job", "toolscaledataset-worlds")
    until(lambda: space.get("job", "toolscaledataset-worlds")["metadata"]["uid"] != first, "another Job")


def test_a_resource_made_anew_does_not_take_over_the_end_of_the_old_one(space: OperatorSpace) -> None:
    space.apply("Evaluation", "nightly", IMAGE)
    end(space, 0)
    space.wait("Evaluation", "nightly", "Complete", "True")
    old = space.get("job", "evaluation-nightly")["metadata"]["uid"]
    space.cluster.kubectl("delete", "evaluation", "nightly", "-n", space.namespace, "--cascade=orphan")
    space.apply("Evaluation", "nightly", IMAGE)
    body = space.wait("Evaluation", "nightly", "Accepted", "False", reason="NameTaken")
    assert condition_of(body, "Complete")["status"] == "Unknown"

    space.delete("job", "evaluation-nightly")
    until(lambda: space.get("job", "evaluation-nightly")["metadata"]["uid"] != old, "its own Job")
    space.wait("Evaluation", "nightly", "Complete", "Unknown", reason="Starting")


def test_a_job_goes_its_ttl_after_its_end_and_the_result_stays(space: OperatorSpace) -> None:
    space.apply("Evaluation", "nightly", IMAGE)
    end(space, 0, '{"location": "/data/report.json"}')
    space.wait("Evaluation", "nightly", "Complete", "True")
    space.apply("Evaluation", "nightly", {**IMAGE, "ttl": "1s"})
    until(lambda: not space.cluster.kubectl.succeeds("get", "job", "evaluation-nightly", "-n", space.namespace), "it went")
    assert space.get("Evaluation", "nightly")["status"]["location"] == "/data/report.json"


def test_from_no_kueue_to_quota_and_a_pod(space: OperatorSpace) -> None:
    space.apply("TrainingRun", "run", {**IMAGE, "queue": "gpu"})
    body = space.wait("TrainingRun", "run", "Complete", "Unknown", reason="KueueNotInstalled")
    assert "install Kueue" in condition_of(body, "Admitted")["message"]
    job = space.get("job", "trainingrun-run")
    assert (job["spec"]["suspend"], job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"]) == (True, "gpu")

    space.cluster.kubectl("apply", "--server-side", "-f", kueue_crds())
    wait_for("Kueue's kinds", lambda: space.cluster.kubectl.succeeds("get", "workloads", "--all-namespaces"))
    space.wait("TrainingRun", "run", "Admitted", "Unknown", reason="WaitingForKueue")
    make_workload(space, job)
    say(space, QuotaReserved=("False", "Pending", NO_QUOTA))
    body = space.wait("TrainingRun", "run", "Complete", "Unknown", reason="Pending")
    assert "insufficient quota for cpu" in condition_of(body, "Complete")["message"]
    assert body["status"]["workload"] == "job-trainingrun-run"

    say(space, QuotaReserved=("True", "QuotaReserved", ""), Admitted=("True", "Admitted", "The workload is admitted"))
    go = json.dumps({"spec": {"suspend": False}})
    space.cluster.kubectl("patch", "job", "trainingrun-run", "-n", space.namespace, "--type=merge", "-p", go)
    space.wait("TrainingRun", "run", "Admitted", "True")
    run(space, {"running": {"startedAt": "2026-11-23T02:00:00Z"}})
    space.wait("TrainingRun", "run", "Running", "True")
    assert space.get("job", "trainingrun-run")["spec"]["suspend"] is False

    say(space, Evicted=("True", "Preempted", "Preempted to accommodate a workload of higher priority"))
    space.cluster.kubectl(
        "patch", "job", "trainingrun-run", "-n", space.namespace, "--type=merge", "-p", go.replace("false", "true")
    )
    space.wait("TrainingRun", "run", "Admitted", "False", reason="Evicted")


def make_workload(space: OperatorSpace, job: dict[str, Any]) -> None:
    """Kueue's Workload for a Job."""
    labels = {"kueue.x-k8s.io/job-uid": job["metadata"]["uid"]}
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": job["metadata"]["name"], "uid": job["metadata"]["uid"]}
    metadata = {"name": "job-trainingrun-run", "namespace": space.namespace, "labels": labels, "ownerReferences": [owner]}
    pods = {"name": "main", "count": 1, "template": {"spec": {"containers": [{"name": "job", **IMAGE}]}}}
    body = {"apiVersion": "kueue.x-k8s.io/v1beta2", "kind": "Workload", "metadata": metadata}
    space.cluster.kubectl.apply(json.dumps({**body, "spec": {"queueName": "gpu", "podSets": [pods]}}))


def say(space: OperatorSpace, **conditions: tuple[str, str, str]) -> None:
    """The conditions that Kueue writes: type=(status, reason, message)."""
    written = [
        {"type": kind, "status": status, "reason": reason, "message": text, "lastTransitionTime": "2026-11-23T02:00:00Z"}
        for kind, (status, reason, text) in conditions.items()
    ]
    patch(space, "workload", "job-trainingrun-run", {"conditions": written})
