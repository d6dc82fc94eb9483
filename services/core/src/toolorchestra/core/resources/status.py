"""The status of each kind: what the operator writes, what the CRDs describe, and what the data plane may read.

A status informs and never gates: what a newer operator wrote and this version does not know is left out when it is read, so
that a spec stays readable (``Lenient``).
"""

from copy import deepcopy
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidatorFunctionWrapHandler, WrapValidator
from pydantic.alias_generators import to_camel

from toolorchestra.core.resources.meta import JsonSchema, KeyedBy

MAX_OPERATIONS: Final = 256

Word = Annotated[str, Field(max_length=253)]
Amount = Annotated[str, Field(max_length=32)]
Time = Annotated[str, Field(max_length=64, json_schema_extra={"format": "date-time"})]
Count = Annotated[int, Field(ge=0, le=2**53 - 1)]
FunctionNames = Annotated[list[Annotated[str, Field(max_length=64)]], Field(max_length=MAX_OPERATIONS)]


def _readable(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
    """Validate without the parts that break the model: the smallest part that holds an error goes."""
    known = deepcopy(value)
    while known is not None:
        try:
            return handler(known)
        except ValidationError as error:
            known = _without(known, error)
    return None


def _without(value: Any, error: ValidationError) -> Any:
    first = error.errors()[0]
    path = first["loc"][:-1] if first["type"] == "missing" else first["loc"]
    if not path:
        return None
    holder = value
    try:
        for part in path[:-1]:
            holder = holder[part]
        del holder[path[-1]]
    except (LookupError, TypeError):
        return None
    return value


S = TypeVar("S")
Lenient = Annotated[S | None, WrapValidator(_readable)]


class StatusModel(BaseModel):
    """Unknown fields are ignored; names are camelCase in YAML; values do not change once read."""

    model_config = ConfigDict(extra="ignore", frozen=True, alias_generator=to_camel, populate_by_name=True)


class ConditionStatus(StatusModel):
    """One aspect of the state, as in all of Kubernetes."""

    type: str = Field(max_length=63, pattern=r"^[A-Z][A-Za-z]*$", description="What it is about, e.g. `Ready`.")
    status: Literal["True", "False", "Unknown"] = Field(description="`True`, `False` or `Unknown`.")
    reason: str = Field(max_length=128, pattern=r"^[A-Z][A-Za-z0-9]*$", description="Why, in one word that stays the same.")
    message: str = Field(max_length=32_768, description="Why, in words: the field and the fix.")
    last_transition_time: Time = Field(description="When `status` changed last.")
    observed_generation: Count | None = Field(default=None, description="Generation of the object that this is about.")


class Status(StatusModel):
    """What every kind reports."""

    observed_generation: Count | None = Field(default=None, description="Generation of the spec that was seen last.")
    conditions: Annotated[list[ConditionStatus], Field(max_length=16), KeyedBy("type")] = Field(
        default_factory=list, description="The state, aspect by aspect."
    )


class OperationStatus(StatusModel):
    """An operation found at the server of an openapi or mcp tool."""

    name: str = Field(min_length=1, max_length=253, description="Name at the server.")
    description: str = Field(default="", max_length=16_384, description="What the server says of it. Default: empty.")
    parameters: JsonSchema = Field(default_factory=dict, description="JSON Schema of the arguments.")
    schema_hash: Word = Field(description="Hash of the schema; a change must be accepted.")
    side_effects: Word | None = Field(default=None, description="What the server says; the tool's own `sideEffects` wins.")
    details: dict[str, Any] = Field(default_factory=dict, description="What a call needs to know, e.g. method and path.")
    state: Literal["Accepted", "Drifted"] = Field(description="`Accepted`, or `Drifted`: the hash is not the accepted one.")


class ToolStatus(Status):
    """Observed state of a Tool."""

    schema_hash: Word | None = Field(default=None, description="Hash of what the model sees of it: names and parameters.")
    functions: FunctionNames = Field(default_factory=list, description="Names under which it can be called.")
    operations: Annotated[list[OperationStatus], Field(max_length=MAX_OPERATIONS), KeyedBy("name")] = Field(
        default_factory=list, description="What was discovered, for openapi and mcp."
    )
    operation_count: Count | None = Field(default=None, description="Number of operations.")
    latency_ms: Count | None = Field(default=None, description="Time of the last probe, in ms.")
    sandbox: Word | None = Field(default=None, description="Isolation that sandbox workers report.")
    probed_at: Time | None = Field(default=None, description="Time of the last probe.")


class ExpertModelStatus(Status):
    """Observed state of an ExpertModel."""

    url: str | None = Field(default=None, max_length=2048, description="Where it is served, up to and with the version.")
    inference_service: Word | None = Field(default=None, description="Name of the InferenceService.")
    deployment_mode: Word | None = Field(default=None, description="Deployment mode of the InferenceService.")
    replicas: Count | None = Field(default=None, description="Replicas that should run.")
    ready_replicas: Count | None = Field(default=None, description="Replicas that are ready.")
    models: Annotated[list[Word], Field(max_length=64)] = Field(
        default_factory=list, description="Models that the server offers."
    )
    latency_ms: Count | None = Field(default=None, description="Time of the last probe, in ms.")
    functions: FunctionNames = Field(default_factory=list, description="Names under which it can be called.")
    probed_at: Time | None = Field(default=None, description="Time of the last probe.")
    price: Annotated[str, Field(max_length=64)] | None = Field(
        default=None, description="US dollars in/out, e.g. `0.15/0.60 per 1M` tokens."
    )


class CanaryStatus(StatusModel):
    """State of the policy under trial."""

    state: Word = Field(description="State of the trial, e.g. `Running`.")
    weight: int | None = Field(default=None, ge=0, le=100, description="Percent of runs that it gets.")


class OrchestratorStatus(Status):
    """Observed state of an Orchestrator."""

    model_name: Word | None = Field(default=None, description="Name in `/v1/models`.")
    policy: Word | None = Field(default=None, description="Who decides, e.g. `cascade` or `ExpertModel/qwen`.")
    canary: CanaryStatus | None = Field(default=None, description="The policy under trial.")
    functions: Count | None = Field(default=None, description="Number of functions that it may call.")


class WindowStatus(StatusModel):
    """One window of one unit: US dollars, requests or runs at once."""

    unit: Word = Field(description="`usd`, `requests` or `slots`.")
    kind: Word = Field(description="`hour`, `day`, `month` or `total`.")
    start: Time | None = Field(default=None, description="When it began.")
    end: Time | None = Field(default=None, description="When it ends. Default: never.")
    limit: Amount | None = Field(default=None, description="The most. Default: no limit.")
    spent: Amount | None = Field(default=None, description="Spent so far.")
    held: Amount | None = Field(default=None, description="Reserved by what runs now.")
    over: Amount | None = Field(default=None, description="Taken beyond what was reserved.")
    remaining: Amount | None = Field(default=None, description="What is left.")


class BudgetPolicyStatus(Status):
    """Observed state of a BudgetPolicy; amounts without a unit are US dollars of the tightest window."""

    hash: Word | None = Field(default=None, description="Hash of the limits that are enforced.")
    enforced_at: Time | None = Field(default=None, description="Since when these limits are enforced.")
    window: Word | None = Field(default=None, description="The tightest window: `hour`, `day`, `month` or `total`.")
    limit: Amount | None = Field(default=None, description="Its limit.")
    spent: Amount | None = Field(default=None, description="Spent in it.")
    held: Amount | None = Field(default=None, description="Reserved in it.")
    remaining: Amount | None = Field(default=None, description="Left in it.")
    windows: Annotated[list[WindowStatus], Field(max_length=32)] = Field(default_factory=list, description="Every window.")


class JobStatus(Status):
    """Observed state of what runs as a Job."""

    job: Word | None = Field(default=None, description="Name of the Job.")
    workload: Word | None = Field(default=None, description="Name of Kueue's Workload.")
    started_at: Time | None = Field(default=None, description="When it started.")
    completed_at: Time | None = Field(default=None, description="When it ended.")
    exit_code: int | None = Field(default=None, ge=-1, le=255, description="Exit code of the container.")
    metrics: Annotated[dict[str, Annotated[str, Field(max_length=256)]], Field(max_length=64)] = Field(
        default_factory=dict, description="What the job measured, by name."
    )
    location: Annotated[str, Field(max_length=2048)] | None = Field(default=None, description="Where its result is.")
