"""A task: what a user wants, the golden calls that bring it about, and the facts that must be told.

The shape follows τ-bench (arXiv 2406.12045: a user scenario, golden actions, outputs to communicate), made stricter: facts are
typed and bound to the rows that hold them, and calls say which earlier results they need. One task is one line of tasks.jsonl;
its JSON Schema is docs/reference/task.schema.json.
"""

import json
from collections.abc import Iterable, Mapping
from functools import cached_property
from hashlib import blake2b
from typing import Any, Final, Self

from pydantic import BaseModel, Field, JsonValue, field_validator, model_validator

from toolorchestra.core.resources.orchestrator import Weights
from toolorchestra.worlds.schema import Strict
from toolorchestra.worlds.session import Call
from toolorchestra.worlds.values import Kind, of_its_kind

SCHEMA_URL: Final = "https://json-schema.org/draft/2020-12/schema"


class Preference(Strict):
    """What the user wants weighed, in words and as weights (accuracy, cost, latency from 0 to 1; tools from −1 to 1)."""

    words: str = Field(default="", max_length=1024, description="In the user's words; put at the end of the request.")
    weights: Weights = Field(default_factory=Weights, description="The same for scoring; never shown to a manager.")


class User(Strict):
    """Who asks, and what they know. ``opening`` is the whole request; ``known`` is what they would answer when asked back."""

    persona: str = Field(description="How the user speaks, e.g. `terse`.")
    opening: str = Field(min_length=1, description="The request, in the user's words.")
    known: dict[str, str] = Field(default_factory=dict, description="What the user can tell when asked: name → value.")
    unknown: tuple[str, ...] = Field(default=(), description="What the user does not know and no answer may presume.")
    preference: Preference = Field(default_factory=Preference, description="What the user wants weighed.")

    @property
    def text(self) -> str:
        """Everything that the user says or could say."""
        return "\n".join([self.opening, *self.known.values()])


class GoldenCall(Strict):
    """One call of the reference solution, with concrete arguments; ``needs`` are earlier calls whose results it uses."""

    id: str = Field(description="Name within the task, e.g. `c1`.")
    tool: str = Field(description="Tool of the world.")
    arguments: dict[str, JsonValue] = Field(description="Arguments as they are sent.")
    needs: tuple[str, ...] = Field(default=(), description="Ids of the calls that must come before.")

    @property
    def call(self) -> Call:
        return Call(self.tool, self.arguments)


class Fact(Strict):
    """Something that the final answer must say, and the rows that hold it: they must have been returned in this episode.

    ``value``: money in whole cents, dates as ``2026-03-14``, datetimes as ``2026-03-14T08:05``. ``column`` (table, column) is
    where a text comes from; the other values of that column are what the answer must not list.
    """

    name: str = Field(description="What it is, e.g. `refund`.")
    kind: Kind = Field(description="How the value is read from the answer.")
    value: str | bool | int | float = Field(description="The value, computed by execution.")
    rows: tuple[tuple[str, str], ...] = Field(min_length=1, description="Rows that hold it: table and key.")
    column: tuple[str, str] | None = Field(default=None, description="For texts: table and column.")

    _is_of_its_kind = field_validator("value")(of_its_kind)


class Task(Strict):
    """One request to the company of a world, and how it is told whether it was met."""

    id: str = Field(min_length=1, description="Unique within the world.")
    world: str = Field(description="Name of the world.")
    intent: str = Field(description="What is wanted, by name; several are joined by `+`.")
    template: str = Field(description="The wording template, by name.")
    seed: int = Field(description="The wording was drawn with this seed.")
    split: tuple[str, ...] = Field(default=(), description="Tags such as `train` or `heldout-intent`.")
    user: User = Field(description="The user.")
    golden: tuple[GoldenCall, ...] = Field(min_length=1, description="The reference solution.")
    facts: tuple[Fact, ...] = Field(default=(), description="What the answer must say.")
    evolve: tuple[str, ...] = Field(default=(), description="How a plain task was made harder, in order.")
    difficulty: dict[str, int] = Field(default_factory=dict, description="Counts: calls, writes, facts, depth, intents.")

    @model_validator(mode="after")
    def _needs_come_before(self) -> Self:
        seen: set[str] = set()
        for call in self.golden:
            if late := set(call.needs) - seen:
                raise ValueError(f"golden.{call.id}.needs: {min(late)!r} is no earlier call")
            if call.id in seen:
                raise ValueError(f"golden.{call.id}: the id stands twice")
            seen.add(call.id)
        return self

    @cached_property
    def golden_key(self) -> str:
        """Names the golden calls: equal for equal calls in equal order."""
        return signature(one.call for one in self.golden)

    @property
    def calls(self) -> tuple[Call, ...]:
        """The golden calls as a session takes them."""
        return tuple(one.call for one in self.golden)


def signature(calls: Iterable[Call]) -> str:
    """128 bits over calls, as hex."""
    content = json.dumps([[call.tool, call.arguments] for call in calls], sort_keys=True, separators=(",", ":"))
    return blake2b(content.encode(), digest_size=16).hexdigest()


def write_line(task: Task) -> str:
    """The task as one line of tasks.jsonl, without what is at its default."""
    return json.dumps(task.model_dump(mode="json", exclude_defaults=True), ensure_ascii=False, separators=(",", ":")) + "\n"


def json_schema(model: type[BaseModel] = Task) -> Mapping[str, Any]:
    """The published JSON Schema of a line of tasks.jsonl."""
    return {"$schema": SCHEMA_URL, **model.model_json_schema(mode="validation")}
