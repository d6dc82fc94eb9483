"""The ToolScaleDataset that a training waits for: whether it is there, and where on which claim its worlds lie. Pure."""

from typing import Any, Final

from toolorchestra.core.resources import TrainingRun
from toolorchestra.kit.kubernetes import KubernetesObject
from toolorchestra.operator.builders.job import DATA_FOLDER, Dataset, JobResource
from toolorchestra.operator.plan import Condition, State
from toolorchestra.operator.services.kinds import TYPES, Reference
from toolorchestra.operator.services.pods import condition

DATASETS: Final = TYPES["ToolScaleDataset"]


def dataset_named(resource: JobResource) -> Reference | None:
    """The dataset that a resource needs; None for none."""
    if not isinstance(resource, TrainingRun) or resource.spec.dataset is None:
        return None
    return Reference(DATASETS.kind, resource.metadata.namespace, resource.spec.dataset)


def missing(needed: Reference, found: KubernetesObject | None) -> Condition | None:
    """Why it cannot be trained on, as the condition Accepted; None once it can."""
    if found is None:
        return _accepted(
            State.FALSE, "DatasetNotFound", f"create the ToolScaleDataset {needed.name!r}, or correct spec.dataset"
        )
    complete = condition(found, "Complete")
    if complete.get("status") == "False":
        text = f"spec.dataset: {needed.name!r} failed: {complete.get('message', '')}"
        return _accepted(State.FALSE, "DatasetFailed", text)
    if complete.get("status") != "True":
        return _accepted(State.UNKNOWN, "DatasetNotComplete", f"spec.dataset: {needed.name!r} is not complete yet")
    if not found["spec"].get("claim"):
        text = f"spec.dataset: {needed.name!r} was built without spec.claim, so nothing of it was kept"
        return _accepted(State.FALSE, "DatasetNotKept", text)
    return None


def dataset_at(found: KubernetesObject) -> Dataset:
    """Where the worlds of a complete dataset lie."""
    status: dict[str, Any] = found["status"]
    return Dataset(found["spec"]["claim"], str(status.get("location", "")).removeprefix(DATA_FOLDER).strip("/"))


def _accepted(state: State, reason: str, text: str) -> Condition:
    return Condition("Accepted", state, reason, text)
