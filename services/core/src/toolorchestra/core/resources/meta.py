"""What all resources share: metadata, references, prices as text, and the strictness of their fields."""

from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from toolorchestra.core.errors import InvalidRequestError
from toolorchestra.core.money import MAX_USD_CHARACTERS, USD_PATTERN, NanoUsd, parse_usd

GROUP: Final = "toolorchestra.dev"
API_VERSION: Final = f"{GROUP}/v1alpha1"
DEFAULT_NAMESPACE: Final = "default"


class Model(BaseModel):
    """Unknown fields are errors, names are camelCase in YAML, values do not change once read."""

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True)


def _check_usd(text: str) -> str:
    try:
        parse_usd(text)
    except InvalidRequestError as error:
        raise ValueError(str(error)) from error
    return text


Usd = Annotated[
    str,
    Field(max_length=MAX_USD_CHARACTERS, json_schema_extra={"pattern": USD_PATTERN}),
    AfterValidator(_check_usd),
]
Name = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
Namespace = Name
Capability = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]


def nano_usd(text: str | None) -> NanoUsd | None:
    """A manifest's decimal string as nano-USD; None stays None."""
    return None if text is None else parse_usd(text)


class Metadata(BaseModel):
    """The part of Kubernetes object metadata that the platform reads; the rest is accepted and ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True, alias_generator=to_camel, populate_by_name=True)

    name: Name = Field(description="Name, unique per kind and namespace.")
    namespace: Namespace = Field(default=DEFAULT_NAMESPACE, description="The tenant. Default: `default`.")
    labels: dict[str, str] = Field(default_factory=dict, description="Labels, free.")
    annotations: dict[str, str] = Field(default_factory=dict, description="Annotations, free.")
    generation: int = Field(default=1, description="Set by the API server.")


class SecretKeyRef(Model):
    """A key of a Secret in the same namespace."""

    name: Name = Field(description="Name of the Secret.")
    key: str = Field(min_length=1, max_length=253, description="Key inside the Secret.")


class NamedRef(Model):
    """A reference to a resource of a known kind."""

    name: Name = Field(description="Name of the resource.")
    namespace: Namespace | None = Field(
        default=None, description="Its namespace, if it is lent by `allowedNamespaces` there. Default: the same."
    )


class Header(Model):
    """One HTTP header; its value is written here or read from a Secret when the request is sent. Exactly one of the two."""

    name: str = Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9-]+$", description="Header name.")
    value: str | None = Field(default=None, max_length=4096, description="Literal value, not secret.")
    secret_key_ref: SecretKeyRef | None = Field(default=None, description="Secret that holds the value.")
    prefix: str = Field(default="", max_length=64, description='Written before the value, e.g. "Bearer ". Default: empty.')

    @model_validator(mode="after")
    def _one_value(self) -> Self:
        if (self.value is None) == (self.secret_key_ref is None):
            raise ValueError("exactly one of `value` and `secretKeyRef` must be set")
        return self


class AllowedNamespaces(Model):
    """Who besides the own namespace may use a resource."""

    from_: Literal["Same", "All", "Names"] = Field(
        default="Same", alias="from", description="`Same` (default), `All`, or the listed `names`."
    )
    names: list[Namespace] = Field(default_factory=list, max_length=256, description="Namespaces, for `from: Names`.")

    def allows(self, *, owner: str, user: str) -> bool:
        """Whether namespace ``user`` may use a resource of namespace ``owner``."""
        return user == owner or self.from_ == "All" or (self.from_ == "Names" and user in self.names)


JsonSchema = dict[str, Any]
