"""``KubernetesApi`` over the asyncio half of the official client: its configuration, sign-in and connections, our few calls.

Objects stay the JSON that the server speaks; the client's generated models are not used. Foreign exceptions end here.
"""

import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, NoReturn

import aiohttp
import yaml
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration

from toolorchestra.core.errors import (
    ConflictError,
    ForbiddenError,
    InvalidRequestError,
    NotFoundError,
    ToolOrchestraError,
    UnauthenticatedError,
    UnavailableError,
    UpstreamError,
    UpstreamTimeoutError,
)
from toolorchestra.kit.kubernetes import (
    Change,
    ExpiredError,
    KubernetesApi,
    KubernetesObject,
    Listing,
    ResourceType,
    WatchEvent,
    object_path,
)

PAGE: Final = 500
MAX_LOG_BYTES: Final = 64 * 1024
SILENCE_S: Final = 15.0  # how much longer than asked a watch may take to end before its connection counts as dead
_GONE: Final = 410
_BY_STATUS: Final[Mapping[int, type[ToolOrchestraError]]] = {
    400: InvalidRequestError,
    401: UnauthenticatedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    _GONE: ExpiredError,
    422: InvalidRequestError,
}


@asynccontextmanager
async def open_kubernetes(
    *, field_manager: str, kubeconfig: Path | None = None, context: str | None = None, timeout_s: float = 30.0
) -> AsyncIterator[KubernetesApi]:
    """A client under ``field_manager``: by kubeconfig if one (or a context) is named or this is no pod, else as the pod.

    Without ``kubeconfig`` it is looked for as kubectl does: ``$KUBECONFIG``, then ``~/.kube/config``. Raises UnavailableError.
    """
    inside = kubeconfig is None and context is None and "KUBERNETES_SERVICE_HOST" in os.environ
    configuration = _pod_configuration() if inside else await _file_configuration(kubeconfig, context)
    async with ApiClient(configuration) as client:
        client.user_agent = field_manager
        yield _Client(client, field_manager, timeout_s)


async def person_token(context: str | None = None) -> str | None:
    """The bearer token of a kubeconfig's user, by its sign-in program if it has one; None for a user of a certificate.

    Raises UnavailableError for a kubeconfig that cannot be used.
    """
    configuration = await _file_configuration(None, context)
    token = configuration.api_key.get("BearerToken")
    return str(token).removeprefix("Bearer ") if token else None


