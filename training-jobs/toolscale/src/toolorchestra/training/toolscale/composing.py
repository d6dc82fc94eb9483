"""Composing a task by doing it: an intent acts in a live session, and what it does becomes the golden solution."""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from random import Random
from typing import Any, Final, TypeAlias

from toolorchestra.training.toolscale.draws import chance
from toolorchestra.training.toolscale.ordering import Claims, Wish, comes_out_alike, keeps_apart
from toolorchestra.training.toolscale.wording import Cents, Part, Slot
from toolorchestra.worlds.session import CallResult, Session, texts
from toolorchestra.worlds.state import Ref, money_text
from toolorchestra.worlds.tasks import Fact, GoldenCall
from toolorchestra.worlds.values import Kind, scan
from toolorchestra.worlds.world import World

Row: TypeAlias = dict[str, Any]
Fits: TypeAlias = Callable[[Mapping[str, Any]], bool]
STEP_SHARE: Final = 0.5  # how often an evolve step that an intent knows is taken
MOSTLY: Final = 0.7  # how often a condition of the user holds


class UnsuitableError(Exception):
    """The rows do not allow for this intent now; another draw may."""

    reason = "no rows allow for the intent"


class OrderMattersError(UnsuitableError):
    """The wishes of this draw would come out differently in another order."""

    reason = "the order of the wishes would matter"


@dataclass(frozen=True, slots=True)
class Intent:
    """Something a user may want. ``solve`` acts through a Composer; ``steps`` are the evolve steps that it knows."""

    name: str
    solve: Callable[["Composer"], None]
    steps: tuple[str, ...] = ()


@dataclass(slots=True)
class Composed:
    """What an intent, or a chain of them, came to."""

    golden: list[GoldenCall] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    identity: dict[str, Slot] = field(default_factory=dict)
    known: dict[str, str] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)


