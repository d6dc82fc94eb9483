"""The three kinds that run a Job: ToolScaleDataset, TrainingRun, Evaluation. Minimal: what to run and with what."""

from typing import Any, Literal

from pydantic import Field

from toolorchestra.core.resources.meta import Metadata, Model, Name


class JobSpec(Model):
    """A container that runs to completion."""

    image: str = Field(min_length=1, max_length=512, description="Container image.")
    config: dict[str, Any] = Field(default_factory=dict, description="Configuration of the job, checked by the job.")
    resources: dict[str, Any] = Field(default_factory=dict, description="Kubernetes resource requests and limits.")
    queue: Name | None = Field(default=None, description="Kueue LocalQueue. Default: the Job starts at once.")


class ToolScaleDataset(Model):
    """A set of worlds and tasks to synthesise."""

    api_version: Literal["toolorchestra.dev/v1alpha1"] = Field(description="API version.")
    kind: Literal["ToolScaleDataset"] = Field(description="Kind.")
    metadata: Metadata = Field(description="Object metadata.")
    spec: JobSpec = Field(description="Desired state.")
    status: dict[str, Any] | None = Field(default=None, description="Observed state, written by the platform.")


class TrainingRun(Model):
    """A training of a manager."""

    api_version: Literal["toolorchestra.dev/v1alpha1"] = Field(description="API version.")
    kind: Literal["TrainingRun"] = Field(description="Kind.")
    metadata: Metadata = Field(description="Object metadata.")
    spec: JobSpec = Field(description="Desired state.")
    status: dict[str, Any] | None = Field(default=None, description="Observed state, written by the platform.")


class Evaluation(Model):
    """An evaluation of orchestrators and baselines."""

    api_version: Literal["toolorchestra.dev/v1alpha1"] = Field(description="API version.")
    kind: Literal["Evaluation"] = Field(description="Kind.")
    metadata: Metadata = Field(description="Object metadata.")
    spec: JobSpec = Field(description="Desired state.")
    status: dict[str, Any] | None = Field(default=None, description="Observed state, written by the platform.")
