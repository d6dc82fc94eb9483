"""What an expert intends to do on a task: the golden calls where it is right, and a plausible mistake where it is wrong.

After a wrong call an expert goes on with what that call brought: the new id, the other amount. So its whole episode hangs
together and reads like a right one.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from random import Random
from typing import Any, Final

from toolorchestra.worlds.answers import STYLES, tell
from toolorchestra.worlds.mutations import Mutations
from toolorchestra.worlds.questions import QuestionTask
from toolorchestra.worlds.session import Call, CallResult, Session
from toolorchestra.worlds.simulation.cases import Case, shows
from toolorchestra.worlds.simulation.conversation import Heard
from toolorchestra.worlds.simulation.drawing import Draw, Fault
from toolorchestra.worlds.state import money_text
from toolorchestra.worlds.tasks import Fact
from toolorchestra.worlds.values import Kind, scan
from toolorchestra.worlds.world import World

TRIED: Final = 8  # mistakes, until one is found that the world takes
_DIGITS: Final = re.compile(r"\d")
_TOLD: Final = ("The answer is {}.", "{}", "It is {}.")


@dataclass(frozen=True, slots=True)
class Plan:
    """``forms``: how the expert makes each golden call, None where it stops instead; ``facts``: what it takes for true."""

    draw: Draw
    forms: tuple[Call | None, ...]
    facts: tuple[Fact, ...]
    style: int = 0
    keys: tuple[frozenset[str], ...] = ()  # signatures of the calls that count for each step


def make_plan(case: Case, draw: Draw, random: Random) -> Plan:
    """The plan that a draw leads to. ``random`` chooses among mistakes."""
    plan = _intended(case, draw, random)
    pairs = zip(plan.forms, case.golden, strict=True)
    keys = tuple(
        frozenset(signature(call.tool, call.arguments) for call in (form, one.call) if call is not None) for form, one in pairs
    )
    return replace(plan, keys=keys)


def signature(tool: str, arguments: Mapping[str, Any]) -> str:
    """Equal for equal calls; an argument that is null is one that was left out."""
    given = {name: value for name, value in arguments.items() if value is not None}
    return f"{tool} {json.dumps(given, sort_keys=True)}"


def _intended(case: Case, draw: Draw, random: Random) -> Plan:
    calls = [one.call for one in case.golden]
    style = random.randrange(STYLES)
    match draw.fault:
        case Fault.MUTATED if case.world is not None:
            forms, facts = _swerve(case, case.world, draw.step, random)
            return Plan(draw, tuple(forms), tuple(facts), style)
        case Fault.STOPPED:
            stopped = [None if place == draw.step else call for place, call in enumerate(calls)]
            return Plan(draw, tuple(stopped), case.facts, style)
        case Fault.MISREPORTED:
            return Plan(draw, tuple(calls), _misreported(case, style, random), style)
        case _:
            return Plan(draw, tuple(calls), case.facts, style)


def answer_of(case: Case, plan: Plan, heard: Heard, *, unmade: bool) -> str:
    """What the expert tells the user. A fact that nothing shows is told wrongly; so are all with calls still ``unmade``."""
    right = zip(plan.facts, case.facts, strict=True)
    told = [
        fact if fact.value != golden.value or _known(case, fact, heard, unmade=unmade) else misreport(case, fact)
        for fact, golden in right
    ]
    return _told(case, told, style=plan.style)


def misreport(case: Case, fact: Fact) -> Fact:
    """The fact with another value of its kind, near the right one; always the same one."""
    random = Random(f"{case.id}/{fact.name}/misreported")
    return fact.model_copy(update={"value": _other(case, fact, random)})


def _misreported(case: Case, style: int, random: Random) -> tuple[Fact, ...]:
    """The facts with one told wrongly, and with more where another fact says the same."""
    facts = list(case.facts)
    for place in random.sample(range(len(facts)), len(facts)):
        facts[place] = misreport(case, facts[place])
        found = scan(_told(case, facts, style=style), case.year)
        if not all(found.says(fact.kind, fact.value) for fact in case.facts):
            break
    return tuple(facts)


def _told(case: Case, facts: Sequence[Fact], *, style: int) -> str:
    if isinstance(case.task, QuestionTask):
        return _TOLD[style % len(_TOLD)].format(_said(facts[0]))
    return tell(facts, currency=case.world.spec.currency if case.world else "USD", style=style) or "Done."


def _known(case: Case, fact: Fact, heard: Heard, *, unmade: bool) -> bool:
    if case.world is None:
        return True
    if fact.name in case.shown_facts:
        return shows(heard, fact)
    return not unmade


def _said(fact: Fact) -> str:
    return f"${money_text(int(fact.value))}" if fact.kind is Kind.MONEY else str(fact.value)


def _other(case: Case, fact: Fact, random: Random) -> str | bool | int | float:
    value, away = fact.value, random.choice((-1, 1))
    match fact.kind:
        case Kind.YESNO:
            return not value
        case Kind.MONEY:
            near = random.choice((100, 250, 1_000))
            return int(value) + away * near if int(value) > near else int(value) + near
        case Kind.NUMBER:
            return _other_number(value, away, random)
        case Kind.DATE | Kind.DATETIME:
            day = date.fromisoformat(str(value)[:10]) + timedelta(days=away * random.randint(1, 3))
            return f"{day.isoformat()}{str(value)[10:]}"
        case Kind.ID:
            return _DIGITS.sub(lambda match: str((int(match[0]) + random.randint(1, 8)) % 10), str(value)) + (
                "" if _DIGITS.search(str(value)) else "2"
            )
        case Kind.TEXT:
            return _other_text(case, fact, random)


def _other_number(value: Any, away: int, random: Random) -> int | float:
    near = random.choice((1, 2, 10))
    if isinstance(value, int):
        return value + away * near if value > near else value + near
    places = len(str(value).partition(".")[2])
    return round(float(value) + away * near * 10.0**-places, places)


def _other_text(case: Case, fact: Fact, random: Random) -> str:
    """Another value of the fact's column, or another of those that a question might have."""
    if isinstance(case.task, QuestionTask):
        choices = [text for text in case.task.others if text != fact.value]
    else:
        columns = case.world.rows.tables[fact.column[0]].values() if case.world and fact.column else ()
        choices = sorted({str(row[fact.column[1]]) for row in columns if fact.column} - {str(fact.value)})
    return random.choice(choices) if choices else "none that I could find"


