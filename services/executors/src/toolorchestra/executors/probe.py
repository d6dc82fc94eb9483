"""Whether tools and models can be called now, what they offer, and where models are served.

Every probe has a deadline of its own and all run at once, so one dead server delays nobody.
"""

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final, TypeAlias
from urllib.parse import urlsplit

import httpx2

from toolorchestra.core.calls import SecretReader
from toolorchestra.core.errors import (
    ForbiddenError,
    InvalidRequestError,
    NotFoundError,
    ToolOrchestraError,
    UpstreamError,
    UpstreamTimeoutError,
)
from toolorchestra.core.registry import LATENCY, Catalog, Observation
from toolorchestra.core.resources import ExpertModel, SecretKeyRef, Tool
from toolorchestra.core.resources.meta import Header
from toolorchestra.core.resources.tool import HttpBackend, PluginBackend
from toolorchestra.executors.discovery import Discovers, Discovery
from toolorchestra.executors.faults import SERVED, blamed, not_served, refused, unauthorized
from toolorchestra.executors.openapi import OpenApiDiscovery
from toolorchestra.executors.plugin import Plugins
from toolorchestra.executors.reading import read_capped
from toolorchestra.executors.templates import PLACEHOLDER, check_template
from toolorchestra.kit.egress import EgressGuard

logger: Final = logging.getLogger(__name__)

ObservationKey: TypeAlias = tuple[str, str, str]  # (kind, namespace, name)

DEADLINE_S: Final = 10.0
STDIO_DEADLINE_S: Final = 40.0  # a local server may have to be installed first
AT_ONCE: Final = 256
MAX_SERVERS: Final = 4  # of an OpenAPI document that are looked for
MAX_MODELS_BYTES: Final = 2 * 1024 * 1024
_BASE_PATHS: Final = ("", "/v1", "/openai/v1")
_ELSEWHERE: Final = (200, 404, 405, 501)  # the API may lie below another path; 200 is a page that lists no models
_UNAUTHORISED: Final = (401, 403)


