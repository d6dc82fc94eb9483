"""Looking at runs and acting on them, for their tenant only."""

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from toolorchestra.core.errors import ConflictError, InvalidRequestError, ToolOrchestraError
from toolorchestra.core.loop.facts import dump
from toolorchestra.core.loop.journal import Stamped
from toolorchestra.core.money import format_usd
from toolorchestra.core.openai import error_body
from toolorchestra.core.resources.manifest import describe, first_field
from toolorchestra.ledger.runs import Feedback, RunRecord, RunState
from toolorchestra.orchestrator.services.explain import STATUS_WAITING, explain
from toolorchestra.orchestrator.services.hub import Item, Superseded
from toolorchestra.orchestrator.services.manager import RunManager
from toolorchestra.orchestrator.services.principal import Principal
from toolorchestra.orchestrator.services.responding import KEEP_ALIVE, with_keep_alive
from toolorchestra.orchestrator.services.waiting import Waiting
from toolorchestra.orchestrator.storage.runs import RunStore


class FeedbackWish(BaseModel):
    """The body of feedback: a score from 0 to 1, a label, a comment; at least one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    score: float | None = Field(default=None, ge=0, le=1)
    label: str | None = Field(default=None, max_length=64)
    comment: str | None = Field(default=None, max_length=4096)

    @model_validator(mode="after")
    def _something(self) -> "FeedbackWish":
        if self.score is None and self.label is None and self.comment is None:
            raise ValueError("one of score, label and comment is required")
        return self


class RunService:
    """One per process."""

    def __init__(self, runs: RunStore, manager: RunManager, waiting: Waiting, keep_alive_s: float) -> None:
        self._keep_alive_s = keep_alive_s
        self._runs = runs
        self._manager = manager
        self._waiting = waiting

    async def listing(self, caller: Principal, *, limit: int, after: str | None) -> dict[str, Any]:
        """A page of runs, newest first, from just after a given one. Raises NotFoundError for an unknown ``after``."""
        records = await self._runs.page(caller.tenant, after=after, count=limit + 1)
        data = [_summary(record) for record in records[:limit]]
        return {"object": "list", "data": data, "has_more": len(records) > limit}

    async def show(self, caller: Principal, run_id: str) -> dict[str, Any]:
        """One run, explained."""
        run = await self._runs.whole(caller.tenant, run_id)
        if not run.facts:
            return _summary(run.record) | {"content_deleted_at": str(run.record.content_deleted_at), "turns": []}
        return explain(run_id, run.facts, run.charged) | {"charged_usd": format_usd(run.record.spent_nano_usd)}

    async def require(self, caller: Principal, run_id: str) -> None:
        """Raises NotFoundError unless the run is the caller's tenant's."""
        await self._runs.get(caller.tenant, run_id)

    async def events(self, caller: Principal, run_id: str, *, after: int) -> AsyncGenerator[str, None]:
        """Facts as server-sent events, numbered; passing text, and that it counts no more, has no number.

        After an error the client comes back by number.
        """
        try:
            items = self._manager.follow(caller.tenant, run_id, after=after)
            async with aclosing(with_keep_alive(items, self._keep_alive_s)) as kept_alive:
                async for item in kept_alive:
                    yield KEEP_ALIVE if item is None else _event(item)
        except ToolOrchestraError as error:
            yield f"event: error\ndata: {json.dumps(error_body(error), ensure_ascii=False)}\n\n"

    async def cancel(self, caller: Principal, run_id: str) -> dict[str, Any]:
        """End the run: what is under way is broken off. A run that waits for its client ends here."""
        record = await self._runs.get(caller.tenant, run_id)
        if record.state is RunState.WAITING:
            await self._waiting.end(record, by="the user")
        elif record.state is RunState.RUNNING:
            await self._manager.cancel(caller.tenant, run_id, "the user")
        return {"id": run_id, "object": "toolorchestra.run", "status": _status(record), "cancel_requested": True}

    async def feedback(self, caller: Principal, run_id: str, body: Any) -> dict[str, Any]:
        """Store what a user thinks of the answer."""
        try:
            wish = FeedbackWish.model_validate(body)
        except ValidationError as error:
            raise InvalidRequestError(describe(error), param=first_field(error)) from error
        found = Feedback(author=caller.key, score=wish.score, label=wish.label, comment=wish.comment)
        await self._runs.add_feedback(caller.tenant, run_id, found)
        return {"id": run_id, "object": "toolorchestra.feedback", "stored": True}

    async def delete(self, caller: Principal, run_id: str) -> dict[str, Any]:
        """Remove what was said. What was paid stays. Raises ConflictError while the run goes on."""
        record = await self._runs.get(caller.tenant, run_id)
        if record.state is not RunState.ENDED:
            raise ConflictError(f"run {run_id} has not ended", hint="cancel it first")
        await self._runs.delete_content(caller.tenant, run_id)
        return {"id": run_id, "object": "toolorchestra.run", "deleted": True}


def _event(item: Item) -> str:
    if isinstance(item, Stamped):
        body = {"seq": item.seq, "at": item.at.isoformat(), **dump(item.fact)}
        return f"id: {item.seq}\nevent: {item.fact.type}\ndata: {json.dumps(body, ensure_ascii=False)}\n\n"
    if isinstance(item, Superseded):
        return f"event: superseded\ndata: {json.dumps({'turn': item.turn, 'attempt': item.attempt})}\n\n"
    return f"event: delta\ndata: {json.dumps({'kind': item.kind, 'text': item.text}, ensure_ascii=False)}\n\n"


def _summary(record: RunRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "object": "toolorchestra.run",
        "status": _status(record),
        "model": record.model,
        "policy": record.policy,
        "created_at": record.created_at.isoformat(),
        "ended_at": record.ended_at.isoformat() if record.ended_at else None,
        "cost_usd": format_usd(record.spent_nano_usd),
        "metadata": dict(record.metadata),
    }


def _status(record: RunRecord) -> str:
    return STATUS_WAITING if record.state is RunState.WAITING else record.status or str(record.state)
