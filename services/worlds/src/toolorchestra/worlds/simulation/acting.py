"""The next move of a simulated expert: which step of its plan comes next, and what it takes to make it."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from toolorchestra.worlds.session import Call
from toolorchestra.worlds.simulation.cases import Case, tool_calls
from toolorchestra.worlds.simulation.conversation import Conversation, Heard, Made
from toolorchestra.worlds.simulation.drawing import Fault
from toolorchestra.worlds.simulation.planning import Plan, answer_of, invented, signature
from toolorchestra.worlds.simulation.user import ASK_USER, question_for
from toolorchestra.worlds.tasks import Task

PATIENCE: Final = 2  # times that a call is made which fails
CUT_SHARE: Final = 0.6  # of a text that remains when it is cut


@dataclass(frozen=True, slots=True)
class Move:
    """What an expert does: a call of the function ``name``, or else a text. ``late``: nothing, in time."""

    text: str = ""
    name: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    late: bool = False
    is_cut: bool = False

    @property
    def cut(self) -> "Move":
        """The same, broken off on the way; a call becomes the beginning of the words about it."""
        words = self.text or f"I will now call {self.name} with {json.dumps(self.arguments, ensure_ascii=False)}"
        return replace(self, text=words[: max(1, int(len(words) * CUT_SHARE))], name=None, arguments={}, is_cut=True)


@dataclass(frozen=True, slots=True)
class Stance:
    """An expert's position: the case, its plan, what it was given.

    ``descriptions`` are those of the functions offered; ``made`` are the calls by the world's tools, ``left`` the steps that no
    call was made for. ``key`` names the position for draws.
    """

    case: Case
    plan: Plan
    conversation: Conversation
    descriptions: Mapping[str, str]
    key: str
    heard: Heard
    made: Sequence[Made]
    left: Sequence[int]

    @property
    def place(self) -> int:
        """The first step that is still to be made; the number of steps when only the answer is left."""
        return self.left[0] if self.left else len(self.case.golden)


def stance_of(case: Case, plan: Plan, conversation: Conversation, descriptions: Mapping[str, str], key: str = "") -> Stance:
    """The position of an expert with this plan in a conversation."""
    made = tool_calls(case, conversation.made, descriptions)
    heard = Heard(conversation.said, conversation.shown, case.year)
    return Stance(case, plan, conversation, descriptions, key, heard, made, open_steps(case, plan, made))


def open_steps(case: Case, plan: Plan, made: Sequence[Made]) -> list[int]:
    """The steps that no call was made for. Calls count for a step in its golden form, or in that of the expert itself."""
    if case.world is None:
        used = {one.name for one in made}
        return [place for place, one in enumerate(case.golden) if one.tool not in used]
    good = Counter(signature(one.name, one.arguments) for one in made if one.ok)
    tried = Counter(signature(one.name, one.arguments) for one in made if not one.ok)
    return [place for place, keys in enumerate(plan.keys) if not any(_take(key, good, tried) for key in sorted(keys))]


def next_move(stance: Stance) -> Move:
    """The next call that the plan has and that can be made here, else the answer."""
    callable_now = stance.conversation.asked or bool(stance.descriptions)
    for place in stance.left if callable_now else ():
        form = stance.plan.forms[place]
        if form is None:  # it stops here
            break
        move = _call(stance, place, form)
        if move is not None:
            return move
    text = answer_of(stance.case, stance.plan, stance.heard, unmade=bool(stance.left))
    return Move(text=json.dumps({"answer": text}, ensure_ascii=False) if _in_json(stance) else text)


def _call(stance: Stance, place: int, form: Call) -> Move | None:
    """The call of one step; None if it cannot be made, or was made in vain."""
    name = _function(stance, form.tool)
    if name is None:
        return None
    best, missing = _best_form(stance, place, form)
    if missing and (asking := _ask(stance, missing)):
        return asking
    call = invented(best, missing, stance.conversation.shown, f"{stance.key}/{place}") if missing else best
    wanted = signature(call.tool, call.arguments)
    if missing and any(signature(one.name, one.arguments) == wanted for one in stance.made):
        return None
    if _in_json(stance):
        proposal = {"call": {"name": name, "arguments": call.arguments}}
        return Move(text=json.dumps(proposal, ensure_ascii=False))
    return Move(name=name, arguments=call.arguments)


def _best_form(stance: Stance, place: int, form: Call) -> tuple[Call, list[str]]:
    """The expert's own form of a call if all values of it are known, else the golden one if those are; what is missing."""
    golden = stance.case.golden[place].call
    missing = stance.case.missing(place, form.arguments, stance.heard)
    if stance.plan.draw.fault is Fault.MUTATED and place == stance.plan.draw.step:
        return form, [name for name in missing if form.arguments[name] == golden.arguments.get(name)]  # the mistake is its own
    if not missing:
        return form, []
    if not stance.case.missing(place, golden.arguments, stance.heard):
        return golden, []
    return form, missing


def _function(stance: Stance, tool: str) -> str | None:
    """The function that a tool is called by here; None if it is not offered."""
    if stance.conversation.asked:
        return tool if stance.case.world is not None else None
    return next((name for name in stance.descriptions if stance.case.tool_of(name, stance.descriptions) == tool), None)


def _ask(stance: Stance, missing: Sequence[str]) -> Move | None:
    """A question for the user, where there is one to ask who knows and was not asked yet."""
    task = stance.case.task
    if ASK_USER not in stance.descriptions or not isinstance(task, Task):
        return None
    asked = {str(one.arguments.get("question")) for one in stance.conversation.made if one.name == ASK_USER}
    for name in missing:
        question = question_for(name)
        if name in task.user.known and question not in asked:
            return Move(name=ASK_USER, arguments={"question": question})
    return None


def _in_json(stance: Stance) -> bool:
    return stance.conversation.asked and stance.case.world is not None


def _take(key: str, good: Counter[str], tried: Counter[str]) -> bool:
    """Whether a call of this signature was made and is not counted for another step; one that keeps failing counts too."""
    if good[key]:
        good[key] -= 1
        return True
    return tried[key] >= PATIENCE
