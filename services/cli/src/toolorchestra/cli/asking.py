"""Asks a question of a platform and reads the answer as it comes."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from toolorchestra.cli.client import Client, path
from toolorchestra.core.errors import ToolOrchestraError

Listener: TypeAlias = Callable[[str], None]
EXTENSION: Final = "toolorchestra"


@dataclass(frozen=True, slots=True)
class Question:
    """One question with its wishes and limits; None leaves them to the Orchestrator."""

    text: str
    model: str = "toolorchestra"
    prefer: str | None = None
    max_cost_usd: str | None = None
    max_turns: int | None = None
    timeout_s: float | None = None

    def body(self) -> dict[str, Any]:
        """The question as an OpenAI request."""
        wishes = {
            "preference": self.prefer,
            "max_cost_usd": self.max_cost_usd,
            "max_turns": self.max_turns,
            "timeout_seconds": self.timeout_s,
        }
        return {
            "model": self.model,
            "messages": [{"role": "user", "content": self.text}],
            "stream": True,
            "stream_options": {"include_usage": True},  # with it, every kind of model tells what it cost
            EXTENSION: {name: value for name, value in wishes.items() if value is not None},
        }


@dataclass(slots=True)
class Answer:
    """What came back. ``summary`` is the platform's own account: run, status, cost, turns, tools, trace."""

    text: str = ""
    run_id: str | None = None
    summary: dict[str, Any] = field(default_factory=dict)

    @property
    def status(self) -> str:
        """How the run ended. A model that was asked by its own name does not say; its failures are errors."""
        return str(self.summary.get("status", "completed"))


def ask(client: Client, question: Question, *, progress: Listener | None = None, content: Listener | None = None) -> Answer:
    """Ask and wait for the end; the listeners hear what happens meanwhile. An interrupted question is cancelled."""
    answer = Answer()
    try:
        with client.stream("/v1/chat/completions", question.body()) as reply:
            answer.run_id = reply.run_id
            for event in reply.events:
                _take(answer, event, progress, content)
    except KeyboardInterrupt:
        if answer.run_id is not None:
            with suppress(ToolOrchestraError):
                client.post(path("v1", "runs", answer.run_id, "cancel"))
        raise
    return answer


def _take(answer: Answer, event: dict[str, Any], progress: Listener | None, content: Listener | None) -> None:
    for choice in event.get("choices") or []:
        delta = choice.get("delta") or {}
        if progress and delta.get("reasoning_content"):
            progress(delta["reasoning_content"])
        if text := delta.get("content"):
            answer.text += text
            if content:
                content(text)
    if isinstance(event.get(EXTENSION), dict):
        answer.summary = event[EXTENSION]
        answer.run_id = answer.summary.get("run_id") or answer.run_id
