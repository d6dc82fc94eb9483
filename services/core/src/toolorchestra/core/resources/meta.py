"""What all resources share: strict fields, rules between fields, metadata, references, prices as text.

A rule between fields is written once, here or in a model, for both readers of a manifest: pydantic checks it in files, the
API server checks its CEL form (``Model.cel_rules``), which ``core.crds`` puts into the CRDs.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema, core_schema

from toolorchestra.core.errors import InvalidRequestError
from toolorchestra.core.money import (
    MAX_NANO_USD,
    MAX_USD_CHARACTERS,
    NANO_PER_USD,
    USD_PATTERN,
    NanoUsd,
    format_usd,
    parse_usd,
)

GROUP: Final = "toolorchestra.dev"
API_VERSION: Final = f"{GROUP}/v1alpha1"
DEFAULT_NAMESPACE: Final = "default"


@dataclass(frozen=True, slots=True)
class Rule:
    """What the API server checks in CEL. ``message`` names the field and the fix; ``at`` is the path of the field to blame.

    It belongs to a model (``Model.RULES``), or stands in an ``Annotated`` type beside the validator that it mirrors.
    """

    cel: str
    message: str
    at: str | None = None

    def schema(self) -> dict[str, str]:
        """As an item of ``x-kubernetes-validations``."""
        place = {"fieldPath": self.at} if self.at else {}
        return {"rule": self.cel, "message": self.message, **place}

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return handler(schema) | {"x-kubernetes-validations": [self.schema()]}


@dataclass(frozen=True, slots=True)
class KeyedBy:
    """Marks a list of objects in which no two have the same ``field``: ``Annotated[list[Offer], KeyedBy("name")]``."""

    field: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._own, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        keys = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [to_camel(self.field)]}
        return handler(schema) | keys

    def _own(self, items: Sequence[Any]) -> Sequence[Any]:
        counts = Counter(getattr(item, self.field) for item in items)
        twice = ", ".join(sorted(key for key, count in counts.items() if count > 1))
        if twice:
            raise ValueError(f"each needs a {to_camel(self.field)} of its own (twice: {twice})")
        return items


class Model(BaseModel):
    """Unknown fields are errors, names are camelCase in YAML, values do not change once read.

    ``ONE_OF``: exactly one of these fields is set. ``NEEDS``: a field that is set only together with another.
    ``RULES``: the CEL twins of a model's own validators. ``CHANGEABLE``: fields that may change after creation; None: all.
    """

    ONE_OF: ClassVar[tuple[str, ...]] = ()
    NEEDS: ClassVar[tuple[tuple[str, str], ...]] = ()
    RULES: ClassVar[tuple[Rule, ...]] = ()
    CHANGEABLE: ClassVar[tuple[str, ...] | None] = None

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True)

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        found = [to_camel(name) for name in self.ONE_OF if getattr(self, name) is not None]
        if self.ONE_OF and len(found) != 1:
            raise ValueError(f"{_exactly_one(self.ONE_OF)} (found: {', '.join(found) or 'none'})")
        return self

    @model_validator(mode="after")
    def _needs(self) -> Self:
        for name, other in self.NEEDS:
            if getattr(self, name) is not None and getattr(self, other) is None:
                raise ValueError(_only_with(name, other))
        return self

    @classmethod
    def cel_rules(cls) -> Iterator[Rule]:
        """All rules of this model for the API server."""
        if cls.ONE_OF:
            given = ", ".join(f"has(self.{to_camel(name)})" for name in cls.ONE_OF)
            yield Rule(f"[{given}].exists_one(given, given)", _exactly_one(cls.ONE_OF))
        for name, other in cls.NEEDS:
            yield Rule(f"!has(self.{to_camel(name)}) || has(self.{to_camel(other)})", _only_with(name, other))
        yield from cls.RULES
        for name in cls.model_fields if cls.CHANGEABLE is not None else ():
            if name not in (cls.CHANGEABLE or ()):
                yield _unchanged(to_camel(name))


def _exactly_one(names: Sequence[str]) -> str:
    return f"exactly one of {', '.join(map(to_camel, names))} must be set"


def _only_with(name: str, other: str) -> str:
    return f"{to_camel(name)} goes with {to_camel(other)} only: set {to_camel(other)}, or remove {to_camel(name)}"


def _unchanged(name: str) -> Rule:
    message = f"{name} cannot be changed: delete the object and create it again, or create one of another name"
    now, before = f"has(self.{name})", f"has(oldSelf.{name})"
    return Rule(f"{now} == {before} && (!{now} || self.{name} == oldSelf.{name})", message, at=f".{name}")


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
    Rule(
        f"!self.matches(r'{USD_PATTERN}') || double(self) <= {MAX_NANO_USD / NANO_PER_USD}",
        f"too large: the most is {format_usd(MAX_NANO_USD)} US dollars",
    ),
]
Name = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
Namespace = Name
Capability = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
NamePattern = Annotated[str, Field(max_length=256)]
Text = Annotated[str, Field(max_length=4096)]
JsonSchema = dict[str, Any]


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

    ONE_OF = ("value", "secret_key_ref")

    name: str = Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9-]+$", description="Header name.")
    value: str | None = Field(default=None, max_length=4096, description="Literal value, not secret.")
    secret_key_ref: SecretKeyRef | None = Field(default=None, description="Secret that holds the value.")
    prefix: str = Field(default="", max_length=64, description='Written before the value, e.g. "Bearer ". Default: empty.')


class AllowedNamespaces(Model):
    """Who besides the own namespace may use a resource."""

    NAMES_ONLY: ClassVar = "names goes with `from: Names` only: change from, or remove names"
    NO_NAMES: ClassVar = "names must be set with `from: Names`: add names, or change from"
    RULES = (
        Rule("!has(self.names) || size(self.names) == 0 || self.from == 'Names'", NAMES_ONLY),
        Rule("!has(self.from) || self.from != 'Names' || (has(self.names) && size(self.names) > 0)", NO_NAMES),
    )

    from_: Literal["Same", "All", "Names"] = Field(
        default="Same", alias="from", description="`Same` (default), `All`, or the listed `names`."
    )
    names: list[Namespace] = Field(default_factory=list, max_length=256, description="Namespaces, for `from: Names`.")

    @model_validator(mode="after")
    def _names_only(self) -> Self:
        if self.names and self.from_ != "Names":
            raise ValueError(self.NAMES_ONLY)
        if self.from_ == "Names" and not self.names:
            raise ValueError(self.NO_NAMES)
        return self

    def allows(self, *, owner: str, user: str) -> bool:
        """Whether namespace ``user`` may use a resource of namespace ``owner``."""
        return user == owner or self.from_ == "All" or (self.from_ == "Names" and user in self.names)
