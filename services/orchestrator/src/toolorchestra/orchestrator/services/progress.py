"""What a follower is told between question and answer, one short line per stored fact."""

from toolorchestra.core.calls import Status
from toolorchestra.core.loop import facts as f
from toolorchestra.core.money import format_usd

ARGUMENT_CHARACTERS = 120


def line(fact: f.Fact) -> str | None:
    """A line for people; None for facts that say nothing new to them."""
    match fact:
        case f.Decided(decision=decision) if decision.calls:
            return "".join(f"→ {_call(intent)}\n" for intent in decision.calls)
        case f.Asked(forced=str(reason)):
            return f"· answering now: {reason}\n"
        case f.AskFailed(message=message):
            return f"· {message}\n"
        case f.CallFinished(outcome=outcome):
            cost = f", ${format_usd(outcome.cost_nano_usd)}" if outcome.cost_nano_usd else ""
            mark = "✓" if outcome.status is Status.OK else f"✗ {outcome.status}"
            return f"  {mark} {outcome.latency_ms} ms{cost}\n"
        case f.Resumed():
            return "· resumed after an interruption\n"
        case _:
            return None


def _call(intent: f.Intent) -> str:
    arguments = ", ".join(f"{name}={value!r}" for name, value in intent.arguments.items())
    short = arguments if len(arguments) <= ARGUMENT_CHARACTERS else f"{arguments[:ARGUMENT_CHARACTERS]}…"
    reason = f"  ({intent.reason})" if intent.reason else ""
    return f"{intent.function}({short}){reason}"
