"""Tool: anything the orchestrator may call that is not a model."""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from toolorchestra.core.durations import Duration
from toolorchestra.core.resources.meta import (
    AllowedNamespaces,
    Capability,
    Header,
    JsonSchema,
    Metadata,
    Model,
    NamePattern,
    Rule,
    SecretKeyRef,
    Text,
    Usd,
)
from toolorchestra.core.resources.status import Lenient, ToolStatus
from toolorchestra.core.schemas import schema_problem


class HttpBackend(Model):
    """One HTTP request. `{name}` in url, query, headers and body stands for an argument of the call."""

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = Field(default="GET", description="HTTP method. Default: GET.")
    url: str = Field(min_length=8, max_length=2048, description="http(s) URL; `{name}` inserts an argument, URL-encoded.")
    query: dict[str, Text] | None = Field(
        default=None, max_length=64, description="Query parameters. Default: all arguments not in the URL, for GET and DELETE."
    )
    headers: list[Header] = Field(default_factory=list, max_length=32, description="Headers to send.")
    body: Any = Field(
        default=None,
        description='JSON body; a string that is exactly "{name}" keeps the argument\'s type. '
        "Default: all arguments not in the URL, for POST, PUT and PATCH.",
    )
    result: str | None = Field(
        default=None,
        max_length=256,
        description="Dotted path into a JSON answer, e.g. `data.items`. Default: all of it.",
    )


class OpenApiBackend(Model):
    """Operations of an OpenAPI 3 document; each becomes a function `tool__operationId`."""

    ONE_OF = ("url", "document")

    url: str | None = Field(default=None, max_length=2048, description="Where the document is (JSON or YAML).")
    document: JsonSchema | None = Field(default=None, description="The document itself, instead of `url`.")
    base_url: str | None = Field(default=None, max_length=2048, description="Server. Default: the document's first server.")
    operations: list[NamePattern] = Field(
        default_factory=list, max_length=128, description="operationIds to offer. Default: all read-only ones."
    )
    headers: list[Header] = Field(default_factory=list, max_length=32, description="Headers to send.")


class McpStdio(Model):
    """A local MCP server process. Exists only for manifests read from files."""

    command: str = Field(min_length=1, max_length=1024, description="Program to start.")
    args: list[Text] = Field(default_factory=list, max_length=64, description="Its arguments.")
    env: dict[str, Text] = Field(default_factory=dict, max_length=64, description="Environment variables, beside PATH.")


class McpBackend(Model):
    """A Model Context Protocol server; each of its tools becomes a function `tool__name`."""

    ONE_OF = ("url", "stdio")

    url: str | None = Field(default=None, max_length=2048, description="Streamable HTTP endpoint.")
    stdio: McpStdio | None = Field(default=None, description="Local process instead of `url` (files only).")
    headers: list[Header] = Field(default_factory=list, max_length=32, description="Headers to send.")
    tools: list[NamePattern] = Field(default_factory=list, max_length=256, description="Names to offer. Default: all.")
    accepted_hashes: dict[str, Annotated[str, Field(max_length=128)]] = Field(
        default_factory=dict,
        max_length=256,
        description="Schema hash accepted per tool name. A tool whose hash differs stays uncallable (`Drifted`). "
        "Default: the hash seen first is kept.",
    )


class PluginBackend(Model):
    """An installed Python plug-in, found by its entry point in the group `toolorchestra.tools`."""

    name: str = Field(min_length=1, max_length=63, pattern=r"^[a-z0-9_]+$", description="Name of the entry point.")
    config: dict[str, Any] = Field(default_factory=dict, description="Settings of the plug-in.")
    secrets: dict[str, SecretKeyRef] = Field(
        default_factory=dict, max_length=16, description="Secrets handed to the plug-in at call time, by its own names."
    )


class ToolPricing(Model):
    """What a call costs. Without it the tool is free."""

    per_call: Usd = Field(default="0", description='US dollars per call. Default: "0".')
    per_second: Usd = Field(default="0", description='US dollars per second of running time. Default: "0".')


