"""A manager is trained on the node by the image's own command, judged by its gate, published, and answers as an Orchestrator."""

import json
import time
from pathlib import Path
from typing import Any

from tests.e2e.installation import Tenant, resource, wait_until
from tests.e2e.peers import TOOLS, url_of
from tests.e2e.resources import TEXT, expert
from tests.e2e.test_datasets import claim
from toolorchestra.core.resources import parse_documents

EXAMPLES = Path(__file__).parents[2] / "infra" / "examples" / "training"
STEPS = ("Trained", "GatePassed", "Published")
SMALL = {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "3Gi"}}


def example(name: str) -> list[dict[str, Any]]:
    return list(parse_documents((EXAMPLES / name).read_text(), source=name))


def training(name: str, **config: Any) -> dict[str, Any]:
    """The example run, perhaps with other settings, with little kept free for it."""
    (run,) = example("run.yaml")
    spec = run["spec"]
    return resource("TrainingRun", name, {**spec, "resources": SMALL, "config": {**spec["config"], **config}})


def told(tenant: Tenant, name: str) -> dict[str, tuple[str, str]]:
    conditions = tenant.get("trainingrun", name)["status"]["conditions"]
    return {one["type"]: (one["status"], one["reason"]) for one in conditions if one["type"] in STEPS}


def metrics(tenant: Tenant, name: str) -> dict[str, str]:
    found: dict[str, str] = tenant.get("trainingrun", name).get("status", {}).get("metrics", {})
    return found


def test_a_trained_manager_is_published_and_answers_through_an_orchestrator(tenant: Tenant, figures: list[str]) -> None:
    tenant.apply(claim("checkpoints"), training("tiny"))
    step = wait_until(lambda: metrics(tenant, "tiny").get("step"), seconds=300, what="figures while it runs")
    tenant.wait("trainingrun/tiny", "Complete", seconds=700)
    status = tenant.get("trainingrun", "tiny")["status"]
    assert told(tenant, "tiny") == {step: ("True", step) for step in STEPS}
    assert status["location"] == "/data/training/tiny/model"
    figures.append(f"TrainingRun: {status['startedAt']} → {status['completedAt']}, seen at step {step}, {status['metrics']}")

    began = time.monotonic()
    tenant.apply(*example("serve.yaml"), *tools(), resource("BudgetPolicy", "default", {"limits": {}}))
    tenant.wait("expertmodel/tiny", "Ready", seconds=120)
    figures.append(f"the checkpoint on KServe: Ready after {time.monotonic() - began:.1f} s")
    tenant.wait("tool/walnut", "Ready")
    tenant.wait("budgetpolicy/default", "Enforced")
    with tenant.openai() as client:
        question = "What is 47 + 25?"
        reply = client.chat.completions.create(model="tiny-manager", messages=[{"role": "user", "content": question}])
    managed = reply.to_dict()["toolorchestra"]
    assert (reply.choices[0].message.content, managed["tools"]) == ("72", ["walnut"]), managed  # type: ignore[index]


def tools() -> list[dict[str, Any]]:
    """What stands in its prompt: tools as it was trained on, of which one can add."""
    calculator = {
        "description": "Adds numbers.",
        "parameters": {"type": "object", "properties": {"expression": TEXT}, "required": ["expression"]},
        "http": {"url": f"{url_of(TOOLS)}/add"},
        "sideEffects": "readOnly",
        "pricing": {"perCall": "0.0002"},
        "typicalLatency": "200ms",
    }
    register = {**calculator, "description": "Finds orders."}
    register["parameters"] = {"type": "object", "properties": {"order": TEXT}, "required": ["order"]}
    common, rare = "Knows common things.", "Knows common and rare things."
    experts = (("cedar", common, "0.002"), ("maple", common, "0.005"), ("onyx", rare, "0.05"))
    return [
        resource("Tool", "walnut", calculator),
        resource("Tool", "delta", register),
        *(knowing(name, about, usd) for name, about, usd in experts),
    ]


def knowing(name: str, about: str, usd: str) -> dict[str, Any]:
    """An expert whose typical call of 1000 tokens costs so much."""
    price = {"input": str(round(float(usd) * 1_000, 6)), "output": "0"}
    return expert(name, url_of("math-a"), "math", description=about, pricing=price, typicalLatency="1s")


def test_a_bad_run_is_stopped_by_its_gate_and_publishes_nothing(tenant: Tenant, figures: list[str]) -> None:
    """One step teaches next to nothing."""
    tenant.apply(claim("checkpoints"), training("bad", optimiser={"steps": 1}))
    tenant.wait("trainingrun/bad", "Complete=False", seconds=300)
    status = tenant.get("trainingrun", "bad")["status"]
    complete = tenant.condition("trainingrun", "bad", "Complete")
    assert (status["exitCode"], complete["reason"]) == (3, "GateNotPassed"), complete["message"]
    assert "400 unseen tasks" in complete["message"]
    refused = ("False", "GateNotPassed")
    assert told(tenant, "bad") == {"Trained": ("True", "Trained"), "GatePassed": refused, "Published": refused}
    assert "location" not in status
    job = json.loads(tenant.kubectl("get", "job", status["job"], "-n", tenant.name, "-o", "json"))
    assert job["status"]["failed"] == 1, "it is not tried again"
    figures.append(f"TrainingRun stopped by its gate: {complete['message']}")
