"""A metered pass-through of one model: its own chunks, with a hold before and the truth after."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from secrets import token_hex
from time import monotonic
from typing import Any, Final, Protocol

import structlog

from toolorchestra.core.chat import ChatModels, ChatRequest, Meter
from toolorchestra.core.durations import parse_duration_ms
from toolorchestra.core.errors import InvalidRequestError, ToolOrchestraError
from toolorchestra.core.loop.calls import MIN_OUTPUT_TOKENS
from toolorchestra.core.loop.context import HOLD_GRACE_MS
from toolorchestra.core.loop.facts import Asked, Decided, Decision, Ended, Limits, Opened
from toolorchestra.core.loop.journal import DeniedError, Settle, Take, Transition
from toolorchestra.core.money import NanoUsd, format_usd
from toolorchestra.core.openai import ChatCompletionRequest, Completion, error_body, parse_request, usage_body
from toolorchestra.core.policies.factory import policy_name
from toolorchestra.core.pricing import affordable_output_tokens, cost, worst_case
from toolorchestra.core.registry import Registry
from toolorchestra.core.resources.meta import nano_usd
from toolorchestra.core.revision import PinnedModel, Revision, pin_expert
from toolorchestra.core.tokens import input_bound_tokens
from toolorchestra.kit.telemetry import inject
from toolorchestra.ledger.database import Database
from toolorchestra.ledger.journal import Existing, LedgerJournal, open_run
from toolorchestra.ledger.transitions import NewRun, RunContext
from toolorchestra.orchestrator.services.budget import Budgets
from toolorchestra.orchestrator.services.opening import run_context
from toolorchestra.orchestrator.services.principal import Principal
from toolorchestra.orchestrator.services.responding import DONE
from toolorchestra.orchestrator.storage.revisions import RevisionStore

logger = structlog.get_logger(__name__)

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


class StreamingModels(ChatModels, Protocol):
    """Models whose raw chunks can be passed on."""

    def stream(self, request: ChatRequest) -> AsyncGenerator[Any, None]:
        """The chunks of one chat completion as the server sent them."""
        ...


@dataclass(frozen=True, slots=True)
class Reply:
    """Either a body or a stream of server-sent events."""

    headers: dict[str, str]
    body: dict[str, Any] = field(default_factory=dict)
    stream: AsyncIterator[str] | None = None


@dataclass(frozen=True, slots=True)
class _Call:
    """One paid call: the run it is stored as, and what is asked upstream."""

    context: RunContext
    model: PinnedModel
    wish: ChatCompletionRequest
    request: ChatRequest
    seq: int
    created: int
    began: float

    @property
    def hold(self) -> str:
        return f"{self.context.run_id}/1/0/1"


class Passthrough:
    """One per process."""

    def __init__(
        self,
        *,
        registry: Registry,
        budgets: Budgets,
        database: Database,
        revisions: RevisionStore,
        models: StreamingModels,
        owner: str,
        lease_ms: int,
    ) -> None:
        self._registry = registry
        self._budgets = budgets
        self._database = database
        self._revisions = revisions
        self._models = models
        self._owner = owner
        self._lease_ms = lease_ms
        self._pinned: dict[tuple[int, str, str], Revision] = {}
        self.driven: set[str] = set()  # runs under way

    async def start(self, caller: Principal, body: Any) -> Reply:
        """The model's answer. Raises DeniedError when there is no money, UpstreamError when the model refuses."""
        extra = {name: body[name] for name in FORWARDED if name in body}
        wish = parse_request({name: value for name, value in body.items() if name not in FORWARDED})
        caller.require(wish.model)
        call = await self._open(caller, wish, extra)
        headers = {"x-toolorchestra-run-id": call.context.run_id}
        if not wish.stream:
            return await self._whole(call, headers)
        chunks = self._models.stream(call.request)
        first = await self._first(call, chunks)
        return Reply(headers, stream=self._stream(call, chunks, first))

    async def _open(self, caller: Principal, wish: ChatCompletionRequest, extra: dict[str, Any]) -> _Call:
        revision = self._revision(caller.tenant, wish.model)
        model = revision.manager
        if model is None:
            raise InvalidRequestError(f"{wish.model!r} is not a model", param="model")
        await self._revisions.save(revision)  # whoever ends the run after a crash needs it
        request = _request(model, wish, extra)
        try:
            return await self._store(caller, wish, revision, model, request)
        except DeniedError as error:
            shorter = _shorter(request, model, error)
            if shorter is None:
                raise
            return await self._store(caller, wish, revision, model, shorter)

    async def _store(
        self, caller: Principal, wish: ChatCompletionRequest, revision: Revision, model: PinnedModel, request: ChatRequest
    ) -> _Call:
        amount = _worst(request, model)
        cap = nano_usd(self._budgets.spec(caller.tenant).per_run)
        opened = Opened(
            model=wish.model,
            policy=policy_name(revision),
            tenant=caller.tenant,
            key=caller.key,
            revision=revision.id,
            messages=tuple(wish.messages),
            client_tools=tuple(wish.tools),
            limits=Limits(
                max_turns=1, max_output_tokens=request.max_tokens, timeout_ms=request.timeout_ms, max_cost_nano_usd=cap
            ),
            sampling=wish.sampling,
            metadata=wish.metadata or {},
            traceparent=inject().get("traceparent"),
        )
        asked = Asked(turn=1, attempt=1, max_tokens=request.max_tokens, hold_nano_usd=amount, timeout_ms=request.timeout_ms)
        context = run_context(f"run-{token_hex(10)}", opened, revision, owner=self._owner, lease_ms=self._lease_ms)
        take = Take(f"{context.run_id}/1/0/1", amount, request.timeout_ms + HOLD_GRACE_MS)
        new = NewRun(
            context=context,
            model=wish.model,
            revision=revision.id,
            cap_nano_usd=cap,
            traceparent=opened.traceparent,
            metadata=opened.metadata,
        )
        facts = await open_run(self._database, new, Transition(context.run_id, 0, (opened, asked), takes=(take,)))
        if isinstance(facts, Existing):
            raise InvalidRequestError("the run exists already")
        self.driven.add(context.run_id)
        return _Call(context, model, wish, request, facts[-1].seq, int(facts[0].at.timestamp()), monotonic())

    async def _whole(self, call: _Call, headers: dict[str, str]) -> Reply:
        try:
            reply = await self._models.chat(call.request)
        except BaseException as error:
            await self._failed(call, error)
            raise
        amount = await self._end(call, text=reply.text, finish_reason=reply.finish_reason)
        tools = [
            {"id": c.id, "type": "function", "function": {"name": c.name, "arguments": c.arguments}} for c in reply.tool_calls
        ]
        body = Completion(call.context.run_id, call.wish.model, call.created).whole(
            content=reply.text or (None if tools else ""),
            tool_calls=tools,
            finish_reason=reply.finish_reason,
            usage=reply.usage,
            extension=_extension(call, amount),
            reasoning=reply.reasoning,
        )
        return Reply(headers | {"x-toolorchestra-cost-usd": format_usd(amount)}, body=body)

    async def _first(self, call: _Call, chunks: AsyncGenerator[Any, None]) -> Any:
        """The first chunk is awaited before anything is answered, so that a refusal keeps its status."""
        try:
            return await anext(chunks, None)
        except BaseException as error:
            await self._failed(call, error)
            raise

    async def _stream(self, call: _Call, chunks: AsyncGenerator[Any, None], first: Any) -> AsyncIterator[str]:
        """The model's chunks under our id and name. However the stream ends, it is settled."""
        reason, text, settled = "stop", [], False
        base = {"id": f"chatcmpl-{call.context.run_id}", "model": call.wish.model, "created": call.created}
        try:
            async with aclosing(chunks):
                chunk = first
                while chunk is not None:
                    choices = chunk.get("choices") or []
                    reason = next((c["finish_reason"] for c in choices if c.get("finish_reason")), reason)
                    text += [c.get("delta", {}).get("content") or "" for c in choices]
                    if choices:
                        yield _data({**chunk, **base, "usage": None})
                    chunk = await anext(chunks, None)
            settled = True
            amount = await self._end(call, text="".join(text), finish_reason=reason)
            for event in _closing(call, base, amount):
                yield event
        except ToolOrchestraError as error:
            settled = True
            await self._failed(call, error)
            yield _data(error_body(error))
            yield DONE
        finally:
            if not settled:  # the client went away
                await asyncio.shield(self._end(call, text="".join(text), finish_reason="stop", status="cancelled"))

    async def _failed(self, call: _Call, error: BaseException) -> None:
        message = error.message if isinstance(error, ToolOrchestraError) else "the client went away"
        status = "failed" if isinstance(error, Exception) else "cancelled"
        await asyncio.shield(self._end(call, text="", finish_reason="stop", status=status, reason=message))

    async def _end(
        self, call: _Call, *, text: str, finish_reason: str, status: str = "completed", reason: str = "passed on"
    ) -> NanoUsd:
        """Store the end and settle what is known to have been used; the amount."""
        meter = call.request.meter
        latency_ms = int((monotonic() - call.began) * 1000)
        spent_ms = min(latency_ms, call.request.timeout_ms)
        amount = cost(call.model.price, usage=meter.usage, milliseconds=spent_ms) if meter.sent else 0
        estimate = meter.sent and not meter.exact
        decided = Decided(
            turn=1, attempt=1, decision=Decision(text=text), usage=meter.usage if meter.sent else None,
            cost_nano_usd=amount, estimated=estimate, latency_ms=latency_ms, finish_reason=finish_reason,
        )  # fmt: skip
        ended = Ended.model_validate(
            {
                "status": status,
                "answer": text,
                "reason": reason,
                "finish_reason": "length" if finish_reason == "length" else "stop",
            }
        )
        settle = Settle(call.hold, amount, estimate=estimate)
        journal = LedgerJournal(self._database, call.context)
        transition = Transition(call.context.run_id, call.seq, (decided, ended), settles=(settle,), closes=True)
        try:
            await journal.commit(transition)
        finally:
            self.driven.discard(call.context.run_id)
        return amount

    def _revision(self, tenant: str, model: str) -> Revision:
        catalog = self._registry.catalog()
        key = (catalog.version, tenant, model)
        if key not in self._pinned:
            self._pinned = {k: v for k, v in self._pinned.items() if k[0] == catalog.version}
            self._pinned[key] = pin_expert(catalog, tenant, model, self._budgets.spec(tenant))
        return self._pinned[key]


