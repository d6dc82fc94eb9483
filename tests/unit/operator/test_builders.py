"""What is built for a resource, compared with manifests that people can read."""

import sys
from pathlib import Path

import pytest
import yaml

from toolorchestra.core.resources import Evaluation, ExpertModel, parse_documents, parse_resource
from toolorchestra.kit.kubernetes import KubernetesObject
from toolorchestra.operator.builders.inferenceservice import inference_service
from toolorchestra.operator.builders.job import config_map, job, job_name
from toolorchestra.operator.builders.typed import kserve_models

GOLDEN = Path(__file__).with_name("golden")


def build(document: KubernetesObject) -> list[KubernetesObject]:
    resource = parse_resource(document, source="test")
    if isinstance(resource, ExpertModel):
        return [inference_service(resource)]
    return [config_map(resource), job(resource)]


def evaluation(**spec: object) -> Evaluation:
    metadata = {"name": "nightly", "namespace": "team-a"}
    body = {"apiVersion": "toolorchestra.dev/v1alpha1", "kind": "Evaluation", "metadata": metadata}
    resource = parse_resource({**body, "spec": {"image": "evaluate:1", **spec}}, source="test")
    assert isinstance(resource, Evaluation)
    return resource


@pytest.mark.parametrize("name", ["vllm-8b", "own-runtime", "own-container", "job-on-gpus", "job-plain"])
def test_builds_what_the_manifest_shows(name: str):
    resource, *expected = parse_documents((GOLDEN / f"{name}.yaml").read_text(), source=name)

    assert yaml.safe_dump_all(build(resource)) == yaml.safe_dump_all(expected)


def test_a_field_left_out_later_changes_the_inference_service():
    document = parse_documents((GOLDEN / "own-runtime.yaml").read_text(), source="test")[0]
    [before] = build(document)
    [with_args] = build({**document, "spec": {**document["spec"], "kserve": {**document["spec"]["kserve"], "args": ["-v"]}}})

    assert before["metadata"]["annotations"] != with_args["metadata"]["annotations"]


def test_only_vllm_and_hugging_face_are_told_the_models_name():
    document = parse_documents((GOLDEN / "own-runtime.yaml").read_text(), source="test")[0]
    kserve = document["spec"]["kserve"]

    def args(model_format: str) -> list[str] | None:
        spec = {**document["spec"], "kserve": {**kserve, "modelFormat": model_format}}
        return build({**document, "spec": spec})[0]["spec"]["predictor"]["model"].get("args")

    assert args("vLLM") == ["--served-model-name=small"]
    assert args("huggingface") == ["--model_name=small"]
    assert args("gguf") is None


def test_job_names_are_told_by_kind_and_fit_into_a_label():
    longest = "a" * 60 + "-b1"

    assert job_name("TrainingRun", "run") == "trainingrun-run"
    assert len(job_name("ToolScaleDataset", longest)) <= 63
    assert job_name("ToolScaleDataset", longest) != job_name("ToolScaleDataset", longest[:-1] + "2")


def test_a_job_without_a_queue_is_not_suspended_and_one_with_is():
    assert "suspend" not in job(evaluation())["spec"]
    assert job(evaluation(queue="cpu"))["spec"]["suspend"] is True


@pytest.mark.parametrize(("timeout", "seconds"), [("1ms", 1), ("1500ms", 2), ("2h", 7200)])
def test_a_timeout_is_whole_seconds_never_none(timeout: str, seconds: int):
    assert job(evaluation(timeout=timeout))["spec"]["activeDeadlineSeconds"] == seconds


def test_how_long_it_may_save_is_whole_seconds():
    assert job(evaluation(grace="1500ms"))["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 2


def test_a_variable_of_the_users_own_comes_before_ours():
    container = job(evaluation(env=[{"name": "HOME", "value": "/data"}]))["spec"]["template"]["spec"]["containers"][0]
    assert [one["value"] for one in container["env"] if one["name"] == "HOME"] == ["/data"]


def test_a_job_runs_as_the_user_that_is_set():
    assert job(evaluation(runAsUser=1000))["spec"]["template"]["spec"]["securityContext"]["runAsUser"] == 1000


def test_kserves_models_come_without_its_model_server():
    assert kserve_models().V1beta1InferenceService
    assert "kserve.model_server" not in sys.modules
