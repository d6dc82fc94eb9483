"""The one YAML file of a training run: model, tasks, rollouts, reward, optimiser, checkpoints, gate."""

from pathlib import Path
from typing import Any, Final, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from toolorchestra.core.resources.meta import Usd
from toolorchestra.core.rewards.forms import Form
from toolorchestra.core.rewards.groups import EXPLORED_SHARE
from toolorchestra.training.grpo.errors import InvalidRunError

MOST_BYTES: Final = 1_000_000


class Settings(BaseModel):
    """Base: unknown fields are refused, nothing changes after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class LoraSettings(Settings):
    """A low-rank adapter beside every linear layer but the last; the model's own weights stay as they are."""

    rank: int = Field(default=16, ge=1, le=512)
    alpha: int = Field(default=32, ge=1, description="What the adapter adds counts alpha / rank times.")


class ModelSettings(Settings):
    """The model to start from."""

    path: str = Field(description="Folder of a Hugging Face checkpoint with its tokenizer.")
    dtype: Literal["float32", "bfloat16"] = Field(default="float32", description="What weights are kept and trained in.")
    lora: LoraSettings | None = Field(default=None, description="None: all weights are trained.")


class RouteTasks(Settings):
    """Route tasks: one question, five tools under drawn names and prices."""

    kind: Literal["routes"]
    count: int = Field(default=20_000, ge=1, description="Tasks.")
    seed: int = Field(default=10, description="Of all draws.")
    flipped: float = Field(default=0.3, ge=0, le=1, description="Share of tasks whose prices come from the whole ladder.")
    lone_expert: bool = Field(default=False, description="Whether each list has exactly one expert of rare things.")


class LocalBackend(Settings):
    """Episodes are sampled in this process."""

    kind: Literal["local"] = "local"


class VllmBackend(Settings):
    """Episodes are sampled by a vLLM server that serves ``model.path``, and gets the adapter of each step."""

    kind: Literal["vllm"]
    url: str = Field(pattern=r"^https?://", description="Of the server, without /v1.")
    model: str = Field(description="The name under which it serves model.path.")
    adapters: str = Field(description="Folder that this process and the server see under the same path, for this run alone.")
    timeout_s: float = Field(default=600, gt=0, description="Longest wait for one answer.")
    tolerance: float = Field(
        default=1e-3, gt=0, description="Most that a log-probability may differ between server and trainer, in nats."
    )


class WorldTasks(Settings):
    """Tasks of built worlds, with simulated experts, their prices and the tools on offer drawn anew for each."""

    kind: Literal["worlds"]
    folders: tuple[str, ...] = Field(min_length=1, description="Folders of worlds, or of sets of worlds.")
    split: tuple[str, ...] = Field(default=("train",), min_length=1, description="Only tasks with one of these tags.")
    held_out: tuple[str, ...] = Field(
        default=("heldout-intent", "heldout-template", "heldout-domain", "test"),
        min_length=1,
        description="The gate's tasks have one of these tags, and none of `split`.",
    )
    draws: int = Field(default=4, ge=1, description="How often each task is staged, every time with other experts.")
    seed: int = Field(default=10, description="Of all draws.")
    repriced: float = Field(default=0.3, ge=0, le=1, description="Share of tasks whose experts cost an eighth to eight times.")
    renamed: float = Field(default=0.3, ge=0, le=1, description="Share of tasks whose tools have names that tell nothing.")
    most_tools: int = Field(default=12, ge=4, le=64, description="Functions in a prompt, unless a task needs more.")
    turns: int = Field(default=40, ge=2, le=50, description="Most turns of an episode.")
    output_tokens: int = Field(default=512, ge=16, le=131_072, description="Most tokens of a turn.")
    timeout_s: int = Field(default=3_600, ge=1, le=86_400, description="Longest time of an episode, on the virtual clock.")
    own_input_usd: Usd = Field(default="0", description="What a million tokens that the manager reads cost, in US dollars.")
    own_output_usd: Usd = Field(default="0", description="The same of tokens that it writes.")
    licences: tuple[str, ...] = Field(default=(), description="Of the worlds; stand in the checkpoint's manifest.")

    @model_validator(mode="after")
    def _apart(self) -> Self:
        """What is trained on is not judged by."""
        if both := set(self.split) & set(self.held_out):
            raise ValueError(f"held_out: {min(both)!r} is in split as well")
        return self