class Composer:
    """The hands of an intent: draw rows, say what the user knows, call tools, tell what must be told.

    All of it happens in one session, so that facts and later calls come from results. ``shared`` is memory between the
    intents of one task, e.g. which customer it is about.
    """

    def __init__(self, world: World, random: Random) -> None:
        self.world, self.random = world, random
        self.session = Session(world)
        self.shared: dict[str, Any] = {}
        self.done = Composed()
        self._slots: dict[str, Slot] = {}
        self._phrases: list[str] = []
        self._steps: list[str] = []
        self._allowed: frozenset[str] = frozenset()
        self._asks: list[str] = []
        self._claims = Claims()
        self._wishes: list[Wish] = []
        self._tables: set[str] = set()

    def perform(self, intent: Intent) -> None:
        """Let an intent do its work as the next part of the task. Raises UnsuitableError."""
        self._slots, self._phrases, self._steps, self._asks, self._tables = {}, [], [], [], set()
        self._allowed = frozenset(step for step in intent.steps if chance(self.random, STEP_SHARE))
        told, called = len(self.done.facts), len(self.session.results)
        intent.solve(self)
        calls, results = self.session.calls[called:], self.session.results[called:]
        self._join(Wish(calls, results, self.done.facts[told:], frozenset(self._tables)))
        self.done.parts.append(Part(intent.name, self._slots, self._phrases, self._steps, self._asks))

    def _join(self, wish: Wish) -> None:
        """Join a wish to those before it: which of them comes first must be all the same."""
        self._apart(keeps_apart(self._wishes, wish))
        self._wishes.append(wish)
        self._apart(comes_out_alike(self.world, self._wishes, self.session.state_hash))

    def _apart(self, holds: bool) -> None:
        if not holds:
            raise OrderMattersError

    # What intents use

    def pick(self, table: str, fits: Fits = lambda _: True) -> Row:
        """A row of the present state that fits; each is as likely."""
        return dict(self.choose([row for row in self._present(table) if fits(row)]))

    def choose(self, items: Sequence[Any]) -> Any:
        """One of several; none is unsuitable."""
        self.need(bool(items))
        return self.random.choice(items)

    def need(self, holds: bool) -> None:
        """Give the draw up unless this holds."""
        if not holds:
            raise UnsuitableError

    def row(self, table: str, key: str) -> Row:
        """A row as it is now, without a call: for choosing, not for knowing."""
        return next(row for row in self.rows(table, **{self.world.spec.tables[table].key: key}))

    def rows(self, table: str, **equals: Any) -> list[Row]:
        """Rows as they are now, by key, without a call."""
        self.session.database.begin("composing")  # what is read here is part of no call
        return self.session.database.find(table, **equals)

    def _present(self, table: str) -> list[Mapping[str, Any]]:
        """All rows by key: the shared ones, not copies, since most picks look at many and take one."""
        key = self.world.spec.tables[table].key
        return sorted(self.session.database.rows(table), key=itemgetter(key))

    def evolve(self, step: str) -> bool:
        """Whether this draw takes the step; ask where it can be taken, since its phrase is then used."""
        if step in self._allowed:
            self._steps.append(step)
            self.phrase(step)
            return True
        return False

    # What keeps wishes apart: declared for what no result shows, since only the intent knows why it chose a row

    @property
    def written(self) -> frozenset[Ref]:
        """Rows that were changed so far."""
        return frozenset[Ref]().union(*(result.trace.writes for result in self.session.results))

    def has_written(self, table: str, key: str) -> bool:
        """Whether a row was made or changed so far."""
        return (table, key) in self.written

    def go_by(self, *tables: str) -> None:
        """What is meant, or what it comes to, depends on rows of these tables: no other wish changes any."""
        self._apart(not any(table in tables for table, _ in self.written))
        self._tables.update(tables)

    def untouched(self, table: str, key: str) -> None:
        """A row that the words tell by how it is has not been made or changed for an earlier wish."""
        self._apart(not self.has_written(table, key))

    def claim(self, *things: Hashable) -> None:
        """Things, by any name, that one wish decides by or changes, and no other touches."""
        self._apart(self._claims.take(*things))

    def share(self, *things: Hashable) -> None:
        """Things that several wishes may touch, if none claims them."""
        self._apart(self._claims.share(*things))

    def at_most(self, amount: int) -> bool:
        """Says a limit, {most}, to an amount in cents; whether the amount keeps to it."""
        return self._limited("most", amount, at_least=False)

    def at_least(self, amount: int) -> bool:
        """Says the {least} that an amount in cents must come to; whether it does."""
        return self._limited("least", amount, at_least=True)

    def _limited(self, slot: str, amount: int, *, at_least: bool) -> bool:
        met = chance(self.random, MOSTLY)
        self.say(**{slot: Cents(self.threshold(amount, met=met, at_least=at_least))})
        return met

    def threshold(self, amount: int, *, met: bool, at_least: bool) -> int:
        """A whole amount near ``amount`` (both in cents) that it reaches, or stays below, as ``met`` wants it."""
        away = self.random.choice((200, 500, 1000)) * (-1 if met == at_least else 1)
        found = (amount + away) // 100 * 100
        self.need(found > 0 and ((amount >= found) if at_least else (amount <= found)) == met)
        return found

    def phrase(self, name: str) -> None:
        """Add a phrase of the intent's wording to the request."""
        self._phrases.append(name)

    def introduce(self, **identity: Slot) -> None:
        """What the user says of themselves, once per task."""
        self.done.identity.update(identity)
        self._know(identity)

    def say(self, **slots: Slot) -> None:
        """What the user knows and says in this part."""
        self._slots.update(slots)
        self._know(slots)

    def unknown(self, *names: str) -> None:
        """What the user cannot say."""
        self.done.unknown.extend(name for name in names if name not in self.done.unknown)

    def call(self, tool: str, **arguments: Any) -> Any:
        """A golden call; its content. A refusal means that the draw is unsuitable."""
        result = self.session.call(tool, arguments)
        self.need(result.ok)
        name = f"c{len(self.done.golden) + 1}"
        self.done.golden.append(GoldenCall(id=name, tool=tool, arguments=arguments, needs=()))
        return result.content

    def once(self, tool: str, **arguments: Any) -> Any:
        """A golden look-up that is not repeated in one task."""
        for one, result in zip(self.done.golden, self.session.results, strict=True):
            if one.tool == tool and one.arguments == arguments:
                return result.content
        return self.call(tool, **arguments)

    def tell(self, name: str, kind: Kind, value: Any, *rows: Ref, column: Ref | None = None) -> None:
        """A fact that the answer must say; it is asked for by the wording of the same name."""
        taken = {fact.name for fact in self.done.facts}
        unique = next(
            f"{name}{tail}" for tail in ("", *(f"_{number}" for number in range(2, 99))) if f"{name}{tail}" not in taken
        )
        self.done.facts.append(Fact(name=unique, kind=kind, value=value, rows=rows, column=column))
        self._asks.append(name)

    def _know(self, slots: Mapping[str, Slot]) -> None:
        for name, value in slots.items():
            text = money_text(value) if isinstance(value, Cents) else str(value)
            key = name if self.done.known.get(name, text) == text else f"{name}_{len(self.done.parts) + 1}"
            self.done.known[key] = text


def with_needs(golden: Sequence[GoldenCall], results: Sequence[CallResult], text: str, year: int) -> tuple[GoldenCall, ...]:
    """The calls with their data flow: each needs the first result that brought a value which the user did not say."""
    said = scan(text, year)
    found: list[GoldenCall] = []
    for index, one in enumerate(golden):
        wanted = {value for value in texts(one.arguments) if not said.says(Kind.TEXT, value)}
        needs = {_source(value, results[:index]) for value in wanted} - {None}
        ids = tuple(golden[place].id for place in sorted(need for need in needs if need is not None))
        found.append(one.model_copy(update={"needs": ids}))
    return tuple(found)


def _source(value: str, results: Iterable[CallResult]) -> int | None:
    return next((place for place, result in enumerate(results) if value in set(texts(result.content))), None)
