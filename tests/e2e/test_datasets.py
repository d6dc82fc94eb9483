"""Worlds are built and managers judged on the node: a ToolScaleDataset, then an Evaluation on what it left on its volume."""

from typing import Any

from tests.e2e.installation import Tenant, resource
from tests.e2e.peers import JOBS_IMAGE

TASKS = 24
SMALL: dict[str, Any] = {
    "image": JOBS_IMAGE,
    "claim": "worlds",
    "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "768Mi"}},
    "timeout": "5m",
}
PLAN = {
    "title": "On the node",
    "suites": [{"kind": "worlds", "folders": ["worlds/railway"]}],
    "policies": ["golden", "nothing", "cheapest", "oracle"],
    "report": {"policy": "oracle", "baseline": "cheapest"},
}


def dataset(name: str, **config: Any) -> dict[str, Any]:
    return resource("ToolScaleDataset", name, {**SMALL, "config": config})


def evaluation(name: str, **changes: Any) -> dict[str, Any]:
    command = ["python", "-m", "toolorchestra.training.evaluate"]
    return resource("Evaluation", name, {**SMALL, "command": command, "config": PLAN | changes})


def claim(name: str) -> dict[str, Any]:
    spec = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}


def test_worlds_are_built_and_managers_are_judged_on_them(tenant: Tenant, figures: list[str]) -> None:
    tenant.apply(claim("worlds"), dataset("worlds", domains=["railway"], tasks=TASKS, seed=3, jobs=1))
    tenant.wait("toolscaledataset/worlds", "Complete", seconds=240)
    built = tenant.get("toolscaledataset", "worlds")["status"]
    assert (built["metrics"]["tasks"], built["metrics"]["worlds"], built["location"]) == (str(TASKS), "1", "/data/worlds")
    assert {name: count for name, count in built["metrics"].items() if name.startswith("unsound.") and count != "0"} == {}

    tenant.apply(evaluation("routers"))
    tenant.wait("evaluation/routers", "Complete", seconds=240)
    judged = tenant.get("evaluation", "routers")["status"]
    metrics = judged["metrics"]
    assert metrics["episodes"] == str(TASKS * len(PLAN["policies"]))
    assert (metrics["success.golden"], metrics["success.nothing"]) == ("1.0000", "0.0000")
    assert float(metrics["success.oracle"]) >= float(metrics["success.cheapest"])
    assert judged["location"].startswith("/data/evaluation")
    figures.append(f"ToolScaleDataset: {built['startedAt']} → {built['completedAt']}, {TASKS} tasks of railway")
    figures.append(f"Evaluation: {judged['startedAt']} → {judged['completedAt']}, {metrics}")


def test_what_is_wrong_with_a_job_of_ours_stands_in_its_condition(tenant: Tenant) -> None:
    tenant.apply(claim("worlds"), dataset("worlds", domains=["railways"]), evaluation("routers", policies=["strongets"]))
    for kind, name, said in (("toolscaledataset", "worlds", "railways"), ("evaluation", "routers", "strongets")):
        tenant.wait(f"{kind}/{name}", "Complete=False", seconds=120)
        assert said in tenant.condition(kind, name, "Complete")["message"]