def _swerve(case: Case, world: World, step: int, random: Random) -> tuple[list[Call | None], list[Fact]]:
    """The calls of somebody who makes a mistake at one write and goes on with what it brought; the facts as they then look."""
    calls = [one.call for one in case.golden]
    wrong = _mistake(case, world, step, random)
    session = Session.replay(world, calls[:step])
    renamed: dict[str, Any] = {}
    forms: list[Call | None] = [*calls[:step]]
    for place in range(step, len(calls)):
        call = wrong if place == step else Call(calls[place].tool, _renamed(calls[place].arguments, renamed))
        result = session.call(call.tool, call.arguments)
        forms.append(call)
        if result.ok:
            _pair(case.results[place], result.content, renamed)
    return forms, [_as_seen(fact, renamed) for fact in case.facts]


def _mistake(case: Case, world: World, step: int, random: Random) -> Call:
    """The golden call with one argument wrong: if possible one that the world takes, and that leads to another state."""
    calls = [one.call for one in case.golden]
    right = Session.replay(world, calls[: step + 1])
    tried = [call for _, call in Mutations(right, random).of_arguments(calls[step])]
    random.shuffle(tried)
    for call in tried[:TRIED]:
        session = Session.replay(world, calls[:step])
        result: CallResult = session.call(call.tool, call.arguments)
        if result.ok and session.state_hash != right.state_hash:
            return call
    # A call without any argument to get wrong is made without arguments.
    return tried[0] if tried else Call(calls[step].tool, {"no_such_argument": True})


def _pair(golden: Any, seen: Any, renamed: dict[str, Any]) -> None:
    """Notes which text of a golden result another result has in its place."""
    if isinstance(golden, dict) and isinstance(seen, dict):
        for name in [name for name in golden if name in seen]:  # in order: of two values in one place the first counts
            _pair(golden[name], seen[name], renamed)
    elif isinstance(golden, list) and isinstance(seen, list):
        for one, other in zip(golden, seen, strict=False):
            _pair(one, other, renamed)
    elif isinstance(golden, str) and isinstance(seen, str) and golden != seen:
        renamed.setdefault(golden, seen)


def _renamed(arguments: Mapping[str, Any], renamed: Mapping[str, Any]) -> dict[str, Any]:
    return {name: renamed.get(value, value) if isinstance(value, str) else value for name, value in arguments.items()}


def _as_seen(fact: Fact, renamed: Mapping[str, Any]) -> Fact:
    """The fact as the other results show it; as it is where they do not."""
    match fact.kind:
        case Kind.MONEY:
            seen = renamed.get(money_text(int(fact.value)))
            value = round(float(seen) * 100) if seen is not None and re.fullmatch(r"-?\d+(\.\d+)?", seen) else fact.value
        case Kind.ID | Kind.TEXT | Kind.DATE | Kind.DATETIME:
            value = renamed.get(str(fact.value), fact.value)
        case _:
            value = fact.value
    return fact.model_copy(update={"value": value})


def invented(call: Call, missing: Sequence[str], seen: Sequence[str], key: str) -> Call:
    """The call by somebody who does not know some values: others of the same look from what was seen, or made-up ones."""
    random = Random(f"{key}/invented")
    arguments = {
        name: _guess(value, seen, random) if name in missing else value for name, value in sorted(call.arguments.items())
    }
    return Call(call.tool, arguments)


def _guess(value: Any, seen: Sequence[str], random: Random) -> Any:
    if isinstance(value, list):
        return [_guess(item, seen, random) for item in value]
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return value
    alike = sorted({text for text in _alike(str(value), seen) if text != str(value)})
    if alike and isinstance(value, str):
        return random.choice(alike)
    made_up = _DIGITS.sub(lambda _: str(random.randint(1, 9)), json.dumps(value))
    guess = json.loads(made_up)
    return guess if guess != value else f"{value}1" if isinstance(value, str) else value + 1


def _alike(value: str, seen: Sequence[str]) -> Iterator[str]:
    """Words of the same look: letters for letters at the beginning, digits for digits."""
    pattern = "".join(r"\d" if letter.isdigit() else "[A-Z0-9]" if letter.isupper() else re.escape(letter) for letter in value)
    prefix = re.match(r"[A-Z]+-", value)
    look = re.compile(rf"\b{re.escape(prefix[0])}[A-Z0-9]+\b" if prefix else rf"\b{pattern}\b")
    for text in seen:
        yield from look.findall(text)
