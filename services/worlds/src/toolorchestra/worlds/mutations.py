"""Plausible mistakes in a call: another entity, another amount, the next day, a wrong choice."""

from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from decimal import Decimal
from random import Random
from typing import Any, Final

from toolorchestra.worlds.schema import Compare
from toolorchestra.worlds.session import Call, Session

_NOBODY: Final = "XX-000000"
_ENTITIES: Final = 2  # other entities tried per id


class Mutations:
    """Makes mistakes over the entities that a session ends with. ``random`` chooses among many."""

    def __init__(self, session: Session, random: Random) -> None:
        self._session, self._world, self._random = session, session.world, random
        tables = session.world.spec.tables.values()
        self._ignored = {name for table in tables for name, about in table.columns.items() if about.compare is Compare.IGNORE}

    def is_free(self, call: Call, name: str) -> bool:
        """Whether an argument is free text that no comparison looks at."""
        return name in self._ignored and name in call.arguments

    def of_arguments(self, call: Call) -> Iterator[tuple[str, Call]]:
        """The call with one argument wrong, for each argument that counts: (argument, call)."""
        properties = self._world.tools[call.tool].parameters["properties"]
        for name, value in call.arguments.items():
            if value is None or self.is_free(call, name):
                continue
            for wrong in self._wrong(value, properties.get(name, {})):
                yield name, Call(call.tool, {**call.arguments, name: wrong})

    def entities(self, calls: Iterable[Call]) -> Iterator[tuple[str, str]]:
        """Entities that calls are about, each with another one of its kind that was there from the beginning."""
        ids = dict.fromkeys(value for call in calls for value in call.arguments.values() if isinstance(value, str))
        for old in ids:
            for new in self._others(old):
                yield old, new

    def refused(self, call: Call) -> Call:
        """The call as somebody gets it wrong first: with an id of nobody, or else without arguments."""
        arguments = dict(call.arguments)
        for name, value in arguments.items():
            if id_table(self._session, value) is not None:
                return Call(call.tool, {**arguments, name: _NOBODY})
        return Call(call.tool, {"no_such_argument": True})

    def _wrong(self, value: Any, about: dict[str, Any]) -> Iterator[Any]:
        match value:
            case bool():
                yield not value
            case int() | float():
                yield value + 1
            case str() if "enum" in about:
                yield from (other for other in about["enum"] if other != value)
            case str() if id_table(self._session, value) is not None:
                yield from self._others(value)
            case str():
                yield _wrong_text(value, about.get("format"))
            case list():
                yield value[1:] if len(value) > 1 else [*value, *value]
            case _:
                pass  # an object has no plausible mistake

    def _others(self, key: str) -> Iterator[str]:
        """Other rows of the key's table; first one that belongs to the same owner, since that is the mistake people make."""
        table = id_table(self._session, key)
        if table is None:
            return
        rows = self._world.rows.tables[table]
        relatives = [other for other in self._relatives(table, key) if other != key]
        strangers = [other for other in rows if other != key]
        if relatives:
            yield self._random.choice(relatives)
        yield from self._random.sample(strangers, min(len(strangers), _ENTITIES - bool(relatives)))

    def _relatives(self, table: str, key: str) -> Iterator[str]:
        row = self._world.rows.tables[table].get(key)
        for column, about in self._world.spec.tables[table].columns.items():
            if about.ref and row is not None and row[column] is not None:
                yield from self._world.rows.index(table, column).get(row[column], ())


def id_table(session: Session, value: Any) -> str | None:
    """The table that a value names a row of, at the end of a session."""
    if not isinstance(value, str):
        return None
    return next((table for table in session.world.spec.tables if session.database.has(table, value)), None)


def _wrong_text(value: str, kind: str | None) -> str:
    match kind:
        case "money":
            return f"{Decimal(value) + 1}"
        case "date":
            return (date.fromisoformat(value) + timedelta(days=1)).isoformat()
        case "date-time":
            return f"{value[:-1]}{(int(value[-1]) + 1) % 10}"
        case _:
            return f"{value}7" if value[-1:].isdigit() else f"{value}s"
