"""What a sandbox worker gives the code that it runs: an empty environment, and an isolation that is observed, not declared."""

import json
import os
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import urlsplit

import structlog

from toolorchestra.core.errors import ToolOrchestraError
from toolorchestra.core.plugins import PluginContext, PluginFactory, Readiness, ToolPlugin
from toolorchestra.core.sandbox import RUNGS, SandboxFindings
from toolorchestra.executors.plugin import installed

CODE_PLUGIN: Final = "python"
METADATA: Final = ("169.254.169.254", 80)  # where clouds give credentials to whoever asks
OUTSIDE: Final = ("192.0.2.1", 443)  # set aside for documentation: nobody is bothered, nobody answers
_KEPT: Final = ("PATH", "HOME", "USER", "LANG", "LANGUAGE", "TZ", "TMPDIR", "PWD", "VIRTUAL_ENV", "XDG_RUNTIME_DIR")
_KEPT_PREFIXES: Final = ("LC_", "PYTHON")
_TIMEOUT_MS: Final = 10_000
_CODE: Final = """\
import json, socket
found = {}
for name, address in json.loads(ADDRESSES).items():
    try:
        socket.create_connection(tuple(address), timeout=0.5).close()
        found[name] = "open"
    except TimeoutError:
        found[name] = "silent"
    except OSError as error:
        found[name] = "closed" if not isinstance(error, ConnectionRefusedError) else "open"
print(json.dumps(found))
"""

logger = structlog.get_logger(__name__)


def forget_secrets() -> None:
    """Empty this process's environment, and so that of every child, of all but what programs need to run."""
    for name in list(os.environ):
        if name not in _KEPT and not name.startswith(_KEPT_PREFIXES):
            del os.environ[name]


def neighbours(database_url: str, environ: Mapping[str, str]) -> dict[str, tuple[str, int]]:
    """What code must not reach, by name: metadata service, outside, API server, and the database if it has an address."""
    found = {"metadata": METADATA, "outside": OUTSIDE}
    if "KUBERNETES_SERVICE_HOST" in environ:
        port = int(environ.get("KUBERNETES_SERVICE_PORT", "443"))
        found["apiServer"] = (environ["KUBERNETES_SERVICE_HOST"], port)
    first = urlsplit(database_url).netloc.rpartition("@")[2].partition(",")[0]  # a URL may name several servers
    server = urlsplit(f"//{first}")
    if server.hostname:
        found["database"] = (server.hostname, server.port or 5432)
    return found


async def observe(
    addresses: Mapping[str, tuple[str, int]], *, find_plugin: Callable[[str], PluginFactory] = installed
) -> SandboxFindings:
    """Try, from where code would run, to get out. Nothing is tried where the code would not be isolated at all."""
    try:
        plugin = find_plugin(CODE_PLUGIN)({})
        readiness = await plugin.check({})
        if not readiness.ready:
            return SandboxFindings(None, readiness.message, readiness.details)
        reach = await _reach(plugin, addresses)
    except (ToolOrchestraError, ValueError) as error:
        return SandboxFindings(None, str(error))
    return _judged(readiness, reach)


def report(findings: SandboxFindings) -> None:
    """Tell the log what was found."""
    if findings.rung is None:
        logger.error("sandbox_unusable", reason=findings.message, **findings.layers)
    else:
        logger.info("sandbox_observed", rung=findings.rung, reach=dict(findings.reach), layers=dict(findings.layers))


async def _reach(plugin: ToolPlugin, addresses: Mapping[str, tuple[str, int]]) -> dict[str, str]:
    code = f"ADDRESSES = {json.dumps(addresses)!r}\n{_CODE}"
    context = PluginContext(call_id="probe", tenant="", timeout_ms=_TIMEOUT_MS, idempotency_key="probe")
    found = json.loads(str((await plugin.run({"code": code}, context)).content))
    return {str(name): str(state) for name, state in found.items()}


def _judged(readiness: Readiness, reach: Mapping[str, str]) -> SandboxFindings:
    rung = str(readiness.details.get("sandboxRung"))
    layers = {name: value for name, value in readiness.details.items() if name != "sandboxRung"}
    opened = sorted(name for name, state in reach.items() if state == "open")
    if opened:
        return SandboxFindings(None, f"code can reach: {', '.join(opened)}", layers, reach)
    if rung not in RUNGS:
        return SandboxFindings(None, f"the code tool names an unknown rung {rung!r}", layers, reach)
    return SandboxFindings(rung, "", layers, reach)
