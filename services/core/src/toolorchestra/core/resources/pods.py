"""What resources say about the pods made for them, in Kubernetes' own words: resources, environment, where they may run."""

from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import Field, StringConstraints, WithJsonSchema, model_validator

from toolorchestra.core.resources.meta import KeyedBy, Model, Rule, SecretKeyRef

QUANTITY_PATTERN: Final = r"^[0-9]{1,16}(\.[0-9]{1,9})?(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$"
MAX_QUANTITY_CHARACTERS: Final = 32
MAX_WHOLE_QUANTITY: Final = 2**53 - 1
GPU: Final = "nvidia.com/gpu"

_QUANTITY_SCHEMA: Final[dict[str, Any]] = {
    "x-kubernetes-int-or-string": True,
    "pattern": QUANTITY_PATTERN,
    "maxLength": MAX_QUANTITY_CHARACTERS,
    "minimum": 0,
    "maximum": MAX_WHOLE_QUANTITY,
}
Quantity = Annotated[
    Annotated[int, Field(ge=0, le=MAX_WHOLE_QUANTITY)]
    | Annotated[str, StringConstraints(max_length=MAX_QUANTITY_CHARACTERS, pattern=QUANTITY_PATTERN)],
    WithJsonSchema(_QUANTITY_SCHEMA),
]


class ResourceRequirements(Model):
    """Requests and limits of a container, by resource name: `cpu`, `memory`, `nvidia.com/gpu`."""

    requests: dict[str, Quantity] = Field(
        default_factory=dict, max_length=16, description="What is kept free for it, e.g. `cpu: 500m`. Default: as `limits`."
    )
    limits: dict[str, Quantity] = Field(
        default_factory=dict, max_length=16, description="The most it gets, e.g. `memory: 8Gi`. Default: no limit."
    )


class EnvVar(Model):
    """One environment variable; its value is written here or read from a Secret. Exactly one of the two."""

    ONE_OF = ("value", "secret_key_ref")

    name: str = Field(min_length=1, max_length=128, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", description="Name of the variable.")
    value: str | None = Field(default=None, max_length=4096, description="Literal value, not secret.")
    secret_key_ref: SecretKeyRef | None = Field(default=None, description="Secret that holds the value.")


class Toleration(Model):
    """A taint of nodes that the pods put up with, as in a pod's `tolerations`."""

    VALUE_WITH_EXISTS: ClassVar = "value goes with `operator: Equal` only: remove value, or change operator"
    KEY_WITH_EQUAL: ClassVar = "key must be set with `operator: Equal`: add key, or write `operator: Exists` for all taints"
    RULES = (
        Rule("!has(self.value) || self.operator == 'Equal'", VALUE_WITH_EXISTS),
        Rule("has(self.key) || self.operator == 'Exists'", KEY_WITH_EQUAL),
    )

    key: str | None = Field(default=None, min_length=1, max_length=316, description="Key of the taint. Default: every taint.")
    operator: Literal["Equal", "Exists"] = Field(default="Equal", description="How `value` is compared. Default: Equal.")
    value: str | None = Field(default=None, max_length=63, description="Value of the taint. Default: empty.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        default=None, description="Effect of the taint. Default: every effect."
    )
    toleration_seconds: int | None = Field(
        default=None, ge=0, le=31_536_000, description="Seconds until pods leave, for NoExecute. Default: never."
    )

    @model_validator(mode="after")
    def _as_kubernetes(self) -> Self:
        if self.value is not None and self.operator == "Exists":
            raise ValueError(self.VALUE_WITH_EXISTS)
        if self.key is None and self.operator == "Equal":
            raise ValueError(self.KEY_WITH_EQUAL)
        return self


class PodSettings(Model):
    """What a pod gets and where it may run."""

    GPUS_TWICE: ClassVar = f"gpus stands for the limit {GPU}: remove gpus, or remove {GPU} from resources.limits"
    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            f"self.gpus == 0 || !has(self.resources) || !has(self.resources.limits) || !('{GPU}' in self.resources.limits)",
            GPUS_TWICE,
            at=".gpus",
        ),
    )

    env: Annotated[list[EnvVar], KeyedBy("name")] = Field(
        default_factory=list, max_length=64, description="Environment of the container, beside its own. Default: none."
    )
    resources: ResourceRequirements = Field(
        default_factory=ResourceRequirements, description="Requests and limits of the container. Default: none."
    )
    gpus: int = Field(default=0, ge=0, le=64, description=f"GPUs of the pod, short for the limit {GPU}. Default: 0.")
    node_selector: dict[str, Annotated[str, Field(max_length=63)]] = Field(
        default_factory=dict, max_length=16, description="Labels of nodes that it may run on. Default: all nodes."
    )
    tolerations: list[Toleration] = Field(
        default_factory=list, max_length=16, description="Taints of nodes that it puts up with. Default: none."
    )
    service_account_name: str | None = Field(
        default=None, min_length=1, max_length=253, description="ServiceAccount of the pod. Default: the namespace's."
    )
    run_as_user: int | None = Field(
        default=None,
        ge=1,
        le=2_147_483_647,
        description="User id, which then must not be root, as restricted namespaces demand. Default: the image's.",
    )

    @model_validator(mode="after")
    def _gpus_once(self) -> Self:
        if self.gpus and GPU in self.resources.limits:
            raise ValueError(self.GPUS_TWICE)
        return self
