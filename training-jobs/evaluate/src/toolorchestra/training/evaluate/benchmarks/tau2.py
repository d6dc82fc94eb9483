"""Tasks of τ²-bench as its repository publishes them: a user scenario, golden actions, and what is checked at the end.

The format is that of ``data/tau2/domains/<domain>/tasks.json``. Only the tasks are read here; their environments are
τ²-bench's own, run by its own server.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import Field

from toolorchestra.core.functions import Frozen
from toolorchestra.training.evaluate.benchmarks.lines import Foreign, read_all, refuse

SOURCE: Final = (
    "τ²-bench is the repository sierra-research/tau2-bench on GitHub; name the tasks.json of a domain under data/tau2/domains"
)


DB, COMMUNICATE, ACTION = "DB", "COMMUNICATE", "ACTION"
JUDGED: Final = frozenset({DB, COMMUNICATE, ACTION})  # of what its rewards are made of


class _Instructions(Foreign):
    task_instructions: str
    reason_for_call: str
    domain: str = ""
    known_info: str | None = None
    unknown_info: str | None = None


class _Scenario(Foreign):
    instructions: _Instructions | str
    persona: str | None = None


class _Action(Foreign):
    name: str = Field(min_length=1)
    arguments: dict[str, Any]
    action_id: str = ""
    requestor: str = "assistant"
    compare_args: list[str] | None = None


class _Criteria(Foreign):
    actions: list[_Action] | None = None
    communicate_info: list[str] | None = None
    nl_assertions: list[str] | None = None
    env_assertions: list[dict[str, Any]] | None = None
    reward_basis: list[str] | None = None


class _TaskRecord(Foreign):
    id: str | int
    user_scenario: _Scenario
    evaluation_criteria: _Criteria | None
    initial_state: dict[str, Any] | None = None


class GoldenAction(Frozen):
    """One call of the reference solution; ``by_user``: the simulated user makes it.

    ``compared``: the arguments that must be the same where the calls themselves are asked for; None: all.
    """

    name: str
    arguments: dict[str, Any]
    by_user: bool = False
    compared: tuple[str, ...] | None = None

    def is_call(self, name: str, arguments: Mapping[str, Any]) -> bool:
        """Whether a call is this one, as τ²-bench compares them."""
        names = arguments.keys() if self.compared is None else self.compared
        kept = ({one: given[one] for one in names if one in given} for given in (arguments, self.arguments))
        return self.name == name and next(kept) == next(kept)


class DialogueTask(Frozen):
    """One conversation with a simulated user. Each task is a cluster of its own: the format names no intent."""

    suite: str = "tau2"
    id: str
    domain: str
    persona: str
    opening: str
    instructions: str
    known: str
    unknown: str
    initial_state: dict[str, Any]
    golden: tuple[GoldenAction, ...]
    communicate: tuple[str, ...]
    assertions: tuple[str, ...]
    environment_assertions: tuple[dict[str, Any], ...]
    reward_basis: tuple[str, ...]

    @property
    def cluster(self) -> str:
        return f"{self.domain}/{self.id}"

    @property
    def checkable(self) -> bool:
        """Whether doing nothing could be told from solving it."""
        return bool(self.golden or self.communicate or self.assertions or self.environment_assertions)

    def why_not(self, tools: Collection[str]) -> str:
        """Why it cannot be played and judged in a world with these tools; empty if it can."""
        unknown = sorted({one.name for one in self.golden if not one.by_user} - set(tools))
        reasons = {
            "nothing in it can be checked": not self.checkable,
            "its user has tools": any(one.by_user for one in self.golden),
            "it begins in a state of its own": any(self.initial_state.values()),
            f"it is judged by {', '.join(sorted(set(self.reward_basis) - JUDGED))}": bool(set(self.reward_basis) - JUDGED),
            f"the world has no {', '.join(unknown)}": bool(unknown),
        }
        return next((reason for reason, holds in reasons.items() if holds), "")


def load_tau2(path: Path, *, domain: str | None = None) -> tuple[DialogueTask, ...]:
    """The tasks of one domain; its name is that of the file's folder unless ``domain`` says otherwise.

    Raises MissingBenchmarkError, and InvalidBenchmarkError for another schema or an id that stands twice.
    """
    records = read_all(path, _TaskRecord, benchmark="τ²-bench", source=SOURCE)
    seen: dict[str, int] = {}
    for line, record in records:
        if str(record.id) in seen:
            raise refuse(path, line, "id", f"{str(record.id)!r} stands on line {seen[str(record.id)]} already")
        seen[str(record.id)] = line
    return tuple(_task(record, domain or path.resolve().parent.name) for _, record in records)


def _task(record: _TaskRecord, domain: str) -> DialogueTask:
    scenario, criteria = record.user_scenario, record.evaluation_criteria or _Criteria()
    told = scenario.instructions
    said = told if isinstance(told, _Instructions) else _Instructions(task_instructions=told, reason_for_call="")
    return DialogueTask(
        id=str(record.id),
        domain=said.domain or domain,
        persona=scenario.persona or "",
        opening=said.reason_for_call,
        instructions=said.task_instructions,
        known=said.known_info or "",
        unknown=said.unknown_info or "",
        initial_state=record.initial_state or {},
        golden=tuple(
            GoldenAction(
                name=action.name,
                arguments=action.arguments,
                by_user=action.requestor == "user",
                compared=None if action.compare_args is None else tuple(action.compare_args),
            )
            for action in criteria.actions or ()
        ),
        communicate=tuple(criteria.communicate_info or ()),
        assertions=tuple(criteria.nl_assertions or ()),
        environment_assertions=tuple(criteria.env_assertions or ()),
        reward_basis=tuple((DB, COMMUNICATE) if criteria.reward_basis is None else criteria.reward_basis),
    )
