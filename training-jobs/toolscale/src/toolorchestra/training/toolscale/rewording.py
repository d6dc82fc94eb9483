"""A language model says what users want in words of its own; what it says passes the same checks as the grammar's text.

Nothing of its output is believed: each rewritten request still says every value that the user knew, invents none, and is
verified like any candidate. What fails keeps its wording, and is counted by reason.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from enum import StrEnum
from random import Random
from typing import Final

from toolorchestra.training.toolscale.domain import Domain
from toolorchestra.training.toolscale.endpoint import WordingModel
from toolorchestra.training.toolscale.wording import IntentWording, expand
from toolorchestra.worlds.errors import InvalidWorldError
from toolorchestra.worlds.rows import fold
from toolorchestra.worlds.tasks import Task
from toolorchestra.worlds.values import Found, Kind, Value, scan
from toolorchestra.worlds.verify import first_drop, frequent_values
from toolorchestra.worlds.world import World

AT_ONCE: Final = 8  # requests to the endpoint
LONGEST: Final = 3  # a rewritten text is at most so many times as long
PROPOSED: Final = 3  # templates asked for per intent
LONGEST_TEMPLATE: Final = 400  # letters
_SLOT: Final = re.compile(r"\{([a-z_]+)\}")
_WRITTEN_MANY_WAYS: Final = re.compile(r"\d{4}-\d{2}-\d{2}(?:T\d{2}:\d{2})?|\d{2}:\d{2}|-?\d+(?:\.\d+)?")
_COMPARED: Final = (Kind.MONEY, Kind.DATE, Kind.NUMBER, Kind.ID)
_LIST_MARK: Final = re.compile(r"^\s*(?:[-*]|\d+[.)])\s+")
REWRITE: Final = (
    "You rewrite messages of customers to a company. Say the same in other words, as this person would. Keep every name, "
    "address, id, date, time, amount, number and condition exactly as it is, and all that is asked for; add no fact and no "
    "figure. Answer with the message alone."
)
PROPOSE: Final = (
    "You write templates of messages in which customers of a company ask for one thing. {slot} stands for a value. Use exactly "
    "the slots of the examples, ask for the same, and say it in other words. Answer with the templates alone, one per line."
)


class Kept(StrEnum):
    """What became of a request or template."""

    REWRITTEN = "rewritten"
    NO_ANSWER = "the endpoint gave no answer"
    TOO_LONG = "it is too long"
    VALUE_MISSING = "a value that the user knew is missing"
    VALUE_INVENTED = "a value was invented"
    SAME = "the same was said before"
    TEMPLATE = "template taken"
    SLOTS = "its slots are not those of the intent"
    BRACKETS = "its brackets do not match"


@dataclass(frozen=True, slots=True)
class Reworded:
    """Tasks, and how many were rewritten or kept their wording, by reason."""

    tasks: Sequence[Task]
    counts: Mapping[str, int]


def reword(world: World, tasks: Sequence[Task], model: WordingModel) -> Reworded:
    """Let the model rewrite each task's request. Raises WordingEndpointError if it can never answer."""
    frequent, said = frequent_values(tasks), {fold(task.user.opening) for task in tasks}
    counts: Counter[str] = Counter()
    found: list[Task] = []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for task, text in zip(tasks, pool.map(lambda one: _ask(model, one), tasks), strict=True):
            other = task.model_copy(update={"user": task.user.model_copy(update={"opening": text or task.user.opening})})
            fault = _fault(world, task, text, said)
            if fault is None and (drop := first_drop(world, other, frequent=frequent)) is not None:
                fault = drop.reason.value
            counts[fault or Kept.REWRITTEN.value] += 1
            found.append(task if fault else other)
            said.add(fold(found[-1].user.opening))
    return Reworded(found, dict(sorted(counts.items())))


def _ask(model: WordingModel, task: Task) -> str | None:
    return model.ask(REWRITE, f"The person writes in this manner: {task.user.persona}. The message:\n\n{task.user.opening}")


