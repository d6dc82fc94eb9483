"""Answering a conversation with an Orchestrator: open a run or attach to one, follow it, and write the response."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from toolorchestra.core.errors import InvalidRequestError, ToolOrchestraError
from toolorchestra.core.loop.calls import shown
from toolorchestra.core.loop.journal import Stamped
from toolorchestra.core.loop.state import State, apply, fold
from toolorchestra.core.money import NanoUsd, format_usd
from toolorchestra.core.openai import ChatCompletionRequest, Extension
from toolorchestra.core.policies.baselines import BaselinePolicy
from toolorchestra.core.policies.factory import policy_for
from toolorchestra.core.policies.prompted import candidates
from toolorchestra.core.policies.protocol import Policy, Terms, View
from toolorchestra.core.registry import Registry
from toolorchestra.core.resources.manifest import describe, first_field
from toolorchestra.core.resources.orchestrator import PreferenceSpec
from toolorchestra.core.revision import find_expert
from toolorchestra.ledger.journal import Existing
from toolorchestra.orchestrator.services.continuing import Continuer
from toolorchestra.orchestrator.services.hub import Item
from toolorchestra.orchestrator.services.manager import RunManager
from toolorchestra.orchestrator.services.opening import Opener
from toolorchestra.orchestrator.services.principal import Principal
from toolorchestra.orchestrator.services.repeating import Attempt, Repeats, body_hash
from toolorchestra.orchestrator.services.responding import ChunkStream, whole
from toolorchestra.orchestrator.storage.accounts import AccountStore


@dataclass(frozen=True, slots=True)
class Started:
    """A run that answers the request. ``let_go`` tells that the client no longer listens."""

    run_id: str
    state: State
    tenant: str
    let_go: Callable[[], None] = field(default=lambda: None)

    async def leave(self) -> None:
        """``let_go``, for those who await."""
        self.let_go()


class ClientGoneError(ToolOrchestraError):
    """Nobody is there to read the answer."""

    code = "client_closed_request"
    http_status = 499


class ChatService:
    """One per process."""

    def __init__(
        self,
        *,
        registry: Registry,
        opener: Opener,
        continuer: Continuer,
        manager: RunManager,
        repeats: Repeats,
        accounts: AccountStore,
        keep_alive_s: float,
    ) -> None:
        self._registry = registry
        self._opener = opener
        self._continuer = continuer
        self._manager = manager
        self._repeats = repeats
        self._accounts = accounts
        self._keep_alive_s = keep_alive_s

    def is_expert(self, caller: Principal, body: Any) -> bool:
        """Whether the request names a model rather than an Orchestrator. Orchestrators win a shared name."""
        model = body.get("model") if isinstance(body, dict) else None
        if not isinstance(model, str) or (caller.tenant, model) in self._registry.catalog().orchestrators:
            return False
        try:
            find_expert(self._registry.catalog(), caller.tenant, model)
        except ToolOrchestraError:
            return False
        return True

    async def start(self, caller: Principal, wish: ChatCompletionRequest, attempt: Attempt) -> Started:
        """The run that answers: continued, found again, or new."""
        caller.require(wish.model)
        wish = with_headers(wish, attempt)
        hashed = body_hash(wish)
        continued = await self._continuer.continue_run(caller, wish, retry=attempt.retry)
        if continued is not None:
            return self._started(continued.run_id, continued.state)
        found = await self._repeats.find(caller, attempt, hashed)
        if found is not None:
            return self._started(found.run_id, found)
        opened = await self._opener.open(caller, wish, idempotency_key=attempt.idempotency_key, body_hash=hashed)
        if isinstance(opened, Existing):
            return self._started(opened.run_id, await self._repeats.state(caller, opened.run_id))
        state = fold(opened.context.run_id, opened.facts)
        self._manager.launch(opened.context, opened.revision, opened.facts)
        return self._started(opened.context.run_id, state)

    async def finish(self, started: Started) -> tuple[State, dict[str, Any]]:
        """Wait for the end of the run (or until only the client can go on); the response body."""
        state = started.state
        async with aclosing(self._follow(started)) as items:
            async for item in items:
                if isinstance(item, Stamped) and item.seq > state.seq:
                    state = apply(state, item)
        return state, whole(started.run_id, state)

    def stream(self, started: Started, wish: ChatCompletionRequest) -> AsyncGenerator[str, None]:
        """The response as server-sent events."""
        return ChunkStream(started.run_id, wish, started.state, self._keep_alive_s).events(self._follow(started))

    async def remaining_nano_usd(self, caller: Principal) -> NanoUsd | None:
        """What the tenant and the key have left, the tighter of the two; None without a limit."""
        return await self._accounts.remaining_nano_usd(caller.tenant, caller.key)

    async def plan(self, caller: Principal, wish: ChatCompletionRequest) -> dict[str, Any]:
        """What a run would see and could do first, without opening it."""
        caller.require(wish.model)
        revision = self._opener.pinned(caller, wish.model)
        opened = self._opener.opening(caller, wish, revision)
        state = State("plan", opened=opened, reserve=opened.reserve)
        view = View(state, revision, shown(revision, opened))
        policy = policy_for(revision, self._manager.models)
        return {
            "object": "toolorchestra.plan",
            "model": wish.model,
            "policy": opened.policy,
            "limits": opened.limits.model_dump(),
            "preference": _preference(opened.preference),
            "closing_reserve_usd": format_usd(opened.reserve.nano_usd),
            "candidates": [c.model_dump(exclude_none=True) for c in candidates(view)],
            "first": await _first(policy, view),
        }

    def _started(self, run_id: str, state: State) -> Started:
        self._manager.listen(run_id)
        return Started(run_id, state, state.run.tenant, lambda: self._manager.let_go(run_id, state.run.on_disconnect))

    def _follow(self, started: Started) -> AsyncGenerator[Item, None]:
        return self._manager.follow(started.tenant, started.run_id, after=started.state.seq, listening=True)


async def _first(policy: Policy, view: View) -> dict[str, Any] | None:
    """A rule's first decision; a model is not asked, since that costs money."""
    if not isinstance(policy, BaselinePolicy):
        return None
    reply = await policy.decide(view, Terms(max_tokens=0, timeout_ms=0))
    calls = [{"function": i.function, "arguments": i.arguments, "reason": i.reason} for i in reply.decision.calls]
    return {"calls": calls, "reason": reply.decision.reason}


def with_headers(wish: ChatCompletionRequest, attempt: Attempt) -> ChatCompletionRequest:
    """Headers stand in for extension fields that are not set. Raises InvalidRequestError that names the field."""
    given = wish.toolorchestra
    update: dict[str, Any] = {}
    if attempt.preference_words and given.preference is None:
        update["preference"] = attempt.preference_words
    if attempt.max_cost_usd and given.max_cost_usd is None:
        update["max_cost_usd"] = attempt.max_cost_usd
    if not update:
        return wish
    try:
        extension = Extension.model_validate(given.model_dump(exclude_unset=True) | update)
    except ValidationError as error:
        raise InvalidRequestError(f"a header is not valid: {describe(error)}", param=first_field(error)) from error
    return wish.model_copy(update={"toolorchestra": extension})


def _preference(preference: PreferenceSpec) -> dict[str, Any]:
    return preference.model_dump(by_alias=True, exclude_defaults=True)
