"""A manager trained here: the one prompt format, by raw completion."""

from typing import Final

from typing_extensions import override

from toolorchestra.core import policyformat
from toolorchestra.core.chat import ChatModels, CompletionRequest
from toolorchestra.core.loop.facts import Decision, Intent
from toolorchestra.core.loop.state import Turn
from toolorchestra.core.policies.closing import close, closing_quote, model_timeout_ms
from toolorchestra.core.policies.history import INSTRUCTION, observation, preference_line, price_tag, remaining_line
from toolorchestra.core.policies.prompted import candidates
from toolorchestra.core.policies.protocol import Policy, Quote, Reply, Terms, View
from toolorchestra.core.revision import PinnedModel
from toolorchestra.core.storable import clean_text
from toolorchestra.core.tokens import prompt_bound_tokens

GREEDY: Final = 0.0


class SignaturePolicy(Policy):
    """Asks ``manager`` in the format it was trained in. The format's hash is kept with every decision."""

    def __init__(self, manager: PinnedModel, models: ChatModels, *, adapter: str | None = None) -> None:
        self._manager = manager
        self._models = models
        self._adapter = adapter

    @override
    def quote(self, view: View, *, forced: bool) -> Quote:
        if forced:
            return closing_quote(view.revision.closing, view.state.run)
        limit = min(self._manager.max_output_tokens, view.state.run.limits.max_output_tokens)
        tokens = prompt_bound_tokens(prompt_of(view) + _begun(view))
        return Quote(tokens, self._manager.price, limit, model_timeout_ms(self._manager))

    @override
    async def decide(self, view: View, terms: Terms) -> Reply:
        if terms.forced is not None:
            return await close(self._models, self._manager, view.state, terms)
        sampling = view.state.run.sampling
        begun = _begun(view)
        reply = await self._models.complete(
            CompletionRequest(
                target=self._manager.target,
                prompt=prompt_of(view) + begun,
                max_tokens=terms.max_tokens,
                timeout_ms=terms.timeout_ms,
                temperature=GREEDY if sampling.temperature is None else sampling.temperature,
                seed=sampling.seed,
                stop=(policyformat.STOP,),
                adapter=self._adapter,
                meter=terms.meter,
                headers=terms.headers,
                price=self._manager.price,
            )
        )
        return Reply(
            decision_of(begun + reply.text),
            usage=reply.usage,
            estimated=reply.estimated,
            latency_ms=reply.latency_ms,
            candidates=candidates(view),
            format_hash=policyformat.FORMAT_HASH,
            finish_reason=reply.finish_reason,
        )


def _begun(view: View) -> str:
    """What exploration has written of the manager's next output."""
    return policyformat.beginning(view.explored) if view.explored else ""


def prompt_of(view: View) -> str:
    """The whole prompt for the view's next decision."""
    extra = view.revision.orchestrator.instructions if view.revision.orchestrator else ""
    signatures = [policyformat.signature(f, price_tag(f)) for f in view.functions]
    start = policyformat.opening(f"{INSTRUCTION} {extra}".strip(), signatures, view.question + preference_line(view.state))
    segments = [start]
    for turn in view.state.turns:
        if turn.decided is not None and turn.calls:
            segments += _segments(turn, remaining_line(turn, view.state.run.limits))
    return policyformat.render(segments)


def decision_of(output: str) -> Decision:
    """The manager's output as a decision; a bad format is a call that can only fail, and so an observation."""
    try:
        decision = policyformat.parse(output)
    except policyformat.FormatError as error:
        problem = Intent(function="format", arguments={}, problem=str(error))
        decision = Decision(calls=(problem,), reason="bad format")
    return decision.model_copy(update={"output": clean_text(output)})


def _segments(turn: Turn, left: str) -> list[policyformat.Segment]:
    decision = turn.decided.decision if turn.decided else Decision()
    output = decision.output or policyformat.output_of(decision)
    found = [
        (f"{turn.number}/{c.ordinal}", c.intent.function, observation(c.outcome)) for c in turn.calls if c.outcome is not None
    ]
    return [policyformat.written(output), policyformat.results(found, left)]
