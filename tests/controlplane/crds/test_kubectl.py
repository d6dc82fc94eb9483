"""What ``kubectl`` shows and does with the platform's kinds: explain, get, short names, status, strictness, our own manifests."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.cluster.steps import ClusterError
from tests.support.crds import ROOT, Server, manifests_in
from toolorchestra.core.crds import CATEGORY, NAMES
from toolorchestra.core.resources import API_VERSION, KINDS

SMALL: dict[str, dict[str, Any]] = {
    "Tool": {"description": "Counts.", "plugin": {"name": "counter"}},
    "ExpertModel": {"description": "Knows.", "model": "m", "endpoint": {"baseUrl": "https://example.org/v1"}},
    "Orchestrator": {"policy": {"baseline": "cascade"}},
    "BudgetPolicy": {"limits": {"day": "2.00"}},
    **{kind: {"image": "registry.example/job:1"} for kind in ("ToolScaleDataset", "TrainingRun", "Evaluation")},
}
SKIPPED = {"cases", "templates", "node_modules", "build", "dist"}  # cases are tried one by one, templates as they are rendered


def manifest(kind: str, **fields: Any) -> dict[str, Any]:
    name = "default" if kind == "BudgetPolicy" else "small"
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": SMALL[kind]} | fields


def make(server: Server, kind: str) -> None:
    assert server.create(manifest(kind), dry_run=False) == ""


def undescribed(schema: dict[str, Any], path: str) -> Iterator[str]:
    for name, field in schema.get("properties", {}).items():
        if not field.get("description"):
            yield f"{path}.{name}"
        inner = field.get("items", field)
        yield from undescribed(inner if isinstance(inner, dict) else {}, f"{path}.{name}")


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_that_is_published_is_described(kind: str, server: Server) -> None:
    schema = server.published()["components"]["schemas"][f"dev.toolorchestra.v1alpha1.{kind}"]
    assert schema["description"]
    for part in ("spec", "status"):
        assert schema["properties"][part]["description"]
        assert [*undescribed(schema["properties"][part], part)] == []


def test_explain_shows_the_fields_with_their_defaults_and_no_empty_description(server: Server) -> None:
    shown = server.kubectl("explain", "tool.spec.http")
    assert "HTTP method. Default: GET." in shown
    assert "<no description>" not in shown
    tree = server.kubectl("explain", "tool.spec.http", "--recursive").split("FIELDS:")[1]
    names = {line.split()[0] for line in tree.splitlines() if "<" in line}
    assert {"method", "url", "headers", "secretKeyRef", "body", "result"} <= names


@pytest.mark.parametrize(("kind", "naming"), NAMES.items(), ids=NAMES)
def test_get_shows_the_main_condition_its_reason_and_the_age(kind: str, naming: Any, server: Server) -> None:
    make(server, kind)
    now = "2026-01-01T00:00:00Z"
    condition = {"status": "False", "reason": "SecretMissing", "message": "spec: add it", "lastTransitionTime": now}
    patch = {"status": {"conditions": [{"type": naming.main_condition, **condition}]}}
    name = manifest(kind)["metadata"]["name"]
    where = ("-n", server.namespace)
    server.kubectl("patch", naming.short, name, *where, "--subresource=status", "--type=merge", "-p", json.dumps(patch))

    head, line = server.kubectl("get", naming.short, *where).splitlines()
    assert head.split()[:3] == ["NAME", naming.main_condition.upper(), "REASON"]
    assert head.split()[-1] == "AGE"
    assert line.split()[:3] == [name, "False", "SecretMissing"]
    wide = server.kubectl("get", naming.short, *where, "-o", "wide")
    assert "spec: add it" in wide
    ready = ("wait", f"--for=condition={naming.main_condition}=False", f"{naming.plural}/{name}", *where, "--timeout=5s")
    assert "condition met" in server.kubectl(*ready)


def test_the_category_lists_every_kind(server: Server) -> None:
    for kind in KINDS:
        make(server, kind)
    listed = server.kubectl("get", CATEGORY, "-n", server.namespace, "-o", "name").split()
    assert {line.split(".")[0] for line in listed} == {kind.lower() for kind in KINDS}


def test_the_short_names_are_nobody_elses(server: Server) -> None:
    offered = [line.split() for line in server.kubectl("api-resources", "--no-headers").splitlines()]
    for naming in NAMES.values():
        assert [line[0] for line in offered if naming.short in line[1].split(",")] == [naming.plural]


def test_status_is_written_apart_from_the_spec(server: Server) -> None:
    make(server, "Tool")
    where = ("tool", "small", "-n", server.namespace)
    server.kubectl("patch", *where, "--type=merge", "-p", '{"status": {"latencyMs": 5}, "spec": {"timeout": "1s"}}')
    written = json.loads(server.kubectl("get", *where, "-o", "json"))
    assert "status" not in written
    assert (written["spec"]["timeout"], written["metadata"]["generation"]) == ("1s", 2)

    body = '{"status": {"latencyMs": 5}, "spec": {"timeout": "2s"}}'
    server.kubectl("patch", *where, "--type=merge", "--subresource=status", "-p", body)
    observed = json.loads(server.kubectl("get", *where, "-o", "json"))
    assert observed["status"] == {"latencyMs": 5}
    assert (observed["spec"]["timeout"], observed["metadata"]["generation"]) == ("1s", 2)


def test_a_status_of_every_field_is_kept_as_it_was_written(server: Server) -> None:
    make(server, "Tool")
    operation = {
        "name": "count",
        "description": "Counts.",
        "parameters": {"type": "object", "properties": {"n": {"type": ["integer", "null"]}}},
        "schemaHash": "sha256:1",
        "sideEffects": "readOnly",
        "details": {"method": "GET", "path": "/count"},
        "state": "Accepted",
    }
    status = {
        "observedGeneration": 1,
        "schemaHash": "sha256:1",
        "functions": ["small__count"],
        "operations": [operation],
        "operationCount": 1,
        "latencyMs": 7,
        "sandbox": "gvisor",
        "probedAt": "2026-01-01T00:00:00Z",
    }
    where = ("tool", "small", "-n", server.namespace)
    server.kubectl("patch", *where, "--type=merge", "--subresource=status", "-p", json.dumps({"status": status}))
    assert json.loads(server.kubectl("get", *where, "-o", "json"))["status"] == status


def test_defaults_stand_in_the_object_that_was_made(server: Server) -> None:
    make(server, "ExpertModel")
    made = json.loads(server.kubectl("get", "em", "small", "-n", server.namespace, "-o", "json"))
    parsed = KINDS["ExpertModel"].model_validate(manifest("ExpertModel"))
    assert made["spec"]["offers"] == [{"name": "answer"}]
    assert KINDS["ExpertModel"].model_validate(made).spec == parsed.spec


def test_an_unknown_field_is_refused(server: Server) -> None:
    text = yaml.safe_dump(manifest("Tool", spec=SMALL["Tool"] | {"colour": "red"}))
    with pytest.raises(ClusterError, match=r"unknown field \"spec\.colour\""):
        server.kubectl("create", "-n", server.namespace, "-f", "-", stdin=text)
    with pytest.raises(ClusterError, match=r"\.spec\.colour: field not declared in schema"):
        server.kubectl("apply", "--server-side", "-n", server.namespace, "-f", "-", stdin=text)


def our_manifests() -> Iterator[tuple[str, str]]:
    for folder, inner, files in os.walk(ROOT):
        inner[:] = sorted(name for name in inner if name not in SKIPPED and not name.startswith("."))
        for path in (Path(folder, name) for name in sorted(files) if name.endswith((".md", ".yaml"))):
            yield from ((str(path.relative_to(ROOT)), text) for text in manifests_in(path))


OURS = list(our_manifests())


def test_the_search_for_our_manifests_finds_them() -> None:
    found = {path.split("/")[0] for path, _ in OURS}
    assert {"README.md", "docs", "tools", "services", "infra"} <= found


@pytest.mark.parametrize(("path", "text"), OURS, ids=[path for path, _ in OURS])
def test_every_manifest_in_this_repository_is_accepted(path: str, text: str, server: Server) -> None:
    assert server.apply(text) == ""


@pytest.mark.parametrize("path", sorted((ROOT / "infra/examples").rglob("*.yaml")), ids=lambda path: path.stem)
def test_example_files_are_accepted_as_a_whole(path: Path, server: Server) -> None:
    applied = server.kubectl("apply", "--server-side", "--dry-run=server", "-n", server.namespace, "-f", str(path))
    assert len(applied.splitlines()) == path.read_text().count("apiVersion:")