class _Client:
    """Implements ``KubernetesApi``."""

    def __init__(self, client: ApiClient, field_manager: str, timeout_s: float) -> None:
        self._client = client
        self._field_manager = field_manager
        self._timeout_s = timeout_s

    async def get(self, of: ResourceType, name: str, *, namespace: str | None) -> KubernetesObject | None:
        try:
            return await self._json("GET", object_path(of, namespace, name))
        except NotFoundError:
            return None

    async def list(
        self,
        of: ResourceType,
        *,
        namespace: str | None,
        labels: Mapping[str, str] | None = None,
        fields: Mapping[str, str] | None = None,
    ) -> Listing:
        selection = _selection("labelSelector", labels) | _selection("fieldSelector", fields)
        try:
            return await self._pages(of, namespace, selection | {"limit": str(PAGE)})
        except ExpiredError:  # the first page is too old to go on from; without a limit there is only one
            return await self._pages(of, namespace, selection)

    async def _pages(self, of: ResourceType, namespace: str | None, query: dict[str, str]) -> Listing:
        items: list[KubernetesObject] = []
        while True:
            page = await self._json("GET", object_path(of, namespace), query)
            items += ({"apiVersion": of.api_version, "kind": of.kind} | item for item in page.get("items") or ())
            token = page["metadata"].get("continue")
            if not token:
                return Listing(items, page["metadata"]["resourceVersion"])
            query["continue"] = token

    async def watch(self, of: ResourceType, *, namespace: str | None, since: str, timeout_s: int) -> AsyncIterator[WatchEvent]:
        query = {
            "watch": "1", "allowWatchBookmarks": "true", "resourceVersion": since, "timeoutSeconds": str(timeout_s),
        }  # fmt: skip
        async with self._answer("GET", object_path(of, namespace), query, timeout_s=timeout_s + SILENCE_S) as answer:
            async for line in answer.content:
                told = json.loads(line)
                if told["type"] == "ERROR":
                    _refuse(told["object"].get("code", 500), told["object"])
                yield WatchEvent(Change(told["type"]), told["object"])

    async def apply(self, of: ResourceType, body: KubernetesObject, *, subresource: str | None = None) -> KubernetesObject:
        metadata = body["metadata"]
        path = object_path(of, metadata.get("namespace"), metadata["name"], subresource)
        query = {"fieldManager": self._field_manager, "force": "true"}
        return await self._json("PATCH", path, query, body, content_type="application/apply-patch+yaml")

    async def create(self, of: ResourceType, body: KubernetesObject, *, namespace: str | None) -> KubernetesObject:
        whole = {"apiVersion": of.api_version, "kind": of.kind} | body
        return await self._json("POST", object_path(of, namespace), {"fieldManager": self._field_manager}, whole)

    async def delete(self, of: ResourceType, name: str, *, namespace: str | None) -> None:
        try:
            await self._json("DELETE", object_path(of, namespace, name), {"propagationPolicy": "Background"})
        except NotFoundError:
            return

    async def log_tail(self, pod: str, *, namespace: str, lines: int, container: str | None = None) -> str:
        query = {"tailLines": str(lines), "limitBytes": str(MAX_LOG_BYTES)} | ({"container": container} if container else {})
        try:
            async with self._answer("GET", f"/api/v1/namespaces/{namespace}/pods/{pod}/log", query) as answer:
                return (await answer.read()).decode(errors="replace")
        except (NotFoundError, InvalidRequestError):  # the pod is gone, or its container has not started
            return ""

    async def has(self, of: ResourceType) -> bool:
        try:
            found = await self._json("GET", f"/apis/{of.api_version}" if of.group else f"/api/{of.version}")
        except NotFoundError:
            return False
        return any(kind["name"] == of.plural for kind in found.get("resources") or ())

    async def _json(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: KubernetesObject | None = None,
        *,
        content_type: str = "application/json",
    ) -> KubernetesObject:
        async with self._answer(method, path, query, body, content_type=content_type) as answer:
            found: KubernetesObject = json.loads(await answer.read())
            return found

    @asynccontextmanager
    async def _answer(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: KubernetesObject | None = None,
        *,
        content_type: str = "application/json",
        timeout_s: float | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A successful answer, to be read inside. Raises what the server refused, or that it could not be reached."""
        limit = aiohttp.ClientTimeout(total=timeout_s or self._timeout_s, sock_connect=self._timeout_s)
        try:
            request = await self._client.param_serialize(
                method,
                path,
                query_params=list((query or {}).items()),
                header_params={"Accept": "application/json", "Content-Type": content_type},
                body=body,
                auth_settings=["BearerToken"],
            )
            answered = await self._client.call_api(*request, _request_timeout=limit)
            async with answered.response as answer:
                if not answer.ok:
                    _refuse(answer.status, _status_of(await answer.read()))
                yield answer
        except TimeoutError as error:
            raise UpstreamTimeoutError(f"the Kubernetes API did not answer {method} {path} in {limit.total:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            reason = str(error) or type(error).__name__
            raise UpstreamError(f"the Kubernetes API cannot be reached: {reason}") from error
        except config.ConfigException as error:
            raise UnavailableError(f"the sign-in to Kubernetes failed: {error}") from error


def _pod_configuration() -> Configuration:
    configuration = Configuration()
    try:
        config.load_incluster_config(configuration)
    except (config.ConfigException, OSError) as error:
        raise UnavailableError(
            f"the pod's ServiceAccount cannot be used: {error}", hint="set automountServiceAccountToken: true"
        ) from error
    return configuration


async def _file_configuration(kubeconfig: Path | None, context: str | None) -> Configuration:
    files = str(kubeconfig) if kubeconfig else os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
    configuration = Configuration()
    try:
        loader = await config.load_kube_config(files, context, configuration, persist_config=False)
    except (config.ConfigException, yaml.YAMLError, OSError, KeyError, TypeError) as error:
        raise UnavailableError(
            f"the kubeconfig {files} cannot be used: {error}", param="kubeconfig", hint="`kubectl config get-contexts` shows it"
        ) from error
    configuration.retries = False

    async def renew(used: Configuration) -> None:
        # A plug-in's token without an end is good until it is refused; asking again for each request would run a program.
        if hasattr(loader, "exec_plugin_expiry"):
            await loader.load_from_exec_plugin()
            used.api_key["BearerToken"] = loader.token

    configuration.refresh_api_key_hook = renew
    return configuration


def _selection(parameter: str, wanted: Mapping[str, str] | None) -> dict[str, str]:
    return {parameter: ",".join(f"{key}={value}" for key, value in wanted.items())} if wanted else {}


def _status_of(body: bytes) -> Mapping[str, Any]:
    """The server's ``Status`` object; what is not one (a proxy's page) is shown as its message."""
    try:
        told = json.loads(body)
    except ValueError:
        told = None
    return told if isinstance(told, dict) else {"message": body[:300].decode(errors="replace").strip()}


def _refuse(code: int, status: Mapping[str, Any]) -> NoReturn:
    """Raise the server's refusal with its own message, which names the field or the missing permission."""
    causes = (status.get("details") or {}).get("causes") or ()
    field = next((cause["field"] for cause in causes if cause.get("field")), None)
    message = status.get("message") or f"the Kubernetes API answered HTTP {code}"
    raise _BY_STATUS.get(code, UpstreamError)(message, param=field)
