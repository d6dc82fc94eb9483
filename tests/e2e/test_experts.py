"""ExpertModels: exchanged between two runs, and served by KServe's own controller."""

import json
import time
from pathlib import Path

import yaml

from tests.e2e.installation import Tenant, wait_until
from tests.e2e.peers import LOCAL_MODEL_IMAGE, MATH, USER, url_of
from tests.e2e.resources import cascade, expert, resource

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "unit" / "operator" / "golden" / "vllm-8b.yaml"
QUESTION = "What is the derivative of x squared?"


def test_another_math_expert_answers_the_very_next_run(tenant: Tenant, figures: list[str]) -> None:
    before = started(tenant)
    tenant.apply(cascade(), expert("math", url_of("math-a"), "math"))
    tenant.wait("expertmodel/math", "Ready")
    assert MATH["math-a"] in tenant.ask("cascade", QUESTION)

    began = time.monotonic()
    tenant.apply(expert("math", url_of("math-b"), "math"))
    changed = time.monotonic()
    answer = tenant.ask("cascade", QUESTION)
    figures.append(f"swap of an expert: applied in {changed - began:.2f} s, the next run used it")
    assert MATH["math-b"] in answer
    assert MATH["math-a"] not in answer
    assert started(tenant) == before, "nothing was restarted"


def started(tenant: Tenant) -> set[str]:
    """When each container of the platform was started."""
    pods = tenant.installation.all_pods()
    return {status["containerID"] for pod in pods for status in pod["status"]["containerStatuses"]}


def test_kserve_serves_a_model_that_answers(tenant: Tenant, figures: list[str]) -> None:
    kserve = {
        "image": LOCAL_MODEL_IMAGE,
        "runAsUser": USER,
        "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "1Gi"}},
    }
    spec = {
        "description": "A very small model on processors.",
        "model": "smollm2-135m",
        "kserve": kserve,
        "pricing": {"input": "0.1", "output": "0.2"},
        "maxOutputTokens": 64,
        "contextTokens": 4096,
    }
    began = time.monotonic()
    tenant.apply(resource("ExpertModel", "smollm2", spec), cascade())
    tenant.wait("expertmodel/smollm2", "Ready", seconds=120)
    ready = time.monotonic() - began
    service = tenant.get("inferenceservice", "smollm2")
    status = tenant.get("expertmodel", "smollm2")["status"]
    assert service["metadata"]["ownerReferences"][0]["kind"] == "ExpertModel"
    assert (status["deploymentMode"], status["models"], status["readyReplicas"]) == ("Standard", ["smollm2-135m"], 1)
    with tenant.openai() as client:
        question = "What is the capital of France?"
        answer = client.chat.completions.create(
            model="smollm2", messages=[{"role": "user", "content": question}], temperature=0, max_tokens=40
        )
    assert "Paris" in (answer.choices[0].message.content or "")
    assert answer.usage
    assert answer.usage.completion_tokens > 0
    with tenant.openai() as client:
        managed = client.chat.completions.create(model="cascade", messages=[{"role": "user", "content": question}])
    told = managed.to_dict()["toolorchestra"]
    assert told["tools"] == ["smollm2"], "a manager calls it as an expert"  # type: ignore[index]
    assert managed.choices[0].message.content
    figures.append(f"ExpertModel on KServe: Ready after {ready:.1f} s; {answer.choices[0].message.content!r}")

    tenant.kubectl("delete", "expertmodel", "smollm2", "-n", tenant.name)
    wait_until(
        lambda: not tenant.kubectl("get", "inferenceservices", "-n", tenant.name, "-o", "name").strip(),
        what="the InferenceService goes with its ExpertModel",
    )


def test_kserve_accepts_the_manifest_of_a_gpu_model(tenant: Tenant) -> None:
    """No GPU is here: the server and KServe's webhooks check what the operator would send, and keep nothing."""
    model, service = yaml.safe_load_all(GOLDEN.read_text())
    for body in (model, service):
        body["metadata"]["namespace"] = tenant.name
        dry = ("apply", "--server-side", "--dry-run=server", "-o", "json", "-f", "-")
        accepted = json.loads(tenant.kubectl(*dry, stdin=yaml.safe_dump(body)))
        assert accepted["kind"] == body["kind"]
    assert accepted["spec"]["predictor"]["model"]["resources"]["limits"]["nvidia.com/gpu"] == "2"
