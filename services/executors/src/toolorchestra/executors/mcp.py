"""Tools of Model Context Protocol servers: discovery with pinned schemas, and calls."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Final, cast

from mcp import Client, MCPError
from mcp_types import (
    HEADER_MISMATCH,
    AudioContent,
    BlobResourceContents,
    CallToolRequest,
    CallToolRequestParams,
    CallToolResult,
    ContentBlock,
    EmbeddedResource,
    ImageContent,
    InputRequiredResult,
    ResourceLink,
    TextContent,
    ToolAnnotations,
)
from mcp_types import Tool as RemoteTool
from pydantic import TypeAdapter

from toolorchestra.core.calls import CallRequest, Outcome, Status
from toolorchestra.core.errors import ForbiddenError, InvalidManifestError, ToolOrchestraError, UpstreamError
from toolorchestra.core.functions import ToolTarget
from toolorchestra.core.registry import DiscoveredOperation
from toolorchestra.core.resources import Tool
from toolorchestra.core.resources.tool import McpBackend
from toolorchestra.core.sessions import SESSION_META
from toolorchestra.executors.discovery import Discovery, operation_name, schema_hash, unique
from toolorchestra.executors.headers import trace_headers
from toolorchestra.executors.mcp_sessions import McpSessions, McpUnreachableError
from toolorchestra.executors.outcomes import failure, timed_out

MAX_PAGES: Final = 100
MAX_TOOLS: Final = 5_000
MAX_DESCRIPTION: Final = 4_096
CALL_ID: Final = "toolorchestra.dev/call-id"
IDEMPOTENCY_KEY: Final = "toolorchestra.dev/idempotency-key"

_ANSWER: Final[TypeAdapter[CallToolResult | InputRequiredResult]] = TypeAdapter(CallToolResult | InputRequiredResult)


class DriftedError(ForbiddenError):
    """A tool's schema is not the one that was accepted."""

    code = "drifted"


class McpDiscovery:
    """Lists what MCP servers offer."""

    def __init__(self, sessions: McpSessions) -> None:
        self._sessions = sessions

    async def discover(self, tool: Tool, *, known: Mapping[str, str] | None = None) -> Discovery:
        """The server's tools. ``known`` holds the hash first seen per remote name; the manifest's accepted ones win."""
        backend = tool.spec.mcp
        if backend is None:
            raise InvalidManifestError(f"{tool.metadata.name} has no mcp backend", param="spec.mcp")
        async with self._sessions.open(backend, tool.metadata.namespace) as client:
            listed = await list_all(client)
            version = client.protocol_version
        wanted = [t for t in listed if not backend.tools or t.name in backend.tools]
        pinned = {**(known or {}), **backend.accepted_hashes}
        found = [_operation(tool.metadata.name, remote, version) for remote in wanted]
        drifted = {_remote(o): o.schema_hash for o in found if pinned.get(_remote(o), o.schema_hash) != o.schema_hash}
        kept, twice = unique(operation for operation in found if _remote(operation) not in drifted)
        names = {t.name for t in listed}
        problems = [f"spec.mcp.tools: the server has no tool {name!r}" for name in sorted(set(backend.tools) - names)]
        unused = sorted(set(backend.accepted_hashes) - names)
        problems += [f"spec.mcp.acceptedHashes: the server has no tool {name!r}" for name in unused]
        problems += [f"two tools are called {name!r}" for name in twice]
        return Discovery(kept, tuple(problems), drifted)


class McpExecutor:
    """Calls tools of MCP servers, one short session per call."""

    def __init__(self, sessions: McpSessions) -> None:
        self._sessions = sessions

    async def execute(self, call: CallRequest) -> Outcome:
        """The outcome of ``tools/call``; cancellation closes the session, which tells the server to stop."""
        sent = False
        try:
            target, backend = _target(call)
            async with asyncio.timeout(call.timeout_ms / 1_000):
                async with self._sessions.open(
                    backend, target.namespace, version=target.details.get("protocolVersion")
                ) as client:
                    sent = True
                    result = await _call(client, remote_name(target), call)
        except TimeoutError:
            return timed_out(call.function, call.timeout_ms, sent=sent)
        except ToolOrchestraError as error:
            return failure(error, sent=sent and not isinstance(error, McpUnreachableError | ForbiddenError))
        return _outcome(result)


