"""Outcomes that the worker itself gives: for calls that it cannot make, or whose end it does not see."""

from collections.abc import Mapping
from typing import Final

from toolorchestra.core.calls import Outcome, Status
from toolorchestra.core.errors import ForbiddenError, ToolOrchestraError
from toolorchestra.core.functions import Function, ToolTarget
from toolorchestra.core.sandbox import is_weaker
from toolorchestra.ledger.calls import Claim
from toolorchestra.worker.settings import WorkerClass

_EFFECT: Final = "it may have had its effect"


def refusal(function: Function, worker_class: WorkerClass, rung: str | None) -> Outcome | None:
    """Why this worker must not make the call: code runs on sandbox workers only, and only behind the isolation it demands."""
    if (function.execution == "sandbox") is not (worker_class is WorkerClass.SANDBOX):
        return _denied(f"{function.name} has execution {function.execution!r}, this worker is of class {worker_class.value!r}")
    wanted = function.target.spec.minimum_sandbox if isinstance(function.target, ToolTarget) else None
    if worker_class is WorkerClass.SANDBOX and is_weaker(rung, wanted):
        return _denied(f"{function.name} demands the sandbox {wanted!r}, this worker has {rung or 'none'!r}")
    return None


def not_made(error: ToolOrchestraError) -> Outcome:
    """Something of ours was missing before anything was sent."""
    text = f"the call could not be made: {error}"
    return Outcome(status=Status.ERROR, content=text, error_code=error.code, sent=False)


def crashed(claim: Claim, error: Exception) -> Outcome:
    """An executor failed by a fault of its own; the price is assumed spent, since nobody saw what had been sent."""
    text = f"{claim.function} failed inside the platform ({type(error).__name__})"
    return _guessed(claim, Status.ERROR, text, "internal_error")


def interrupted(claim: Claim) -> Outcome:
    """The worker was stopped in the middle of a call that must not be repeated."""
    return _guessed(claim, Status.UNKNOWN, "the worker was stopped during the call", "worker_stopped")


def unwanted(claim: Claim) -> Outcome:
    """Nobody waits for the call any more, so it was ended."""
    return _guessed(claim, Status.UNKNOWN, "the call was given up while it ran", "given_up")


def unstorable(outcome: Outcome, error: ToolOrchestraError) -> Outcome:
    """The outcome cannot be stored as it is; its money and its status still can."""
    changes: Mapping[str, object] = {
        "status": Status.ERROR,
        "content": f"the tool's answer could not be stored ({error.code})",
        "error_code": error.code,
        "details": {},
    }
    return outcome.model_copy(update=changes)


def _denied(text: str) -> Outcome:
    return Outcome(status=Status.DENIED, content=text, error_code=ForbiddenError.code, sent=False)


def _guessed(claim: Claim, status: Status, text: str, code: str) -> Outcome:
    if claim.side_effects != "readOnly":
        text = f"{text}; {_EFFECT}"
    cost = claim.hold_nano_usd
    return Outcome(status=status, content=text, cost_nano_usd=cost, estimated=cost > 0, error_code=code)
