"""The sandbox as observed: what is tried, and what the findings mean."""

import json
import os
from collections.abc import Mapping
from typing import Any

from toolorchestra.core.errors import InvalidManifestError, UnavailableError
from toolorchestra.core.plugins import PluginContext, PluginResult, Readiness
from toolorchestra.worker.sandbox import METADATA, OUTSIDE, forget_secrets, neighbours, observe


class CodeTool:
    """A code tool that finds what it is told to find."""

    def __init__(self, readiness: Readiness, found: Mapping[str, str] | Exception) -> None:
        self.ran: list[str] = []
        self._readiness = readiness
        self._found = found

    async def run(self, arguments: Mapping[str, Any], context: PluginContext) -> PluginResult:
        self.ran.append(arguments["code"])
        if isinstance(self._found, Exception):
            raise self._found
        return PluginResult(json.dumps(dict(self._found)))

    async def check(self, secrets: Mapping[str, str]) -> Readiness:
        return self._readiness


READY = Readiness(ready=True, details={"sandboxRung": "process", "network": "namespace"})
CLOSED = {"metadata": "closed", "outside": "closed"}


async def test_a_closed_sandbox_has_the_rung_that_it_was_found_to_have():
    tool = CodeTool(READY, CLOSED)

    findings = await observe({"metadata": METADATA}, find_plugin=lambda _: lambda _: tool)

    assert (findings.rung, findings.reach, findings.layers) == ("process", CLOSED, {"network": "namespace"})
    assert METADATA[0] in tool.ran[0]


async def test_a_sandbox_from_which_something_can_be_reached_has_no_rung():
    tool = CodeTool(READY, {**CLOSED, "database": "open"})

    findings = await observe({}, find_plugin=lambda _: lambda _: tool)

    assert findings.rung is None
    assert "database" in findings.message


async def test_nothing_is_tried_where_code_would_not_be_isolated():
    tool = CodeTool(Readiness(ready=False, reason="SandboxOpen", message="code got out"), CLOSED)

    findings = await observe({}, find_plugin=lambda _: lambda _: tool)

    assert (findings.rung, findings.message, tool.ran) == (None, "code got out", [])


async def test_a_worker_without_the_code_tool_has_no_rung():
    def missing(name: str) -> Any:
        raise InvalidManifestError(f"the plug-in {name!r} is not installed")

    findings = await observe({}, find_plugin=missing)

    assert findings.rung is None
    assert "not installed" in findings.message


async def test_a_sandbox_that_fails_while_it_is_observed_has_no_rung():
    tool = CodeTool(READY, UnavailableError("the sandbox could not be set up"))

    assert (await observe({}, find_plugin=lambda _: lambda _: tool)).rung is None


async def test_an_unknown_rung_is_not_believed():
    tool = CodeTool(Readiness(ready=True, details={"sandboxRung": "castle"}), CLOSED)

    assert (await observe({}, find_plugin=lambda _: lambda _: tool)).rung is None


def test_the_database_and_the_api_server_are_neighbours_if_they_have_addresses():
    inside = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "6443"}

    assert neighbours("postgresql://u:p@db.example:5433/x", inside) == {
        "metadata": METADATA, "outside": OUTSIDE, "apiServer": ("10.0.0.1", 6443), "database": ("db.example", 5433),
    }  # fmt: skip
    assert neighbours("postgresql://u:p@one,two:5433/x", {})["database"] == ("one", 5432)
    assert neighbours("postgresql://postgres@/x?host=/run/pg", {}) == {"metadata": METADATA, "outside": OUTSIDE}


def test_the_environment_keeps_what_programs_need_and_nothing_else(monkeypatch):
    with monkeypatch.context() as environment:
        environment.setattr(os, "environ", {"PATH": "/bin", "LC_ALL": "C", "TOOLORCHESTRA_BROKER_URL": "x", "API_KEY": "y"})

        forget_secrets()

        assert os.environ == {"PATH": "/bin", "LC_ALL": "C"}