def _request(model: PinnedModel, wish: ChatCompletionRequest, extra: dict[str, Any]) -> ChatRequest:
    return ChatRequest(
        target=model.target,
        messages=wish.messages,
        max_tokens=min(wish.output_limit or model.max_output_tokens, model.max_output_tokens),
        timeout_ms=parse_duration_ms(model.target.spec.timeout),
        tools=wish.tools,
        tool_choice=wish.tool_choice,
        temperature=wish.temperature,
        top_p=wish.top_p,
        seed=wish.seed,
        stop=wish.stop,
        response_format=wish.response_format,
        meter=Meter(),
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


def _extension(call: _Call, amount: NanoUsd) -> dict[str, Any]:
    return {
        "run_id": call.context.run_id,
        "cost_usd": format_usd(amount),
        "cost_nano_usd": amount,
        "simulated": call.model.target.spec.simulated,
    }


def _closing(call: _Call, base: dict[str, Any], amount: NanoUsd) -> list[str]:
    options = call.wish.stream_options
    if options is None or not options.include_usage:
        return [DONE]
    last = {**base, "object": "chat.completion.chunk", "choices": [], "usage": usage_body(call.request.meter.usage)}
    return [_data(last | {"toolorchestra": _extension(call, amount)}), DONE]


def _data(body: dict[str, Any]) -> str:
    return f"data: {json.dumps(body, ensure_ascii=False)}\n\n"