async def list_all(client: Client) -> list[RemoteTool]:
    """All tools, page by page. Raises UpstreamError for a listing without end."""
    found: list[RemoteTool] = []
    cursor: str | None = None
    for _ in range(MAX_PAGES):
        page = await client.list_tools(cursor=cursor)
        found += page.tools
        cursor = page.next_cursor
        if cursor is None and len(found) <= MAX_TOOLS:
            return found
    raise UpstreamError(f"the MCP server lists more than {MAX_TOOLS} tools or {MAX_PAGES} pages")


def remote_name(target: ToolTarget) -> str:
    """The tool's name at its server, which function names may not be able to hold."""
    return str(target.details.get("remoteName") or target.operation or target.name)


def as_text(result: CallToolResult) -> str:
    """A result as text: its text parts, marks for what is no text, or its structured content if that is all."""
    parts = [_block(block) for block in result.content]
    if any(isinstance(block, TextContent | EmbeddedResource) for block in result.content):
        return "\n".join(parts)
    if result.structured_content is not None:
        parts.append(json.dumps(result.structured_content, ensure_ascii=False))
    return "\n".join(parts) or "done (empty answer)"


async def _call(client: Client, name: str, call: CallRequest) -> CallToolResult | InputRequiredResult:
    meta = {**trace_headers(call.headers), CALL_ID: call.call_id, IDEMPOTENCY_KEY: call.idempotency_key}
    if call.session is not None:
        meta[SESSION_META] = call.session
    request = CallToolRequest(params=CallToolRequestParams(name=name, arguments=dict(call.arguments), _meta=cast("Any", meta)))
    # Not `client.call_tool`: it lists all tools again after each call, to check the result against its schema.
    try:
        return await client.session.send_request(request, _ANSWER)
    except MCPError as error:
        if error.code != HEADER_MISMATCH:
            raise
    # The server wants arguments mirrored in headers, which only a listing shows; it has not run the tool.
    await list_all(client)
    return await client.session.send_request(request, _ANSWER)


def _target(call: CallRequest) -> tuple[ToolTarget, McpBackend]:
    target = call.function.target
    if not isinstance(target, ToolTarget) or target.spec.mcp is None:
        raise InvalidManifestError(f"{call.function.name} has no mcp backend", param="spec.mcp")
    accepted = target.spec.mcp.accepted_hashes.get(remote_name(target))
    seen = target.details.get("schemaHash")
    if accepted is not None and seen is not None and accepted != seen:
        raise DriftedError(
            f"the schema of {remote_name(target)!r} is not the accepted one",
            param="spec.mcp.acceptedHashes",
            hint=f"look at it, then accept {seen}",
        )
    return target, target.spec.mcp


def _operation(tool: str, remote: RemoteTool, version: str) -> DiscoveredOperation:
    description = remote.description or remote.title or ""
    digest = schema_hash(remote.name, description, remote.input_schema)
    return DiscoveredOperation(
        name=operation_name(tool, remote.name),
        description=description[:MAX_DESCRIPTION],
        parameters=remote.input_schema,
        schema_hash=digest,
        side_effects=_hint(remote.annotations),
        details={"remoteName": remote.name, "protocolVersion": version, "schemaHash": digest},
    )


def _remote(operation: DiscoveredOperation) -> str:
    return str(operation.details["remoteName"])


def _hint(annotations: ToolAnnotations | None) -> str | None:
    if annotations is None:
        return None
    if annotations.read_only_hint:
        return "readOnly"
    return "idempotent" if annotations.idempotent_hint else "destructive"


def _outcome(result: CallToolResult | InputRequiredResult) -> Outcome:
    if isinstance(result, InputRequiredResult):
        return failure(UpstreamError("the tool asks a person for more input, which is not supported"), sent=True)
    if result.is_error:
        return Outcome(status=Status.ERROR, content=as_text(result), error_code="tool_error")
    return Outcome(status=Status.OK, content=as_text(result))


def _block(block: ContentBlock) -> str:
    match block:
        case TextContent():
            return block.text
        case ImageContent() | AudioContent():
            return f"[{block.type} {block.mime_type}, {len(block.data) * 3 // 4} bytes, not shown]"
        case ResourceLink():
            return f"[resource {block.name}: {block.uri}]"
        case EmbeddedResource(resource=BlobResourceContents() as blob):
            return f"[resource {blob.uri}, binary, not shown]"
        case EmbeddedResource():
            return block.resource.text if not isinstance(block.resource, BlobResourceContents) else ""
