"""A metered pass-through of one model: its own chunks, with a hold before and the truth after."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Any, Final, Protocol

import structlog

from toolorchestra.core.chat import ChatModels, ChatRequest, Meter
from toolorchestra.core.durations import parse_duration_ms
from toolorchestra.core.errors import InvalidRequestError
from toolorchestra.core.loop.calls import MIN_OUTPUT_TOKENS
from toolorchestra.core.loop.facts import Asked, Limits, Opened
from toolorchestra.core.loop.journal import DeniedError
from toolorchestra.core.money import NanoUsd, format_usd
from toolorchestra.core.openai import ChatCompletionRequest, Completion, parse_request
from toolorchestra.core.policies.factory import policy_name
from toolorchestra.core.preferences import cost_cap, time_cap_ms
from toolorchestra.core.pricing import affordable_output_tokens, worst_case
from toolorchestra.core.registry import Registry
from toolorchestra.core.resources.meta import nano_usd
from toolorchestra.core.resources.orchestrator import PreferenceSpec
from toolorchestra.core.revision import PinnedModel, Revision, pin_expert, require_inside
from toolorchestra.core.tokens import input_bound_tokens
from toolorchestra.kit.telemetry import inject
from toolorchestra.orchestrator.services.budget import Budgets
from toolorchestra.orchestrator.services.chat import Attempt, with_headers
from toolorchestra.orchestrator.services.entry import Entry
from toolorchestra.orchestrator.services.passing import PassedCall, PassedStream, Settlement
from toolorchestra.orchestrator.services.principal import Principal

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
    stream: PassedStream | None = None


class Passthrough:
    """One per process."""

    def __init__(
        self, *, registry: Registry, budgets: Budgets, entry: Entry, models: StreamingModels, settlement: Settlement
    ) -> None:
        self._registry = registry
        self._budgets = budgets
        self._entry = entry
        self._models = models
        self._settlement = settlement
        self._pinned: dict[tuple[int, str, str], Revision] = {}

    async def start(self, caller: Principal, body: Any, attempt: Attempt) -> Reply:
        """The model's answer. Raises DeniedError when there is no money, UpstreamError when the model refuses."""
        extra = {name: body[name] for name in FORWARDED if name in body}
        wish = with_headers(parse_request({name: value for name, value in body.items() if name not in FORWARDED}), attempt)
        caller.require(wish.model)
        call = await self._open(caller, wish, extra)
        headers = {"x-toolorchestra-run-id": call.context.run_id}
        if not wish.stream:
            return await self._whole(call, headers)
        chunks = self._models.stream(call.request)
        first = await self._first(call, chunks)
        return Reply(headers, stream=PassedStream(call, chunks, first, self._settlement))

    async def _open(self, caller: Principal, wish: ChatCompletionRequest, extra: dict[str, Any]) -> PassedCall:
        revision = self._revision(caller.tenant, wish.model)
        model = revision.manager
        if model is None:
            raise InvalidRequestError(f"{wish.model!r} is not a model", param="model")
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
    ) -> PassedCall:
        amount = _worst(request, model)
        per_run, wished = self._budgets.spec(caller.tenant).per_run, wish.toolorchestra.max_cost_usd
        preference = wish.toolorchestra.preference or PreferenceSpec()
        require_inside(revision, preference)
        opened = Opened(
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
            metadata=wish.metadata or {},
            traceparent=inject().get("traceparent"),
        )
        asked = Asked(turn=1, attempt=1, max_tokens=request.max_tokens, hold_nano_usd=amount, timeout_ms=request.timeout_ms)
        run = await self._entry.open(revision, opened, asked)
        self._settlement.driven.add(run.context.run_id)
        created = int(run.facts[0].at.timestamp())
        return PassedCall(run.context, model, wish, request, run.facts[-1].seq, created, monotonic())

    async def _whole(self, call: PassedCall, headers: dict[str, str]) -> Reply:
        try:
            reply = await self._models.chat(call.request)
        except BaseException as error:
            await self._settlement.fail(call, error)
            raise
        amount = await self._settlement.end(call, text=reply.text, finish_reason=reply.finish_reason)
        tools = [
            {"id": c.id, "type": "function", "function": {"name": c.name, "arguments": c.arguments}} for c in reply.tool_calls
        ]
        body = Completion(call.context.run_id, call.wish.model, call.created).whole(
            content=reply.text or (None if tools else ""),
            tool_calls=tools,
            finish_reason=reply.finish_reason,
            usage=reply.usage,
            extension=call.extension(amount),
            reasoning=reply.reasoning,
        )
        return Reply(headers | {"x-toolorchestra-cost-usd": format_usd(amount)}, body=body)

    async def _first(self, call: PassedCall, chunks: AsyncGenerator[Any, None]) -> Any:
        """The first chunk is awaited before anything is answered, so that a refusal keeps its status."""
        try:
            return await anext(chunks, None)
        except BaseException as error:
            await self._settlement.fail(call, error)
            raise

    def _revision(self, tenant: str, model: str) -> Revision:
        catalog = self._registry.catalog()
        key = (catalog.version, tenant, model)
        if key not in self._pinned:
            self._pinned = {k: v for k, v in self._pinned.items() if k[0] == catalog.version}
            self._pinned[key] = pin_expert(catalog, tenant, model, self._budgets.spec(tenant))
        return self._pinned[key]


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
