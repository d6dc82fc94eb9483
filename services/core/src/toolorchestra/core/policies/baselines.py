"""Baselines: simple rules that need no training. They are honest yardsticks, and the default where no manager model is set up.

``cascade``: an expression goes to a calculator, a question to the search, and what is found to the cheapest expert; a refusing
expert is followed by the cheapest one that is no weaker, a failed one by any other (after FrugalGPT, arXiv 2305.05176).
``cheapest`` and ``strongest`` ask that one expert. ``random`` draws an expert from the run's seed.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any, Final

from typing_extensions import override

from toolorchestra.core.calls import Outcome, Status
from toolorchestra.core.chat import ChatModels
from toolorchestra.core.functions import Function
from toolorchestra.core.loop.facts import Candidate, Decision, Intent
from toolorchestra.core.loop.state import State
from toolorchestra.core.policies.closing import close, closing_model, closing_quote
from toolorchestra.core.policies.expressions import extract_expression
from toolorchestra.core.policies.protocol import Policy, Quote, Reply, Terms, View
from toolorchestra.core.preferences import wants_best, wants_cheap
from toolorchestra.core.pricing import worst_case
from toolorchestra.core.resources.orchestrator import Baseline
from toolorchestra.core.tokens import text_bound_tokens

CONFIDENT: Final = 0.55  # share of the question's weight that a passage must cover to count as found
CONTEXT_CHARACTERS: Final = 1_600
NOTHING_FOUND: Final = "I could not find an answer with the tools and models at hand."
_REFUSAL: Final = re.compile(
    r"^\s*((i['’]?m|i am|we are) (very )?(sorry|unable|not able)|sorry\b|i apologi[sz]e|unfortunately, i (can|do|am)"
    r"|(sorry, (but )?)?i (can ?not|can['’]?t|could not|couldn['’]t)|as an ai|i (do not|don['’]?t) (know|have))\b",
    re.IGNORECASE,
)


class BaselinePolicy(Policy):
    """A rule. ``models`` serves only the closing answer, when money or time run out before any expert answered."""

    def __init__(self, rule: Baseline, models: ChatModels) -> None:
        self._choose = _RULES[rule]
        self._rule = rule
        self._models = models

    @override
    def quote(self, view: View, *, forced: bool) -> Quote:
        if forced and _best(view) is None:
            return closing_quote(view.revision.closing, view.state.run)
        return Quote()

    @override
    async def decide(self, view: View, terms: Terms) -> Reply:
        if terms.forced is None:
            return Reply(self._choose(view), candidates=_candidates(view))
        best = _best(view)
        if best is not None:
            return Reply(best.model_copy(update={"reason": f"{self._rule}: {terms.forced}"}))
        closing = closing_model(view.revision.closing, view.state.run.preference)
        if closing is not None:
            return await close(self._models, closing, view.state, terms)
        return Reply(Decision(text=NOTHING_FOUND, reason=f"{self._rule}: {terms.forced}"))


def _cascade(view: View) -> Decision:
    tried = {call.intent.function: call.outcome for turn in view.state.turns for call in turn.calls}
    answered = _last_good(view)
    if answered is not None:
        return Decision(answer_from=answered[0], reason=f"cascade: {answered[1]} answered")
    if not tried:
        first = _calculate(view) or _search(view)
        if first is not None:
            return first
    expert, reason = _next_expert(view, tried)
    return _ask(expert, view, f"cascade: {reason}", _found(view)) if expert else _hand_on(view, f"cascade: {reason}")


def _next_expert(view: View, tried: Mapping[str, Outcome | None]) -> tuple[Function | None, str]:
    """Whom to ask next, and why. One that refused raises the bar; one that failed does not."""
    preference = view.state.run.preference
    experts = _by_price(view)
    left = [f for f in experts if f.name not in tried]
    if len(left) < len(experts) and wants_cheap(preference):
        return None, "asking a further expert is not cheap"
    refused = [f.strength for f in experts if _good(tried.get(f.name))]
    strong = [f for f in left if f.strength >= max(refused, default=0)]
    if not strong:
        return None, "there is no further expert to ask"
    if wants_best(preference):
        return max(strong, key=lambda f: f.strength), "the strongest expert comes first"
    return strong[0], "the cheapest expert comes first" if len(left) == len(experts) else "the next expert that is no weaker"


def _single(order: Callable[[Sequence[Function], State], Function], rule: str) -> Callable[[View], Decision]:
    def choose(view: View) -> Decision:
        experts = _by_price(view)
        if view.state.turns[:-1] or not experts:
            return _hand_on(view, f"{rule}: its expert was asked" if experts else f"{rule}: there is no expert")
        return _ask(order(experts, view.state), view, f"{rule} expert")

    return choose


def _calculate(view: View) -> Decision | None:
    expression = extract_expression(view.question)
    tool = _tool(view, "arithmetic")
    if expression is None or tool is None:
        return None
    return _call(tool, {_text_parameter(tool): expression}, "cascade: the question is an expression")


def _search(view: View) -> Decision | None:
    tool = _tool(view, "search")
    if tool is None or not view.question.strip():
        return None
    return _call(tool, {_text_parameter(tool): view.question[:512]}, "cascade: perhaps the answer stands in the corpus")


def _good(outcome: Outcome | None) -> bool:
    return outcome is not None and outcome.status is Status.OK and bool(outcome.content.strip())


def _last_good(view: View) -> tuple[str, str] | None:
    """Call and function of the newest result that answers the question: an expert's without a refusal, or a calculator's."""
    names = {f.name: f for f in view.functions if f.is_expert or "arithmetic" in f.capabilities}
    for turn in reversed(view.state.turns):
        for call in turn.calls:
            function = names.get(call.intent.function)
            if function and call.outcome and _good(call.outcome) and not _REFUSAL.match(call.outcome.content):
                return f"{turn.number}/{call.ordinal}", function.name
    return None


def _found(view: View) -> str | None:
    """Passages that a search returned with enough confidence, as context for an expert."""
    searches = {f.name for f in view.functions if "search" in f.capabilities}
    outcomes = [c.outcome for t in view.state.turns for c in t.calls if c.intent.function in searches and c.outcome]
    good = [p for outcome in outcomes for p in _passages(outcome) if _confidence(p) >= CONFIDENT]
    text = "\n\n".join(f"{p.get('title', '')}: {p.get('text', '')}" for p in good)
    return text[:CONTEXT_CHARACTERS] or None


def _passages(outcome: Outcome) -> list[dict[str, Any]]:
    if outcome.status is not Status.OK:
        return []
    try:
        value = json.loads(outcome.content)
    except (ValueError, RecursionError):
        return []
    return [p for p in value if isinstance(p, dict)] if isinstance(value, list) else []


def _confidence(passage: Mapping[str, Any]) -> float:
    value = passage.get("confidence")
    return float(value) if isinstance(value, int | float) else 0.0


def _best(view: View) -> Decision | None:
    """The best that is there: an answer, else passages that were found, else a refusal; None if there is nothing."""
    answered = _last_good(view)
    if answered is not None:
        return Decision(answer_from=answered[0])
    passages = _found(view)
    if passages is not None:
        return Decision(text=passages)
    experts = {f.name for f in view.functions if f.is_expert}
    said = [
        f"{turn.number}/{call.ordinal}"
        for turn in view.state.turns
        for call in turn.calls
        if call.intent.function in experts and _good(call.outcome)
    ]
    return Decision(answer_from=said[-1]) if said else None


def _hand_on(view: View, reason: str) -> Decision:
    """The best that is there; with nothing at all, an empty decision, so that a closing answer is asked for."""
    return (_best(view) or Decision()).model_copy(update={"reason": reason})


def _ask(expert: Function, view: View, reason: str, context: str | None = None) -> Decision:
    arguments = {"question": view.question} | ({"context": context} if context else {})
    return _call(expert, arguments, reason + (", with what the search found" if context else ""))


def _call(function: Function, arguments: dict[str, Any], reason: str) -> Decision:
    return Decision(calls=(Intent(function=function.name, arguments=arguments, reason=reason),), reason=reason)


def _tool(view: View, capability: str) -> Function | None:
    fitting = [f for f in view.functions if capability in f.capabilities and not f.is_expert and _text_parameter(f)]
    return min(fitting, key=lambda f: (f.price.per_call, f.name), default=None)


def _text_parameter(function: Function) -> str:
    """The one required string parameter; empty if the function is not of that simple kind."""
    required = function.parameters.get("required", [])
    properties = function.parameters.get("properties", {})
    schema = properties.get(required[0]) if len(required) == 1 else None
    return str(required[0]) if isinstance(schema, dict) and schema.get("type") == "string" else ""


def _by_price(view: View) -> list[Function]:
    """Experts from cheap to dear, equal prices from weak to strong."""
    experts = [f for f in view.functions if f.is_expert]
    return sorted(experts, key=lambda f: (_worst(f, view.question), f.strength, f.name))


def _worst(function: Function, question: str) -> int:
    tokens = text_bound_tokens(question)
    return worst_case(function.price, input_tokens=tokens, output_tokens=function.max_output_tokens)


def _candidates(view: View) -> tuple[Candidate, ...]:
    return tuple(
        Candidate(
            function=f.name,
            worst_case_nano_usd=_worst(f, view.question) if f.is_expert else worst_case(f.price, milliseconds=f.timeout_ms),
            typical_latency_ms=f.typical_latency_ms,
        )
        for f in view.functions
    )


_RULES: Final[dict[Baseline, Callable[[View], Decision]]] = {
    "cascade": _cascade,
    "cheapest": _single(lambda experts, _: experts[0], "cheapest"),
    "strongest": _single(lambda experts, _: max(experts, key=lambda f: (f.strength, f.name)), "strongest"),
    "random": _single(lambda experts, state: Random(state.run.seed).choice(experts), "random"),
}