class Prober:
    """Observes Tools and ExpertModels. Nothing it does has an effect on a tool."""

    def __init__(
        self,
        guard: EgressGuard,
        secrets: SecretReader,
        *,
        openapi: OpenApiDiscovery,
        mcp: Discovers,
        plugins: Plugins,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        self._guard = guard
        self._secrets = secrets
        self._openapi = openapi
        self._mcp = mcp
        self._plugins = plugins
        self._deadline_s = deadline_s

    async def probe_all(
        self, catalog: Catalog, *, known: Mapping[ObservationKey, Mapping[str, str]] | None = None
    ) -> dict[ObservationKey, Observation]:
        """An observation of every Tool and ExpertModel. ``known`` holds the schema hashes first seen, per tool."""
        places = asyncio.Semaphore(AT_ONCE)
        hashes = known or {}

        async def tool(key: ObservationKey, one: Tool) -> tuple[ObservationKey, Observation]:
            async with places:
                return key, await self.probe_tool(one, known=hashes.get(key))

        async def expert(key: ObservationKey, one: ExpertModel) -> tuple[ObservationKey, Observation]:
            async with places:
                return key, await self.probe_expert(one)

        tools = (tool(("Tool", *key), one) for key, one in catalog.tools.items())
        experts = (expert(("ExpertModel", *key), one) for key, one in catalog.experts.items())
        return dict(await asyncio.gather(*tools, *experts))

    async def probe_tool(self, tool: Tool, *, known: Mapping[str, str] | None = None) -> Observation:
        """What is seen of a Tool. ``known``: the hash first seen per remote tool; another one is drift."""
        local = tool.spec.mcp is not None and tool.spec.mcp.stdio is not None
        seconds = STDIO_DEADLINE_S if local else self._deadline_s
        return await self._bounded(self._observe_tool(tool, known), seconds, field=_followed(tool))

    async def probe_expert(self, expert: ExpertModel, *, base_url: str | None = None, allow: Sequence[str] = ()) -> Observation:
        """What is seen of an ExpertModel. ``base_url``: where a served model answers, if its spec does not say.

        ``allow``: what the guard lets through for this probe beside its own list.
        """
        endpoint = expert.spec.endpoint
        url = base_url or (endpoint.base_url if endpoint else None)
        if url is None:
            text = "nothing serves this model yet; the operator does on a cluster, elsewhere set spec.endpoint"
            return Observation(ready=False, reason="NotServed", message=text)
        guard = self._guard.opened(*allow) if allow else self._guard
        field = SERVED if base_url else "spec.endpoint.baseUrl"
        return await self._bounded(self._observe_expert(expert, url, guard, field), self._deadline_s, field=field)

    async def _bounded(self, job: Awaitable[Observation], seconds: float, *, field: str) -> Observation:
        try:
            async with asyncio.timeout(seconds):
                return await job
        except TimeoutError:
            text = f"{field}: no answer within {seconds:g} s; correct it, or see why the server is slow"
            return Observation(ready=False, reason="Timeout", message=text)
        except ToolOrchestraError as error:
            return Observation(ready=False, reason=reason_for(error), message=blamed(error, field=field))
        except Exception as error:  # one resource's surprise must not end the probe of all others
            logger.exception("a probe failed")
            return Observation(ready=False, reason="Failed", message=f"{type(error).__name__}; see the log")

    async def _observe_tool(self, tool: Tool, known: Mapping[str, str] | None) -> Observation:
        spec, namespace = tool.spec, tool.metadata.namespace
        if spec.http is not None:
            return await self._observe_http(tool, spec.http)
        if spec.openapi is not None:
            await self._need(secret_refs(spec.openapi.headers), namespace)
            return await self._with_servers(observation(await self._openapi.discover(tool)))
        if spec.mcp is not None:
            await self._need(secret_refs(spec.mcp.headers), namespace)
            return observation(await self._mcp.discover(tool, known=known))
        return await self._observe_plugin(spec.plugin, namespace)

    async def _observe_http(self, tool: Tool, backend: HttpBackend) -> Observation:
        check_template(backend, tool.spec.parameters)
        await self._need(secret_refs(backend.headers), tool.metadata.namespace)
        # Only a connection is opened: even a HEAD request could have an effect.
        if not _is_open(backend.url):
            await self._guard.reach(PLACEHOLDER.sub("x", backend.url), timeout_s=self._deadline_s)
        return Observation(ready=True, reason="Ready")

    async def _with_servers(self, found: Observation) -> Observation:
        """What a document offers, and whether the servers that it names take connections."""
        urls = [urlsplit(str(one.details["url"])) for one in found.operations]
        servers = {url._replace(path="/", query="", fragment="").geturl() for url in urls}
        try:
            for server in sorted(servers)[:MAX_SERVERS]:
                await self._guard.reach(server, timeout_s=self._deadline_s)
        except ToolOrchestraError as error:
            text = blamed(error, field="spec.openapi.baseUrl")
            return replace(found, ready=False, reason=reason_for(error), message=text)
        return found

    async def _observe_plugin(self, backend: PluginBackend | None, namespace: str) -> Observation:
        if backend is None:
            return Observation(ready=False, reason="NoBackend", message="the tool has no backend")
        readiness = await self._plugins.check(backend, namespace)
        if not readiness.ready:
            await self._need(list(backend.secrets.values()), namespace)
        return Observation(
            ready=readiness.ready, reason=readiness.reason, message=readiness.message, details=dict(readiness.details)
        )

    async def _observe_expert(self, expert: ExpertModel, url: str, guard: EgressGuard, field: str) -> Observation:
        endpoint = expert.spec.endpoint
        ref = endpoint.api_key_secret_ref if endpoint else None
        key = (await self._secrets.read(expert.metadata.namespace, ref.name, ref.key)).strip() if ref else None
        headers = {"authorization": f"Bearer {key}"} if key else {}
        began = time.monotonic()
        refusals: list[str] = []
        async with guard.client(headers) as client:
            for base in base_urls(url):
                status, models, location = await _list_models(client, base)
                if models is not None:
                    return _served(expert, base, models, round((time.monotonic() - began) * 1_000))
                if status in _UNAUTHORISED:
                    text = unauthorized(f"{base}/models", status, with_key=key is not None)
                    return Observation(ready=False, reason="Unauthorized", message=text)
                refusals.append(f"{base}/models: {refused(status, location)}")
                if status not in _ELSEWHERE:
                    break
        return Observation(ready=False, reason="NotServed", message=not_served(refusals, field=field))

    async def _need(self, refs: Sequence[SecretKeyRef], namespace: str) -> None:
        for ref in refs:
            await self._secrets.read(namespace, ref.name, ref.key)


def secret_refs(headers: Sequence[Header]) -> list[SecretKeyRef]:
    """The secrets that headers name."""
    return [header.secret_key_ref for header in headers if header.secret_key_ref is not None]


def observation(found: Discovery) -> Observation:
    """What a discovery means: ready with what is callable, and the rest told."""
    problems = [*found.problems]
    problems += [f"the schema of {n!r} changed; look at it, then accept {h}" for n, h in sorted(found.drifted.items())]
    reason = "Ready" if found.operations else ("Drifted" if found.drifted else "NothingOffered")
    if not found.operations and not problems:
        problems.append("no operation is offered; read-only ones are by default, name others in spec.openapi.operations")
    return Observation(
        ready=bool(found.operations),
        reason=reason,
        message="; ".join(problems),
        operations=found.operations,
        details={"drifted": dict(found.drifted)} if found.drifted else {},
    )


def base_urls(url: str) -> tuple[str, ...]:
    """Where an OpenAI API may lie: the URL as written, then the usual paths below its root."""
    written = url.rstrip("/")
    root = next((written.removesuffix(path) for path in reversed(_BASE_PATHS) if path and written.endswith(path)), written)
    return tuple(dict.fromkeys((written, *(root + path for path in _BASE_PATHS if path))))


def reason_for(error: ToolOrchestraError) -> str:
    """The CamelCase reason of an observation."""
    reasons: tuple[tuple[type[ToolOrchestraError], str], ...] = (
        (NotFoundError, "SecretMissing"),
        (ForbiddenError, "StdioNotAllowed" if error.param == "spec.mcp.stdio" else "EgressDenied"),
        (InvalidRequestError, "InvalidSpec"),
        (UpstreamTimeoutError, "Timeout"),
        (UpstreamError, "Unreachable"),
    )
    return next((reason for kind, reason in reasons if isinstance(error, kind)), "Failed")


def _followed(tool: Tool) -> str:
    """The field that leads a probe to the tool's server."""
    spec = tool.spec
    if spec.openapi is not None:
        return "spec.openapi.url" if spec.openapi.url else "spec.openapi.document"
    return "spec.http.url" if spec.http else "spec.mcp.url" if spec.mcp else "spec.plugin"


def _is_open(url: str) -> bool:
    """Whether the server depends on an argument, so that there is none to ask."""
    return PLACEHOLDER.search(urlsplit(url).netloc) is not None


async def _list_models(client: httpx2.AsyncClient, base: str) -> tuple[int, dict[str, int | None] | None, str | None]:
    """The status of ``GET base/models``, what it lists if that is a list, and where it redirects to. Raises UpstreamError."""
    try:
        async with client.stream("GET", f"{base}/models") as response:
            body, _ = await read_capped(response, MAX_MODELS_BYTES)
    except (httpx2.RequestError, httpx2.InvalidURL) as error:
        raise UpstreamError(f"{base} cannot be reached: {str(error) or type(error).__name__}") from error
    location = response.headers.get("location") if response.has_redirect_location else None
    return response.status_code, _contexts(body) if response.is_success else None, location


def _contexts(body: bytes) -> dict[str, int | None] | None:
    """The context in tokens per model, where the server tells it, as vLLM does."""
    try:
        return {str(model["id"]): model.get("max_model_len") for model in json.loads(body)["data"]}
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _served(expert: ExpertModel, base: str, models: dict[str, int | None], latency_ms: int) -> Observation:
    wanted = expert.spec.model
    listed = next((name for name in models if name == wanted or name.endswith(f"/{wanted}")), None)
    context = models[listed] if listed else None
    return Observation(
        ready=True,
        reason="Ready",
        message=_doubt(expert, models) if listed is None else _shorter(expert, context),
        base_url=base,
        details={"modelListed": listed is not None, "models": list(models)[:100], LATENCY: latency_ms},
    )


def _doubt(expert: ExpertModel, models: Iterable[str]) -> str:
    names = ", ".join(sorted(models)[:10])
    return f"spec.model: the server lists other models than {expert.spec.model!r}: {names}" if names else ""


def _shorter(expert: ExpertModel, context: int | None) -> str:
    """What is wrong if the server takes less than the manifest says: it refuses longer requests."""
    stated = {"contextTokens": expert.spec.context_tokens, "maxOutputTokens": expert.spec.max_output_tokens}
    wrong = [f"spec.{name} says {tokens}" for name, tokens in stated.items() if isinstance(context, int) and tokens > context]
    return f"the server's context has {context} tokens, but {' and '.join(wrong)}; lower it" if wrong else ""
