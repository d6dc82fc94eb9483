"""Calling one function directly: a run with a policy that makes that call and hands its result on. Metered like any other."""

import json
from secrets import token_hex
from typing import Any, Final

from toolorchestra.core.durations import parse_duration_ms
from toolorchestra.core.errors import InvalidRequestError, NotFoundError
from toolorchestra.core.loop.facts import Limits, Opened
from toolorchestra.core.loop.journal import Stamped, Take, Transition
from toolorchestra.core.loop.state import State, apply, fold
from toolorchestra.core.money import format_usd
from toolorchestra.core.preferences import matches
from toolorchestra.core.registry import Registry
from toolorchestra.core.resources.meta import nano_usd
from toolorchestra.core.revision import Revision, functions_for, with_id
from toolorchestra.kit.telemetry import inject
from toolorchestra.ledger.database import Database
from toolorchestra.ledger.journal import Existing, open_run
from toolorchestra.ledger.transitions import NewRun
from toolorchestra.orchestrator.services.budget import Budgets
from toolorchestra.orchestrator.services.directpolicy import DIRECT
from toolorchestra.orchestrator.services.manager import RunManager
from toolorchestra.orchestrator.services.opening import run_context
from toolorchestra.orchestrator.services.principal import Principal
from toolorchestra.orchestrator.storage.revisions import RevisionStore

TIMEOUT: Final = "300s"


class DirectCalls:
    """One per process."""

    def __init__(
        self,
        *,
        registry: Registry,
        budgets: Budgets,
        database: Database,
        revisions: RevisionStore,
        manager: RunManager,
        owner: str,
        lease_ms: int,
    ) -> None:
        self._registry = registry
        self._budgets = budgets
        self._database = database
        self._revisions = revisions
        self._manager = manager
        self._owner = owner
        self._lease_ms = lease_ms

    async def call(self, caller: Principal, name: str, body: Any) -> dict[str, Any]:
        """The outcome of one call."""
        arguments = body.get("arguments", {}) if isinstance(body, dict) else None
        if not isinstance(arguments, dict):
            raise InvalidRequestError("arguments must be a JSON object", param="arguments", hint='send {"arguments": {…}}')
        revision = self._revision(caller, name)
        await self._revisions.save(revision)
        state = await self._run(caller, revision, self._opened(caller, revision, name, arguments))
        call = state.turns[0].calls[0]
        outcome = call.outcome
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

    async def _run(self, caller: Principal, revision: Revision, opened: Opened) -> State:
        run_id = f"run-{token_hex(10)}"
        context = run_context(run_id, opened, revision, owner=self._owner, lease_ms=self._lease_ms)
        new = NewRun(context=context, model=opened.model, revision=revision.id, cap_nano_usd=opened.limits.max_cost_nano_usd)
        take = Take(f"{run_id}/final", 0, opened.limits.timeout_ms, sent=False)
        facts = await open_run(self._database, new, Transition(run_id, 0, (opened,), takes=(take,)))
        if isinstance(facts, Existing):
            raise InvalidRequestError("the run exists already")
        self._manager.launch(context, revision, facts)
        state = fold(run_id, list(facts))
        async for item in self._manager.follow(caller.tenant, run_id, after=state.seq):
            if isinstance(item, Stamped):
                state = apply(state, item)
        return state
