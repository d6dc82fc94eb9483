"""Whether a task is worth having: it must fail for those who do not solve it and pass for all who do.

Of the published ToolScale tasks many pass for an agent that does nothing or repeats the request, because tasks were kept when
their golden calls ran (arXiv 2511.21689). Here wrong and right episodes are made from the golden one and judged.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from random import Random
from typing import Any, Final, TypeAlias

from toolorchestra.worlds.answers import STYLES, dump, tell
from toolorchestra.worlds.check import judge
from toolorchestra.worlds.mutations import Mutations
from toolorchestra.worlds.rows import fold
from toolorchestra.worlds.session import Call, CallResult, Session, texts
from toolorchestra.worlds.state import Ref
from toolorchestra.worlds.tasks import Fact, Task
from toolorchestra.worlds.values import Found, Kind, scan
from toolorchestra.worlds.world import World

MAX_ORDERS: Final = 20
FEW: Final = 10  # counts below are guessed too easily
SHORT: Final = 3  # texts of fewer letters stand in any answer
Frequent: TypeAlias = Mapping[tuple[str, str], str | bool | int | float]  # (intent, fact's name) → value


class Reason(StrEnum):
    """Why a task is dropped."""

    GOLDEN_REFUSED = "a golden call is refused"
    GOLDEN_FAILS = "the golden episode does not pass"
    NOTHING_TO_CHECK = "it has neither a write nor a fact"
    UNPROVEN = "an argument of a golden write stands neither in the text nor in an earlier result"
    FACT_IN_TEXT = "a fact stands in the user's own text"
    WEAK_FACTS = "its only facts are yes or no, a small count or a very short text"
    PASSES_IDLE = "doing nothing passes"
    PASSES_ECHO = "repeating the request passes"
    PASSES_DUMP = "listing all results passes"
    PASSES_FREQUENT = "the most frequent values pass"
    PASSES_WITHOUT_WRITE = "it passes with a write left out"
    PASSES_MUTATED = "it passes with an argument of a write changed"
    PASSES_WRONG_ENTITY = "it passes for another entity"
    PASSES_FROM_TEXT = "writes with values from the text alone pass"
    FAILS_REORDERED = "another valid order fails"
    FAILS_EXTRA_READS = "looking at more fails"
    FAILS_OTHER_PATH = "another look-up path fails"
    FAILS_RETRY = "a refused call followed by the right one fails"
    FAILS_REWORDED = "a reworded answer fails"


@dataclass(frozen=True, slots=True)
class Drop:
    """Why a task is dropped, and by what."""

    reason: Reason
    detail: str = ""


def verify(world: World, task: Task, *, frequent: Frequent | None = None) -> tuple[Drop, ...]:
    """Empty if the task is to be kept. ``frequent``: what a guesser would say, by intent and fact."""
    return tuple(Verification(world, task).drops(frequent or {}))


def first_drop(world: World, task: Task, *, frequent: Frequent | None = None) -> Drop | None:
    """The first of ``verify``, without looking for more."""
    return next(Verification(world, task).drops(frequent or {}), None)


def variants(world: World, task: Task, seed: int = 0) -> Mapping[str, tuple[Sequence[Call], str]]:
    """Right episodes other than the golden one, by name: calls and answer; those that the task allows for."""
    verification = Verification(world, task, seed)
    found: dict[str, tuple[Sequence[Call], str]] = {}
    for reason, _, calls, answer in verification.right_episodes():
        found.setdefault(reason.name.removeprefix("FAILS_").lower(), (calls, answer))
    return found


class Verification:
    """One task with its golden episode, from which wrong and right ones are made. ``seed`` draws orders and entities."""

    def __init__(self, world: World, task: Task, seed: int = 0) -> None:
        self.world, self.task = world, task
        self.random = Random(f"{task.id} {seed}")
        self.calls = task.calls
        self._places = {id(call): place for place, call in enumerate(self.calls)}
        self._played: dict[tuple[int, ...], Session] = {(): Session(world)}
        self.golden = self.play(self.calls)
        world.ends.setdefault(task.golden_key, self.golden.state_hash)
        self.answer = tell(task.facts, currency=world.spec.currency)
        self.said = scan(task.user.text, world.spec.clock.year)
        self.writes = [index for index, call in enumerate(self.calls) if world.tools[call.tool].writes] if self._known() else []
        self.mutations = Mutations(self.golden, self.random)

    def passes(self, calls: Sequence[Call], answer: str) -> bool:
        return judge(self.task, self.play(calls), answer).success

    def play(self, calls: Sequence[Call]) -> Session:
        """The session that calls lead to. Episodes here begin alike, so beginnings of golden calls are played only once."""
        place = 0
        beginning: tuple[int, ...] = ()
        session = self._played[beginning]
        while place < len(calls) and (golden := self._places.get(id(calls[place]))) is not None:
            beginning = (*beginning, golden)
            known = self._played.get(beginning)
            if known is None:
                known = session.fork()
                known.call(calls[place].tool, calls[place].arguments)
                self._played[beginning] = known
            session, place = known, place + 1
        if place < len(calls):
            session = session.fork()
        for call in calls[place:]:
            session.call(call.tool, call.arguments)
        return session

    def drops(self, frequent: Frequent) -> Iterator[Drop]:
        """What speaks against the task, the more telling first; what is unsound is tried no further."""
        unsound = list(self.unsound())
        yield from unsound
        if not unsound:
            yield from self.negatives(frequent)
            yield from self.positives()

    # What must hold of the golden episode itself

    def unsound(self) -> Iterator[Drop]:
        for one, result in zip(self.task.golden, self.golden.results, strict=True):
            if not result.ok:
                yield Drop(Reason.GOLDEN_REFUSED, f"{one.tool}: {result.error_code}")
                return
        if not self.writes and not self.task.facts:
            yield Drop(Reason.NOTHING_TO_CHECK)
        for fact in self.task.facts:
            if fact.kind is not Kind.YESNO and self.said.says(fact.kind, fact.value):
                yield Drop(Reason.FACT_IN_TEXT, fact.name)
        if self.task.facts and all(map(is_weak, self.task.facts)):
            yield Drop(Reason.WEAK_FACTS, ", ".join(fact.name for fact in self.task.facts))
        yield from self._unproven()
        verdict = judge(self.task, self.golden, self.answer)
        if not verdict.success:
            yield Drop(Reason.GOLDEN_FAILS, "; ".join(verdict.reasons))

    def _unproven(self) -> Iterator[Drop]:
        for index in self.writes:
            call = self.calls[index]
            earlier = Known(self.said, self.golden.results[:index])
            for name, value in call.arguments.items():
                if not self._stands(earlier, call, name, value):
                    yield Drop(Reason.UNPROVEN, f"{call.tool}.{name}: {value!r}")

    def _stands(self, known: "Known", call: Call, name: str, value: Any) -> bool:
        about = self.world.tools[call.tool].parameters["properties"].get(name, {})
        if "enum" in about or isinstance(value, bool) or value is None or self.mutations.is_free(call, name):
            return True
        items = value if isinstance(value, list) else [value]
        return all(known.holds(item, about.get("format")) for item in items)

    # What must fail

    def negatives(self, frequent: Frequent) -> Iterator[Drop]:
        for reason, detail, calls, answer in self.wrong_episodes(frequent):
            if self.passes(calls, answer):
                yield Drop(reason, detail)

    def wrong_episodes(self, frequent: Frequent) -> Iterator[tuple[Reason, str, Sequence[Call], str]]:
        task, calls = self.task, self.calls
        reads = [call for call in calls if not self.world.tools[call.tool].writes]
        yield Reason.PASSES_IDLE, "silent", (), ""
        yield Reason.PASSES_IDLE, "with the right answer", (), self.answer
        yield Reason.PASSES_ECHO, "without calls", (), task.user.text
        yield Reason.PASSES_ECHO, "with reads", reads, task.user.text
        if self.writes:
            yield Reason.PASSES_WITHOUT_WRITE, "reads only", reads, self.answer
        if task.facts:
            yield Reason.PASSES_ECHO, "with all calls", calls, task.user.text
            yield Reason.PASSES_DUMP, "", calls, dump(self.golden.results)
            guessed = [_guess(task.intent, fact, frequent) for fact in task.facts]
            if all(guessed):
                answer = tell([fact for fact in guessed if fact], currency=self.world.spec.currency)
                yield Reason.PASSES_FREQUENT, "", calls, answer
        for index in self.writes:
            yield Reason.PASSES_WITHOUT_WRITE, calls[index].tool, [*calls[:index], *calls[index + 1 :]], self.answer
            for name, mutated in self.mutations.of_arguments(calls[index]):
                detail = f"{calls[index].tool}.{name}"
                yield Reason.PASSES_MUTATED, detail, [*calls[:index], mutated, *calls[index + 1 :]], self.answer
        for old, new in self.mutations.entities(calls[index] for index in self.writes):
            yield Reason.PASSES_WRONG_ENTITY, f"{old} → {new}", [_renamed(call, old, new) for call in calls], self.answer
        yield Reason.PASSES_FROM_TEXT, "", self._from_text(), self.answer

    def _from_text(self) -> list[Call]:
        """The writes of somebody who looks nothing up."""
        known, calls = Known(self.said, ()), [self.calls[index] for index in self.writes]
        return [call for call in calls if all(self._stands(known, call, name, value) for name, value in call.arguments.items())]

    # What must pass

    def positives(self) -> Iterator[Drop]:
        for reason, detail, calls, answer in self.right_episodes():
            if not self.passes(calls, answer):
                yield Drop(reason, detail)

    def right_episodes(self) -> Iterator[tuple[Reason, str, Sequence[Call], str]]:
        calls = self.calls
        for order in self._orders():
            detail = " ".join(self.task.golden[index].id for index in order)
            yield Reason.FAILS_REORDERED, detail, [calls[index] for index in order], self.answer
        yield Reason.FAILS_EXTRA_READS, "", self._with_extra_reads(), self.answer
        yield from (
            (
                Reason.FAILS_OTHER_PATH,
                f"{other.tool} for {calls[index].tool}",
                [*calls[:index], other, *calls[index + 1 :]],
                self.answer,
            )
            for index, other in self._other_paths()
        )
        for index in self.writes or range(1):
            refused = self.mutations.refused(calls[index])
            yield Reason.FAILS_RETRY, calls[index].tool, [*calls[:index], refused, *calls[index:]], self.answer
        for style in range(1, STYLES):
            answer = tell(self.task.facts, currency=self.world.spec.currency, style=style)
            yield Reason.FAILS_REWORDED, f"style {style}", calls, answer

    def _orders(self) -> Iterator[tuple[int, ...]]:
        """Up to MAX_ORDERS other orders that respect data flow and write conflicts."""
        before = self._constraints()
        straight = tuple(range(len(before)))
        seen = {straight}
        for _ in range(2 * MAX_ORDERS):
            order = self._draw_order(before)
            if order not in seen and len(seen) <= MAX_ORDERS:
                seen.add(order)
                yield order

    def _constraints(self) -> list[set[int]]:
        """For each call those that must come before it."""
        places = {one.id: index for index, one in enumerate(self.task.golden)}
        before = [{places[need] for need in one.needs} for one in self.task.golden]
        for later, second in enumerate(self.golden.results):
            before[later].update(
                earlier for earlier, first in enumerate(self.golden.results[:later]) if _conflict(first, second)
            )
        return before

    def _draw_order(self, before: Sequence[set[int]]) -> tuple[int, ...]:
        order: list[int] = []
        left = set(range(len(before)))
        while left:
            ready = sorted(index for index in left if not before[index] & left)
            order.append(self.random.choice(ready))
            left.remove(order[-1])
        return tuple(order)

    def _with_extra_reads(self) -> list[Call]:
        calls = list(self.calls)
        reads = [call for call in calls if not self.world.tools[call.tool].writes]
        for call in reads[:3]:
            others = [mutated for _, mutated in self.mutations.of_arguments(call)]
            calls.insert(self.random.randrange(len(calls) + 1), self.random.choice([call, *others]))
        return calls

    def _other_paths(self) -> Iterator[tuple[int, Call]]:
        """Reads of other tools that show the same rows: whoever solves the task that way is as right."""
        for index, (call, result) in enumerate(zip(self.calls, self.golden.results, strict=True)):
            if self.world.tools[call.tool].writes or not result.rows:
                continue
            for other in self._alternatives(call, result.rows):
                yield index, other

    def _alternatives(self, call: Call, rows: frozenset[Ref]) -> Iterator[Call]:
        table, key = min(rows)
        row = self.world.rows.tables[table].get(key)
        for name, tool in self.world.tools.items() if row is not None and len(rows) == 1 else ():
            wanted = tool.parameters.get("required", ())
            if tool.writes or name == call.tool or not wanted or not row or not row.keys() >= set(wanted):
                continue
            other = Call(name, {column: row[column] for column in wanted})
            result = Session(self.world).call(other.tool, other.arguments)
            if result.ok and result.rows >= rows:
                yield other

    def _known(self) -> bool:
        return all(call.tool in self.world.tools for call in self.calls)


class Known:
    """What somebody can know who has heard the user and read some results."""

    def __init__(self, said: Found, results: Sequence[CallResult]) -> None:
        self._said = said
        self._texts = {text for result in results for text in texts(result.content)}
        self._numbers = {str(number) for result in results for number in _numbers(result.content)}

    def holds(self, value: Any, kind: str | None) -> bool:
        """Whether a value that a call sends was to be known. ``kind`` is its format: money, date, date-time."""
        if isinstance(value, int | float):
            return value == 1 or str(value) in self._numbers or self._said.says(Kind.NUMBER, value)
        if value in self._texts:
            return True
        match kind:
            case "money":
                return int(Decimal(value) * 100) in self._said.money
            case "date":
                return value in self._said.dates or any(text.startswith(value) for text in self._texts)
            case "date-time":
                return value in self._said.datetimes
            case _:
                return self._said.says(Kind.TEXT, value) or value.upper() in self._said.ids


def is_weak(fact: Fact) -> bool:
    """Whether a fact can be guessed: it may stand beside others, never alone."""
    match fact.kind:
        case Kind.YESNO:
            return True
        case Kind.NUMBER:
            return abs(float(fact.value)) < FEW
        case Kind.TEXT:
            return len(fold(str(fact.value))) < SHORT
        case _:
            return False


def frequent_values(tasks: Sequence[Task]) -> Frequent:
    """The most frequent value of each fact of each intent, for those that occur more than once."""
    counts: defaultdict[tuple[str, str], defaultdict[str | bool | int | float, int]] = defaultdict(lambda: defaultdict(int))
    for task in tasks:
        for fact in task.facts:
            counts[task.intent, fact.name][fact.value] += 1
    found = {place: max(sorted(values.items(), key=str), key=lambda one: one[1]) for place, values in counts.items()}
    return {place: value for place, (value, count) in found.items() if count > 1}


def _guess(intent: str, fact: Fact, frequent: Frequent) -> Fact | None:
    value = frequent.get((intent, fact.name))
    return None if value is None else fact.model_copy(update={"value": value})


def _conflict(first: CallResult, second: CallResult) -> bool:
    """Whether two calls must keep their order: one writes what the other reads, searches through or writes."""
    one, two = first.trace, second.trace
    written, rewritten = {table for table, _ in one.writes}, {table for table, _ in two.writes}
    return bool(one.writes & (two.reads | two.writes) or one.reads & two.writes or written & two.scans or rewritten & one.scans)


def _renamed(call: Call, old: str, new: str) -> Call:
    if old not in call.arguments.values():
        return call
    return Call(call.tool, {name: new if value == old else value for name, value in call.arguments.items()})


def _numbers(content: Any) -> Iterator[float]:
    if isinstance(content, bool):
        return
    if isinstance(content, int | float):
        yield content
    elif isinstance(content, dict | list):
        for item in content.values() if isinstance(content, dict) else content:
            yield from _numbers(item)
