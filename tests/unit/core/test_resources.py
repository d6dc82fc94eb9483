"""Manifests: every error names the place, the field and the fix."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolorchestra.core.errors import InvalidManifestError
from toolorchestra.core.resources import KINDS, Tool, parse_documents, parse_resource
from toolorchestra.core.testing import a_tool, an_expert, an_orchestrator

HEAD = "apiVersion: toolorchestra.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: thing}}\nspec:\n"
JOB = "  image: registry/job:1\n"
GOOD = {
    "Tool": "  description: Does it.\n  plugin: {name: it}\n",
    "ExpertModel": "  description: Knows.\n  model: m\n  endpoint: {baseUrl: 'http://127.0.0.1:9/v1'}\n",
    "Orchestrator": "  policy: {baseline: cascade}\n",
    "BudgetPolicy": "  limits: {day: '1.00'}\n",
    "ToolScaleDataset": JOB,
    "TrainingRun": JOB,
    "Evaluation": JOB,
}


def read(text):
    return [parse_resource(document, source="tools/a.yaml") for document in parse_documents(text, source="tools/a.yaml")]


def manifest(kind, spec):
    name = "default" if kind == "BudgetPolicy" else "thing"
    return HEAD.format(kind=kind).replace("thing", name) + spec


@pytest.mark.parametrize("kind", KINDS)
def test_a_small_manifest_of_every_kind_is_read(kind):
    (resource,) = read(manifest(kind, GOOD[kind]))
    assert resource.kind == kind
    assert resource.metadata.namespace == "default"


def test_a_file_may_hold_several_documents_and_empty_ones():
    text = "---\n---\n".join([manifest("Tool", GOOD["Tool"]), manifest("Orchestrator", GOOD["Orchestrator"])])
    assert [r.kind for r in read(f"---\n{text}\n---\n")] == ["Tool", "Orchestrator"]


def tool(more):
    return manifest("Tool", GOOD["Tool"] + more)


def expert(more):
    return manifest("ExpertModel", GOOD["ExpertModel"] + more)


def orchestrator(spec):
    return manifest("Orchestrator", spec)


@pytest.mark.parametrize(
    ("text", "field", "fix"),
    [
        (tool("  colour: red\n"), "spec.colour", "unknown field; check its spelling or remove it"),
        (manifest("Tool", "  plugin: {name: it}\n"), "spec.description", "required; add it"),
        (manifest("Tool", "  description: d\n"), "spec", "exactly one of http, openapi, mcp, plugin must be set (found: none)"),
        (tool("  mcp: {url: 'http://x/mcp'}\n"), "spec", "(found: mcp, plugin)"),
        (tool("  timeout: 5 minutes\n"), "spec.timeout", 'write "250ms", "30s", "5m" or "1h"'),
        (tool("  pricing: {perCall: 0.01}\n"), "spec.pricing.perCall", "must be text; put it in quotes"),
        (tool("  pricing: {perCall: '1e3'}\n"), "spec.pricing.perCall", 'write "12.50"'),
        (tool("  execution: later\n"), "spec.execution", "'inline', 'queued' or 'sandbox'"),
        (tool("  sideEffects: none\n"), "spec.sideEffects", "'readOnly', 'idempotent' or 'destructive'"),
        (tool("  retries: 9\n"), "spec.retries", "must be at most 5"),
        (tool("  parameters: {type: objec}\n"), "spec.parameters", "not a usable JSON Schema: type:"),
        (tool("  parameters: {type: array}\n"), "spec.parameters", 'must be "object"'),
        (tool("  parameters: 3\n"), "spec.parameters", "must be a mapping of fields"),
        (manifest("Tool", "  description: d\n  plugin: {name: it, config: {x: .nan}}\n"), "spec.plugin.config.x", "not a value that JSON has"),
        (manifest("Tool", "  description: d\n  plugin: {name: it, config: {x: !!binary aGk=}}\n"), "spec.plugin.config.x", "write text in quotes"),
        (manifest("Tool", "  description: d\n  plugin: {name: it, config: {1: a}}\n"), "spec.plugin.config.1", "write text in quotes"),
        (manifest("Tool", "  description: d\n  http: {url: 'http://x/y', headers: [{name: X-Key}]}\n"), "spec.http.headers.0", "exactly one of value, secretKeyRef must be set (found: none)"),
        (manifest("Tool", "  description: d\n  openapi: {}\n"), "spec.openapi", "exactly one of url, document must be set"),
        (manifest("Tool", "  description: d\n  mcp: {}\n"), "spec.mcp", "exactly one of url, stdio must be set"),
        (expert("  kserve: {storageUri: 'hf://a/b'}\n"), "spec", "exactly one of endpoint, kserve, inferenceServiceRef must be set (found: endpoint, kserve)"),
        (expert("  offers: []\n"), "spec.offers", "needs at least 1"),
        (expert("  offers: [{name: a}, {name: a}]\n"), "spec.offers", "each needs a name of its own (twice: a)"),
        (expert("  pricing: {input: '1'}\n"), "spec.pricing.output", "required; add it"),
        (manifest("ExpertModel", "  description: d\n  model: m\n  kserve: {storageUri: 'hf://a/b', minReplicas: 3}\n"), "spec.kserve", "minReplicas must not be more than maxReplicas"),
        (orchestrator("  policy: {}\n"), "spec.policy", "exactly one of baseline, expertModelRef must be set"),
        (orchestrator("  policy: {baseline: best}\n"), "spec.policy.baseline", "'cascade', 'cheapest', 'strongest' or 'random'"),
        (orchestrator("  policy: {baseline: cascade}\n  defaultPreference: {weights: {tools: {a: 2}}}\n"), "spec.defaultPreference.weights.tools.a", "must be at most 1"),
        (orchestrator("  policy: {baseline: cascade}\n  limits: {maxTurns: 51}\n"), "spec.limits.maxTurns", "must be at most 50"),
        (manifest("BudgetPolicy", "  timeZone: Mars/Olympus\n"), "spec.timeZone", 'write "Europe/Berlin"'),
        (manifest("BudgetPolicy", "  limits: {day: '-1'}\n"), "spec.limits.day", 'write "12.50"'),
        (manifest("BudgetPolicy", "  {}\n").replace("name: default", "name: other"), "(top level)", "metadata.name must be `default`"),
        (tool("").replace("{name: thing}", "{name: Not_a_name}"), "metadata.name", "must look like"),
        (tool("").replace("{name: thing}", "thing"), "metadata", "must be a mapping of fields"),
        (tool("").replace("kind: Tool", "kind: Toool"), "kind", "one of Tool, ExpertModel"),
        (tool("").replace("kind: Tool", "kind: [Tool]"), "kind", "one of Tool, ExpertModel"),
        (tool("").replace("v1alpha1", "v1"), "kind", "use apiVersion toolorchestra.dev/v1alpha1"),
    ],
)  # fmt: skip
def test_an_error_names_the_file_the_field_and_the_fix(text, field, fix):
    with pytest.raises(InvalidManifestError) as caught:
        read(text)
    assert caught.value.param == field
    assert str(caught.value).startswith("tools/a.yaml: ")
    assert fix in str(caught.value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: [", "not valid YAML"),
        ("a: b: c", "not valid YAML"),
        ("a: 1\na: 2", "found the key 'a' twice"),
        ("[" * 5_000, "not valid YAML"),
        ("? [a]\n: b", "not valid YAML"),
        ("a: \0", "not valid YAML"),
        ("- a", "must be a mapping"),
        ("text", "must be a mapping"),
        (HEAD.format(kind="Tool").replace("spec:", "spec: &a [*a]"), "it contains itself"),
    ],
)
def test_what_is_no_manifest_at_all_is_refused_with_the_file(text, problem):
    with pytest.raises(InvalidManifestError, match=r"^tools/a\.yaml: ") as caught:
        read(text)
    assert problem in str(caught.value)


def test_many_problems_are_told_at_once_but_not_all():
    spec = "".join(f"  wrong{n}: 1\n" for n in range(9))
    with pytest.raises(InvalidManifestError, match="and 4 more"):
        read(tool(spec))


def test_what_looks_like_a_date_stays_text():
    text = "  description: d\n  plugin: {name: it, config: {since: 2024-01-31, at: 2024-01-31T10:00:00Z}}\n"
    (found,) = read(manifest("Tool", text))
    assert found.spec.plugin.config == {"since": "2024-01-31", "at": "2024-01-31T10:00:00Z"}


@given(
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
        lambda i: st.one_of(st.lists(i, max_size=3), st.dictionaries(st.text(max_size=8), i, max_size=3)),
        max_leaves=8,
    )
)
def test_any_document_is_read_or_refused_never_a_crash(document):
    whole = {"apiVersion": "toolorchestra.dev/v1alpha1", "kind": "Tool", "metadata": {"name": "a"}, "spec": document}
    for candidate in (document, whole):
        with suppress(InvalidManifestError):
            assert parse_resource(candidate, source="x").metadata.name == "a"


@pytest.mark.parametrize("resource", [a_tool(), an_expert(), an_orchestrator()])
def test_a_resource_reads_back_from_its_own_manifest(resource):
    document = resource.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    document |= {"apiVersion": resource.api_version, "kind": resource.kind}
    assert parse_resource(document, source="x") == resource


def test_a_resource_does_not_change_once_it_is_read():
    with pytest.raises(ValueError, match="frozen"):
        a_tool().spec.timeout = "1s"


@pytest.mark.parametrize(
    ("rule", "user", "allowed"),
    [
        ({}, "other", False),
        ({}, "default", True),
        ({"from": "All"}, "other", True),
        ({"from": "Names", "names": ["other"]}, "other", True),
        ({"from": "Names", "names": ["else"]}, "other", False),
    ],
)
def test_a_resource_is_lent_as_it_says(rule, user, allowed):
    lent = a_tool(allowedNamespaces=rule)
    assert isinstance(lent, Tool)
    assert lent.spec.allowed_namespaces.allows(owner="default", user=user) is allowed


def test_every_field_of_every_kind_is_described():
    def undescribed(schema, path):
        for name, field in schema.get("properties", {}).items():
            if "description" not in field and "$ref" not in field:
                yield f"{path}.{name}"

    for kind, model in KINDS.items():
        schema = model.model_json_schema(by_alias=True)
        missing = [*undescribed(schema, kind)]
        for name, part in schema.get("$defs", {}).items():
            missing += undescribed(part, name)
        assert missing == []
