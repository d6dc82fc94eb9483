"""A TrainingRun's Job runs on the node, and what it found stands in the status."""

import json

from tests.e2e.installation import Tenant, resource, wait_until
from tests.e2e.peers import PLATFORM_IMAGE

COUNT = """
import json, os, pathlib
config = json.loads(pathlib.Path(os.environ["TOOLORCHESTRA_CONFIG"]).read_text())
total = sum(range(config["steps"]))
print("summed", total, flush=True)
result = {"metrics": {"total": total}, "location": "/data/none"}
pathlib.Path("/dev/termination-log").write_text(json.dumps(result))
"""


QUEUE = """
apiVersion: kueue.x-k8s.io/v1beta2
kind: ResourceFlavor
metadata: {{name: {name}}}
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: ClusterQueue
metadata: {{name: {name}}}
spec:
  namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: {name}}}}}
  resourceGroups:
  - coveredResources: [cpu, memory]
    flavors:
    - name: {name}
      resources: [{{name: cpu, nominalQuota: 15m}}, {{name: memory, nominalQuota: 1Gi}}]
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: LocalQueue
metadata: {{name: jobs, namespace: {name}}}
spec: {{clusterQueue: {name}}}
"""


def training(name: str, code: str, **more: object) -> dict[str, object]:
    spec = {
        "image": PLATFORM_IMAGE,
        "command": ["python", "-c", code],
        "config": {"steps": 1000},
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "128Mi"}},
        "timeout": "60s",
        **more,
    }
    return resource("TrainingRun", name, spec)


def test_a_training_run_completes_and_its_metrics_are_kept(tenant: Tenant, figures: list[str]) -> None:
    tenant.apply(training("sum", COUNT))
    tenant.wait("trainingrun/sum", "Complete", seconds=90)
    status = tenant.get("trainingrun", "sum")["status"]
    assert (status["exitCode"], status["metrics"], status["location"]) == (0, {"total": "499500"}, "/data/none")
    job = json.loads(tenant.kubectl("get", "job", status["job"], "-n", tenant.name, "-o", "json"))
    assert job["metadata"]["ownerReferences"][0]["kind"] == "TrainingRun"
    assert job["status"]["succeeded"] == 1
    figures.append(f"TrainingRun: {status['startedAt']} → {status['completedAt']}, metrics {status['metrics']}")


def test_a_training_run_that_fails_shows_its_exit_code_and_its_last_words(tenant: Tenant) -> None:
    tenant.apply(training("broken", "import sys; sys.exit('the corpus is empty')"))
    tenant.wait("trainingrun/broken", "Complete=False", seconds=90)
    status = tenant.get("trainingrun", "broken")["status"]
    complete = tenant.condition("trainingrun", "broken", "Complete")
    assert (status["exitCode"], complete["reason"]) == (1, "Failed")
    assert "the corpus is empty" in complete["message"]


def test_kueue_lets_jobs_run_one_after_the_other_when_the_quota_has_room_for_one(tenant: Tenant, figures: list[str]) -> None:
    tenant.kubectl.apply(QUEUE.format(name=tenant.name))
    names = ("one", "another")
    tenant.apply(*(training(name, COUNT, queue="jobs") for name in names))

    def refused() -> list[str]:
        """Those that Kueue has found no quota for; both are pending for a moment at first."""
        return [name for name in names if "insufficient" in tenant.condition("trainingrun", name, "Admitted")["message"]]

    assert len(wait_until(refused, what="one that waits for quota")) == 1
    for name in names:
        tenant.wait(f"trainingrun/{name}", "Complete", seconds=90)
    statuses = sorted((tenant.get("trainingrun", name)["status"] for name in names), key=lambda one: one["startedAt"])
    assert statuses[1]["startedAt"] >= statuses[0]["completedAt"]
    assert all(one["workload"] for one in statuses)
    figures.append(
        f"Kueue: quota for one of two jobs; the second started at {statuses[1]['startedAt']}, the first ended at {statuses[0]['completedAt']}"
    )
    tenant.kubectl("delete", "clusterqueue,resourceflavor", tenant.name, "--wait=false")
