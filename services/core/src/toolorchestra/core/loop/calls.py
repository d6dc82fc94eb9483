"""Making calls fit: which intents are possible, what they reserve, and what they may use."""

import re
from collections.abc import Sequence
from typing import Any, Final

from toolorchestra.core.calls import CANCELLED, INTERRUPTED, CallRequest, Outcome, Status
from toolorchestra.core.experts import expert_messages
from toolorchestra.core.functions import Function
from toolorchestra.core.loop.facts import Decision, Intent, Opened
from toolorchestra.core.loop.journal import Denial
from toolorchestra.core.money import NanoUsd, format_usd
from toolorchestra.core.preferences import permitted
from toolorchestra.core.pricing import affordable_output_tokens, cost, worst_case
from toolorchestra.core.resources.orchestrator import PreferenceSpec
from toolorchestra.core.revision import Revision
from toolorchestra.core.schemas import arguments_problem
from toolorchestra.core.tokens import input_bound_tokens

MAX_CALLS_PER_TURN: Final = 16
MIN_OUTPUT_TOKENS: Final = 64  # an expert with less room than this cannot say anything useful
_WORD: Final = re.compile(r"[^\W_]{3,}")


def checked(decision: Decision, revision: Revision, preference: PreferenceSpec) -> Decision:
    """The decision with a ``problem`` on each call that cannot be made. A bad call is an observation, never a crash."""
    if not decision.calls:
        return decision
    calls = tuple(_checked(intent, revision, preference) for intent in decision.calls[:MAX_CALLS_PER_TURN])
    return decision.model_copy(update={"calls": calls})


def usable(revision: Revision, preference: PreferenceSpec) -> tuple[Function, ...]:
    """The functions that the hard rules leave."""
    if not (preference.allow or preference.deny or preference.inside_only):
        return revision.functions
    return tuple(f for f in revision.functions if permitted(f, preference) is None)


def shown(revision: Revision, opened: Opened) -> tuple[Function, ...]:
    """The usable functions that stand in the prompt: of a list longer than the selector allows, the best by wording."""
    functions = usable(revision, opened.preference)
    most = revision.orchestrator.tools.max_tools if revision.orchestrator else len(functions)
    if len(functions) <= most:
        return functions
    asked = _words(opened.question)
    ranked = sorted(functions, key=lambda f: -len(asked & _words(f"{f.name} {f.description}")))
    best = {f.name for f in ranked[:most]}
    return tuple(f for f in functions if f.name in best)


def parallel_names(functions: Sequence[Function]) -> frozenset[str]:
    """Functions whose calls may run side by side."""
    return frozenset(f.name for f in functions if f.side_effects == "readOnly")


def input_tokens(function: Function, arguments: dict[str, Any]) -> int:
    """An upper bound of what an expert reads for these arguments; 0 for tools."""
    if function.target.kind == "tool":
        return 0
    return input_bound_tokens(expert_messages(function.target, arguments))


def reservation(function: Function, arguments: dict[str, Any], timeout_ms: int) -> tuple[NanoUsd, int]:
    """What the call can cost at most, and the output tokens that this pays for."""
    output = function.max_output_tokens
    tokens = input_tokens(function, arguments)
    amount = worst_case(function.price, input_tokens=tokens, output_tokens=output, milliseconds=timeout_ms)
    return amount, output


def clamped(function: Function, arguments: dict[str, Any], timeout_ms: int, left: NanoUsd) -> tuple[NanoUsd, int] | None:
    """The largest reservation within ``left``, by a shorter output; None if too little is left to be of use."""
    if not function.is_expert:
        return None
    tokens = input_tokens(function, arguments)
    room = affordable_output_tokens(function.price, left, input_tokens=tokens, milliseconds=timeout_ms)
    output = min(room, function.max_output_tokens)
    if output < min(MIN_OUTPUT_TOKENS, function.max_output_tokens):
        return None
    amount = worst_case(function.price, input_tokens=tokens, output_tokens=output, milliseconds=timeout_ms)
    return amount, output


