"""CustomResourceDefinitions, built from the models in ``core.resources``: the API server refuses what pydantic refuses.

Fields, bounds, defaults and descriptions come from pydantic's own JSON Schema, made structural: nothing refers, nothing is
nullable (the server drops nulls), each text, list and map is bounded, so that the cost of every CEL rule can be estimated.
Rules between fields are the models' ``cel_rules``. ``UnboundedError`` and ``UnknownKeywordError`` say what a model must change.

What the server cannot check, the operator reports as ``Accepted=False``, and files refuse:

- ``Tool.spec.parameters`` is a sound JSON Schema (its content is opaque to CEL);
- ``BudgetPolicy.spec.timeZone`` is a known IANA zone;
- names that collide across objects, references to what does not exist;
- a job's ``config`` in which a key at the top was only renamed: CEL compares opaque objects by the keys that both have.

Where the API server is milder: null stands for a default, 1.0 is a whole number, and ``mcp.stdio`` is admitted (the operator
says ``StdioNotAllowed``).
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema
from typing_extensions import override

from toolorchestra.core.resources.manifest import KINDS
from toolorchestra.core.resources.meta import API_VERSION, GROUP, Model

CATEGORY: Final = "toolorchestra"
_KEPT: Final = frozenset(
    {
        *("type", "format", "description", "default", "enum", "required", "pattern"),
        *("minLength", "maxLength", "minimum", "maximum", "minItems", "maxItems", "minProperties", "maxProperties"),
    }
)
_ELSEWHERE: Final = frozenset({"title", "properties", "items", "additionalProperties"})
_OWN: Final = "x-kubernetes-"


class UnboundedError(ValueError):
    """A text, list or map without an upper bound; give the field a ``max_length``."""


class UnknownKeywordError(ValueError):
    """A keyword of JSON Schema that a structural schema does not have; say it in another way."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of ``kubectl get``; one with ``wide`` is shown with ``-o wide`` only."""

    name: str
    path: str
    type: str = "string"
    wide: bool = False

    def body(self) -> dict[str, Any]:
        priority = {"priority": 1} if self.wide else {}
        return {"name": self.name, "type": self.type, "jsonPath": self.path, **priority}


@dataclass(frozen=True, slots=True)
class Naming:
    """How a kind is called by ``kubectl``, and which columns it shows between its main condition and its age."""

    plural: str
    short: str
    main_condition: str
    columns: tuple[Column, ...] = ()

    def all_columns(self) -> tuple[Column, ...]:
        condition = f'.status.conditions[?(@.type=="{self.main_condition}")]'
        return (
            Column(self.main_condition, f"{condition}.status"),
            Column("Reason", f"{condition}.reason"),
            *self.columns,
            Column("Age", ".metadata.creationTimestamp", "date"),
            Column("Message", f"{condition}.message", wide=True),
        )


_JOB_COLUMNS: Final = (
    Column("Started", ".status.startedAt", "date"),
    Column("Job", ".status.job", wide=True),
    Column("Queue", ".spec.queue", wide=True),
    Column("Location", ".status.location", wide=True),
)
NAMES: Final[Mapping[str, Naming]] = {
    "Tool": Naming(
        "tools",
        "tl",
        "Ready",
        (
            Column("Execution", ".spec.execution"),
            Column("Price", ".spec.pricing.perCall"),
            Column("Operations", ".status.operationCount", "integer", wide=True),
            Column("Latency ms", ".status.latencyMs", "integer", wide=True),
        ),
    ),
    "ExpertModel": Naming(
        "expertmodels",
        "em",
        "Ready",
        (
            Column("Model", ".spec.model"),
            Column("Price", ".status.price"),
            Column("Replicas", ".status.readyReplicas", "integer", wide=True),
            Column("Latency ms", ".status.latencyMs", "integer", wide=True),
            Column("URL", ".status.url", wide=True),
        ),
    ),
    "Orchestrator": Naming(
        "orchestrators",
        "orc",
        "Ready",
        (
            Column("Model", ".status.modelName"),
            Column("Policy", ".status.policy"),
            Column("Canary", ".status.canary.state", wide=True),
            Column("Functions", ".status.functions", "integer", wide=True),
        ),
    ),
    "BudgetPolicy": Naming(
        "budgetpolicies",
        "bp",
        "Enforced",
        (
            Column("Spent", ".status.spent"),
            Column("Limit", ".status.limit"),
            Column("Window", ".status.window"),
            Column("Near limit", '.status.conditions[?(@.type=="NearLimit")].status', wide=True),
            Column("Held", ".status.held", wide=True),
            Column("Remaining", ".status.remaining", wide=True),
        ),
    ),
    "ToolScaleDataset": Naming("toolscaledatasets", "tsd", "Complete", _JOB_COLUMNS),
    "TrainingRun": Naming("trainingruns", "tr", "Complete", _JOB_COLUMNS),
    "Evaluation": Naming("evaluations", "evl", "Complete", _JOB_COLUMNS),
}


def definitions() -> dict[str, dict[str, Any]]:
    """The CustomResourceDefinition of every kind."""
    return {kind: definition(kind) for kind in KINDS}


def definition(kind: str) -> dict[str, Any]:
    """The CustomResourceDefinition of a kind."""
    naming = NAMES[kind]
    version = {
        "name": API_VERSION.removeprefix(f"{GROUP}/"),
        "served": True,
        "storage": True,
        "additionalPrinterColumns": [column.body() for column in naming.all_columns()],
        "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": object_schema(KINDS[kind])},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{naming.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": naming.plural,
                "singular": kind.lower(),
                "shortNames": [naming.short],
                "categories": [CATEGORY],
            },
            "versions": [version],
        },
    }


