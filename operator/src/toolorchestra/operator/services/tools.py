"""Tools: is the spec usable, can its secrets be read, does its server answer, and what does it offer."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from toolorchestra.core.errors import InvalidRequestError
from toolorchestra.core.registry import DiscoveredOperation, Observation
from toolorchestra.core.resources import SecretKeyRef, Tool, ToolSpec
from toolorchestra.executors.discovery import SEPARATOR, schema_hash
from toolorchestra.executors.faults import blamed
from toolorchestra.executors.plugin import Plugins
from toolorchestra.executors.probe import Prober
from toolorchestra.operator.plan import Condition, Plan, State, roll_up
from toolorchestra.operator.services.collisions import collision, hidden
from toolorchestra.operator.services.index import Index
from toolorchestra.operator.services.kinds import TYPES, Kind, Seen
from toolorchestra.operator.services.sandboxes import SandboxReports, SandboxSeen, sandboxed
from toolorchestra.operator.services.secrets import SecretCheck
from toolorchestra.operator.services.status import timestamp

ACCEPTED: Final = "Accepted"
DRIFTED: Final = "Drifted"
MAX_OPERATIONS: Final = 256
MAX_OPERATIONS_BYTES: Final = 900_000  # an API server takes objects of 1.5 MB
NOT_READY_AGAIN_MS: Final = 30_000
# What a probe finds wrong with the spec rather than with the server.
_SPEC_REASONS: Final = frozenset({"InvalidSpec", "NotInstalled", "NoBackend", "StdioNotAllowed"})


@dataclass(frozen=True, slots=True)
class ToolObserved:
    """What is known of a Tool. ``probe`` is None when none was made; ``operations`` are those stored before; ``sandbox`` is
    None for one that runs elsewhere.
    """

    operations: Sequence[Mapping[str, Any]]
    collision: str | None
    hidden: str | None
    secrets: Condition | None
    probe: Observation | None
    latency_ms: int | None
    now: datetime
    probe_interval_ms: int
    sandbox: SandboxSeen | None = None


def tool_kind(
    prober: Prober,
    plugins: Plugins,
    secrets: SecretCheck,
    index: Index,
    *,
    sandboxes: SandboxReports,
    probe_interval_ms: int,
) -> Kind[Tool, ToolObserved]:
    """How Tools are reconciled."""

    async def gather(tool: Tool, seen: Seen) -> ToolObserved:
        operations = tuple(seen.status.get("operations") or ())
        readable = await secrets.check(tool.metadata.namespace, tool_secrets(tool.spec))
        usable = not _is_stdio(tool.spec) and (readable is None or readable.is_true)
        began = time.monotonic()
        probe = await _probe(prober, plugins, tool, operations) if usable else None
        took_ms = round((time.monotonic() - began) * 1_000)
        names = {f"{tool.metadata.name}{SEPARATOR}{one.name}" for one in probe.operations} if probe else set()
        return ToolObserved(
            operations=operations,
            collision=collision(index, tool, names or None),
            hidden=hidden(index, tool),
            secrets=readable,
            probe=probe,
            latency_ms=took_ms if probe is not None and tool.spec.plugin is None else None,
            now=seen.now,
            probe_interval_ms=probe_interval_ms,
            sandbox=await sandboxes.look(tool.spec, seen.status),
        )

    return Kind(
        of=TYPES["Tool"],
        model=Tool,
        conditions=(ACCEPTED, "Reachable"),
        headline="Ready",
        gather=gather,
        reconcile=reconcile_tool,
    )


async def _probe(prober: Prober, plugins: Plugins, tool: Tool, operations: Sequence[Mapping[str, Any]]) -> Observation:
    """Ask the server. A plug-in is built and not tried: it runs in workers, with what their pods have."""
    if tool.spec.plugin is None:
        return await prober.probe_tool(tool, known=pins(operations))
    try:
        plugins.get(tool.spec.plugin)
    except InvalidRequestError as error:
        return Observation(ready=False, reason="InvalidSpec", message=blamed(error, field="spec.plugin"))
    return Observation(ready=True, reason="Installed")


def reconcile_tool(tool: Tool, observed: ToolObserved) -> Plan:
    """Accepted, SecretsReadable (with secrets), Reachable, Sandboxed (in a sandbox), Ready; what is offered, and when seen."""
    operations = operations_of(tool, observed)
    conditions = [_accepted(tool, observed, operations), *_secrets(observed), _reachable(tool, observed)]
    rung: str | None = None
    if observed.sandbox is not None:
        isolation, rung = sandboxed(tool.spec, observed.sandbox)
        conditions.append(isolation)
    ready = roll_up("Ready", *conditions)
    functions = _functions(tool, operations)
    status = {
        "schemaHash": _hash(tool, operations),
        "functions": functions[:MAX_OPERATIONS],
        "operations": _storable(operations) or None,
        "operationCount": len(operations) if _discovers(tool.spec) else None,
        "latencyMs": observed.latency_ms,
        "sandbox": rung,
        "probedAt": timestamp(observed.now) if observed.probe else None,
    }
    again = observed.probe_interval_ms if ready.is_true else min(NOT_READY_AGAIN_MS, observed.probe_interval_ms)
    return Plan(conditions=[*conditions, ready], status=status, again_ms=again)


def operations_of(tool: Tool, observed: ToolObserved) -> list[dict[str, Any]]:
    """The operations to store: those offered now; drifted ones as they were accepted; those known, if nobody answers."""
    if not _discovers(tool.spec):
        return []
    probe, before = observed.probe, {_remote(one): one for one in observed.operations}
    if probe is None or not (probe.operations or probe.details.get("drifted")):
        return [dict(one) for one in observed.operations]
    found = [_offered(operation) for operation in probe.operations]
    drifted = probe.details.get("drifted") or {}
    return found + [_drifted(remote, offered, before.get(remote), tool) for remote, offered in sorted(drifted.items())]


def pins(operations: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The hash first seen per remote name: what is offered under another one has drifted."""
    return {_remote(one): one["schemaHash"] for one in operations}