class RolloutSettings(Settings):
    """How episodes are played."""

    backend: LocalBackend | VllmBackend = Field(
        default=LocalBackend(), discriminator="kind", description="Who samples: this process, or a vLLM server."
    )
    group_size: int = Field(default=8, ge=2, le=256, description="Episodes per task.")
    groups_per_step: int = Field(default=12, ge=1, description="Tasks per step and device.")
    temperature: float = Field(default=1.0, gt=0, le=2, description="Of sampling.")
    explored: float = Field(default=EXPLORED_SHARE, ge=0, le=1, description="Share of episodes whose first tool is drawn.")
    own_token_ms: int = Field(default=20, ge=0, description="What a token of the policy takes on the virtual clock, in ms.")


class OptimiserSettings(Settings):
    """How weights move."""

    learning_rate: float = Field(default=1e-3, gt=0, le=1)
    schedule: Literal["constant_with_warmup", "linear", "cosine"] = "constant_with_warmup"
    warmup_steps: int = Field(default=3, ge=0)
    steps: int = Field(default=60, ge=1, description="Most steps.")
    minutes: float | None = Field(default=None, gt=0, description="Longest time of the training itself.")
    grad_clip: float = Field(default=1.0, gt=0)
    averaged: float = Field(
        default=0.0, ge=0, lt=1, description="Share of the average of all weights that stays in a step; 0: the newest count."
    )
    micro_batch: int | None = Field(default=None, ge=1, description="Episodes per backward pass; default: all of a step.")


class CheckpointSettings(Settings):
    """What is kept on disk while training."""

    every: int = Field(default=20, ge=1, description="Steps between checkpoints.")
    keep: int = Field(default=2, ge=1, description="The newest so many stay.")


class GateSettings(Settings):
    """What a checkpoint must show to be published, on tasks that no training has seen."""

    tasks: int = Field(default=400, ge=400, description="Unseen tasks; fewer cannot tell.")
    seed: int = Field(default=777, description="Of their draw.")
    solved_below_oracle: float = Field(
        default=0.03, ge=0, le=1, description="Most share of tasks that the oracle solves and it does not."
    )
    cost_over_oracle: float = Field(default=1.15, gt=0, description="Most it may cost, as a multiple of the oracle.")


class TrainingSettings(Settings):
    """A whole run."""

    title: str = Field(default="GRPO", max_length=200)
    model: ModelSettings
    tasks: RouteTasks | WorldTasks = Field(discriminator="kind")
    rollout: RolloutSettings = RolloutSettings()
    processes: int = Field(default=1, ge=1, description="How many train together, started by torchrun; one per device.")
    form: Form = Field(default=Form.REFERENCE, description="Of the reward: reference, paper or gdpo.")
    optimiser: OptimiserSettings = OptimiserSettings()
    checkpoint: CheckpointSettings = CheckpointSettings()
    gate: GateSettings | None = Field(default=GateSettings(), description="None: nothing is scored, and nothing published.")
    seed: int = Field(default=0, ge=0, lt=1 << 32, description="Of sampling, exploration and the order of tasks.")

    @model_validator(mode="after")
    def _whole_groups(self) -> Self:
        """A backward pass may split a step's episodes anywhere, but they must come out even."""
        micro, all_of = self.optimiser.micro_batch, self.rollout.group_size * self.rollout.groups_per_step
        if micro is not None and all_of % micro:
            raise ValueError(f"optimiser.micro_batch: {all_of} episodes a step are not a multiple of {micro}")
        return self

    @model_validator(mode="after")
    def _adapter_to_send(self) -> Self:
        """A server gets the adapter of each step, and nothing else of the model."""
        if self.rollout.backend.kind == "vllm" and self.model.lora is None:
            raise ValueError("model.lora: rollout.backend of kind vllm needs one, it is what the server is sent")
        return self


def read_settings(path: Path) -> TrainingSettings:
    """The run that a file describes. Raises InvalidRunError that names the file, the field and the fix."""
    return check_settings(_load(path), where=str(path))


def check_settings(document: Any, *, where: str) -> TrainingSettings:
    """The same of a document that was read already."""
    try:
        return TrainingSettings.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise InvalidRunError(
            f"{where}: {field}: {first['msg']}", param=field or None, hint="see docs/howto/train.md"
        ) from error


def _load(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRunError(f"{path} cannot be read: {error}", hint="name a YAML file") from error
    if len(text) > MOST_BYTES:
        raise InvalidRunError(f"{path} is larger than {MOST_BYTES} bytes")
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InvalidRunError(f"{path} is not YAML: {error}") from error
