"""Logs of runs as they are stored, and what is sent for them."""

import json
from collections.abc import AsyncGenerator, Iterable
from datetime import timedelta
from typing import Any

from toolorchestra.core.calls import Outcome, Status
from toolorchestra.core.loop import facts as f
from toolorchestra.core.loop.journal import Stamped
from toolorchestra.core.openai import parse_request
from toolorchestra.core.testing import an_opening
from toolorchestra.orchestrator.services.hub import Item
from toolorchestra.orchestrator.testing import EPOCH

RUN = f"run-{'a' * 20}"
OK = Outcome(status=Status.OK, content="391", cost_nano_usd=1_000_000, latency_ms=12)


def log(*facts: f.Fact, question: str = "What is it?", **opening: Any) -> list[Stamped]:
    """An opening and these facts, a second apart."""
    every = (an_opening(question, **opening), *facts)
    return [Stamped(n, EPOCH + timedelta(seconds=n), fact) for n, fact in enumerate(every, start=1)]


def asked(turn: int = 1, *, forced: str | None = None, attempt: int = 1) -> f.Asked:
    return f.Asked(turn=turn, attempt=attempt, max_tokens=64, hold_nano_usd=0, timeout_ms=1_000, forced=forced)


def calls(*names: str, turn: int = 1, client: bool = False, **arguments: Any) -> f.Decided:
    intents = tuple(f.Intent(function=name, arguments=arguments, client=client) for name in names)
    return f.Decided(turn=turn, attempt=1, decision=f.Decision(calls=intents, reason="by rule"), cost_nano_usd=5)


def started(*ordinals: int, turn: int = 1) -> f.CallsStarted:
    begun = tuple(f.StartedCall(ordinal=n, attempt=1, hold_nano_usd=0, timeout_ms=1_000) for n in ordinals)
    return f.CallsStarted(turn=turn, calls=begun)


def finished(ordinal: int = 1, outcome: Outcome = OK, *, turn: int = 1) -> f.CallFinished:
    return f.CallFinished(turn=turn, ordinal=ordinal, attempt=1, outcome=outcome)


def said(text: str, turn: int = 1) -> f.Decided:
    return f.Decided(turn=turn, attempt=1, decision=f.Decision(text=text))


def ended(answer: str = "391", status: str = "completed", **fields: Any) -> f.Ended:
    return f.Ended.model_validate({"status": status, "answer": answer, "reason": "answered", **fields})


def wish(**fields: Any) -> Any:
    """A request."""
    return parse_request({"model": "main", "messages": [{"role": "user", "content": "What is it?"}], **fields})


async def flow(items: Iterable[Item | Exception]) -> AsyncGenerator[Item, None]:
    """The items one after the other; an error is raised."""
    for item in items:
        if isinstance(item, Exception):
            raise item
        yield item


def bodies(events: Iterable[str]) -> list[dict[str, Any]]:
    """What stands in the data of server-sent events."""
    found = [line.removeprefix("data: ") for event in events for line in event.splitlines() if line.startswith("data: ")]
    return [json.loads(text) for text in found if text != "[DONE]"]


def deltas(events: Iterable[str], name: str) -> str:
    """The texts of one field of all chunks, together."""
    choices = [body["choices"][0] for body in bodies(events) if body.get("choices")]
    return "".join(choice["delta"].get(name) or "" for choice in choices)
