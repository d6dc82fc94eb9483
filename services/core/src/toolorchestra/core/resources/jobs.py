"""The three kinds that run a Job: ToolScaleDataset, TrainingRun, Evaluation. Minimal: what to run and with what."""

from typing import Any, Literal

from pydantic import Field

from toolorchestra.core.durations import Duration
from toolorchestra.core.resources.meta import Metadata, Model, Name, Text
from toolorchestra.core.resources.pods import PodSettings
from toolorchestra.core.resources.status import JobStatus, Lenient


class JobSpec(PodSettings):
    """A container that runs to completion. Only `ttl` can be changed once it exists."""

    CHANGEABLE = ("ttl",)

    image: str = Field(min_length=1, max_length=512, description="Container image.")
    command: list[Text] = Field(default_factory=list, max_length=64, description="Command. Default: the image's.")
    args: list[Text] = Field(default_factory=list, max_length=64, description="Arguments. Default: the image's.")
    config: dict[str, Any] = Field(default_factory=dict, description="Configuration of the job, checked by the job.")
    claim: Name | None = Field(
        default=None, description="PersistentVolumeClaim of this namespace, mounted at /data. Default: none."
    )
    queue: Name | None = Field(default=None, description="Kueue LocalQueue. Default: the Job starts at once.")
    backoff_limit: int = Field(default=0, ge=0, le=100, description="Repeats after a failure. Default: 0.")
    timeout: Duration | None = Field(default=None, description="Longest time that it may run. Default: no limit.")
    grace: Duration = Field(
        default="30s", description="How long it may go on once it is told to stop, to save what it has. Default: 30s."
    )
    ttl: Duration | None = Field(
        default=None, description="How long the Job and its pods are kept after the end. Default: as long as this object."
    )


class TrainingSpec(JobSpec):
    """A training: what it runs, and the dataset that must be there first."""

    dataset: Name | None = Field(
        default=None,
        description="ToolScaleDataset of this namespace: waited for, and mounted read-only at /dataset. Default: none.",
    )


class ToolScaleDataset(Model):
    """A set of worlds and tasks to synthesise."""

    api_version: Literal["toolorchestra.dev/v1alpha1"] = Field(description="API version.")
    kind: Literal["ToolScaleDataset"] = Field(description="Kind.")
    metadata: Metadata = Field(description="Object metadata.")
    spec: JobSpec = Field(description="Desired state.")
    status: Lenient[JobStatus] = Field(default=None, description="Observed state, written by the platform.")


class TrainingRun(Model):
    """A training of a manager."""

    api_version: Literal["toolorchestra.dev/v1alpha1"] = Field(description="API version.")
    kind: Literal["TrainingRun"] = Field(description="Kind.")
    metadata: Metadata = Field(description="Object metadata.")
    spec: TrainingSpec = Field(description="Desired state.")
    status: Lenient[JobStatus] = Field(default=None, description="Observed state, written by the platform.")


class Evaluation(Model):
    """An evaluation of orchestrators and baselines."""

    api_version: Literal["toolorchestra.dev/v1alpha1"] = Field(description="API version.")
    kind: Literal["Evaluation"] = Field(description="Kind.")
    metadata: Metadata = Field(description="Object metadata.")
    spec: JobSpec = Field(description="Desired state.")
    status: Lenient[JobStatus] = Field(default=None, description="Observed state, written by the platform.")
