"""Wishes that one request joins must come out alike in any order; else what is right would be anybody's guess.

What no result shows, an intent declares: what its words mean, or what it decides by, is touched by no other wish (``Claims``).
What results do show is tried out: the wishes are done again in every other order (``comes_out_alike``).
"""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import permutations

from pydantic import JsonValue

from toolorchestra.worlds.session import Call, CallResult, Session
from toolorchestra.worlds.state import Ref, money_text
from toolorchestra.worlds.tasks import Fact
from toolorchestra.worlds.values import Kind
from toolorchestra.worlds.world import World


@dataclass(slots=True)
class Claims:
    """What the wishes of a task have for themselves, and what they share. Things go by any name: a topic, a key, a pair."""

    _alone: set[Hashable] = field(default_factory=set)
    _shared: set[Hashable] = field(default_factory=set)

    def take(self, *things: Hashable) -> bool:
        """Take things for one wish alone; whether none of them was taken or shared before."""
        free = (self._alone | self._shared).isdisjoint(things)
        self._alone.update(things)
        return free

    def share(self, *things: Hashable) -> bool:
        """Take things with others who share them; whether nobody has one of them alone."""
        free = self._alone.isdisjoint(things)
        self._shared.update(things)
        return free


@dataclass(frozen=True, slots=True)
class Wish:
    """What one intent did: its calls with their results, the facts it told, and the tables whose rows it went by."""

    calls: Sequence[Call]
    results: Sequence[CallResult]
    facts: Sequence[Fact]
    tables: frozenset[str]

    @property
    def written(self) -> frozenset[Ref]:
        """Rows that it changed."""
        return frozenset[Ref]().union(*(result.trace.writes for result in self.results))


def keeps_apart(earlier: Sequence[Wish], last: Wish) -> bool:
    """Whether the last wish changed nothing that an earlier one went by, and no figure that an earlier one told."""
    written = last.written
    tables = {table for table, _ in written}
    told = [fact for wish in earlier for fact in wish.facts]
    return not any(tables & wish.tables for wish in earlier) and not any(_rests_on(fact, written) for fact in told)


def comes_out_alike(world: World, wishes: Sequence[Wish], state: int) -> bool:
    """Whether all wishes end in ``state`` and tell the same in every order that does not end with the last of them.

    Those that do were tried before there was a last one.
    """
    places = range(len(wishes))
    return all(_alike(world, wishes, order, state) for order in permutations(places) if order[-1] != places[-1])


def _alike(world: World, wishes: Sequence[Wish], order: Sequence[int], state: int) -> bool:
    session = Session(world)
    for place in order:
        wish, others = wishes[place], [one for number, one in enumerate(wishes) if number != place]
        results = [session.call(call.tool, call.arguments) for call in wish.calls]
        written = frozenset[Ref]().union(*(one.written for one in others))
        if not all(result.ok for result in results) or not all(_holds(fact, wish, results, written) for fact in wish.facts):
            return False
    return session.state_hash == state


def _holds(fact: Fact, wish: Wish, results: Sequence[CallResult], written: frozenset[Ref]) -> bool:
    """Whether results say a fact wherever they said it before; one that was calculated must rest on nothing that is written."""
    text = money_text(fact.value) if fact.kind is Kind.MONEY and isinstance(fact.value, int) else str(fact.value)
    said = [place for place, result in enumerate(wish.results) if text in _scalars(result.content)]
    if fact.kind is Kind.NUMBER or not said:
        return not _rests_on(fact, written)
    return all(text in _scalars(results[place].content) for place in said)


def _rests_on(fact: Fact, written: frozenset[Ref]) -> bool:
    """Whether a figure stands in rows that were written."""
    return fact.kind in (Kind.MONEY, Kind.NUMBER) and not written.isdisjoint(fact.rows)


def _scalars(content: JsonValue) -> Iterator[str]:
    if isinstance(content, dict | list):
        for value in content.values() if isinstance(content, dict) else content:
            yield from _scalars(value)
    else:
        yield str(content)
