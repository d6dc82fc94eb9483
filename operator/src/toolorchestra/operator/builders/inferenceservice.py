"""Builds the InferenceService of an ExpertModel whose spec says ``kserve``. Pure."""

from typing import Any, Final

from kubernetes import client

from toolorchestra.core.resources import ExpertModel
from toolorchestra.core.resources.expert import KServe
from toolorchestra.core.resources.meta import GROUP
from toolorchestra.kit.kubernetes import KubernetesObject, ResourceType
from toolorchestra.operator.builders.labels import labels_for
from toolorchestra.operator.builders.pods import environment, pod_security, requirements, tolerations, unprivileged
from toolorchestra.operator.builders.typed import as_json, digest, kserve_models

INFERENCE_SERVICES: Final = ResourceType("serving.kserve.io", "v1beta1", "inferenceservices", "InferenceService")
CONTAINER: Final = "kserve-container"  # KServe looks for the model server under this name
HASH: Final = f"operator.{GROUP}/hash"
SCALE_TARGET: Final = 80  # percent of the request; KServe has no default of its own for memory
_SERVED_NAME_FLAGS: Final = {"vllm": "--served-model-name", "huggingface": "--model_name"}


def inference_service(expert: ExpertModel) -> KubernetesObject:
    """The InferenceService that serves ``expert.spec.kserve``, in Standard mode: a Deployment, no Knative."""
    kserve = expert.spec.kserve
    if kserve is None:
        raise ValueError(f"{expert.metadata.name}: spec.kserve is not set")
    models, meta = kserve_models(), expert.metadata
    labels = labels_for("ExpertModel", meta.name)
    spec = models.V1beta1InferenceServiceSpec(predictor=_predictor(models, expert, kserve, labels))
    # A field that the new spec leaves out can only be told from the old object by a hash of the whole.
    annotations = _annotations(kserve) | {HASH: digest(as_json(spec))}
    service: KubernetesObject = as_json(
        models.V1beta1InferenceService(
            api_version=INFERENCE_SERVICES.api_version,
            kind=INFERENCE_SERVICES.kind,
            metadata=client.V1ObjectMeta(name=meta.name, namespace=meta.namespace, labels=labels, annotations=annotations),
            spec=spec,
        )
    )
    return service


def replicas(kserve: KServe) -> tuple[int, int]:
    """Fewest and most replicas as they are served: KServe's Standard mode does not scale to zero."""
    fewest = max(1, kserve.min_replicas)
    return fewest, max(fewest, kserve.max_replicas)


def _annotations(kserve: KServe) -> dict[str, str]:
    fewest, most = replicas(kserve)
    # Without a class KServe makes an autoscaler even for a fixed number, which then complains about missing metrics.
    scaler = "none" if fewest == most else "hpa"
    return {"serving.kserve.io/deploymentMode": "Standard", "serving.kserve.io/autoscalerClass": scaler}


def _predictor(models: Any, expert: ExpertModel, kserve: KServe, labels: dict[str, str]) -> Any:
    fewest, most = replicas(kserve)
    scales = fewest != most
    own = kserve.image is not None
    return models.V1beta1PredictorSpec(
        min_replicas=fewest,
        max_replicas=most,
        scale_metric=(kserve.scale_metric or "cpu") if scales else None,
        scale_target=(kserve.scale_target or SCALE_TARGET) if scales else None,
        labels=labels,
        service_account_name=kserve.service_account_name,
        automount_service_account_token=None if kserve.service_account_name else False,
        node_selector=kserve.node_selector or None,
        tolerations=tolerations(kserve.tolerations),
        security_context=pod_security(non_root=kserve.run_as_user is not None, user=kserve.run_as_user),
        model=None if own else _model(models, expert, kserve),
        containers=[_container(kserve)] if own else None,
    )


def _model(models: Any, expert: ExpertModel, kserve: KServe) -> Any:
    """The server of a ServingRuntime; its arguments come first, so that ours win."""
    named = _SERVED_NAME_FLAGS.get(kserve.model_format.lower())
    return models.V1beta1ModelSpec(
        model_format=models.V1beta1ModelFormat(name=kserve.model_format),
        runtime=kserve.runtime,
        storage_uri=kserve.storage_uri,
        args=[*([f"{named}={expert.spec.model}"] if named else []), *_arguments(kserve)] or None,
        env=environment(kserve.env) or None,
        resources=requirements(kserve.resources, kserve.gpus),
    )


def _container(kserve: KServe) -> client.V1Container:
    """A server of the user's own; KServe's Service leads to its first port."""
    return client.V1Container(
        name=CONTAINER,
        image=kserve.image,
        command=kserve.command or None,
        args=_arguments(kserve) or None,
        env=environment(kserve.env) or None,
        ports=[client.V1ContainerPort(container_port=kserve.port, protocol="TCP")],
        resources=requirements(kserve.resources, kserve.gpus),
        security_context=unprivileged(read_only_root=False),
    )


def _arguments(kserve: KServe) -> list[str]:
    """The typed flags of vLLM, then the arguments as written."""
    flags: list[str] = []
    if kserve.tool_call_parser:
        flags += ["--enable-auto-tool-choice", f"--tool-call-parser={kserve.tool_call_parser}"]
    if kserve.reasoning_parser:
        flags.append(f"--reasoning-parser={kserve.reasoning_parser}")
    if kserve.max_model_len:
        flags.append(f"--max-model-len={kserve.max_model_len}")
    if kserve.tensor_parallel_size:
        flags.append(f"--tensor-parallel-size={kserve.tensor_parallel_size}")
    return [*flags, *kserve.args]
