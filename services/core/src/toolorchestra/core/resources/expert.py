"""ExpertModel: a model, callable as a tool, as an orchestrator, or directly by its name."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from toolorchestra.core.durations import Duration
from toolorchestra.core.resources.meta import (
    AllowedNamespaces,
    Capability,
    KeyedBy,
    Metadata,
    Model,
    Name,
    NamedRef,
    Rule,
    SecretKeyRef,
    Text,
    Usd,
)
from toolorchestra.core.resources.pods import PodSettings
from toolorchestra.core.resources.status import ExpertModelStatus, Lenient


class Endpoint(Model):
    """Any OpenAI-compatible server."""

    base_url: str = Field(
        min_length=8, max_length=2048, description="Base URL up to and with the version, e.g. `https://host/v1`."
    )
    api_key_secret_ref: SecretKeyRef | None = Field(
        default=None, description="Secret with the API key. Default: no key is sent."
    )


class KServe(PodSettings):
    """An InferenceService that the operator builds (Standard mode): weights in a runtime, or a container of your own."""

    REPLICAS: ClassVar = "minReplicas must not be more than maxReplicas: lower minReplicas, or raise maxReplicas"
    ONE_OF = ("storage_uri", "image")
    NEEDS = (
        ("runtime", "storage_uri"),
        ("tool_call_parser", "storage_uri"),
        ("reasoning_parser", "storage_uri"),
        ("max_model_len", "storage_uri"),
        ("tensor_parallel_size", "storage_uri"),
        ("command", "image"),
        ("scale_target", "scale_metric"),
    )
    RULES = (*PodSettings.RULES, Rule("self.minReplicas <= self.maxReplicas", REPLICAS, at=".minReplicas"))

    storage_uri: str | None = Field(
        default=None, min_length=1, max_length=2048, description="Where the weights are, e.g. `hf://org/model`."
    )
    runtime: Name | None = Field(default=None, description="ServingRuntime. Default: KServe chooses by model format.")
    model_format: str = Field(default="vLLM", max_length=63, description="Format of the weights. Default: vLLM.")
    tool_call_parser: str | None = Field(
        default=None, max_length=63, description="vLLM's parser of tool calls, e.g. `hermes`. Default: tool calls are off."
    )
    reasoning_parser: str | None = Field(default=None, max_length=63, description="vLLM's parser of reasoning. Default: none.")
    max_model_len: int | None = Field(
        default=None, ge=256, le=10_000_000, description="Context that vLLM keeps, in tokens. Default: the model's."
    )
    tensor_parallel_size: int | None = Field(
        default=None, ge=1, le=64, description="GPUs of one replica that share the model. Default: 1."
    )
    image: str | None = Field(
        default=None,
        min_length=1,
        max_length=512,
        description="Container that speaks the OpenAI protocol, instead of `storageUri`.",
    )
    command: list[Text] | None = Field(
        default=None, min_length=1, max_length=64, description="Command of `image`. Default: the image's."
    )
    args: list[Text] = Field(default_factory=list, max_length=64, description="More arguments for the server.")
    port: int = Field(default=8_080, ge=1, le=65_535, description="Port that the server listens on. Default: 8080.")
    min_replicas: int = Field(default=1, ge=0, le=1000, description="Fewest replicas. Default: 1.")
    max_replicas: int = Field(default=1, ge=1, le=1000, description="Most replicas. Default: 1.")
    scale_metric: Literal["cpu", "memory", "concurrency", "rps"] | None = Field(
        default=None, description="What replicas are added by. Default: cpu."
    )
    scale_target: int | None = Field(
        default=None,
        ge=1,
        le=1_000_000,
        description="Value to keep per replica: percent of the request for cpu and memory, else a number. Default: KServe's.",
    )

    @model_validator(mode="after")
    def _replicas(self) -> Self:
        if self.min_replicas > self.max_replicas:
            raise ValueError(self.REPLICAS)
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

    ONE_OF = ("endpoint", "kserve", "inference_service_ref")

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
    offers: Annotated[list[Offer], KeyedBy("name")] = Field(
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


class ExpertModel(Model):
    """A model callable as a tool."""

    api_version: Literal["toolorchestra.dev/v1alpha1"] = Field(description="API version.")
    kind: Literal["ExpertModel"] = Field(description="Kind.")
    metadata: Metadata = Field(description="Object metadata.")
    spec: ExpertModelSpec = Field(description="Desired state.")
    status: Lenient[ExpertModelStatus] = Field(default=None, description="Observed state, written by the platform.")
