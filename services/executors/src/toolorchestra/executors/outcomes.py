"""How failures become outcomes: text that a model can read, a code for programs, and whether anything was sent."""

from typing import Any, Final

from toolorchestra.core.calls import Outcome, Status
from toolorchestra.core.errors import ForbiddenError, ToolOrchestraError, UpstreamTimeoutError
from toolorchestra.core.functions import Function, ToolTarget

MAX_ERROR_BYTES: Final = 2_048  # of a server's error text, kept for the model


def failure(error: ToolOrchestraError, *, sent: bool, details: dict[str, Any] | None = None) -> Outcome:
    """An error of ours as an outcome: refused addresses are ``denied``, deadlines ``timeout``, the rest ``error``."""
    match error:
        case ForbiddenError():
            status = Status.DENIED
        case UpstreamTimeoutError():
            status = Status.TIMEOUT
        case _:
            status = Status.ERROR
    return Outcome(status=status, content=str(error), error_code=error.code, sent=sent, details=details or {})


def timed_out(function: Function, timeout_ms: int, *, sent: bool, details: dict[str, Any] | None = None) -> Outcome:
    """The outcome of a call whose deadline passed; says so if its effect may have happened all the same."""
    text = f"{function.name} did not finish within {timeout_ms} ms"
    if sent and function.side_effects != "readOnly":
        text += "; it may have had its effect"
    code = UpstreamTimeoutError.code
    return Outcome(status=Status.TIMEOUT, content=text, error_code=code, sent=sent, details=details or {})


def clip(text: str, max_bytes: int) -> tuple[str, bool]:
    """``text`` cut to at most ``max_bytes`` of UTF-8, never inside a character, and whether it was cut."""
    if len(text) * 4 <= max_bytes:
        return text, False
    raw = text.encode("utf-8", "replace")
    if len(raw) <= max_bytes:
        return text, False
    return raw[:max_bytes].decode("utf-8", "ignore"), True


def max_result_bytes(function: Function) -> int | None:
    """The longest answer kept; None for experts, whose ``max_tokens`` bounds it."""
    return function.target.spec.max_result_bytes if isinstance(function.target, ToolTarget) else None
