"""The tools of questions, real in every evaluation: installed plug-ins, called in this process when there is no platform.

Only their latency is virtual in memory (what their manifest says is typical), so that a rerun gives the same report.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import ValidationError
from typing_extensions import override

from toolorchestra.core.calls import CallRequest, Executor, Outcome, Status
from toolorchestra.core.errors import InvalidManifestError, ToolOrchestraError
from toolorchestra.core.functions import ToolTarget
from toolorchestra.core.plugins import ENTRY_POINT_GROUP, PluginContext, PluginFactory, ToolPlugin
from toolorchestra.core.pricing import cost
from toolorchestra.core.resources import Tool
from toolorchestra.core.resources.manifest import describe
from toolorchestra.core.resources.meta import API_VERSION, DEFAULT_NAMESPACE

_TEXT: Final = {"type": "string", "minLength": 1}
_SHIPPED: Final[Mapping[str, Mapping[str, Any]]] = {
    "calculator": {
        "description": "Computes one arithmetic expression exactly, with percentages and the usual functions.",
        "capabilities": ["arithmetic"],
        "parameters": {"properties": {"expression": _TEXT}, "required": ["expression"]},
        "plugin": {"name": "calculator"},
        "typicalLatency": "1ms",
    },
    "local-search": {
        "description": "Searches a local collection of short encyclopaedic articles and the documentation of ToolOrchestra.",
        "capabilities": ["search"],
        "parameters": {
            "properties": {"query": _TEXT, "limit": {"type": "integer", "minimum": 1, "maximum": 10}},
            "required": ["query"],
        },
        "plugin": {"name": "local_search", "config": {"folders": ["corpus"]}},
        "typicalLatency": "5ms",
    },
    "python": {
        "description": "Runs a Python program in a sandbox and returns what it prints. Standard library only.",
        "capabilities": ["code"],
        "parameters": {"properties": {"code": _TEXT}, "required": ["code"]},
        "plugin": {"name": "python"},
        "execution": "sandbox",
        "typicalLatency": "60ms",
    },
}


def real_tools(files: Sequence[str] = (), *, namespace: str = DEFAULT_NAMESPACE) -> list[Tool]:
    """The Tools in these manifests, or else the shipped ones whose plug-ins are installed.

    Raises InvalidManifestError that names the file and the field.
    """
    if files:
        return [_tool(body, namespace, path) for path in files for body in _bodies(path)]
    installed = {point.name for point in entry_points(group=ENTRY_POINT_GROUP)}
    found = {name: spec for name, spec in _SHIPPED.items() if spec["plugin"]["name"] in installed}
    return [_tool(_body(name, spec), namespace, name) for name, spec in found.items()]


def _body(name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    parameters = {"type": "object", "additionalProperties": False, **spec["parameters"]}
    full = {**spec, "parameters": parameters, "sideEffects": "readOnly", "timeout": "20s"}
    return {"apiVersion": API_VERSION, "kind": "Tool", "metadata": {"name": name}, "spec": full}


def _bodies(path: str) -> list[dict[str, Any]]:
    try:
        found = [body for body in yaml.safe_load_all(Path(path).read_text(encoding="utf-8")) if body]
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidManifestError(f"{path}: cannot be read as YAML: {error}", param="tools", hint="name a manifest") from error
    return [body for body in found if isinstance(body, dict) and body.get("kind") == "Tool"]


def _tool(body: Mapping[str, Any], namespace: str, source: str) -> Tool:
    metadata = {**body.get("metadata", {}), "namespace": namespace}
    try:
        return Tool.model_validate({**body, "metadata": metadata})
    except ValidationError as error:
        raise InvalidManifestError(f"{source}: {describe(error)}", param="tools") from error


class PluginExecutor(Executor):
    """Calls installed plug-ins in this process, each built once per configuration."""

    def __init__(self) -> None:
        self._built: dict[str, ToolPlugin] = {}
        self._known: dict[tuple[str, str], Outcome] = {}

    @override
    async def execute(self, call: CallRequest) -> Outcome:
        """The outcome; equal calls of these tools, which only read, have equal ones and are made once."""
        key = call.function.name, json.dumps(call.arguments, sort_keys=True)
        if key not in self._known:
            self._known[key] = await self._execute(call)
        return self._known[key]

    async def _execute(self, call: CallRequest) -> Outcome:
        context = PluginContext(call.call_id, call.tenant, call.timeout_ms, call.idempotency_key, call.session)
        spent = {
            "latency_ms": call.function.typical_latency_ms or 0,
            "cost_nano_usd": cost(call.function.price, milliseconds=call.function.typical_latency_ms or 0),
        }
        try:
            async with asyncio.timeout(call.timeout_ms / 1_000):
                result = await self._plugin(call).run(call.arguments, context)
        except TimeoutError:
            return Outcome(status=Status.TIMEOUT, content="the call did not end in time", error_code="call_timeout", **spent)
        except ToolOrchestraError as error:
            return Outcome(status=Status.ERROR, content=str(error), error_code=error.code, **spent)
        content = result.content
        text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
        return Outcome(status=Status.OK, content=text, **spent)

    def _plugin(self, call: CallRequest) -> ToolPlugin:
        target = call.function.target
        backend = target.spec.plugin if isinstance(target, ToolTarget) else None
        points = [] if backend is None else [one for one in entry_points(group=ENTRY_POINT_GROUP) if one.name == backend.name]
        if backend is None or not points:
            raise InvalidManifestError(
                f"{call.function.name}: only installed plug-ins are called without a platform",
                param="tools",
                hint="install its plug-in, or evaluate with --platform",
            )
        key = f"{backend.name} {json.dumps(backend.config, sort_keys=True)}"
        if key not in self._built:
            factory: PluginFactory = points[0].load()
            self._built[key] = factory(backend.config)
        return self._built[key]
