"""The Python interpreter as a plug-in."""

import sys
from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from toolorchestra.core.errors import (
    InvalidArgumentsError,
    InvalidManifestError,
    ToolOrchestraError,
    UnavailableError,
    UpstreamTimeoutError,
)
from toolorchestra.core.plugins import PluginContext, PluginResult, Readiness
from toolorchestra.core.resources.manifest import describe, first_field
from toolorchestra.tools.python.probing import probe
from toolorchestra.tools.python.sandbox import CodeRunner, Limits, Report, Sandbox

RUNG: Final = "process"
MAX_CODE: Final = 100_000
_MARGIN_MS: Final = 300  # left to stop the code and to tell about it before the caller's own deadline
_SHORTEST_MS: Final = 100
_MIB: Final = 1 << 20


class PythonConfig(BaseModel):
    """Settings of the plug-in, under ``plugin.config``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    memory_mb: int = Field(default=512, ge=64, le=16_384, description="Address space of one call, in MiB. Default: 512.")
    disk_mb: int = Field(default=32, ge=1, le=4_096, description="Files of one call, in MiB. Default: 32.")
    output_bytes: int = Field(default=32_768, ge=256, le=1_048_576, description="Output kept, in bytes. Default: 32768.")

    def limits(self) -> Limits:
        return Limits(self.memory_mb * _MIB, self.disk_mb * _MIB, self.output_bytes)


class PythonTool:
    """Runs code in the process sandbox and answers like an interactive session."""

    def __init__(self, sandbox: CodeRunner) -> None:
        self._sandbox = sandbox

    async def run(self, arguments: Mapping[str, Any], context: PluginContext) -> PluginResult:
        """``{"code": "2 + 2"}`` → ``"4"``. Errors of the code are raised, with its output before them."""
        code = arguments.get("code")
        if not isinstance(code, str) or not code.strip():
            raise InvalidArgumentsError("code must be a non-empty string", param="code", hint='write "print(2 ** 100)"')
        if len(code) > MAX_CODE:
            raise InvalidArgumentsError(f"code has {len(code)} characters, at most {MAX_CODE} are allowed", param="code")
        timeout_ms = max(context.timeout_ms - _MARGIN_MS, _SHORTEST_MS)
        report = await self._sandbox.run(code, timeout_ms=timeout_ms)
        problem = _problem(report, timeout_ms)
        if problem is not None:
            raise problem
        return PluginResult(_text(report), {"sandboxRung": RUNG, **report.layers, "truncated": report.truncated})

    async def check(self, secrets: Mapping[str, str]) -> Readiness:
        """Start the sandbox and try to get out of it; ready only if every way was closed."""
        del secrets
        if sys.platform != "linux":
            return Readiness(
                ready=False,
                reason="SandboxUnsupported",
                message="the code sandbox needs Linux; run the platform in a container",
            )
        try:
            findings = await probe(self._sandbox)
        except UnavailableError as error:
            return Readiness(ready=False, reason="SandboxUnavailable", message=str(error))
        details = {"sandboxRung": RUNG, **findings.layers}
        if not findings.escapes:
            return Readiness(ready=True, details=details)
        network = {"network": "open"} if any("connected" in escape for escape in findings.escapes) else {}
        return Readiness(
            ready=False,
            reason="SandboxOpen",
            message=f"code in the sandbox got out: {'; '.join(findings.escapes)}; use a newer Linux, with Landlock",
            details=details | network | {"escapes": list(findings.escapes)},
        )


def create(config: Mapping[str, Any]) -> PythonTool:
    """The entry point. Raises InvalidManifestError for settings that do not exist or are out of range."""
    try:
        settings = PythonConfig.model_validate(dict(config))
    except ValidationError as error:
        raise InvalidManifestError(
            f"spec.plugin.config: {describe(error)}", param=f"spec.plugin.config.{first_field(error)}"
        ) from error
    return PythonTool(Sandbox(settings.limits()))


def _text(report: Report) -> str:
    parts = [_output(report), report.value or ""]
    return "\n".join(part for part in parts if part) or "(no output; print what you want to see)"


def _output(report: Report) -> str:
    return report.output.rstrip("\n") + ("\n[output cut]" if report.truncated else "")


def _problem(report: Report, timeout_ms: int) -> ToolOrchestraError | None:
    """The error that the model should read, if the code did not come to its end."""
    before = f"{_output(report)}\n" if report.output else ""
    if report.stopped == "time":
        return UpstreamTimeoutError(f"{before}[stopped: the code ran longer than {timeout_ms / 1_000:g} s]", param="code")
    if report.stopped is not None:
        reason = {"output": "it wrote too much output", "disk": "it wrote too many or too large files"}.get(report.stopped)
        return InvalidArgumentsError(f"{before}[stopped: {reason or report.stopped}]", param="code")
    if report.error is not None:
        return InvalidArgumentsError(f"{before}{report.error}{_hint(report)}", param="code")
    if not report.finished and report.status != 0:
        return InvalidArgumentsError(f"{before}[the interpreter ended: {_ending(report.status)}]", param="code")
    return None


def _hint(report: Report) -> str:
    if report.kind in ("PermissionError", "FileNotFoundError", "gaierror"):
        return "\n[this sandbox has no network, no other processes and no files but its own working folder]"
    if report.kind == "ModuleNotFoundError":
        return "\n[only Python's standard library is installed here]"
    return ""


def _ending(status: int | None) -> str:
    if status is None:
        return "no reason given"
    return f"killed by signal {-status} (time or memory limit, or a crash)" if status < 0 else f"exit status {status}"
