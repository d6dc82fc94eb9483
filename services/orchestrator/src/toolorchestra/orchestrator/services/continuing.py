"""Going on with a parked run: the client answers with the results of its own tools, whose ids lead back to the run."""

import re
from dataclasses import dataclass
from typing import Final

from toolorchestra.core.chat import content_text
from toolorchestra.core.errors import NotFoundError
from toolorchestra.core.loop.context import HOLD_GRACE_MS
from toolorchestra.core.loop.facts import Continued
from toolorchestra.core.loop.journal import FencedError, Take, Transition
from toolorchestra.core.loop.state import CallPhase, State, fold
from toolorchestra.core.openai import ChatCompletionRequest
from toolorchestra.core.policies.closing import closing_quote, reserve_nano_usd
from toolorchestra.core.storable import clean_text
from toolorchestra.orchestrator.services.entry import Entry
from toolorchestra.orchestrator.services.manager import RunManager
from toolorchestra.orchestrator.services.principal import Principal
from toolorchestra.orchestrator.storage.runs import RunStore

_CALL_ID: Final = re.compile(r"call_(run-[0-9a-f]{20})_(\d{1,3})_(\d{1,3})")


@dataclass(frozen=True, slots=True)
class ContinuedRun:
    """The run that goes on, as it was stored."""

    run_id: str
    state: State


class Continuer:
    """The first continuation of the same tenant wins by compare-and-set; any other request is a new run."""

    def __init__(self, runs: RunStore, entry: Entry, manager: RunManager) -> None:
        self._runs = runs
        self._entry = entry
        self._manager = manager

    async def continue_run(self, caller: Principal, wish: ChatCompletionRequest, *, retry: bool) -> ContinuedRun | None:
        """Go on with the run that the newest tool messages answer; None if there is none that waits for them.

        ``retry``: the client sends the request again, so the run may have heard these very answers already.
        """
        answers = _answers(wish)
        if answers is None:
            return None
        run_id, turn, results = answers
        try:
            log = await self._runs.log(caller.tenant, run_id)
        except NotFoundError:
            return None
        if not log:  # what was said in it is deleted
            return None
        state = fold(run_id, log)
        if state.run.key != caller.key:
            return None
        if retry and _has_heard(state, turn, results):
            return ContinuedRun(run_id, state)
        return await self._continue(state, turn, results) if _awaits(state, turn, results) else None

    async def _continue(self, state: State, turn: int, results: dict[int, str]) -> ContinuedRun | None:
        run = state.run
        context, revision = await self._entry.resume(state.run_id, run)
        quote = closing_quote(revision.closing, run)
        reserve = run.reserve.model_copy(
            update={"hold": f"final-{turn}", "nano_usd": reserve_nano_usd(quote), "max_tokens": quote.max_output_tokens}
        )
        take = Take(f"{state.run_id}/{reserve.hold}", reserve.nano_usd, run.limits.timeout_ms + HOLD_GRACE_MS, sent=False)
        fact = Continued(turn=turn, results=results, reserve=reserve)
        try:
            stamped = await self._entry.journal(context).commit(Transition(state.run_id, state.seq, (fact,), takes=(take,)))
        except FencedError:
            return None
        log = [*(await self._runs.log(run.tenant, state.run_id))]
        self._manager.launch(context, revision, log)
        return ContinuedRun(state.run_id, fold(state.run_id, [s for s in log if s.seq <= stamped[-1].seq]))


def _has_heard(state: State, turn: int, results: dict[int, str]) -> bool:
    """Whether exactly these answers were given to this turn's calls of the client's tools."""
    found = next((t for t in state.turns if t.number == turn), None)
    calls = [c for c in found.calls if c.intent.client and c.outcome is not None] if found else []
    heard = {c.ordinal: c.outcome.content for c in calls if c.outcome is not None}
    return heard == {ordinal: clean_text(text) for ordinal, text in results.items()}


def _awaits(state: State, turn: int, results: dict[int, str]) -> bool:
    current = state.turn
    if state.parked_at is None or current is None or current.number != turn:
        return False
    open_calls = {c.ordinal for c in current.calls if c.phase is CallPhase.CLIENT}
    return open_calls == set(results)


def _answers(wish: ChatCompletionRequest) -> tuple[str, int, dict[int, str]] | None:
    """Run, turn and results by ordinal of the tool messages at the end; None if they are not all of one turn of ours."""
    found: dict[tuple[str, int], dict[int, str]] = {}
    for message in reversed(wish.messages):
        if message["role"] != "tool":
            break
        match = _CALL_ID.fullmatch(message["tool_call_id"])
        if match is None:
            return None
        place = found.setdefault((match[1], int(match[2])), {})
        place.setdefault(int(match[3]), content_text(message.get("content")))  # the newest comes first
    if len(found) != 1:
        return None
    (run_id, turn), results = next(iter(found.items()))
    return run_id, turn, results