def denied(denial: Denial, needed: NanoUsd, *, lost: NanoUsd = 0) -> Outcome:
    """The outcome of a call that the budget does not allow, in words that a manager can act on.

    ``lost`` is what an earlier, interrupted attempt of it is assumed to have cost.
    """
    return Outcome(
        status=Status.DENIED,
        content=f"not enough money: the call may cost ${format_usd(needed)}, "
        f"${format_usd(denial.left_nano_usd)} is left ({denial.window}); use something cheaper or answer now",
        cost_nano_usd=lost,
        estimated=lost > 0,
        error_code="insufficient_quota",
        sent=False,
        details={"account": denial.account, "window": denial.window},
    )


def refused(intent: Intent) -> Outcome:
    """The outcome of a call that was never possible."""
    problem = intent.problem or f"there is no function {intent.function!r}"
    return Outcome(status=Status.ERROR, content=problem, error_code="invalid_call", sent=False)


def late() -> Outcome:
    """The outcome of a call that was not made, because the rest of the run's time belongs to its closing answer."""
    content = "the time of the run is nearly up; the call was not made"
    return Outcome(status=Status.TIMEOUT, content=content, error_code="run_timeout", sent=False)


def overdue(held_nano_usd: NanoUsd, timeout_ms: int) -> Outcome:
    """The outcome of a call that was broken off long after its time was up: its price is assumed spent."""
    return Outcome(
        status=Status.TIMEOUT,
        content=f"the call did not end within {timeout_ms} ms; it may have had its effect",
        cost_nano_usd=held_nano_usd,
        estimated=held_nano_usd > 0,
        error_code="call_timeout",
        latency_ms=timeout_ms,
    )


def broken_off(request: CallRequest, elapsed_ms: int) -> Outcome:
    """The outcome of a call that was broken off because its run was cancelled: it costs what is known to be used."""
    function, meter = request.function, request.meter
    usage = meter.usage if function.is_expert else None
    amount = cost(function.price, usage=usage, milliseconds=min(elapsed_ms, request.timeout_ms))
    update = {"usage": usage if meter.sent else None, "estimated": meter.sent and amount > 0 and not meter.exact}
    return cancelled(function, amount, sent=meter.sent).model_copy(update={**update, "latency_ms": elapsed_ms})


def cancelled(function: Function, amount: NanoUsd, *, sent: bool) -> Outcome:
    """The outcome of a call that nobody waits for any more, because its run was cancelled. ``amount`` is an estimate."""
    if not sent:
        return Outcome(
            status=Status.ERROR, content="the call was cancelled before it was made", error_code=CANCELLED, sent=False
        )
    harmless = function.side_effects == "readOnly"
    return Outcome(
        status=Status.ERROR if harmless else Status.UNKNOWN,
        content="the call was cancelled" if harmless else "the call was cancelled; it may have had its effect",
        cost_nano_usd=amount,
        estimated=amount > 0,
        error_code=CANCELLED,
    )


def interrupted(held_nano_usd: NanoUsd) -> Outcome:
    """The outcome of a call whose process went away: its price is assumed spent."""
    return Outcome(
        status=Status.UNKNOWN,
        content="the call was interrupted; it may have had its effect, and it is not repeated",
        cost_nano_usd=held_nano_usd,
        estimated=held_nano_usd > 0,
        error_code=INTERRUPTED,
    )


def _checked(intent: Intent, revision: Revision, preference: PreferenceSpec) -> Intent:
    if intent.problem is not None or intent.client:
        return intent
    function = revision.function(intent.function)
    if function is None:
        names = ", ".join(f.name for f in revision.functions)
        return intent.model_copy(update={"problem": f"there is no function {intent.function!r}; there are: {names}"})
    problem = permitted(function, preference) or arguments_problem(function.parameters, intent.arguments)
    return intent.model_copy(update={"problem": problem}) if problem else intent


def _words(text: str) -> frozenset[str]:
    return frozenset(_WORD.findall(text.lower()))
