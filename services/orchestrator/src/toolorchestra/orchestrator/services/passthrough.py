"""A metered pass-through of one model: opened as a run with a hold, driven in the background, and found again when repeated."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, Final

from toolorchestra.core.chat import ChatRequest, Meter
from toolorchestra.core.durations import parse_duration_ms
from toolorchestra.core.errors import InvalidRequestError
from toolorchestra.core.loop.calls import MIN_OUTPUT_TOKENS
from toolorchestra.core.loop.facts import Asked, Limits, Opened
from toolorchestra.core.loop.journal import DeniedError, Stamped
from toolorchestra.core.loop.state import State, fold
from toolorchestra.core.money import NanoUsd
from toolorchestra.core.openai import ChatCompletionRequest, parse_request
from toolorchestra.core.policies.factory import policy_name
from toolorchestra.core.preferences import cost_cap, time_cap_ms
from toolorchestra.core.pricing import affordable_output_tokens, worst_case
from toolorchestra.core.registry import Registry
from toolorchestra.core.resources.meta import nano_usd
from toolorchestra.core.resources.orchestrator import PreferenceSpec
from toolorchestra.core.revision import PinnedModel, Revision, pin_expert, require_inside
from toolorchestra.core.sessions import session_headers
from toolorchestra.core.tokens import input_bound_tokens
from toolorchestra.kit.telemetry import inject
from toolorchestra.ledger.journal import Existing
from toolorchestra.orchestrator.services.answering import Answer, LiveAnswer, StoredAnswer
from toolorchestra.orchestrator.services.budget import Budgets
from toolorchestra.orchestrator.services.chat import with_headers
from toolorchestra.orchestrator.services.entry import Entry
from toolorchestra.orchestrator.services.manager import RunManager
from toolorchestra.orchestrator.services.passed import Envelope
from toolorchestra.orchestrator.services.passing import PassedCall, PassedRun, Settlement, StreamingModels
from toolorchestra.orchestrator.services.principal import Principal
from toolorchestra.orchestrator.services.repeating import Attempt, Repeats, body_hash

# Passed on as they are; anything else that we do not know is refused by name.
FORWARDED: Final = frozenset(
    {
        "frequency_penalty",
        "presence_penalty",
        "logit_bias",
        "reasoning_effort",
        "verbosity",
        "top_k",
        "min_p",
        "logprobs",
        "top_logprobs",
    }
)


@dataclass(frozen=True, slots=True)
class _Opening:
    """What one request comes to, before anything is stored."""

    caller: Principal
    wish: ChatCompletionRequest
    revision: Revision
    model: PinnedModel
    attempt: Attempt
    hashed: str


class Passthrough:
    """One per process."""

    def __init__(
        self, *, registry: Registry, budgets: Budgets, entry: Entry, manager: RunManager, models: StreamingModels,
        settlement: Settlement, repeats: Repeats, keep_alive_s: float,
    ) -> None:  # fmt: skip
        self._registry = registry
        self._budgets = budgets
        self._entry = entry
        self._manager = manager
        self._models = models
        self._settlement = settlement
        self._repeats = repeats
        self._keep_alive_s = keep_alive_s
        self._pinned: dict[tuple[int, str, str], Revision] = {}
        self._running: dict[str, PassedRun] = {}

    async def start(self, caller: Principal, body: Any, attempt: Attempt) -> Answer:
        """The model's answer, new or found again. Raises DeniedError when there is no money."""
        extra = {name: body[name] for name in FORWARDED if name in body}
        wish = with_headers(parse_request({name: value for name, value in body.items() if name not in FORWARDED}), attempt)
        caller.require(wish.model)
        revision = self._revision(caller.tenant, wish.model)
        if revision.manager is None:
            raise InvalidRequestError(f"{wish.model!r} is not a model", param="model")
        opening = _Opening(caller, wish, revision, revision.manager, attempt, body_hash(wish, extra))
        found = await self._repeats.find(caller, attempt, opening.hashed)
        if found is not None and not _asked_for_nothing(found):
            return self._attach(opening, found)
        opened = await self._open(opening, _request(revision.manager, wish, extra))
        if isinstance(opened, Existing):
            return self._attach(opening, await self._repeats.state(caller, opened.run_id))
        return opened

    async def _open(self, opening: _Opening, request: ChatRequest) -> Answer | Existing:
        try:
            return await self._store(opening, request)
        except DeniedError as error:
            shorter = _shorter(request, opening.model, error)
            if shorter is None:
                raise
            return await self._store(opening, shorter)

    async def _store(self, opening: _Opening, request: ChatRequest) -> Answer | Existing:
        asked = Asked(
            turn=1,
            attempt=1,
            max_tokens=request.max_tokens,
            hold_nano_usd=_worst(request, opening.model),
            timeout_ms=request.timeout_ms,
        )
        stored = await self._entry.open_once(
            opening.revision,
            self._opened(opening, request),
            asked=asked,
            idempotency_key=opening.attempt.idempotency_key,
            body_hash=opening.hashed,
        )
        if isinstance(stored, Existing):
            return stored
        call = PassedCall(stored.context, opening.model, request, stored.facts[-1].seq)
        return self._launch(call, stored.facts, opening)

    def _launch(self, call: PassedCall, facts: tuple[Stamped, ...], opening: _Opening) -> Answer:
        run_id = call.context.run_id
        run = self._running[run_id] = PassedRun(call, self._models, self._settlement, self._manager.tell)
        run.end.add_done_callback(lambda _: self._running.pop(run_id, None))
        answer = LiveAnswer(run, _envelope(opening, run_id, facts[0].at), self._listener(fold(run_id, facts)))
        self._manager.drive(run_id, facts, run.drive)
        self._manager.listen(run_id)
        return answer

    def _attach(self, opening: _Opening, state: State) -> Answer:
        run, run_id = self._running.get(state.run_id), state.run_id
        self._manager.listen(run_id)
        envelope, let_go = _envelope(opening, run_id, state.opened_at), self._listener(state)
        if run is not None:
            return LiveAnswer(run, envelope, let_go)
        items = self._manager.follow(state.run.tenant, run_id, after=state.seq, listening=True)
        return StoredAnswer(state, items, envelope, let_go, self._keep_alive_s)

    def _listener(self, state: State) -> Callable[[], None]:
        """Tells that the client no longer listens."""
        return partial(self._manager.let_go, state.run_id, state.run.on_disconnect)

    def _opened(self, opening: _Opening, request: ChatRequest) -> Opened:
        caller, wish, revision = opening.caller, opening.wish, opening.revision
        per_run, wished = self._budgets.spec(caller.tenant).per_run, wish.toolorchestra.max_cost_usd
        preference = wish.toolorchestra.preference or PreferenceSpec()
        require_inside(revision, preference)
        return Opened(
            model=wish.model,
            policy=policy_name(revision),
            tenant=caller.tenant,
            key=caller.key,
            revision=revision.id,
            messages=tuple(wish.messages),
            client_tools=tuple(wish.tools),
            limits=Limits(
                max_turns=1,
                max_output_tokens=request.max_tokens,
                timeout_ms=request.timeout_ms,
                max_cost_nano_usd=cost_cap(preference, nano_usd(per_run), nano_usd(wished)),
            ),
            sampling=wish.sampling,
            on_disconnect=wish.toolorchestra.on_disconnect or "cancel",
            metadata=wish.metadata or {},
            traceparent=inject().get("traceparent"),
            session=wish.toolorchestra.session,
        )

    def _revision(self, tenant: str, model: str) -> Revision:
        catalog = self._registry.catalog()
        key = (catalog.version, tenant, model)
        if key not in self._pinned:
            self._pinned = {k: v for k, v in self._pinned.items() if k[0] == catalog.version}
            self._pinned[key] = pin_expert(catalog, tenant, model, self._budgets.spec(tenant))
        return self._pinned[key]