def _fault(world: World, task: Task, text: str | None, said: set[str]) -> str | None:
    """What is wrong with a rewritten request by itself."""
    if text is None:
        return Kept.NO_ANSWER.value
    if len(text) > LONGEST * len(task.user.opening):
        return Kept.TOO_LONG.value
    if fold(text) in said:
        return Kept.SAME.value
    return values_fault(task.user.opening, text, task.user.known.values(), world.spec.clock.year)


def values_fault(before: str, after: str, known: Iterable[str], year: int) -> str | None:
    """What is wrong with the values of a text that is to say the same as another one: one lost, or one that is new.

    ``known``: what the user knows; those that stood word by word in the one must stand so in the other, unless they are of a
    kind that is written in many ways and read from both.
    """
    one, two = scan(before, year), scan(after, year)
    texts = [value for value in known if not _WRITTEN_MANY_WAYS.fullmatch(value)]
    lost = any(one.says(Kind.TEXT, value) and not two.says(Kind.TEXT, value) for value in texts)
    first, second = _values(one, before, year), _values(two, after, year)
    if lost or not first <= second | {("number", value) for value in two.words}:
        return Kept.VALUE_MISSING.value
    return Kept.VALUE_INVENTED.value if second - first - {("number", value) for value in one.words} else None


def _values(found: Found, text: str, year: int) -> set[tuple[str, Value]]:
    """All typed values of a text; times apart from the dates that happen to stand nearest."""
    values = {(kind.value, value) for kind in _COMPARED for value in found.of(kind)}
    values |= {("number", value) for value in found.words if value != 1}  # "one" often stands for a thing named before
    times = {moment.partition("T")[2] for moment in scan(f"{text} 1 January", year).datetimes}
    return values | {("time", moment) for moment in times}


def widen(domain: Domain, model: WordingModel) -> tuple[Domain, Mapping[str, int]]:
    """The domain with request templates that the model proposes; and how many were taken or refused, by reason.

    What is held out stays: proposed templates are for learning. Raises WordingEndpointError if the model can never answer.
    """
    counts: Counter[str] = Counter()
    intents = domain.wording.intents
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = pool.map(lambda name: model.ask(PROPOSE, _examples(intents[name])), intents)
        wider = {name: _with_proposed(intents[name], answer, counts) for name, answer in zip(intents, answers, strict=True)}
    wording = domain.wording.model_copy(update={"intents": wider})
    return replace(domain, wording=wording, written=domain.written or domain.requests), dict(sorted(counts.items()))


def _examples(wording: IntentWording) -> str:
    return "\n".join([*wording.request, "", f"Write {PROPOSED} more."])


def _with_proposed(wording: IntentWording, answer: str | None, counts: Counter[str]) -> IntentWording:
    taken = list(wording.request)
    if answer is None:
        counts[Kept.NO_ANSWER.value] += 1
    for line in (answer or "").splitlines():
        template = _LIST_MARK.sub("", line).strip().strip('"')
        if template:
            fault = template_fault(template, taken)
            counts[fault or Kept.TEMPLATE.value] += 1
            taken.extend([] if fault else [template])
    return wording.model_copy(update={"request": tuple(taken)})


def template_fault(template: str, known: Sequence[str]) -> str | None:
    """What is wrong with a template beside others of its intent: slots, brackets, figures of its own, length, a repetition."""
    slots, others = set(_SLOT.findall(template)), [set(_SLOT.findall(other)) for other in known]
    try:
        plain = expand(template, Random(0))
    except InvalidWorldError:
        return Kept.BRACKETS.value
    if slots not in others or "{" in _SLOT.sub("", template) or "}" in _SLOT.sub("", template):
        return Kept.SLOTS.value
    if any(letter.isdigit() for letter in plain):
        return Kept.VALUE_INVENTED.value
    if len(template) > LONGEST_TEMPLATE:
        return Kept.TOO_LONG.value
    return Kept.SAME.value if fold(template) in map(fold, known) else None
