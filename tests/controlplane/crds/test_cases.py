"""Every rule of the CRDs with a manifest that keeps it and one that breaks it, told by a real API server with field and fix.

A case is a folder ``cases/<kind>/<rule>``: ``good.yaml`` is accepted; ``bad.yaml`` is refused with the fragments in its
``# message:`` lines; both change ``before.yaml``, where there is one.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.crds import Server
from toolorchestra.core.crds import definitions
from toolorchestra.core.errors import InvalidManifestError
from toolorchestra.core.resources import parse_resource

FOLDER = Path(__file__).parent / "cases"
CASES = sorted(path.parent for path in FOLDER.glob("*/*/bad.yaml"))
TRANSITIONS = [case for case in CASES if (case / "before.yaml").exists()]


def messages(case: Path) -> list[str]:
    return re.findall(r"^# message: (.+)$", (case / "bad.yaml").read_text(), re.MULTILINE)


def name_of(case: Path) -> str:
    return str(case.relative_to(FOLDER))


@pytest.fixture
def prepared(request: pytest.FixtureRequest, server: Server) -> Path:
    """A case, with the object in place that its manifests change."""
    case: Path = request.param
    if case in TRANSITIONS:
        assert server.apply((case / "before.yaml").read_text(), dry_run=False) == ""
    return case


@pytest.mark.parametrize("prepared", CASES, ids=name_of, indirect=True)
def test_the_good_manifest_is_accepted_and_the_bad_one_refused_with_field_and_fix(prepared: Path, server: Server) -> None:
    assert server.apply((prepared / "good.yaml").read_text()) == ""
    told = server.apply((prepared / "bad.yaml").read_text())
    assert messages(prepared)
    for message in messages(prepared):
        assert message in told


@pytest.mark.parametrize("case", [case for case in CASES if case not in TRANSITIONS], ids=name_of)
def test_files_are_judged_alike(case: Path) -> None:
    assert parse_resource(yaml.safe_load((case / "good.yaml").read_text()), source="good")
    with pytest.raises(InvalidManifestError):
        parse_resource(yaml.safe_load((case / "bad.yaml").read_text()), source="bad")


def constraints(schema: Any) -> Iterator[str]:
    """Every message of a CEL rule and every pattern in a schema."""
    if isinstance(schema, dict):
        yield from (rule["message"] for rule in schema.get("x-kubernetes-validations", ()))
        if isinstance(schema.get("pattern"), str):
            yield schema["pattern"]
        for inner in schema.values():
            yield from constraints(inner)


def test_every_rule_and_every_pattern_has_a_case() -> None:
    told = "\n".join(message for case in CASES for message in messages(case))
    for crd in definitions().values():
        schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        untried = [rule for rule in constraints(schema["properties"]["spec"]) if rule not in told]
        untried += [rule["message"] for rule in schema.get("x-kubernetes-validations", ()) if rule["message"] not in told]
        assert untried == []


def test_one_of_them_really_is_made_and_refused(server: Server) -> None:
    case = FOLDER / "expertmodel" / "replicas"
    server.kubectl("apply", "--server-side", "-n", server.namespace, "-f", case / "good.yaml")
    assert server.kubectl("get", "em", "case", "-n", server.namespace, "-o", "jsonpath={.spec.kserve.maxReplicas}") == "4"
    with pytest.raises(Exception, match="minReplicas must not be more than maxReplicas: lower minReplicas"):
        server.kubectl("apply", "--server-side", "-n", server.namespace, "-f", case / "bad.yaml")
