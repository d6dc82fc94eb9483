"""CustomResourceDefinitions: structural, bounded, described, with the models' own rules and defaults."""

from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from pydantic import Field, create_model

from toolorchestra.core.crds import CATEGORY, NAMES, UnboundedError, UnknownKeywordError, definition, definitions, object_schema
from toolorchestra.core.resources import KINDS
from toolorchestra.core.resources.meta import KeyedBy, Metadata, Model, Usd
from toolorchestra.core.resources.status import Lenient, Status

VALUES = {
    *("format", "enum", "pattern", "minLength", "maxLength", "minimum", "maximum"),
    *("minItems", "maxItems", "minProperties", "maxProperties", "required"),
}
STRUCTURE = {"type", "properties", "items", "additionalProperties", "description", "default"}
EXTENSIONS = {
    f"x-kubernetes-{name}"
    for name in ("validations", "list-type", "list-map-keys", "map-type", "preserve-unknown-fields", "int-or-string")
}


def whole(kind: str) -> dict[str, Any]:
    return dict(definition(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"])


def walk(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from walk(inner, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if key in schema:
            yield from walk(schema[key], f"{path}[]")


def unstructural(schema: dict[str, Any]) -> Iterator[str]:
    """What the API server's rules for structural schemas forbid, read from its documentation, not from the builder."""
    yield from (f"keyword {key}" for key in sorted(schema.keys() - VALUES - STRUCTURE - EXTENSIONS))
    opaque = schema.get("x-kubernetes-preserve-unknown-fields") is True
    if not isinstance(schema.get("type"), str) and not opaque and not schema.get("x-kubernetes-int-or-string"):
        yield "no type"
    if schema.get("type") == "null" or "nullable" in schema:
        yield "null"
    if "properties" in schema and "additionalProperties" in schema:
        yield "both properties and additionalProperties"
    if schema.get("type") == "array" and not isinstance(schema.get("items"), dict):
        yield "items of no schema"
    if not schema.keys() & {"properties"} and "required" in schema:
        yield "requires what is not described"
    if schema.get("x-kubernetes-list-type") == "map":
        items = schema["items"]
        keys = schema.get("x-kubernetes-list-map-keys", [])
        if not keys or any(key not in items.get("required", []) or "type" not in items["properties"][key] for key in keys):
            yield "keys of a list that may be missing"


def unbounded(schema: dict[str, Any]) -> Iterator[str]:
    if "enum" in schema or schema.get("x-kubernetes-preserve-unknown-fields") or schema.get("format") == "date-time":
        return
    bounds = {
        "string": {"maxLength"},
        "array": {"maxItems"},
        "integer": {"minimum", "maximum"},
        "number": {"minimum", "maximum"},
    }
    yield from sorted(bounds.get(schema.get("type", ""), set()) - schema.keys())
    if "additionalProperties" in schema and "maxProperties" not in schema:
        yield "maxProperties"


@pytest.mark.parametrize("kind", KINDS)
def test_every_schema_is_structural_and_bounded(kind):
    for path, schema in walk(whole(kind)):
        problems = [*unstructural(schema), *(unbounded(schema) if path.startswith((".spec", ".status")) else ())]
        assert (path, problems) == (path, [])


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_is_described(kind):
    silent = [path for path, schema in walk(whole(kind)) if not schema.get("description") and path[-2:] != "[]"]
    assert silent == [".metadata", ".metadata.name"]  # Kubernetes describes these itself


def test_names_are_complete_and_unique():
    made = [crd["spec"]["names"] for crd in definitions().values()]
    assert [names["kind"] for names in made] == list(KINDS)
    assert len({names["plural"] for names in made}) == len({names["shortNames"][0] for names in made}) == len(KINDS)
    assert all(names["categories"] == [CATEGORY] for names in made)


@pytest.mark.parametrize("kind", KINDS)
def test_columns_show_what_the_schema_has(kind):
    schema = whole(kind)["properties"]
    conditions = {"type", "status", "reason", "message"}
    for column in NAMES[kind].all_columns():
        first, *rest = column.path.strip(".").split(".")
        if first == "metadata":
            continue
        if rest[0].startswith("conditions["):
            assert rest[-1] in conditions
            continue
        found = schema[first]
        for part in rest:
            found = found["properties"][part]
        assert found["type"] == column.type or (column.type, found["format"]) == ("date", "date-time")


def test_defaults_of_values_and_of_factories_stand_in_the_schema():
    spec = whole("ExpertModel")["properties"]["spec"]["properties"]
    assert spec["timeout"]["default"] == "120s"
    assert spec["offers"]["default"] == [{"name": "answer"}]
    assert spec["allowedNamespaces"]["default"] == {}  # so that the defaults below it are filled in
    assert "default" not in spec["capabilities"]  # nothing would change
    assert whole("Tool")["properties"]["spec"]["properties"]["parameters"]["default"]["type"] == "object"


def test_rules_of_a_model_stand_where_the_model_does():
    tool = whole("Tool")["properties"]["spec"]
    assert [rule["message"] for rule in tool["x-kubernetes-validations"]] == [
        "exactly one of http, openapi, mcp, plugin must be set",
        "minimumSandbox goes with `execution: sandbox` only: change execution, or remove minimumSandbox",
    ]
    money = tool["properties"]["pricing"]["properties"]["perCall"]["x-kubernetes-validations"]
    assert money[0]["message"] == "too large: the most is 9000000.00 US dollars"
    assert whole("BudgetPolicy")["x-kubernetes-validations"][0]["rule"] == "self.metadata.name == 'default'"


def test_a_job_may_change_its_ttl_only():
    spec = whole("Evaluation")["properties"]["spec"]
    fixed = {
        rule["fieldPath"].strip(".") for rule in spec["x-kubernetes-validations"] if "cannot be changed" in rule["message"]
    }
    assert fixed == spec["properties"].keys() - {"ttl"}


class Item(Model):
    """An item."""

    name: str = Field(max_length=9, description="Name.")
    price: Usd | None = Field(default=None, description="Price.")


class Whole(Model):
    """A whole."""

    NEEDS = (("second", "first"),)

    first: str | None = Field(default=None, max_length=9, description="First.")
    second: str | None = Field(default=None, max_length=9, description="Second.")
    items: Annotated[list[Item], KeyedBy("name")] = Field(default_factory=list, max_length=4, description="Items.")


def spec_of(model: type[Model]) -> dict[str, Any]:
    fields: dict[str, Any] = {"metadata": (Metadata, ...), "spec": (model, ...), "status": (Lenient[Status], None)}
    return dict(object_schema(create_model("Thing", __base__=Model, __doc__="A thing.", **fields))["properties"]["spec"])


def test_a_reference_and_null_are_gone_and_the_field_speaks_before_its_model():
    schema = spec_of(Whole)
    assert schema["properties"]["first"] == {"type": "string", "maxLength": 9, "description": "First."}
    assert schema["properties"]["items"]["items"]["description"] == "An item."
    assert schema["properties"]["items"]["x-kubernetes-list-map-keys"] == ["name"]
    (rule,) = schema["x-kubernetes-validations"]
    assert rule == {
        "rule": "!has(self.second) || has(self.first)",
        "message": "second goes with first only: set first, or remove second",
    }


def test_the_same_rules_hold_for_values():
    assert Whole.model_validate({"first": "a", "second": "b", "items": [{"name": "x"}, {"name": "y"}]})
    with pytest.raises(ValueError, match="second goes with first only: set first, or remove second"):
        Whole.model_validate({"second": "b"})
    with pytest.raises(ValueError, match=r"each needs a name of its own \(twice: x\)"):
        Whole.model_validate({"items": [{"name": "x"}, {"name": "x"}]})


class Unbounded(Model):
    """A model with a text of any length."""

    text: str = Field(description="Text.")


class Unknown(Model):
    """A model that says what a structural schema cannot."""

    number: int = Field(multiple_of=2, description="Number.")


def test_what_a_crd_cannot_say_is_refused_with_its_place():
    with pytest.raises(UnboundedError, match=r"^spec\.text has no maxLength: give the field a max_length$"):
        spec_of(Unbounded)
    with pytest.raises(UnknownKeywordError, match=r"^spec\.number: multipleOf$"):
        spec_of(Unknown)