def object_schema(model: type[BaseModel]) -> dict[str, Any]:
    """The structural schema of whole objects. Of ``metadata`` only the name can be restricted."""
    schema = model.model_json_schema(by_alias=True, schema_generator=_Generator)
    defs = schema["$defs"]
    name = _structural(_without(defs["Metadata"]["properties"]["name"], "description"), defs, "metadata.name")
    known = {
        "apiVersion": {"type": "string", "description": f"Version of the schema of this object: {API_VERSION}."},
        "kind": {"type": "string", "description": "Kind of this object."},
        "metadata": {"type": "object", "properties": {"name": name}},
    }
    parts = {part: _structural(schema["properties"][part], defs, part) for part in ("spec", "status")}
    rules = {key: value for key, value in schema.items() if key.startswith(_OWN)}
    return {
        "type": "object",
        "description": schema["description"],
        "required": ["spec"],
        "properties": known | parts,
        **rules,
    }


class _Generator(GenerateJsonSchema):
    """pydantic's JSON Schema with the rules of models and with the defaults that a factory makes."""

    @override
    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        cls = schema["cls"]
        rules = [rule.schema() for rule in cls.cel_rules()] if issubclass(cls, Model) else []
        made = super().model_schema(schema)
        return made | {"x-kubernetes-validations": rules} if rules else made

    @override
    def get_default_value(self, schema: core_schema.WithDefaultSchema) -> Any:
        if "default_factory" in schema and not schema.get("default_factory_takes_data"):
            return schema["default_factory"]()  # type: ignore[call-arg]  # it takes none, as was just asked
        return super().get_default_value(schema)

    @override
    def encode_default(self, dft: Any) -> Any:
        if isinstance(dft, BaseModel):
            return dft.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        if isinstance(dft, list):
            return [self.encode_default(item) for item in dft]
        return super().encode_default(dft)


def _structural(schema: Mapping[str, Any], defs: Mapping[str, Any], path: str) -> dict[str, Any]:
    schema = _whole(schema, defs)
    if unknown := sorted(key for key in schema if key not in _KEPT | _ELSEWHERE and not key.startswith(_OWN)):
        raise UnknownKeywordError(f"{path}: {', '.join(unknown)}")
    made = {key: deepcopy(value) for key, value in schema.items() if key in _KEPT or key.startswith(_OWN)}
    made |= _inner(schema, defs, path)
    if _says_nothing(made.get("default"), made):
        del made["default"]
    if made.get("type") == "integer":
        made["format"] = "int64"
    _check_bounded(made, path)
    return made


def _whole(schema: Mapping[str, Any], defs: Mapping[str, Any]) -> dict[str, Any]:
    """Without references, null and constants; the text of a field comes before that of the model in it."""
    whole = dict(_without(schema, "$defs"))
    for branch in whole.pop("anyOf", ()):
        if branch != {"type": "null"}:
            whole = _merged(whole, branch)
    if "$ref" in whole:
        target = defs[whole.pop("$ref").removeprefix("#/$defs/")]
        return _whole(_merged(whole, target), defs)
    if "const" in whole:
        whole["enum"] = [whole.pop("const")]
    return whole


def _merged(field: Mapping[str, Any], inner: Mapping[str, Any]) -> dict[str, Any]:
    first, second = (" ".join(part.get("description", "").split()) for part in (field, inner))
    text = second if second.startswith(first.rstrip(".")) else f"{first} {second}".rstrip()
    return {**inner, **field, **({"description": text} if text else {})}


def _inner(schema: Mapping[str, Any], defs: Mapping[str, Any], path: str) -> dict[str, Any]:
    """The parts below a schema. What any JSON may stand in is opaque and always replaced as a whole."""
    if "type" not in schema and "x-kubernetes-int-or-string" not in schema:
        return {"x-kubernetes-preserve-unknown-fields": True}
    if "items" in schema:
        items = _structural(schema["items"], defs, f"{path}[]")
        return {"items": items, "x-kubernetes-list-type": schema.get("x-kubernetes-list-type", "atomic")}
    if "properties" in schema:
        return {"properties": {k: _structural(v, defs, f"{path}.{k}") for k, v in schema["properties"].items()}}
    values = schema.get("additionalProperties")
    if values is True:
        return {"x-kubernetes-preserve-unknown-fields": True, "x-kubernetes-map-type": "atomic"}
    return {"additionalProperties": _structural(values, defs, f"{path}.*")} if isinstance(values, Mapping) else {}


def _says_nothing(default: Any, schema: Mapping[str, Any]) -> bool:
    """Whether leaving a default out changes nothing: it is empty, and nothing below it has one."""
    if default == {} and "properties" in schema:
        return not any("default" in inner for inner in schema["properties"].values())
    return "default" in schema and default in (None, "", [], {}) and default is not False


def _check_bounded(schema: Mapping[str, Any], path: str) -> None:
    if "enum" in schema or schema.get("format") == "date-time" or "x-kubernetes-preserve-unknown-fields" in schema:
        return
    bound = {"string": "maxLength", "array": "maxItems", "object": "maxProperties"}.get(schema.get("type", ""))
    if bound and bound not in schema and "properties" not in schema:
        raise UnboundedError(f"{path} has no {bound}: give the field a max_length")


def _without(mapping: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in mapping.items() if name != key}
