"""What is decided for a resource that runs a Job, from the Job, its pods and Kueue's Workload; and how those are read."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from toolorchestra.core.errors import UnavailableError
from toolorchestra.core.resources import KINDS
from toolorchestra.kit.kubernetes import EVENTS, JOBS, PODS, KubernetesObject, ResourceType
from toolorchestra.kit.testing import MemoryKubernetes
from toolorchestra.operator.builders.job import CONFIG_MAPS, JobResource
from toolorchestra.operator.plan import Condition, Plan, State
from toolorchestra.operator.services.jobs import POD_LABEL, JobObserved, job_kinds, reconcile
from toolorchestra.operator.services.kinds import TYPES, Reference, Seen
from toolorchestra.operator.services.kueue import JOB_UID_LABEL, WORKLOADS, admitted
from toolorchestra.operator.services.results import Report, report
from toolorchestra.operator.services.status import status_of, with_headline

UID, NOW, ENDED = "uid-of-the-run", datetime(2026, 11, 23, 3, 0, tzinfo=UTC), "2026-11-23T02:59:00Z"
NO_QUOTA = "couldn't assign flavors to pod set main: insufficient quota for cpu in flavor default"


def resource(kind: str = "Evaluation", **spec: Any) -> JobResource:
    metadata = {"name": "nightly", "namespace": "team-a"}
    body = {"apiVersion": "toolorchestra.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": {"image": "e:1", **spec}}
    return KINDS[kind].model_validate(body)  # type: ignore[return-value]


def a_job(*conditions: dict[str, Any], owner: str = UID, **status: Any) -> KubernetesObject:
    metadata = {
        "name": "evaluation-nightly",
        "namespace": "team-a",
        "uid": "uid-of-the-job",
        "ownerReferences": [{"uid": owner}],
    }
    return {"metadata": metadata, "status": {"startTime": "2026-11-23T02:50:00Z", "conditions": list(conditions), **status}}


COMPLETE = {"type": "Complete", "status": "True", "lastTransitionTime": ENDED}


def failed(reason: str = "BackoffLimitExceeded", text: str = "Job has reached the specified backoff limit") -> dict[str, Any]:
    return {"type": "Failed", "status": "True", "reason": reason, "message": text, "lastTransitionTime": ENDED}


def a_pod(state: dict[str, Any], *, phase: str = "Pending", name: str = "nightly-x") -> KubernetesObject:
    metadata = {"name": name, "namespace": "team-a"}
    return {"metadata": metadata, "status": {"phase": phase, "containerStatuses": [{"name": "job", "state": state}]}}


def ended(code: int, said: str = "", **more: Any) -> KubernetesObject:
    return a_pod({"terminated": {"exitCode": code, "message": said, "finishedAt": ENDED, **more}}, phase="Failed")


def workload(*conditions: dict[str, Any]) -> KubernetesObject:
    return {
        "metadata": {"name": "job-evaluation-nightly-1a2b", "namespace": "team-a"},
        "status": {"conditions": list(conditions)},
    }


def kueue_says(kind: str, status: str, reason: str = "", text: str = "") -> dict[str, Any]:
    return {"type": kind, "status": status, "reason": reason, "message": text}


def decided(one: JobResource, **observed: Any) -> Plan:
    return reconcile(one, JobObserved(**{"uid": UID, "now": NOW, **observed}))


def told(plan: Plan) -> dict[str, tuple[str, str]]:
    return {one.type: (one.state.value, one.reason) for one in plan.conditions}


def message(plan: Plan, kind: str = "Complete") -> str:
    return next(one.message for one in plan.conditions if one.type == kind)


def stored(plan: Plan) -> dict[str, Any]:
    return status_of(plan, {}, generation=1, now=NOW)


@pytest.mark.parametrize("kind", ["ToolScaleDataset", "TrainingRun", "Evaluation"])
def test_a_new_resource_gets_its_job_and_configuration(kind: str):
    plan = decided(resource(kind))

    assert [(one.of, one.body["metadata"]["name"]) for one in plan.apply] == [
        (CONFIG_MAPS, f"{kind.lower()}-nightly"),
        (JOBS, f"{kind.lower()}-nightly"),
    ]
    assert told(plan)["Complete"] == ("Unknown", "Creating")
    assert plan.status == {"job": f"{kind.lower()}-nightly"}


def test_a_job_that_exists_is_never_written_again():
    assert not decided(resource(), job=a_job()).apply


STEPS = {"Trained": ("Unknown", "NotTrained"), "GatePassed": ("Unknown", "NotJudged"), "Published": ("Unknown", "NotPublished")}
TRAINED = {"Trained": {"status": "True", "reason": "Trained", "message": "200 steps in 180 s"}}
NOT_GOOD = {
    "status": "False",
    "reason": "GateNotPassed",
    "message": "it solved 31.2% of 400 unseen tasks, and 97.0% are needed",
}
PUBLISHED = {"status": "True", "reason": "Published", "message": "/data/training/nightly/model"}


def test_the_steps_of_a_training_run_are_unknown_until_it_tells():
    assert told(decided(resource("TrainingRun"))).items() > STEPS.items()
    assert not told(decided(resource("Evaluation"))).keys() & STEPS.keys()


def test_while_it_runs_the_newest_report_of_its_log_is_shown():
    log = 'step 1\n{"metrics": {"step": 1}}\n{"loss": 2}\n{"metrics": {"step": 2, "solved": 0.5}}\n{\'loss\': 0.1}\n{"metr'
    running = a_pod({"running": {}}, phase="Running")
    plan = decided(resource("TrainingRun"), job=a_job(), pods=[running], log=log)

    assert plan.status["metrics"] == {"step": "2", "solved": "0.5"}
    assert told(plan)["Running"] == ("True", "Running")
    again = decided(resource("TrainingRun"), job=a_job(), pods=[running], log="loading", stored=stored(plan))
    assert again.status["metrics"] == {"step": "2", "solved": "0.5"}, "a new pod has told nothing yet"


def test_a_step_that_was_told_stays_until_another_word_of_it():
    said = json.dumps({"conditions": TRAINED})
    plan = decided(resource("TrainingRun"), job=a_job(), pods=[a_pod({"running": {}}, phase="Running")], log=said)

    assert told(plan)["Trained"] == ("True", "Trained")
    assert message(plan, "Trained") == "200 steps in 180 s"
    assert told(decided(resource("TrainingRun"), job=a_job(), stored=stored(plan)))["Trained"] == ("True", "Trained")


def test_a_training_that_published_says_so():
    steps = {**TRAINED, "GatePassed": {"status": "True", "reason": "GatePassed", "message": ""}, "Published": PUBLISHED}
    said = json.dumps({"location": PUBLISHED["message"], "conditions": steps})
    plan = decided(resource("TrainingRun"), job=a_job(COMPLETE, completionTime=ENDED), pods=[ended(0, said)])

    assert {kind: state for kind, (state, _) in told(plan).items() if kind in STEPS} == dict.fromkeys(STEPS, "True")
    assert plan.status["location"] == "/data/training/nightly/model"
    assert stored(decided(resource("TrainingRun"), stored=stored(plan))) == stored(plan)


def test_a_gate_that_was_not_passed_is_why_it_failed():
    said = json.dumps({"conditions": {**TRAINED, "GatePassed": NOT_GOOD, "Published": NOT_GOOD}})
    by_policy = failed("PodFailurePolicy", "Container job failed with exit code 3 matching FailJob rule at index 2")
    plan = decided(resource("TrainingRun"), job=a_job(by_policy), pods=[ended(3, said)], log="not published")

    assert told(plan)["Complete"] == told(plan)["Published"] == ("False", "GateNotPassed")
    assert message(plan) == NOT_GOOD["message"]
    assert "location" not in plan.status


@pytest.mark.parametrize("odd", [{"status": "Perhaps"}, {"status": "True", "reason": "two words"}, {"message": 7}])
def test_an_odd_word_of_a_step_does_no_harm(odd: dict[str, Any]):
    said = json.dumps({"conditions": {"Trained": odd, "Lost": NOT_GOOD, "GatePassed": "yes"}})
    plan = decided(resource("TrainingRun"), job=a_job(), pods=[a_pod({"running": {}}, phase="Running")], log=said)

    assert told(plan)["Trained"] == ("True" if odd.get("status") == "True" else "Unknown", "Told")
    assert told(plan)["GatePassed"] == STEPS["GatePassed"]
    assert "Lost" not in told(plan)


def a_dataset(status: str | None, claim: str | None = "worlds", location: str = "/data/set/railway") -> KubernetesObject:
    conditions = [{"type": "Complete", "status": status, "message": "exit code 1"}] if status else []
    return {"spec": {"claim": claim}, "status": {"conditions": conditions, "location": location}}


@pytest.mark.parametrize(
    ("dataset", "state", "reason"),
    [
        (None, "False", "DatasetNotFound"),
        (a_dataset(None), "Unknown", "DatasetNotComplete"),
        (a_dataset("Unknown"), "Unknown", "DatasetNotComplete"),
        (a_dataset("False"), "False", "DatasetFailed"),
        (a_dataset("True", claim=None), "False", "DatasetNotKept"),
    ],
)
def test_a_training_waits_for_its_dataset(dataset: KubernetesObject | None, state: str, reason: str):
    plan = decided(resource("TrainingRun", dataset="worlds"), dataset=dataset)

    assert told(plan)["Accepted"] == (state, reason)
    assert told(plan)["Complete"] == ("Unknown", reason)
    assert told(plan).items() > STEPS.items()
    assert (plan.apply, plan.again_ms) == ((), 10_000)


def test_a_dataset_that_is_complete_is_mounted():
    plan = decided(resource("TrainingRun", dataset="worlds"), dataset=a_dataset("True"))
    pod = plan.apply[1].body["spec"]["template"]["spec"]

    mount = {"name": "dataset", "mountPath": "/dataset", "subPath": "set/railway", "readOnly": True}
    assert mount in pod["containers"][0]["volumeMounts"]
    assert {"name": "dataset", "persistentVolumeClaim": {"claimName": "worlds"}} in pod["volumes"]


def test_a_dataset_that_goes_later_changes_nothing():
    assert told(decided(resource("TrainingRun", dataset="worlds"), job=a_job()))["Accepted"] == ("True", "Accepted")


@pytest.mark.parametrize(
    ("pods", "refusal", "reason"),
    [
        ([], "", "Starting"),
        ([a_pod({"waiting": {"reason": "ContainerCreating"}})], "", "Starting"),
        ([a_pod({"waiting": {"reason": "ErrImagePull", "message": "no such image"}})], "", "ImagePullBackOff"),
        ([], 'pods "x" is forbidden: exceeded quota: small', "QuotaExceeded"),
        ([], 'pods "x" is forbidden: violates PodSecurity "restricted:latest"', "PodSecurityViolation"),
    ],
)
def test_what_holds_a_job_up_is_told_until_it_runs(pods: list[KubernetesObject], refusal: str, reason: str):
    plan = decided(resource(), job=a_job(), pods=pods, refusal=refusal)

    assert told(plan)["Running"] == ("False", reason)
    assert told(plan)["Complete"] == ("Unknown", reason)
    assert plan.again_ms == 10_000


def test_no_free_gpu_names_the_field():
    scheduled = kueue_says("PodScheduled", "False", "Unschedulable", "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.")
    waiting = {"metadata": {"name": "p", "namespace": "team-a"}, "status": {"conditions": [scheduled]}}
    plan = decided(resource(gpus=1), job=a_job(), pods=[waiting])

    assert told(plan)["Complete"] == ("Unknown", "InsufficientGpu")
    assert "lower spec.gpus" in message(plan)


def test_a_running_pod_is_running():
    plan = decided(resource(), job=a_job(), pods=[a_pod({"running": {}}, phase="Running")])

    assert told(plan) == {
        "Accepted": ("True", "Accepted"),
        "Admitted": ("True", "NoQueue"),
        "Running": ("True", "Running"),
        "Complete": ("Unknown", "Running"),
    }
    assert plan.status["startedAt"] == "2026-11-23T02:50:00Z"


def test_success_carries_what_the_job_reported():
    said = json.dumps({"metrics": {"accuracy": 0.81, "cost": "0.02"}, "location": "/data/report.json"})
    plan = decided(resource(), job=a_job(COMPLETE, completionTime=ENDED), pods=[ended(0, said)])

    assert told(plan)["Complete"] == ("True", "Succeeded")
    assert told(plan)["Running"] == ("False", "Succeeded")
    assert plan.status == {
        "job": "evaluation-nightly",
        "startedAt": "2026-11-23T02:50:00Z",
        "completedAt": ENDED,
        "exitCode": 0,
        "metrics": {"accuracy": "0.81", "cost": "0.02"},
        "location": "/data/report.json",
    }
    assert plan.again_ms is None


@pytest.mark.parametrize(
    ("condition", "pods", "log", "reason", "said"),
    [
        (failed(), [ended(3, "KeyError: 'dataset'\n")], "", "Failed", "exit code 3; the end of its log:\nKeyError: 'dataset'"),
        (failed(), [ended(3, '{"metrics": {"loss": 2}}')], "ValueError: nan", "Failed", "ValueError: nan"),
        (failed(), [ended(1)], "", "Failed", "exit code 1; its log is empty"),
        (failed(), [ended(137, reason="OOMKilled")], "", "OOMKilled", "raise spec.resources.limits.memory"),
        (failed("DeadlineExceeded", "too long"), [], "", "DeadlineExceeded", "raise it"),
        (failed("PodFailurePolicy", "a rule"), [], "", "PodFailurePolicy", "a rule"),
    ],
)
def test_a_failure_is_told_with_its_cause(
    condition: dict[str, Any], pods: list[KubernetesObject], log: str, reason: str, said: str
):
    plan = decided(resource(), job=a_job(condition), pods=pods, log=log)

    assert told(plan)["Complete"] == ("False", reason)
    assert said in message(plan)
    assert plan.status["completedAt"] == ENDED


def test_the_last_of_several_attempts_counts():
    first, second = ended(1, "first", finishedAt="2026-11-23T02:51:00Z"), ended(2, "second")
    plan = decided(resource(backoffLimit=1), job=a_job(failed()), pods=[second, first])

    assert plan.status["exitCode"] == 2


def test_metrics_of_a_failed_job_are_kept():
    plan = decided(resource(), job=a_job(failed()), pods=[ended(3, '{"metrics": {"loss": 2}}')])

    assert plan.status["metrics"] == {"loss": "2"}


@pytest.mark.parametrize("text", ["", "no JSON", "[1]", "7", '{"other": 1}', '{"metrics": [1]}', '{"metrics": '])
def test_other_messages_are_no_report(text: str):
    assert report(text) == Report()


def test_a_report_is_cut_to_what_a_status_holds():
    conditions = {f"C{n}": NOT_GOOD for n in range(99)}
    said = {"metrics": {f"m{n}": "v" * 999 for n in range(99)}, "location": "l" * 9999, "conditions": conditions}
    found = report(json.dumps(said))

    assert (len(found.metrics), len(found.metrics["m0"]), len(found.location or "")) == (64, 256, 2048)
    assert len(found.conditions) == 8


def test_what_ended_is_never_run_again_and_keeps_its_conditions():
    end = stored(decided(resource(), job=a_job(COMPLETE, completionTime=ENDED), pods=[ended(0)]))
    later = decided(resource(), stored=end)

    assert (later.apply, later.delete, later.again_ms) == ((), [], None)
    assert stored(later) == end


def test_an_error_after_the_end_does_not_take_the_result_away():
    end = stored(decided(resource(), job=a_job(failed()), pods=[ended(3, "KeyError")]))
    error = Condition("Complete", State.UNKNOWN, "ReconcileFailed", "the API server cannot be reached")
    interrupted = status_of(with_headline(end, ("Accepted", "Admitted", "Running"), error), end, generation=1, now=NOW)
    plan = decided(resource(), stored=interrupted)

    assert told(plan)["Complete"] == ("False", "Failed")
    assert "KeyError" in message(plan)


def test_a_job_deleted_by_hand_before_its_end_is_made_again():
    before = stored(decided(resource(), job=a_job(), pods=[a_pod({"running": {}}, phase="Running")]))

    assert [one.of for one in decided(resource(), stored=before).apply] == [CONFIG_MAPS, JOBS]


@pytest.mark.parametrize(("ttl", "gone", "again_ms"), [("30s", True, None), ("5m", False, 240_000), (None, False, None)])
def test_a_job_goes_its_ttl_after_its_end(ttl: str | None, gone: bool, again_ms: int | None):
    done = a_job(COMPLETE, completionTime=ENDED)
    end = stored(decided(resource(), job=done, pods=[ended(0)]))
    plan = decided(resource(ttl=ttl), stored=end, job=done)

    assert ([one.of for one in plan.delete], plan.again_ms) == ([JOBS, CONFIG_MAPS] if gone else [], again_ms)
    assert stored(plan) == end


def test_a_job_of_an_earlier_resource_of_the_name_is_not_taken_over():
    plan = decided(resource(), job=a_job(COMPLETE, owner="uid-of-an-earlier-run"))

    assert told(plan)["Accepted"] == ("False", "NameTaken")
    assert told(plan)["Complete"] == ("Unknown", "NameTaken")
    assert (plan.apply, plan.delete, plan.again_ms) == ((), (), 10_000)


@pytest.mark.parametrize(
    ("one", "installed", "state", "reason"),
    [
        (None, False, State.FALSE, "KueueNotInstalled"),
        (None, True, State.UNKNOWN, "WaitingForKueue"),
        (workload(), True, State.FALSE, "Pending"),
        (workload(kueue_says("QuotaReserved", "False", "Pending", NO_QUOTA)), True, State.FALSE, "Pending"),
        (workload(kueue_says("QuotaReserved", "False", "Inadmissible", "LocalQueue q")), True, State.FALSE, "Inadmissible"),
        (workload(kueue_says("QuotaReserved", "True")), True, State.UNKNOWN, "QuotaReserved"),
        (workload(kueue_says("QuotaReserved", "True"), kueue_says("Admitted", "True")), True, State.TRUE, "Admitted"),
        (workload(kueue_says("Evicted", "True", "Preempted", "for more")), True, State.FALSE, "Evicted"),
        (workload(kueue_says("Admitted", "True"), kueue_says("Evicted", "False")), True, State.TRUE, "Admitted"),
    ],
)
def test_kueues_words_become_the_condition(one: KubernetesObject | None, installed: bool, state: State, reason: str):
    condition = admitted("gpu", one, installed=installed)

    assert (condition.state, condition.reason) == (state, reason)


def test_a_job_that_waits_for_its_quota_says_so_everywhere():
    held_back = workload(kueue_says("QuotaReserved", "False", "Pending", NO_QUOTA))
    plan = decided(resource(queue="gpu"), job=a_job(), workload=held_back, kueue_installed=True)

    assert told(plan)["Running"] == ("False", "NotAdmitted")
    assert told(plan)["Complete"] == ("Unknown", "Pending")
    assert "insufficient quota for cpu" in message(plan)
    assert plan.status["workload"] == "job-evaluation-nightly-1a2b"


def test_without_kueue_the_field_and_the_fix_are_told():
    plan = decided(resource(queue="gpu"), job=a_job())

    assert told(plan)["Complete"] == ("Unknown", "KueueNotInstalled")
    assert "spec.queue is set: install Kueue" in message(plan)
    assert plan.again_ms == 30_000


async def cluster(
    *objects: tuple[ResourceType, KubernetesObject],
    serves: tuple[ResourceType, ...] = (),
    kind: type[MemoryKubernetes] = MemoryKubernetes,
) -> MemoryKubernetes:
    """A server with these objects; pods without labels are those of the Job before them."""
    api = kind(CONFIG_MAPS, *serves)
    uid = ""
    for of, body in objects:
        if of == PODS:
            body["metadata"].setdefault("labels", {POD_LABEL: uid})
        written = api.put(of, body)
        uid = written["metadata"]["uid"] if of == JOBS else uid
        if "status" in body:
            identity = {key: body["metadata"][key] for key in ("name", "namespace")}
            await api.apply(of, {"metadata": identity, "status": body["status"]}, subresource="status")
    return api


async def look(one: JobResource, api: MemoryKubernetes, **status: Any) -> JobObserved:
    seen = Seen(uid=UID, generation=1, status=status, fresh=True, written_ms_ago=None, now=NOW)
    return await job_kinds(api)[2].gather(one, seen)


async def test_pods_are_found_by_their_job():
    other = a_pod({"running": {}}, name="other")
    other["metadata"]["labels"] = {POD_LABEL: "uid-of-an-earlier-job"}
    observed = await look(resource(), await cluster((JOBS, a_job()), (PODS, a_pod({"running": {}})), (PODS, other)))

    assert [one["metadata"]["name"] for one in observed.pods] == ["nightly-x"]


@pytest.mark.parametrize(
    ("said", "log"), [("", "the end\n"), ('{"metrics": {"loss": 2}}', "the end\n"), ("the kubelet kept the end", "")]
)
async def test_the_log_is_read_only_when_the_pod_left_no_text(said: str, log: str):
    api = await cluster((JOBS, a_job(failed())), (PODS, ended(1, said)))
    api.logs["team-a", "nightly-x"] = "the end\n"

    assert (await look(resource(), api)).log == log


async def test_the_log_of_a_job_that_succeeded_is_not_read():
    api = await cluster((JOBS, a_job(COMPLETE)), (PODS, ended(0)))
    api.logs["team-a", "nightly-x"] = "private"

    assert not (await look(resource(), api)).log


async def test_the_log_of_the_pod_that_runs_is_read_whatever_ended_before_it():
    stopped = ended(75, "stopped")
    stopped["metadata"]["name"] = "nightly-a"
    api = await cluster((JOBS, a_job()), (PODS, stopped), (PODS, a_pod({"running": {}}, phase="Running")))
    api.logs["team-a", "nightly-x"] = "step 1"

    assert (await look(resource(), api)).log == "step 1"


async def test_a_log_that_cannot_be_read_holds_nothing_up():
    class Silent(MemoryKubernetes):
        async def log_tail(self, pod: str, *, namespace: str, lines: int, container: str | None = None) -> str:
            raise UnavailableError("the node is silent")

    api = await cluster((JOBS, a_job()), (PODS, a_pod({"running": {}}, phase="Running")), kind=Silent)
    observed = await look(resource(), api)

    assert (observed.log, len(observed.pods)) == ("", 1)


async def test_the_dataset_is_looked_at_until_there_is_a_job():
    one, dataset = resource("TrainingRun", dataset="worlds"), TYPES["ToolScaleDataset"]
    job = {**a_job(), "metadata": {**a_job()["metadata"], "name": "trainingrun-nightly"}}
    api = await cluster((JOBS, job), serves=(dataset,))
    api.put(dataset, {"metadata": {"name": "worlds", "namespace": "team-a"}, **a_dataset("True")})

    assert (await look(one, api)).dataset is None
    await api.delete(JOBS, "trainingrun-nightly", namespace="team-a")
    assert (await look(one, api)).dataset is not None
    assert job_kinds(api)[1].uses(one) == (Reference("ToolScaleDataset", "team-a", "worlds"),)  # type: ignore[arg-type]


async def test_what_ended_is_not_looked_at_any_more_but_for_its_ttl():
    api = await cluster((JOBS, a_job(COMPLETE)), (PODS, ended(0)))

    assert (await look(resource(), api, completedAt=ENDED)).job is None
    observed = await look(resource(ttl="1h"), api, completedAt=ENDED)
    assert observed.job is not None
    assert observed.pods == ()


async def test_why_pods_are_refused_is_read_from_the_jobs_own_events():
    api = await cluster((JOBS, a_job()))
    job = await api.get(JOBS, "evaluation-nightly", namespace="team-a")
    assert job is not None
    for name, uid, text in (("a", job["metadata"]["uid"], "exceeded quota"), ("b", "another", "something else")):
        event = {"metadata": {"name": name, "namespace": "team-a"}, "involvedObject": {"uid": uid}, "reason": "FailedCreate"}
        api.put(EVENTS, event | {"message": text})

    assert (await look(resource(), api)).refusal == "exceeded quota"


@pytest.mark.parametrize("version", WORKLOADS)
async def test_the_workload_is_found_in_either_version_of_kueue(version: ResourceType):
    api = await cluster((JOBS, a_job()), serves=(version,))
    job = await api.get(JOBS, "evaluation-nightly", namespace="team-a")
    assert job is not None
    for name, uid in (("mine", job["metadata"]["uid"]), ("another", "another")):
        api.put(version, {"metadata": {"name": name, "namespace": "team-a", "labels": {JOB_UID_LABEL: uid}}})
    observed = await look(resource(queue="gpu"), api)

    assert observed.kueue_installed
    assert observed.workload is not None
    assert observed.workload["metadata"]["name"] == "mine"


async def test_whether_kueue_is_there_is_looked_at_even_before_the_job():
    absent, present = await cluster(), await cluster(serves=(WORKLOADS[0],))

    assert not (await look(resource(queue="gpu"), absent)).kueue_installed
    assert (await look(resource(queue="gpu"), present)).kueue_installed
