"""Calling one function directly: a run with a policy that makes that call and hands its result on. Metered like any other."""

import json
from contextlib import aclosing
from typing import Any, Final

from toolorchestra.core.durations import parse_duration_ms
from toolorchestra.core.errors import InvalidRequestError, NotFoundError, UnavailableError
from toolorchestra.core.loop.facts import Limits, Opened
from toolorchestra.core.loop.journal import Stamped
from toolorchestra.core.loop.state import State, apply, fold
from toolorchestra.core.money import format_usd
from toolorchestra.core.preferences import matches
from toolorchestra.core.registry import Registry
from toolorchestra.core.resources.meta import nano_usd
from toolorchestra.core.revision import Revision, functions_for, with_id
from toolorchestra.core.sessions import SESSION_RULE, is_session
from toolorchestra.kit.telemetry import inject
from toolorchestra.orchestrator.services.budget import Budgets
from toolorchestra.orchestrator.services.directpolicy import DIRECT
from toolorchestra.orchestrator.services.entry import Entry
from toolorchestra.orchestrator.services.manager import RunManager
from toolorchestra.orchestrator.services.principal import Principal

TIMEOUT: Final = "300s"


class DirectCalls:
    """One per process."""

    def __init__(self, registry: Registry, budgets: Budgets, entry: Entry, manager: RunManager) -> None:
        self._registry = registry
        self._budgets = budgets
        self._entry = entry
        self._manager = manager

    async def call(self, caller: Principal, name: str, body: Any) -> dict[str, Any]:
        """The outcome of one call."""
        known = isinstance(body, dict) and body.keys() <= {"arguments", "session"}
        arguments = body.get("arguments", {}) if known else None
        if not isinstance(arguments, dict):
            raise InvalidRequestError(
                "the body must be arguments as a JSON object", param="arguments", hint='send {"arguments": {…}}'
            )
        revision = self._revision(caller, name)
        opened = self._opened(caller, revision, name, arguments)
        state = await self._run(revision, opened.model_copy(update={"session": _session(body)}))
        if state.ended is None:
            raise UnavailableError("the run goes on in another process", hint=f"see GET /v1/runs/{state.run_id}")
        outcome = state.turns[0].calls[0].outcome if state.turns and state.turns[0].calls else None
        return {
            "run_id": state.run_id,
            "function": name,
            "status": outcome.status if outcome else "unknown",
            "content": outcome.content if outcome else "",
            "error_code": outcome.error_code if outcome else None,
            "cost_usd": format_usd(state.spent_nano_usd),
            "latency_ms": outcome.latency_ms if outcome else 0,
            "details": outcome.details if outcome else {},
        }

    def _revision(self, caller: Principal, name: str) -> Revision:
        functions, _ = functions_for(self._registry.catalog(), caller.tenant, self._budgets.spec(caller.tenant))
        found = [f for f in functions if f.name == name and matches(f.name, caller.tools)]
        if not found:
            raise NotFoundError(f"there is no function {name!r}", param="name", hint="see GET /v1/tools")
        return with_id(
            Revision(
                id="", tenant=caller.tenant, model=name, orchestrator=None, policy=None,
                manager=None, closing=None, functions=tuple(found),
            )
        )  # fmt: skip

    def _opened(self, caller: Principal, revision: Revision, name: str, arguments: dict[str, Any]) -> Opened:
        cap = nano_usd(self._budgets.spec(caller.tenant).per_run)
        return Opened(
            model=name,
            policy=f"{DIRECT}{name}",
            tenant=caller.tenant,
            key=caller.key,
            revision=revision.id,
            messages=({"role": "user", "content": json.dumps(arguments)},),
            limits=Limits(max_turns=2, max_output_tokens=1, timeout_ms=parse_duration_ms(TIMEOUT), max_cost_nano_usd=cap),
            on_disconnect="continue",
            traceparent=inject().get("traceparent"),
        )

    async def _run(self, revision: Revision, opened: Opened) -> State:
        run = await self._entry.open(revision, opened)
        run_id = run.context.run_id
        self._manager.launch(run.context, revision, run.facts)
        state = fold(run_id, run.facts)
        async with aclosing(self._manager.follow(opened.tenant, run_id, after=state.seq)) as items:
            async for item in items:
                if isinstance(item, Stamped):
                    state = apply(state, item)
        return state


def _session(body: dict[str, Any]) -> str | None:
    session = body.get("session")
    if session is not None and not (isinstance(session, str) and is_session(session)):
        raise InvalidRequestError(f"session: {SESSION_RULE}", param="session")
    return session
