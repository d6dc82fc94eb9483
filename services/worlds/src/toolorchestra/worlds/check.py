"""Whether an episode met its task: the end state is right, the facts are told, and the rows that hold them were looked at.

τ-bench (arXiv 2406.12045) compares end states and searches the answers for substrings; ToolOrchestra (arXiv 2511.21689) adds
that the golden entries are touched. Both can be passed by echoing the request or listing everything; here facts are typed, read
from the final answer only, and at most two other values of a fact's type may stand beside it.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from toolorchestra.worlds.rows import fold
from toolorchestra.worlds.session import Call, Session
from toolorchestra.worlds.tasks import Fact, Task
from toolorchestra.worlds.values import Found, Kind, Value, holds, scan
from toolorchestra.worlds.world import World

MAX_OTHERS: Final = 2


@dataclass(frozen=True, slots=True)
class Verdict:
    """How an episode did. ``reasons`` says in words what is missing; empty for a success."""

    success: bool
    state_equal: bool
    facts_missing: tuple[str, ...] = ()
    facts_unproven: tuple[str, ...] = ()
    extra_values: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()


def check(world: World, task: Task, calls: Iterable[Call], answer: str) -> Verdict:
    """Judge an episode by its calls and its final answer. Raises BrokenToolError if a tool of the world failed by mistake."""
    session = Session.replay(world, calls)
    return judge(task, session, answer)


def judge(task: Task, session: Session, answer: str) -> Verdict:
    """Judge an episode that a session has played."""
    world = session.world
    state_equal = session.state_hash == golden_end(world, task)
    found = scan(answer, world.spec.clock.year)
    missing = tuple(fact.name for fact in task.facts if not found.says(fact.kind, fact.value))
    returned = session.returned
    unproven = tuple(fact.name for fact in task.facts if not returned.issuperset(fact.rows))
    extra = tuple(kind for kind in dict.fromkeys(fact.kind for fact in task.facts) if too_many(world, task.facts, kind, found))
    reasons = tuple(_reasons(state_equal=state_equal, missing=missing, unproven=unproven, extra=extra))
    return Verdict(not reasons, state_equal, missing, unproven, extra, reasons)


def golden_end(world: World, task: Task) -> int:
    """The hash of the state in which the golden calls end; computed once per world."""
    found = world.ends.get(task.golden_key)
    if found is None:
        found = world.ends[task.golden_key] = Session.replay(world, task.calls).state_hash
    return found


def too_many(world: World, facts: Sequence[Fact], kind: Kind, found: Found) -> bool:
    """Whether an answer lists more values of a kind than one who knows the right one would."""
    allowed = 0 if kind is Kind.YESNO else MAX_OTHERS
    return sum(1 for _ in others(world, facts, kind, found)) > allowed


def others(world: World, facts: Sequence[Fact], kind: Kind, found: Found) -> Iterator[Value]:
    """Values of a kind in a text that are none of the facts."""
    wanted = {plain(fact) for fact in facts if fact.kind is kind}
    if kind is Kind.TEXT:
        yield from _other_texts(world, facts, found)
        return
    if kind is Kind.DATE:
        wanted |= {str(fact.value)[:10] for fact in facts if fact.kind is Kind.DATETIME}
    yield from (value for value in found.of(kind) if value not in wanted)


def plain(fact: Fact) -> Value:
    """A fact's value as ``scan`` finds it."""
    match fact.kind:
        case Kind.NUMBER:
            return Decimal(str(fact.value)).normalize() + 0
        case Kind.ID:
            return str(fact.value).upper()
        case Kind.YESNO:
            return bool(fact.value)
        case Kind.MONEY:
            return int(fact.value)
        case _:
            return str(fact.value)


def _other_texts(world: World, facts: Sequence[Fact], found: Found) -> Iterator[str]:
    wanted = [fold(str(fact.value)) for fact in facts if fact.kind is Kind.TEXT]
    columns = {fact.column for fact in facts if fact.kind is Kind.TEXT and fact.column}
    for text in sorted(frozenset[str]().union(*(world.rows.texts(*column) for column in columns))):
        # "York" inside of "New York Central" is not another station.
        if not any(text in one for one in wanted) and holds(found.folded, text):
            yield text


def _reasons(*, state_equal: bool, missing: Sequence[str], unproven: Sequence[str], extra: Sequence[str]) -> Iterator[str]:
    if not state_equal:
        yield "the end state is not that of the golden calls"
    yield from (f"the answer does not say {name}" for name in missing)
    yield from (f"no call returned the rows that hold {name}" for name in unproven)
    yield from (f"the answer lists more than {MAX_OTHERS} other values of type {kind}" for kind in extra)