def tool_secrets(spec: ToolSpec) -> dict[str, SecretKeyRef]:
    """All secrets that a tool names, by the paths of their fields."""
    if spec.plugin is not None:
        return {f"spec.plugin.secrets.{name}": ref for name, ref in spec.plugin.secrets.items()}
    kind, backend = next((kind, one) for kind in ("http", "openapi", "mcp") if (one := getattr(spec, kind)) is not None)
    refs = {one.name: one.secret_key_ref for one in backend.headers if one.secret_key_ref is not None}
    return {f"spec.{kind}.headers[{name}].secretKeyRef": ref for name, ref in refs.items()}


def _accepted(tool: Tool, observed: ToolObserved, operations: Sequence[Mapping[str, Any]]) -> Condition:
    if _is_stdio(tool.spec):
        text = "spec.mcp.stdio starts a process, which a cluster does not allow; set spec.mcp.url to a server that runs"
        return Condition(ACCEPTED, State.FALSE, "StdioNotAllowed", text)
    if tool.spec.execution == "sandbox" and tool_secrets(tool.spec):
        text = "spec.execution: sandboxed tools get no secrets; set it to queued, or remove the secrets"
        return Condition(ACCEPTED, State.FALSE, "SecretsInSandbox", text)
    if observed.collision is not None:
        return Condition(ACCEPTED, State.FALSE, "NameCollision", observed.collision)
    probe = observed.probe
    if probe is not None and probe.reason in _SPEC_REASONS:
        return Condition(ACCEPTED, State.FALSE, probe.reason, probe.message)
    drifted = [one for one in operations if one["state"] == DRIFTED]
    if drifted:
        all_of_them = len(drifted) == len(operations)
        return Condition(
            ACCEPTED, State.FALSE if all_of_them else State.TRUE, DRIFTED if all_of_them else "PartlyDrifted", _drift(drifted)
        )
    notes = [*_notes(tool.spec), *([("HidesLent", observed.hidden)] if observed.hidden else [])]
    return Condition(ACCEPTED, State.TRUE, notes[0][0] if notes else ACCEPTED, "; ".join(text for _, text in notes))


