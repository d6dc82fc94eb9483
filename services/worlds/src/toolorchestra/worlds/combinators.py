"""The usual tools, declared: look up, search, create, transition, transfer.

Arguments that are named like a column have that column's type and meaning. Preconditions are declared with the error that a
real API would give; they are tried in order and the first that does not hold refuses the call.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from pydantic import Field, JsonValue

from toolorchestra.core.functions import SideEffects
from toolorchestra.worlds.errors import InvalidWorldError, ToolRefusal
from toolorchestra.worlds.rows import Scalar
from toolorchestra.worlds.schema import Column, ColumnType, Table, WorldSpec
from toolorchestra.worlds.state import Database
from toolorchestra.worlds.tools import Amount, Day, Declared, Moment, WorldTool, cents, make_tool

Values: TypeAlias = Mapping[str, Any]
Computed: TypeAlias = Callable[[Database, Values], Scalar]
Effect: TypeAlias = Callable[[Database, dict[str, Any]], None]
Test: TypeAlias = Callable[[Database, Values], bool]
Match: TypeAlias = Literal["is", "from", "until", "on", "contains"]
LIMIT: Final = 20
_TYPES: Final[Mapping[ColumnType, Any]] = {
    ColumnType.TEXT: str,
    ColumnType.INTEGER: int,
    ColumnType.NUMBER: float,
    ColumnType.MONEY: Amount,
    ColumnType.BOOLEAN: bool,
    ColumnType.DATE: Day,
    ColumnType.DATETIME: Moment,
}


@dataclass(frozen=True, slots=True)
class Require:
    """A precondition. ``holds`` gets the database and the arguments together with the columns of the row at hand; ``message``
    is a format string over the same, e.g. ``"booking {booking_id} is already {status}"``.
    """

    holds: Test
    code: str
    message: str

    def check(self, database: Database, values: Values) -> None:
        """Raises ToolRefusal if it does not hold."""
        if not self.holds(database, values):
            raise ToolRefusal(self.code, self.message.format_map(values))


def look_up(name: str, table: str, *, by: str | None = None, show: Sequence[str] = ()) -> Declared:
    """One row by its key or by another unique column; refuses with ``not_found``. ``show``: only these columns."""

    def bind(spec: WorldSpec) -> WorldTool:
        about = _table(spec, name, table)
        column = by or about.key
        thing = _thing(table)

        def body(db: Database, **values: Scalar) -> JsonValue:
            rows = db.find(table, **values)
            if not rows:
                raise ToolRefusal("not_found", f"no {thing} has the {column} {values[column]!r}")
            return db.show(table, rows[0], *show)

        description = f"Get one {thing} by {column.replace('_', ' ')}. {about.description}".strip()
        return make_tool(name, description, "readOnly", {column: _argument(spec, about, name, column)}, body)

    return Declared(name, bind)


def search(
    name: str,
    table: str,
    filters: Mapping[str, tuple[str, Match]],
    *,
    description: str,
    required: Sequence[str] = (),
    where: Values | None = None,
    order: str | None = None,
    show: Sequence[str] = (),
    limit: int = LIMIT,
) -> Declared:
    """Rows that fit all given arguments, at most ``limit``, as ``{"found": all there are, "<table>": [rows]}``.

    ``filters``: argument → (column, how): ``is``, ``from``, ``until`` (both inclusive), ``on`` (the day of a datetime),
    ``contains``. ``where``: columns that must hold fixed values. ``order``: a column, ascending; else by key.
    """

    def bind(spec: WorldSpec) -> WorldTool:
        about = _table(spec, name, table)

        def body(db: Database, **values: Scalar) -> JsonValue:
            given = {argument: value for argument, value in values.items() if value is not None}
            equal = {filters[argument][0]: value for argument, value in given.items() if filters[argument][1] == "is"}
            rest = [(*filters[argument], value) for argument, value in given.items() if filters[argument][1] != "is"]
            rows = db.find(table, **{**(where or {}), **_stored(about, equal)})
            rows = [row for row in rows if all(_fits(row[column], how, value) for column, how, value in rest)]
            if order is not None:
                rows.sort(key=lambda row: (row[order] is None, row[order]))
            return {"found": len(rows), table: [db.show(table, row, *show) for row in rows[:limit]]}

        arguments = {
            argument: _filter(spec, about, name, column, how, required=argument in required)
            for argument, (column, how) in filters.items()
        }
        return make_tool(name, description, "readOnly", arguments, body)

    return Declared(name, bind)


def create(
    name: str,
    table: str,
    prefix: str,
    arguments: Sequence[str],
    *,
    description: str,
    values: Mapping[str, Scalar | Computed] | None = None,
    requires: Sequence[Require] = (),
    then: Effect | None = None,
    side_effects: SideEffects = "destructive",
) -> Declared:
    """A new row from ``arguments`` (columns that the caller gives) and ``values`` (constants, or computed from database and
    arguments). Columns with a reference are checked and refused with ``not_found``; then ``requires``; ``then`` does more.
    """

    def bind(spec: WorldSpec) -> WorldTool:
        about = _table(spec, name, table)

        def body(db: Database, **given: Scalar) -> JsonValue:
            stored = _stored(about, given)
            _check_references(db, about, stored)
            for requirement in requires:
                requirement.check(db, stored)
            row: dict[str, Any] = dict(stored)
            for column, value in (values or {}).items():
                row[column] = value(db, row) if callable(value) else value
            new = db.insert(table, prefix, **row)
            if then is not None:
                then(db, new)
            return db.show(table, db.at(table, new[about.key]))

        return make_tool(name, description, side_effects, _columns(spec, about, name, arguments), body)

    return Declared(name, bind)


def transition(
    name: str,
    table: str,
    *,
    description: str,
    to: Mapping[str, Scalar | Computed],
    arguments: Sequence[str] = (),
    requires: Sequence[Require] = (),
    then: Effect | None = None,
    side_effects: SideEffects = "idempotent",
) -> Declared:
    """Change one row, named by its key: ``arguments`` are columns that the caller sets, ``to`` those that follow from it.
    Refuses with ``not_found``, then by ``requires``; ``then`` does more with the changed row.
    """

    def bind(spec: WorldSpec) -> WorldTool:
        about = _table(spec, name, table)

        def body(db: Database, **given: Scalar) -> JsonValue:
            key = str(given[about.key])
            row = db.get(table, key)
            if row is None:
                raise ToolRefusal("not_found", f"no {_thing(table)} has the {about.key} {key!r}")
            stored = _stored(about, {column: value for column, value in given.items() if value is not None})
            _check_references(db, about, stored)
            # A precondition sees the row as it was; an argument that would overwrite a column is called new_<column>.
            at_hand = {**row, **{f"new_{column}": value for column, value in stored.items()}}
            for requirement in requires:
                requirement.check(db, at_hand)
            computed = {column: value(db, at_hand) if callable(value) else value for column, value in to.items()}
            changed = db.update(table, key, **{**stored, **computed})
            if then is not None:
                then(db, changed)
            return db.show(table, db.at(table, key))

        return make_tool(name, description, side_effects, _columns(spec, about, name, (about.key, *arguments)), body)

    return Declared(name, bind)


def transfer(
    name: str,
    table: str,
    column: str,
    amount: str,
    *,
    description: str,
    requires: Sequence[Require] = (),
) -> Declared:
    """Move an amount of one column between two rows, ``from_<key>`` and ``to_<key>``; what is there in all stays the same.

    Refuses with ``not_found``, ``same_account``, ``invalid_amount``, ``insufficient_balance``, and by ``requires``, which sees
    the giving row and ``amount``.
    """

    def bind(spec: WorldSpec) -> WorldTool:
        about = _table(spec, name, table)
        source, target = f"from_{about.key}", f"to_{about.key}"

        def body(db: Database, **given: Any) -> JsonValue:
            moved = cents(given[amount]) if about.columns[column].type is ColumnType.MONEY else given[amount]
            for argument in (source, target):
                if db.get(table, given[argument]) is None:
                    raise ToolRefusal("not_found", f"no {_thing(table)} has the {about.key} {given[argument]!r}")
            values = {**db.at(table, given[source]), "amount": moved}
            for requirement in (_distinct(given[source] != given[target]), *_enough(column), *requires):
                requirement.check(db, values)
            giver = db.update(table, given[source], **{column: values[column] - moved})
            taker = db.update(table, given[target], **{column: db.at(table, given[target])[column] + moved})
            shown = (about.key, column)
            return {"from": db.show(table, giver, *shown), "to": db.show(table, taker, *shown)}

        kind, meaning = _argument(spec, about, name, column)
        arguments = {
            source: (str, Field(description=f"{about.key} that gives")),
            target: (str, Field(description=f"{about.key} that receives")),
            amount: (kind, Field(description=f"How much to move. {meaning.description or ''}".strip())),
        }
        return make_tool(name, description, "destructive", arguments, body)

    return Declared(name, bind)


def _distinct(holds: bool) -> Require:
    return Require(lambda _, __: holds, "same_account", "both sides are the same")


def _enough(column: str) -> tuple[Require, Require]:
    return (
        Require(lambda _, values: values["amount"] > 0, "invalid_amount", "the amount must be above zero"),
        Require(
            lambda _, values: values["amount"] <= values[column],
            "insufficient_balance",
            f"the {column.replace('_', ' ')} does not suffice",
        ),
    )


def _check_references(db: Database, about: Table, values: Values) -> None:
    for column, value in values.items():
        ref = about.columns[column].ref
        if ref is not None and value is not None and db.get(ref, value) is None:
            raise ToolRefusal("not_found", f"{column}: no {_thing(ref)} has the id {value!r}")


def _stored(about: Table, values: Values) -> dict[str, Any]:
    """Arguments as rows hold them."""
    return {
        column: cents(value) if about.columns[column].type is ColumnType.MONEY and value is not None else value
        for column, value in values.items()
    }


def _fits(stored: Any, how: Match, value: Any) -> bool:
    if stored is None:
        return False
    if how == "contains":
        return str(value).casefold() in str(stored).casefold()
    value = cents(value) if isinstance(value, str) and isinstance(stored, int) else value
    if how == "on":
        return bool(stored[:10] == value)
    # Whole days bound datetimes: until a day means until its end.
    stored = stored[: len(value)] if isinstance(stored, str) and isinstance(value, str) else stored
    return bool(stored >= value if how == "from" else stored <= value)


def _columns(spec: WorldSpec, about: Table, name: str, columns: Sequence[str]) -> dict[str, tuple[Any, Any]]:
    return {column: _argument(spec, about, name, column) for column in columns}


def _argument(spec: WorldSpec, about: Table, name: str, column: str) -> tuple[Any, Any]:
    found = about.columns.get(column)
    if found is None:
        raise InvalidWorldError(
            f"tool {name!r}: there is no column {column!r}", param=name, hint=f"one of {', '.join(about.columns)}"
        )
    kind: Any = Literal[found.values] if found.type is ColumnType.CHOICE else _TYPES[found.type]
    meaning = Field(description=_meaning(spec, found, column))
    return (kind | None, Field(None, description=_meaning(spec, found, column))) if found.nullable else (kind, meaning)


def _filter(spec: WorldSpec, about: Table, name: str, column: str, how: Match, *, required: bool) -> tuple[Any, Any]:
    kind, meaning = _argument(spec, about, name, column)
    moment = about.columns[column].type is ColumnType.DATETIME
    kind = Day if moment else kind  # people search by days
    words = {"is": "", "from": " at least", "until": " at most", "on": " on this day", "contains": " contains"}[how]
    description = f"{meaning.description or column.replace('_', ' ')}{words}".strip()
    return (kind, Field(description=description)) if required else (kind | None, Field(None, description=description))


def _meaning(spec: WorldSpec, column: Column, name: str) -> str:
    text = column.description or name.replace("_", " ")
    return f"{text} (in {spec.currency})" if column.type is ColumnType.MONEY else text


def _table(spec: WorldSpec, name: str, table: str) -> Table:
    if table not in spec.tables:
        raise InvalidWorldError(
            f"tool {name!r}: there is no table {table!r}", param=name, hint=f"one of {', '.join(spec.tables)}"
        )
    return spec.tables[table]


def _thing(table: str) -> str:
    """One of a table, in words: ``lost_items`` → ``lost item``."""
    return table.removesuffix("s").replace("_", " ")
