"""BudgetPolicy: the limits of a tenant. One per namespace, named `default`."""

from typing import Annotated, ClassVar, Final, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator, model_validator

from toolorchestra.core.durations import Duration
from toolorchestra.core.resources.meta import Metadata, Model, NamePattern, Rule, Usd
from toolorchestra.core.resources.status import BudgetPolicyStatus, Lenient

MAX_REQUESTS: Final = 1_000_000_000_000


class MoneyLimits(Model):
    """US dollars per calendar window. A window without a limit is unlimited."""

    hour: Usd | None = Field(default=None, description="Per hour.")
    day: Usd | None = Field(default=None, description="Per day.")
    month: Usd | None = Field(default=None, description="Per month.")
    total: Usd | None = Field(default=None, description="Ever.")


class RequestLimits(Model):
    """Requests per calendar window. A window without a limit is unlimited."""

    hour: int | None = Field(default=None, ge=0, le=MAX_REQUESTS, description="Per hour.")
    day: int | None = Field(default=None, ge=0, le=MAX_REQUESTS, description="Per day.")
    month: int | None = Field(default=None, ge=0, le=MAX_REQUESTS, description="Per month.")
    total: int | None = Field(default=None, ge=0, le=MAX_REQUESTS, description="Ever.")


class BudgetPolicySpec(Model):
    """Desired limits of a tenant."""

    time_zone: str = Field(default="UTC", max_length=64, description="IANA time zone of the windows. Default: UTC.")
    limits: MoneyLimits = Field(default_factory=MoneyLimits, description="Money per window.")
    per_run: Usd | None = Field(default=None, description="Most US dollars of one run. Default: no cap.")
    requests: RequestLimits = Field(default_factory=RequestLimits, description="Requests per window.")
    concurrency: int | None = Field(default=None, ge=0, le=1_000_000, description="Runs at once. Default: no limit.")
    allowed_tools: list[NamePattern] = Field(
        default_factory=lambda: ["*"], max_length=256, description="Name patterns. Default: all."
    )
    allowed_experts: list[NamePattern] = Field(
        default_factory=lambda: ["*"], max_length=256, description="Name patterns. Default: all."
    )
    unpriced: Literal["refuse", "allow"] = Field(
        default="refuse", description="What to do with a model whose price is unknown. Default: refuse."
    )
    alerts: list[Annotated[int, Field(ge=1, le=1_000)]] = Field(
        default_factory=lambda: [80, 100], max_length=8, description="Percentages. Default: 80, 100."
    )
    retention: Duration = Field(default="30d", description="How long contents of runs are kept. Default: 30d.")

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f'{name!r} is not an IANA time zone; write "Europe/Berlin"') from error
        return name


class BudgetPolicy(Model):
    """The limits of a tenant."""

    SINGLETON: ClassVar = "metadata.name must be `default`: a namespace has one BudgetPolicy"
    RULES = (Rule("self.metadata.name == 'default'", SINGLETON),)

    api_version: Literal["toolorchestra.dev/v1alpha1"] = Field(description="API version.")
    kind: Literal["BudgetPolicy"] = Field(description="Kind.")
    metadata: Metadata = Field(description="Object metadata.")
    spec: BudgetPolicySpec = Field(description="Desired state.")
    status: Lenient[BudgetPolicyStatus] = Field(default=None, description="Observed state, written by the platform.")

    @model_validator(mode="after")
    def _singleton(self) -> Self:
        if self.metadata.name != "default":
            raise ValueError(self.SINGLETON)
        return self