class ToolSpec(Model):
    """Desired state of a Tool."""

    NO_SANDBOX: ClassVar = "minimumSandbox goes with `execution: sandbox` only: change execution, or remove minimumSandbox"
    ONE_OF = ("http", "openapi", "mcp", "plugin")
    RULES = (Rule("!has(self.minimumSandbox) || self.execution == 'sandbox'", NO_SANDBOX, at=".minimumSandbox"),)

    description: str = Field(
        min_length=1, max_length=4096, description="What it does and when to use it; the model reads this."
    )
    capabilities: list[Capability] = Field(
        default_factory=list,
        max_length=16,
        description="What it is good for, e.g. `arithmetic`, `search`, `code`; baselines choose by it. Default: none.",
    )
    parameters: JsonSchema = Field(
        default_factory=lambda: {"type": "object", "properties": {}, "additionalProperties": False},
        description="JSON Schema (2020-12) of the arguments. Discovered for openapi and mcp. Default: no arguments.",
    )
    http: HttpBackend | None = Field(default=None, description="Backend: one HTTP request.")
    openapi: OpenApiBackend | None = Field(default=None, description="Backend: an OpenAPI document.")
    mcp: McpBackend | None = Field(default=None, description="Backend: an MCP server.")
    plugin: PluginBackend | None = Field(default=None, description="Backend: an installed plug-in.")
    execution: Literal["inline", "queued", "sandbox"] = Field(
        default="inline",
        description="Where it runs: `inline` in the orchestrator (default), `queued` on a worker, "
        "`sandbox` on a sandbox worker.",
    )
    side_effects: Literal["readOnly", "idempotent", "destructive"] = Field(
        default="destructive",
        description="`readOnly` may run in parallel, `idempotent` may be repeated, `destructive` (default) never is.",
    )
    pricing: ToolPricing = Field(default_factory=ToolPricing, description="Price. Default: free.")
    timeout: Duration = Field(default="30s", description="Longest time of one call. Default: 30s.")
    retries: int = Field(default=0, ge=0, le=5, description="Repeats after a failed call, unless destructive. Default: 0.")
    concurrency: int = Field(default=16, ge=1, le=1024, description="Calls at once per process. Default: 16.")
    typical_latency: Duration | None = Field(default=None, description="Shown to the model. Default: not shown.")
    max_result_bytes: int = Field(
        default=65_536, ge=256, le=4_194_304, description="Longest answer kept, in bytes; more is cut. Default: 65536."
    )
    minimum_sandbox: Literal["process", "pod", "gvisor", "kata"] | None = Field(
        default=None, description="Weakest isolation accepted, for `execution: sandbox`. Default: any."
    )
    location: Literal["inside", "outside"] | None = Field(
        default=None,
        description="Whether what it is given stays `inside` the cluster. Default: by its address; plug-ins are inside.",
    )
    allowed_namespaces: AllowedNamespaces = Field(default_factory=AllowedNamespaces, description="Who else may use it.")

    @field_validator("parameters")
    @classmethod
    def _sound_schema(cls, schema: JsonSchema) -> JsonSchema:
        problem = schema_problem(schema)
        if problem is not None:
            raise ValueError(f"not a usable JSON Schema: {problem}")
        return schema

    @model_validator(mode="after")
    def _sandboxed(self) -> Self:
        if self.minimum_sandbox is not None and self.execution != "sandbox":
            raise ValueError(self.NO_SANDBOX)
        return self


class Tool(Model):
    """Something the orchestrator may call."""

    api_version: Literal["toolorchestra.dev/v1alpha1"] = Field(description="API version.")
    kind: Literal["Tool"] = Field(description="Kind.")
    metadata: Metadata = Field(description="Object metadata.")
    spec: ToolSpec = Field(description="Desired state.")
    status: Lenient[ToolStatus] = Field(default=None, description="Observed state, written by the platform.")
