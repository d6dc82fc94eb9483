"""Asking the policy: quote, hold, question, decision; and what happens when there is no money or no answer."""

from typing import Final

from toolorchestra.core.calls import CANCELLED, INTERRUPTED
from toolorchestra.core.chat import InterruptedCallError, Meter
from toolorchestra.core.errors import ToolOrchestraError, UpstreamTimeoutError
from toolorchestra.core.loop import machine
from toolorchestra.core.loop.calls import MIN_OUTPUT_TOKENS, checked
from toolorchestra.core.loop.context import HOLD_GRACE_MS, MIN_STEP_MS, MIN_TIMEOUT_MS, Context, Draft, Wish
from toolorchestra.core.loop.facts import Asked, AskFailed, Decided
from toolorchestra.core.loop.journal import DeniedError, Settle, Take
from toolorchestra.core.loop.state import State
from toolorchestra.core.money import NanoUsd
from toolorchestra.core.policies.protocol import Quote, Reply, Terms
from toolorchestra.core.pricing import affordable_output_tokens, cost, worst_case

ASK_GRACE_MS: Final = 500  # beyond its time limit, until a question that does not end is broken off
ROUNDING_SLACK_TOKENS: Final = 64  # the stored times may read a little differently in the prompt than the provisional ones


class BrokenOffError(ToolOrchestraError):
    """The run was cancelled while its policy was asked."""

    code = CANCELLED


async def ask(context: Context, draft: Draft, step: machine.Ask) -> Draft:
    """Store the question with its hold, ask it, and draft the decision."""
    quote = context.policy.quote(context.view(draft.state), forced=step.forced is not None)
    try:
        state, asked = await _store(context, draft, _asked(draft.state, step, quote), quote)
    except DeniedError as error:
        draft.add(_denied(step, error))
        return draft
    return await _think(context, state, asked, quote)


def lose(context: Context, draft: Draft) -> None:
    """The question was under way when its process went away: it may have been answered and billed, so its hold is charged."""
    turn = draft.state.turn
    if turn is None or turn.asked is None:
        raise ValueError(f"run {context.run_id} was not asking anything")
    asked = turn.asked
    estimate = asked.hold_nano_usd > 0
    draft.settles.append(_settle(context, draft.state, asked, asked.hold_nano_usd, estimate=estimate))
    draft.add(
        AskFailed(
            turn=asked.turn,
            attempt=asked.attempt,
            error_code=INTERRUPTED,
            message="the question to the policy was interrupted",
            retryable=True,
            cost_nano_usd=asked.hold_nano_usd,
            estimated=estimate,
        )
    )


def _asked(state: State, step: machine.Ask, quote: Quote) -> Asked:
    forced = step.forced is not None
    left_ms = state.left_ms - machine.closing_ms(state.run.limits)
    timeout = max(MIN_TIMEOUT_MS, state.left_ms) if forced else max(MIN_STEP_MS, left_ms)
    if quote.timeout_ms is not None:
        timeout = min(timeout, quote.timeout_ms)
    output = state.reserve.max_tokens if forced else min(quote.max_output_tokens, state.run.limits.max_output_tokens)
    return Asked(
        turn=step.turn,
        attempt=step.attempt,
        max_tokens=output,
        hold_nano_usd=state.reserve.nano_usd if forced else _worst(quote, output, timeout),
        timeout_ms=timeout,
        forced=step.forced,
    )


async def _store(context: Context, draft: Draft, asked: Asked, quote: Quote) -> tuple[State, Asked]:
    """A closing answer has its hold already. Another that is refused is tried once more with a shorter output."""
    if asked.forced is not None:
        return await context.commit(draft, asked), asked
    try:
        return await context.commit(draft, asked, takes=(_take(context, asked),)), asked
    except DeniedError as error:
        shorter = _shorter(asked, quote, error)
        if shorter is None:
            raise
        return await context.commit(draft, shorter, takes=(_take(context, shorter),)), shorter


def _shorter(asked: Asked, quote: Quote, error: DeniedError) -> Asked | None:
    if error.denial.unit != "nano_usd":
        return None
    left, tokens = error.denial.left_nano_usd, quote.input_tokens + ROUNDING_SLACK_TOKENS
    output = affordable_output_tokens(quote.price, left, input_tokens=tokens, milliseconds=asked.timeout_ms)
    if not MIN_OUTPUT_TOKENS <= output < asked.max_tokens:
        return None
    return asked.model_copy(update={"max_tokens": output, "hold_nano_usd": _worst(quote, output, asked.timeout_ms)})