def _envelope(opening: _Opening, run_id: str, at: datetime) -> Envelope:
    return Envelope(run_id, opening.wish, int(at.timestamp()), opening.model.target.spec.simulated)


def _asked_for_nothing(state: State) -> bool:
    """Whether the model refused a call without a bill: then asking again costs nothing twice."""
    return state.ended is not None and state.ended.status == "failed" and state.spent_nano_usd == 0


def _request(model: PinnedModel, wish: ChatCompletionRequest, extra: dict[str, Any]) -> ChatRequest:
    timeout_ms = time_cap_ms(wish.toolorchestra.preference or PreferenceSpec(), parse_duration_ms(model.target.spec.timeout))
    if wish.toolorchestra.timeout_seconds is not None:
        timeout_ms = max(1, min(timeout_ms, int(wish.toolorchestra.timeout_seconds * 1000)))
    return ChatRequest(
        target=model.target,
        messages=wish.messages,
        max_tokens=min(wish.output_limit or model.max_output_tokens, model.max_output_tokens),
        timeout_ms=timeout_ms,
        tools=wish.tools,
        tool_choice=wish.tool_choice,
        temperature=wish.temperature,
        top_p=wish.top_p,
        seed=wish.seed,
        stop=wish.stop,
        response_format=wish.response_format,
        meter=Meter(),
        headers=session_headers(wish.toolorchestra.session),
        price=model.price,
        extra=extra,
    )


def _shorter(request: ChatRequest, model: PinnedModel, error: DeniedError) -> ChatRequest | None:
    """The same with an output that fits what is left; None if that is too little to be of use."""
    if error.denial.unit != "nano_usd":
        return None
    tokens = input_bound_tokens(request.messages, request.tools)
    left = error.denial.left_nano_usd
    output = affordable_output_tokens(model.price, left, input_tokens=tokens, milliseconds=request.timeout_ms)
    return replace(request, max_tokens=output) if MIN_OUTPUT_TOKENS <= output < request.max_tokens else None


def _worst(request: ChatRequest, model: PinnedModel) -> NanoUsd:
    tokens = input_bound_tokens(request.messages, request.tools)
    return worst_case(model.price, input_tokens=tokens, output_tokens=request.max_tokens, milliseconds=request.timeout_ms)
