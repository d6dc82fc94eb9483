"""Files and clusters judge alike: what pydantic accepts the API server accepts, and the other way round.

Known exceptions, which are not generated here: null stands for a default on a cluster; 1.0 is an integer there; whether
``parameters`` is a sound JSON Schema, whether ``timeZone`` exists, and a renamed key of a job's ``config`` are seen by pydantic
or by the operator only.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Any, TypeAlias

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.support.crds import Server
from toolorchestra.core.crds import definition
from toolorchestra.core.errors import InvalidManifestError
from toolorchestra.core.resources import API_VERSION, parse_resource

EXAMPLES = 100
Values: TypeAlias = st.SearchStrategy[Any]

TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
OPAQUE = st.dictionaries(TEXT, st.one_of(TEXT, st.integers(0, 9), st.booleans(), st.lists(TEXT, max_size=2)), max_size=2)
ODD: Values = st.one_of(TEXT, st.integers(-3, 200), st.floats(allow_nan=False, allow_infinity=False), st.booleans(), OPAQUE)
# What only one of the two can judge is always right here.
KNOWN: dict[str, Values] = {
    "parameters": st.sampled_from([{}, {"type": "object"}, {"type": "object", "properties": {"a": {"type": "string"}}}]),
    "timeZone": st.sampled_from(["UTC", "Europe/Berlin"]),
}


class Fault(StrEnum):
    """What may be wrong with a generated value; in an object of many fields more than one kind at once would hide the rest."""

    NONE = "none"
    VALUE = "value"  # now and then a value that may not fit its own field
    STRUCTURE = "structure"  # fields that do not go together, are missing or unknown


def values(schema: dict[str, Any], fault: Fault) -> Values:
    """Values of a structural schema."""
    fitting = _fitting(schema, fault)
    if fault is not Fault.VALUE:
        return fitting
    unfitting = _unfitting(schema)
    return st.integers(0, 29).flatmap(lambda chance: unfitting if chance == 29 else fitting)


def _fitting(schema: dict[str, Any], fault: Fault) -> Values:
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema.get("x-kubernetes-int-or-string"):
        return st.one_of(st.integers(0, 9), st.from_regex(schema["pattern"], fullmatch=True).filter(lambda q: len(q) <= 32))
    if "x-kubernetes-preserve-unknown-fields" in schema:
        return OPAQUE
    match schema["type"]:
        case "string":
            return _text(schema)
        case "integer":
            return st.integers(schema["minimum"], schema["maximum"])
        case "number":
            return st.one_of(st.floats(schema["minimum"], schema["maximum"]), st.sampled_from([schema["minimum"], 1]))
        case "boolean":
            return st.booleans()
        case "array":
            return st.lists(values(schema["items"], fault), min_size=schema.get("minItems", 0), max_size=3)
    if "properties" in schema:
        fields = {name: KNOWN[name] if name in KNOWN else values(inner, fault) for name, inner in schema["properties"].items()}
        return _object(fields, schema.get("required", []), _one_of(schema), fault)
    return st.dictionaries(TEXT, values(schema["additionalProperties"], fault), max_size=2)


def _text(schema: dict[str, Any]) -> Values:
    low, high = schema.get("minLength", 0), schema["maxLength"]
    if "pattern" in schema:
        return st.from_regex(schema["pattern"], fullmatch=True).filter(lambda text: low <= len(text) <= high)
    return st.text(st.characters(codec="utf-8"), min_size=low, max_size=min(high, low + 12))


def _unfitting(schema: dict[str, Any]) -> Values:
    """Just beyond a bound, or of another kind altogether. Whole numbers as floats are a known exception."""
    beyond: list[Values] = [ODD.filter(lambda odd: not (isinstance(odd, float) and odd.is_integer()))]
    beyond += [st.just(schema[bound] + step) for bound, step in (("minimum", -1), ("maximum", 1)) if bound in schema]
    if "maxLength" in schema:
        beyond.append(st.just("a" * (schema["maxLength"] + 1)))
    return st.one_of(*beyond)


@st.composite
def _object(draw: st.DrawFn, fields: dict[str, Values], required: list[str], one_of: list[str], fault: Fault) -> dict[str, Any]:
    broken = fault is Fault.STRUCTURE and draw(st.integers(0, 3)) == 0
    wanted = draw(st.sampled_from(one_of)) if one_of else ""
    made: dict[str, Any] = {}
    for name, inner in fields.items():
        tenths = 2
        if name in required or name == wanted:
            tenths = 8 if broken else 10
        elif name in one_of:
            tenths = 5 if broken else 0
        if draw(st.integers(1, 10)) <= tenths:
            made[name] = draw(inner)
    if broken and draw(st.integers(0, 9)) == 0:
        made["unknown"] = 1
    return made


def _one_of(schema: dict[str, Any]) -> list[str]:
    """The fields of which the first rule wants exactly one."""
    rules = [rule["message"] for rule in schema.get("x-kubernetes-validations", ())]
    named = next((rule for rule in rules if rule.startswith("exactly one of ")), "")
    return named.removeprefix("exactly one of ").removesuffix(" must be set").split(", ") if named else []


def manifests(kind: str) -> Values:
    schema = definition(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    specs = st.one_of(*(values(schema, fault) for fault in Fault))
    name = "default" if kind == "BudgetPolicy" else "generated"
    return specs.map(lambda spec: {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec})


@contextmanager
def counted(kind: str) -> Iterator[dict[bool, int]]:
    """How many were accepted and refused; a generator that makes only one of them shows nothing."""
    seen = {True: 0, False: 0}
    yield seen
    assert min(seen.values()) > EXAMPLES // 20, f"{kind}: {seen[True]} accepted, {seen[False]} refused"


@pytest.mark.parametrize("kind", ["Tool", "ExpertModel", "Orchestrator", "BudgetPolicy", "TrainingRun"])
def test_a_generated_manifest_is_judged_alike(kind: str, server: Server) -> None:
    with counted(kind) as seen:
        # Shrinking would outlast the test; both messages name the field anyway.
        @settings(
            max_examples=EXAMPLES,
            phases=[Phase.generate],
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(manifests(kind))
        def check(manifest: dict[str, Any]) -> None:
            refused = server.create(manifest)
            try:
                parse_resource(manifest, source="generated")
                problem = ""
            except InvalidManifestError as error:
                problem = str(error)
            seen[not problem] += 1
            assert bool(refused) == bool(problem), f"API server: {refused or 'accepted'}\npydantic: {problem or 'accepted'}"

        check()