def _worst(quote: Quote, output: int, timeout_ms: int) -> NanoUsd:
    tokens = quote.input_tokens + ROUNDING_SLACK_TOKENS
    return worst_case(quote.price, input_tokens=tokens, output_tokens=output, milliseconds=timeout_ms)


def _take(context: Context, asked: Asked) -> Take:
    return Take(_hold(context, asked), asked.hold_nano_usd, asked.timeout_ms + HOLD_GRACE_MS)


def _hold(context: Context, asked: Asked) -> str:
    return f"{context.run_id}/{asked.turn}/0/{asked.attempt}"


def _settle(context: Context, state: State, asked: Asked, amount: NanoUsd, *, estimate: bool) -> Settle:
    hold = f"{context.run_id}/{state.reserve.hold}" if asked.forced is not None else _hold(context, asked)
    return Settle(hold, amount, estimate=estimate)


def _denied(step: machine.Ask, error: DeniedError) -> AskFailed:
    closed = error.denial.window == "closed"
    message = error.message if closed else f"the money is nearly spent ({error.denial.window})"
    return AskFailed(turn=step.turn, attempt=step.attempt, error_code=error.code, message=message, denied=True)


async def _think(context: Context, state: State, asked: Asked, quote: Quote) -> Draft:
    draft = context.draft(state)
    began = context.clock()
    terms = Terms(
        max_tokens=asked.max_tokens,
        timeout_ms=asked.timeout_ms,
        forced=asked.forced,
        on_delta=context.observer.delta,
        headers=context.headers(state),
    )
    try:
        async with context.cancelled.within(asked.timeout_ms + ASK_GRACE_MS):
            reply = await context.policy.decide(context.view(state), terms)
    except TimeoutError:
        error = _unanswered(context.cancelled)
        _failed(context, draft, asked, quote, terms.meter, error, _elapsed_ms(context, began))
    except ToolOrchestraError as failure:
        meter = failure.meter if isinstance(failure, InterruptedCallError) else terms.meter
        _failed(context, draft, asked, quote, meter, failure, _elapsed_ms(context, began))
    else:
        _decided(context, draft, asked, quote, reply)
    return draft


def _unanswered(cancelled: Wish) -> ToolOrchestraError:
    if cancelled.by is not None:
        return BrokenOffError(f"the question was broken off: cancelled by {cancelled.by}")
    return UpstreamTimeoutError("the manager model did not answer in time")


def _decided(context: Context, draft: Draft, asked: Asked, quote: Quote, reply: Reply) -> None:
    held_ms = min(reply.latency_ms, asked.timeout_ms)  # the hold was taken for this time and no more
    amount = cost(quote.price, usage=reply.usage, milliseconds=held_ms) if reply.usage else 0
    draft.settles.append(_settle(context, draft.state, asked, amount, estimate=reply.estimated))
    draft.add(
        Decided(
            turn=asked.turn,
            attempt=asked.attempt,
            decision=checked(reply.decision, context.revision, draft.state.run.preference),
            usage=reply.usage,
            cost_nano_usd=amount,
            estimated=reply.estimated,
            latency_ms=reply.latency_ms,
            candidates=reply.candidates,
            format_hash=reply.format_hash,
            finish_reason=reply.finish_reason,
        )
    )


def _failed(
    context: Context, draft: Draft, asked: Asked, quote: Quote, meter: Meter, error: ToolOrchestraError, latency_ms: int
) -> None:
    amount = cost(quote.price, usage=meter.usage, milliseconds=min(latency_ms, asked.timeout_ms)) if meter.sent else 0
    estimate = meter.sent and not meter.exact
    draft.settles.append(_settle(context, draft.state, asked, amount, estimate=estimate))
    draft.add(
        AskFailed(
            turn=asked.turn,
            attempt=asked.attempt,
            error_code=error.code,
            message=error.message,
            retryable=error.retryable,
            usage=meter.usage if meter.sent else None,
            cost_nano_usd=amount,
            estimated=estimate,
            latency_ms=latency_ms,
        )
    )


def _elapsed_ms(context: Context, began: float) -> int:
    return int((context.clock() - began) * 1000)
