"""Tools written in Python: installed plug-ins, found by entry point, built once per configuration."""

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import Any, Final

from toolorchestra.core.calls import CallRequest, Outcome, SecretReader, Status
from toolorchestra.core.errors import InvalidManifestError, NotFoundError, ToolOrchestraError
from toolorchestra.core.functions import ToolTarget
from toolorchestra.core.plugins import (
    ENTRY_POINT_GROUP,
    PluginContext,
    PluginFactory,
    PluginResult,
    Readiness,
    ToolPlugin,
)
from toolorchestra.core.resources.meta import SecretKeyRef
from toolorchestra.core.resources.tool import PluginBackend
from toolorchestra.executors.outcomes import failure, timed_out

logger: Final = logging.getLogger(__name__)


@cache  # looking through all distributions takes as long as a small call
def installed(name: str) -> PluginFactory:
    """The factory behind an entry point. Raises InvalidManifestError that lists what is installed."""
    found = {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}
    if name not in found:
        known = ", ".join(sorted(found)) or "none"
        raise InvalidManifestError(
            f"the plug-in {name!r} is not installed (installed: {known})",
            param="spec.plugin.name",
            hint="install the distribution that has it",
        )
    try:
        factory: PluginFactory = found[name].load()
    except Exception as error:  # a plug-in's module may fail in any way while it is imported
        logger.exception("the plug-in %s cannot be loaded", name)
        raise InvalidManifestError(
            f"the plug-in {name!r} cannot be loaded ({type(error).__name__})", param="spec.plugin.name", hint="see the log"
        ) from error
    return factory


class Plugins:
    """The plug-ins of this process, one instance per name and configuration."""

    def __init__(self, secrets: SecretReader, *, find: Callable[[str], PluginFactory] = installed) -> None:
        self._secrets = secrets
        self._find = find
        self._built: dict[tuple[str, str], ToolPlugin] = {}

    def get(self, backend: PluginBackend) -> ToolPlugin:
        """The plug-in, built on first use. Raises InvalidManifestError."""
        key = (backend.name, json.dumps(backend.config, sort_keys=True, default=str))
        if key not in self._built:
            self._built[key] = self._build(backend)
        return self._built[key]

    async def check(self, backend: PluginBackend, namespace: str) -> Readiness:
        """Whether the plug-in would work now. Raises InvalidManifestError."""
        plugin = self.get(backend)
        values, _ = await self.read_secrets(backend.secrets, namespace)
        try:
            return await plugin.check(values)
        except ToolOrchestraError as error:
            return Readiness(ready=False, reason="CheckFailed", message=str(error))
        except Exception as error:  # a plug-in's own fault must not end the probe of others
            logger.exception("the check of plug-in %s failed", backend.name)
            return Readiness(ready=False, reason="CheckFailed", message=f"{type(error).__name__}; see the log")

    async def read_secrets(
        self, wanted: Mapping[str, SecretKeyRef], namespace: str
    ) -> tuple[dict[str, str], list[NotFoundError]]:
        """Those secrets that can be read, by the plug-in's names, and why the others cannot."""
        values: dict[str, str] = {}
        missing: list[NotFoundError] = []
        for name, ref in wanted.items():
            try:
                values[name] = await self._secrets.read(namespace, ref.name, ref.key)
            except NotFoundError as error:
                missing.append(error)
        return values, missing

    def _build(self, backend: PluginBackend) -> ToolPlugin:
        factory = self._find(backend.name)
        try:
            return factory(backend.config)
        except ToolOrchestraError:
            raise
        except Exception as error:  # a plug-in's factory may fail in any way
            logger.exception("the plug-in %s cannot be built", backend.name)
            raise InvalidManifestError(
                f"the plug-in {backend.name!r} does not accept its config ({type(error).__name__})",
                param="spec.plugin.config",
                hint="see the log",
            ) from error


class PluginExecutor:
    """Calls tools of backend ``plugin``."""

    def __init__(self, plugins: Plugins) -> None:
        self._plugins = plugins

    async def execute(self, call: CallRequest) -> Outcome:
        """The outcome of the plug-in's run; what it raises on purpose is told to the model, the rest is logged."""
        sent = False
        try:
            target, backend = _backend(call)
            plugin = self._plugins.get(backend)
            values, missing = await self._plugins.read_secrets(backend.secrets, target.namespace)
            if missing:
                return failure(missing[0], sent=False)
            sent = True
            async with asyncio.timeout(call.timeout_ms / 1_000):
                result = await plugin.run(call.arguments, _context(call, values))
        except ToolOrchestraError as error:
            return failure(error, sent=sent)
        except TimeoutError:
            return timed_out(call.function, call.timeout_ms, sent=sent)
        except Exception as error:  # a plug-in's own fault is an outcome, not the end of the run
            logger.exception("the plug-in of %s failed", call.function.name)
            text = f"{call.function.name} failed with an internal error ({type(error).__name__})"
            return Outcome(status=Status.ERROR, content=text, error_code="plugin_failed", sent=sent)
        return _outcome(result)


def _backend(call: CallRequest) -> tuple[ToolTarget, PluginBackend]:
    target = call.function.target
    if not isinstance(target, ToolTarget) or target.spec.plugin is None:
        raise InvalidManifestError(f"{call.function.name} has no plugin backend", param="spec.plugin")
    return target, target.spec.plugin


def _context(call: CallRequest, secrets: Mapping[str, str]) -> PluginContext:
    return PluginContext(
        call_id=call.call_id,
        tenant=call.tenant,
        timeout_ms=call.timeout_ms,
        idempotency_key=call.idempotency_key,
        session=call.session,
        secrets=secrets,
    )


def _outcome(result: PluginResult) -> Outcome:
    content = result.content
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    details: dict[str, Any] = dict(result.details)
    return Outcome(status=Status.OK, content=text or "done (empty answer)", details=details)
