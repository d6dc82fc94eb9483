"""A manager is trained on the node by the image's own command, and judged by its gate."""

import json
from pathlib import Path
from typing import Any

from tests.e2e.installation import Tenant, resource, wait_until
from tests.e2e.test_datasets import claim
from toolorchestra.core.resources import parse_documents

EXAMPLES = Path(__file__).parents[2] / "infra" / "examples" / "training"
STEPS = ("Trained", "GatePassed", "Published")
SMALL = {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "3Gi"}}
COMMAND = "python -m toolorchestra.training.grpo"
UNTRAINED = """
from pathlib import Path
from toolorchestra.training.grpo.checkpoints import publish
from toolorchestra.training.grpo.tiny.model import build_model, build_tokenizer
from toolorchestra.training.grpo.tokens import HfCodec
codec = HfCodec(build_tokenizer())
publish(build_model(len(codec.tokenizer), codec.stop, codec.pad), codec.tokenizer, Path("/data/untrained"), {})
"""


def example(name: str) -> list[dict[str, Any]]:
    return list(parse_documents((EXAMPLES / name).read_text(), source=name))


def from_nothing(name: str, **config: Any) -> dict[str, Any]:
    """The example run under another name with other settings, from a model that has learnt nothing."""
    (run,) = example("run.yaml")
    settings = {**run["spec"]["config"], "model": {"path": "/data/untrained"}, **config}
    command = ["sh", "-c", f"python -c '{UNTRAINED}' && exec {COMMAND}"]
    return resource("TrainingRun", name, {**run["spec"], "command": command, "config": settings, "resources": SMALL})


def told(tenant: Tenant, name: str) -> dict[str, tuple[str, str]]:
    conditions = tenant.get("trainingrun", name)["status"]["conditions"]
    return {one["type"]: (one["status"], one["reason"]) for one in conditions if one["type"] in STEPS}


def metrics(tenant: Tenant, name: str) -> dict[str, str]:
    found: dict[str, str] = tenant.get("trainingrun", name).get("status", {}).get("metrics", {})
    return found


def test_a_bad_run_is_stopped_by_its_gate_and_publishes_nothing(tenant: Tenant, figures: list[str]) -> None:
    rollout = {"group_size": 4, "groups_per_step": 4}
    tenant.apply(claim("checkpoints"), from_nothing("bad", rollout=rollout, optimiser={"steps": 20}))
    step = wait_until(lambda: metrics(tenant, "bad").get("step"), seconds=300, what="figures while it runs")
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
    times = f"{status['startedAt']} → {status['completedAt']}"
    figures.append(f"TrainingRun stopped by its gate: {times}, seen at step {step}; {complete['message']}")
