"""Orchestrator: a managing policy with its limits, exposed as one model name."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from toolorchestra.core.durations import Duration
from toolorchestra.core.resources.meta import Metadata, Model, NamedRef, NamePattern, Rule, Usd
from toolorchestra.core.resources.status import Lenient, OrchestratorStatus

Baseline = Literal["cascade", "cheapest", "strongest", "random"]


class PolicySpec(Model):
    """Who decides: an ExpertModel, or a simple baseline."""

    FORMAT: ClassVar = "`format: signatures` goes with expertModelRef only: set expertModelRef, or remove format"
    ONE_OF = ("baseline", "expert_model_ref")
    NEEDS = (("adapter", "expert_model_ref"),)
    RULES = (Rule("self.format == 'chat' || has(self.expertModelRef)", FORMAT, at=".format"),)

    baseline: Baseline | None = Field(default=None, description="A fixed rule instead of a model.")
    expert_model_ref: NamedRef | None = Field(default=None, description="The model that manages.")
    format: Literal["chat", "signatures"] = Field(
        default="chat",
        description="`chat` (default): OpenAI chat with functions; `signatures`: the format of managers trained here.",
    )
    adapter: str | None = Field(default=None, max_length=253, description="Name of the LoRA adapter to ask for.")

    @model_validator(mode="after")
    def _of_a_model(self) -> Self:
        if self.format != "chat" and self.expert_model_ref is None:
            raise ValueError(self.FORMAT)
        return self


class RunLimits(Model):
    """Limits of one run."""

    max_turns: int = Field(default=50, ge=1, le=50, description="Most turns. Default: 50.")
    max_output_tokens: int = Field(default=1_024, ge=16, le=131_072, description="Most output tokens per turn. Default: 1024.")
    max_total_tokens: int | None = Field(
        default=None, ge=256, le=1_000_000_000, description="Most tokens of a run, in and out. Default: no limit."
    )
    timeout: Duration = Field(default="300s", description="Longest time of a run. Default: 300s.")
    max_cost: Usd | None = Field(default=None, description="Most US dollars of a run. Default: the tenant's cap per run.")


class ToolSelector(Model):
    """Which functions stand in the prompt."""

    include: list[NamePattern] = Field(
        default_factory=lambda: ["*"], max_length=256, description="Name patterns. Default: all."
    )
    exclude: list[NamePattern] = Field(default_factory=list, max_length=256, description="Name patterns. Default: none.")
    max_tools: int = Field(default=128, ge=1, le=128, description="Longest list; the best by wording are kept. Default: 128.")


class Weights(Model):
    """What the user wants weighed, each 0 to 1; tools −1 to 1."""

    accuracy: float = Field(default=1.0, ge=0, le=1, description="Being right. Default: 1.")
    cost: float = Field(default=0.0, ge=0, le=1, description="Being cheap. Default: 0.")
    latency: float = Field(default=0.0, ge=0, le=1, description="Being fast. Default: 0.")
    tools: dict[str, Annotated[float, Field(ge=-1, le=1)]] = Field(
        default_factory=dict, max_length=64, description="Per tool, −1 (avoid) to 1 (use)."
    )


class PreferenceSpec(Model):
    """A preference: words for the model, weights for scoring, hard rules enforced outside the model."""

    words: str | None = Field(default=None, max_length=1_024, description="In the user's words; shown to the model.")
    weights: Weights = Field(default_factory=Weights, description="For scoring and for baselines.")
    allow: list[NamePattern] = Field(
        default_factory=list, max_length=256, description="Only these functions (patterns). Default: all."
    )
    deny: list[NamePattern] = Field(default_factory=list, max_length=256, description="Never these functions (patterns).")
    max_cost: Usd | None = Field(default=None, description="Most US dollars of a run.")
    max_latency: Duration | None = Field(default=None, description="Longest time of a run.")
    inside_only: bool = Field(default=False, description="Only tools and models inside the cluster. Default: false.")


class Canary(Model):
    """A second policy for a share of the runs."""

    policy: PolicySpec = Field(description="The policy under trial.")
    weight: int = Field(ge=0, le=100, description="Percent of runs.")


class OrchestratorSpec(Model):
    """Desired state of an Orchestrator."""

    description: str = Field(default="", max_length=4096, description="Shown in the list of models. Default: empty.")
    policy: PolicySpec = Field(description="Who decides.")
    limits: RunLimits = Field(default_factory=RunLimits, description="Limits of one run.")
    tools: ToolSelector = Field(default_factory=ToolSelector, description="Which functions it may use.")
    default_preference: PreferenceSpec = Field(default_factory=PreferenceSpec, description="Unless the request has its own.")
    instructions: str = Field(default="", max_length=16_384, description="Added to the system prompt. Default: empty.")
    canary: Canary | None = Field(default=None, description="A second policy for a share of the runs.")
    explore: float = Field(default=0.0, ge=0, le=0.05, description="Share of first decisions drawn at random. Default: 0.")
    on_disconnect: Literal["cancel", "continue"] = Field(
        default="cancel",
        description="When the client goes away: `cancel` (default) unless it is back in 5 s, or `continue`.",
    )


class Orchestrator(Model):
    """A managing policy, offered as one model name."""

    api_version: Literal["toolorchestra.dev/v1alpha1"] = Field(description="API version.")
    kind: Literal["Orchestrator"] = Field(description="Kind.")
    metadata: Metadata = Field(description="Object metadata.")
    spec: OrchestratorSpec = Field(description="Desired state.")
    status: Lenient[OrchestratorStatus] = Field(default=None, description="Observed state, written by the platform.")
