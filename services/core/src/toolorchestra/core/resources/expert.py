"""ExpertModel: a model, callable as a tool, as an orchestrator, or directly by its name."""

from typing import Any, Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from toolorchestra.core.durations import Duration
from toolorchestra.core.resources.meta import (
    AllowedNamespaces,
    Capability,
    Metadata,
    Model,
    Name,
    NamedRef,
    SecretKeyRef,
    Usd,
)

SERVINGS: Final = ("endpoint", "kserve", "inference_service_ref")


class Endpoint(Model):
    """Any OpenAI-compatible server."""

    base_url: str = Field(
        min_length=8, max_length=2048, description="Base URL up to and with the version, e.g. `https://host/v1`."
    )
    api_key_secret_ref: SecretKeyRef | None = Field(
        default=None, description="Secret with the API key. Default: no key is sent."
    )


class KServe(Model):
    """An InferenceService that the operator builds (Standard mode)."""

    runtime: Name | None = Field(default=None, description="ServingRuntime. Default: KServe chooses by model format.")
    model_format: str = Field(default="vLLM", max_length=63, description="Model format. Default: vLLM.")
    storage_uri: str = Field(min_length=1, max_length=2048, description="Where the weights are, e.g. `hf://org/model`.")
    tool_call_parser: str | None = Field(default=None, max_length=63, description="vLLM's parser of tool calls.")
    reasoning_parser: str | None = Field(default=None, max_length=63, description="vLLM's parser of reasoning.")
    args: list[str] = Field(default_factory=list, max_length=64, description="More arguments for the server.")
    resources: dict[str, Any] = Field(default_factory=dict, description="Kubernetes resource requests and limits.")
    min_replicas: int = Field(default=1, ge=0, le=1000, description="Fewest replicas. Default: 1.")
    max_replicas: int = Field(default=1, ge=1, le=1000, description="Most replicas. Default: 1.")
    service_account_name: str | None = Field(default=None, max_length=253, description="ServiceAccount of the pods.")

    @model_validator(mode="after")
    def _replicas(self) -> Self:
        if self.min_replicas > self.max_replicas:
            raise ValueError("minReplicas must not be more than maxReplicas")
        return self


class ModelPricing(Model):
    """US dollars per million tokens and per second. Without it the public list price of `model` is taken."""

    input: Usd = Field(description="US dollars per million input tokens.")
    output: Usd = Field(description="US dollars per million output tokens.")
    cached_input: Usd | None = Field(default=None, description="Per million cached input tokens. Default: as `input`.")
    per_second: Usd = Field(default="0", description='US dollars per second of generation. Default: "0".')


class Offer(Model):
    """One way in which the model is offered as a tool."""

    name: str = Field(
        min_length=1,
        max_length=32,
        pattern=r"^[A-Za-z0-9_-]+$",
        description="Operation, e.g. `answer`, `code`, `math`.",
    )
    description: str | None = Field(
        default=None, max_length=4096, description="What this offer is for; the orchestrator reads this. Default: the model's."
    )
    instructions: str | None = Field(default=None, max_length=8192, description="System prompt of this operation.")
    capabilities: list[Capability] = Field(
        default_factory=list, max_length=16, description="What this offer is good at. Default: the model's."
    )
    max_output_tokens: int | None = Field(
        default=None, ge=1, le=131_072, description="Most output tokens of one call. Default: the model's."
    )


class ExpertModelSpec(Model):
    """Desired state of an ExpertModel."""

    description: str = Field(
        min_length=1, max_length=4096, description="What it is good and bad at; the orchestrator reads this."
    )
    capabilities: list[Capability] = Field(default_factory=list, max_length=16, description="E.g. `general`, `math`, `code`.")
    model: str = Field(min_length=1, max_length=253, description="Name of the model at its server.")
    endpoint: Endpoint | None = Field(default=None, description="Serving: an OpenAI-compatible URL.")
    kserve: KServe | None = Field(default=None, description="Serving: an InferenceService built for this model.")
    inference_service_ref: NamedRef | None = Field(default=None, description="Serving: an InferenceService that exists.")
    pricing: ModelPricing | None = Field(
        default=None, description="Price. Default: the public list price of `model`, if known."
    )
    strength: int = Field(
        default=50, ge=0, le=100, description="Rough ability, 0 to 100; baselines order experts by it. Default: 50."
    )
    context_tokens: int = Field(default=8_192, ge=256, le=10_000_000, description="Context limit in tokens. Default: 8192.")
    max_output_tokens: int = Field(
        default=1_024, ge=1, le=131_072, description="Most output tokens of one call. Default: 1024."
    )
    timeout: Duration = Field(default="120s", description="Longest time of one call. Default: 120s.")
    typical_latency: Duration | None = Field(default=None, description="Shown to the orchestrator. Default: not shown.")
    temperature: float | None = Field(default=None, ge=0, le=2, description="Sampling temperature when called as a tool.")
    simulated: bool = Field(default=False, description="Marks a model that only plays an expert; shown with every result.")
    offers: list[Offer] = Field(
        default_factory=lambda: [Offer(name="answer")],
        min_length=1,
        max_length=8,
        description="How it is offered as tools. Default: `answer`.",
    )
    concurrency: int = Field(default=16, ge=1, le=1024, description="Calls at once per process. Default: 16.")
    location: Literal["inside", "outside"] | None = Field(
        default=None,
        description="Whether what it is given stays `inside` the cluster. Default: by its address; plug-ins are inside.",
    )
    allowed_namespaces: AllowedNamespaces = Field(default_factory=AllowedNamespaces, description="Who else may use it.")

    @model_validator(mode="after")
    def _one_serving(self) -> Self:
        named = [name for name in SERVINGS if getattr(self, name) is not None]
        if len(named) != 1:
            found = ", ".join(named) or "none"
            raise ValueError(f"exactly one of endpoint, kserve, inferenceServiceRef must be set (found: {found})")
        return self

    @field_validator("offers")
    @classmethod
    def _own_names(cls, offers: list[Offer]) -> list[Offer]:
        names = [offer.name for offer in offers]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"each offer needs a name of its own (twice: {', '.join(twice)})")
        return offers


class ExpertModel(Model):
    """A model callable as a tool."""

    api_version: Literal["toolorchestra.dev/v1alpha1"] = Field(description="API version.")
    kind: Literal["ExpertModel"] = Field(description="Kind.")
    metadata: Metadata = Field(description="Object metadata.")
    spec: ExpertModelSpec = Field(description="Desired state.")
    status: dict[str, Any] | None = Field(default=None, description="Observed state, written by the platform.")