def _notes(spec: ToolSpec) -> Iterator[tuple[str, str]]:
    """What is accepted and may still surprise: reason and text."""
    if _discovers(spec) and spec.parameters != ToolSpec.model_fields["parameters"].get_default(call_default_factory=True):
        yield "ParametersUnused", "spec.parameters has no effect: each operation brings its own; remove it"
    if spec.retries and spec.side_effects == "destructive":
        text = "spec.retries has no effect: what is destructive is never repeated; set spec.sideEffects, or remove spec.retries"
        yield "NeverRetried", text


def _secrets(observed: ToolObserved) -> list[Condition]:
    return [observed.secrets] if observed.secrets is not None else []


def _reachable(tool: Tool, observed: ToolObserved) -> Condition:
    probe = observed.probe
    if probe is None:
        reason = "StdioNotAllowed" if _is_stdio(tool.spec) else "SecretsNotReadable"
        return Condition("Reachable", State.UNKNOWN, reason, "it was not tried")
    if probe.reason in _SPEC_REASONS:
        return Condition("Reachable", State.UNKNOWN, probe.reason, "it was not tried")
    if probe.ready or probe.reason == DRIFTED:
        # What is wrong with single operations is told, and does not make the others fail.
        told = "" if probe.reason == DRIFTED else probe.message
        found = "Installed" if tool.spec.plugin else "PartlyOffered" if told else "Reachable"
        return Condition("Reachable", State.TRUE, found, told)
    return Condition("Reachable", State.FALSE, probe.reason, probe.message)


def _storable(operations: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """As many operations as an object has room for; ``operationCount`` tells how many there are."""
    room, kept = MAX_OPERATIONS_BYTES, []
    for operation in operations[:MAX_OPERATIONS]:
        room -= len(json.dumps(operation))
        if room < 0:
            break
        kept.append(operation)
    return kept


def _drift(drifted: Sequence[Mapping[str, Any]]) -> str:
    wanted = ", ".join(f"{_remote(one)}: {one['details']['offeredHash']}" for one in drifted)
    return f"changed at the server; look at it, then accept it by spec.mcp.acceptedHashes ({wanted})"


def _offered(operation: DiscoveredOperation) -> dict[str, Any]:
    offered = {
        "name": operation.name,
        "description": operation.description,
        "parameters": dict(operation.parameters),
        "schemaHash": operation.schema_hash,
        "sideEffects": operation.side_effects,
        "details": dict(operation.details),
        "state": ACCEPTED,
    }
    return {key: value for key, value in offered.items() if value is not None}


def _drifted(remote: str, offered: str, before: Mapping[str, Any] | None, tool: Tool) -> dict[str, Any]:
    pinned = tool.spec.mcp.accepted_hashes.get(remote) if tool.spec.mcp else None
    kept = before or {"name": remote, "description": "", "parameters": {}, "details": {"remoteName": remote}}
    details = {**kept["details"], "offeredHash": offered}
    return {**kept, "schemaHash": pinned or kept["schemaHash"], "details": details, "state": DRIFTED}


def _remote(operation: Mapping[str, Any]) -> str:
    return str((operation.get("details") or {}).get("remoteName") or operation["name"])


def _functions(tool: Tool, operations: Sequence[Mapping[str, Any]]) -> list[str]:
    name = tool.metadata.name
    if not _discovers(tool.spec):
        return [name]
    return [f"{name}{SEPARATOR}{one['name']}" for one in operations if one["state"] == ACCEPTED]


def _hash(tool: Tool, operations: Sequence[Mapping[str, Any]]) -> str | None:
    """Names what a model is told of the tool."""
    if not _discovers(tool.spec):
        return schema_hash(tool.metadata.name, tool.spec.description, tool.spec.parameters)
    return schema_hash(tool.metadata.name, "", pins(operations)) if operations else None


def _discovers(spec: ToolSpec) -> bool:
    return spec.openapi is not None or spec.mcp is not None


def _is_stdio(spec: ToolSpec) -> bool:
    return spec.mcp is not None and spec.mcp.stdio is not None
