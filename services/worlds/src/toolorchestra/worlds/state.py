"""The rows of a world, shared and never changed, and the private changes of one session on top of them.

The hash of a state is the sum of its rows' hashes modulo 2^128, so a write updates it and the order of writes does not matter
(the additive multiset hash of Bellare and Micciancio, "A new paradigm for collision-free hashing", EUROCRYPT 1997, here against
mistakes, not against attackers).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, Final, TypeAlias

from toolorchestra.worlds.errors import BrokenToolError, InvalidWorldError
from toolorchestra.worlds.rows import HASH_MODULUS, Row, RowFormat, Scalar, digest, fold
from toolorchestra.worlds.schema import ColumnType, Compare, Table, WorldSpec

Ref: TypeAlias = tuple[str, str]  # table, key
Where: TypeAlias = Callable[[str, int], str]
_LETTERS: Final = "0123456789BCDFGHJKLMNPQRSTVWXYZ"  # no vowels, so that no id is a word
_ID_LETTERS: Final = 6


class Rows:
    """All rows with which every session begins. Raises InvalidWorldError for the first row that is not sound."""

    def __init__(self, spec: WorldSpec, tables: Mapping[str, Sequence[Row]], *, where: Where | None = None) -> None:
        self.spec = spec
        self.formats = {name: RowFormat(name, table) for name, table in spec.tables.items()}
        self.tables: dict[str, dict[str, Row]] = {}
        self._indexes: dict[tuple[str, str], dict[Scalar, list[str]]] = {}
        self._texts: dict[tuple[str, str], frozenset[str]] = {}
        name_place = where or (lambda table, index: f"{table}, row {index + 1}")
        for name, form in self.formats.items():
            self.tables[name] = _sound_rows(form, tables.get(name, ()), name_place)
        self._check_references(tables, name_place)
        self.hashes = {
            (name, key): self.formats[name].hash(row) for name, rows in self.tables.items() for key, row in rows.items()
        }
        self.hash = sum(self.hashes.values()) % HASH_MODULUS

    def index(self, table: str, column: str) -> Mapping[Scalar, Sequence[str]]:
        """Keys by the value of a column, ascending; built when first asked for."""
        found = self._indexes.get((table, column))
        if found is None:
            found, plain = {}, plain_of(self.spec.tables[table], column)
            for key, row in self.tables[table].items():
                found.setdefault(plain(row[column]), []).append(key)
            self._indexes[table, column] = found
        return found

    def texts(self, table: str, column: str) -> frozenset[str]:
        """All values of a text column, folded; computed when first asked for."""
        found = self._texts.get((table, column))
        if found is None:
            values = (row[column] for row in self.tables[table].values())
            found = self._texts[table, column] = frozenset(fold(str(value)) for value in values if value is not None)
        return found

    def _check_references(self, tables: Mapping[str, Sequence[Row]], where: Where) -> None:
        for name, form in self.formats.items():
            referring = [(column, about.ref) for column, about in form.table.columns.items() if about.ref]
            for index, row in enumerate(tables.get(name, ())):
                for column, ref in referring:
                    if row[column] is not None and row[column] not in self.tables[ref]:
                        raise InvalidWorldError(
                            f"{where(name, index)}: {column}: there is no {row[column]!r} in {ref}",
                            param=column,
                            hint=f"name a row of {ref}, or add it there",
                        )


def _sound_rows(form: RowFormat, rows: Sequence[Row], where: Where) -> dict[str, Row]:
    found: dict[str, Row] = {}
    unique = [column for column, about in form.table.columns.items() if about.unique]
    seen: set[tuple[str, Scalar]] = set()
    for index, row in enumerate(rows):
        problem = form.problem(row)
        key = str(row.get(form.key))
        if problem is None and key in found:
            problem = f"{form.key}: {key!r} stands twice; a key names one row"
        for column in unique if problem is None else ():
            if (column, row[column]) in seen:
                problem = f"{column}: {row[column]!r} stands twice; the column is unique"
            seen.add((column, row[column]))
        if problem is not None:
            raise InvalidWorldError(f"{where(form.name, index)}: {problem}", param=problem.partition(":")[0])
        found[key] = dict(row)
    return dict(sorted(found.items()))


def plain_of(table: Table, column: str) -> Callable[[Any], Scalar]:
    """How values of a column are made comparable: folded where the column is compared so."""
    if table.columns[column].compare is Compare.NORMALISED:
        return lambda value: fold(value) if isinstance(value, str) else value
    return lambda value: value


def money_text(cents: int) -> str:
    """Cents as tools write money: ``4250`` → ``"42.50"``."""
    sign, cents = "-" if cents < 0 else "", abs(cents)
    return f"{sign}{cents // 100}.{cents % 100:02d}"


@dataclass(slots=True)
class Trace:
    """What one call touched: rows it read, tables it searched through, rows it wrote, rows it rendered for its caller."""

    reads: set[Ref] = field(default_factory=set)
    scans: set[str] = field(default_factory=set)
    writes: set[Ref] = field(default_factory=set)
    shown: set[Ref] = field(default_factory=set)


class Database:
    """The state of one session: shared rows below, own changes above. What tools are given.

    ``hash`` always is that of the present state. Rows handed out are copies: only ``insert``, ``update`` and ``delete`` change
    anything. Tables and columns that do not exist raise BrokenToolError: the tool is wrong, not its caller.
    """

    def __init__(self, base: Rows) -> None:
        self._base = base
        self.spec = base.spec
        self.hash = base.hash
        self.trace = Trace()
        self._tool = ""
        self._changed: dict[str, dict[str, Row | None]] = {}
        self._undo: list[tuple[str, str, bool, Row | None]] = []
        self._hash_before = base.hash

    # What tools use

    def get(self, table: str, key: str | Scalar) -> dict[str, Scalar] | None:
        """The row of this key; None if there is none."""
        row = self._current(table, str(key))
        if row is None:
            return None
        self.trace.reads.add((table, str(key)))
        return dict(row)

    def at(self, table: str, key: str | Scalar) -> dict[str, Any]:
        """The row of a key that must be there, such as one that another row refers to."""
        row = self.get(table, key)
        if row is None:
            raise BrokenToolError(f"{self._tool}: no row {key!r} in {table}", hint="use get where a row may be missing")
        return row

    def find(self, table: str, **equals: Scalar) -> list[dict[str, Any]]:
        """Rows whose columns hold these values (folded where the column is normalised), ordered by key."""
        self.trace.scans.add(table)
        found = self._matching(table, equals)
        self.trace.reads.update([(table, key) for key, _ in found])
        return [dict(row) for _, row in found]

    def insert(self, table: str, prefix: str, **values: Scalar) -> dict[str, Any]:
        """Add a row and give it an id: ``prefix-XXXXXX``, derived from the tool, the compared values and how often there were
        the same before. So an id depends on what is done and not on when, and other orders of the same calls end alike.
        """
        form = self._format(table)
        row: dict[str, Scalar] = {**values, form.key: ""}
        if problem := form.problem(row):
            raise self._broken(table, problem)
        identity, copy = form.identity(row), 0
        while self._used(table, key := f"{prefix}-{_letters(digest(self._tool, table, identity, copy))}"):
            copy += 1
        row[form.key] = key
        self._write(table, key, row)
        return dict(row)

    def update(self, table: str, key: str | Scalar, **changes: Scalar) -> dict[str, Any]:
        """Change columns of a row that is there; returns the row as it is now."""
        row = {**self.at(table, key), **changes}
        if row[self._format(table).key] != key:
            raise self._broken(table, "a key cannot be changed; delete the row and insert another")
        self._write(table, str(key), row)
        return dict(row)

    def delete(self, table: str, key: str | Scalar) -> None:
        """Remove a row that is there."""
        self.at(table, key)
        self._write(table, str(key), None)

    def show(self, table: str, row: Row, *columns: str) -> dict[str, Any]:
        """A row as a tool returns it: money as ``"42.50"``, nothing that is null; only some columns if they are named.

        What is rendered here and whose key the result then holds counts as returned by the call.
        """
        form = self._format(table)
        about = form.table.columns
        self.trace.shown.add((table, str(row[form.key])))
        return {
            column: money_text(int(value)) if about[column].type is ColumnType.MONEY else value
            for column in columns or about
            if (value := row[column]) is not None
        }

    # What sessions use

    def begin(self, tool: str) -> Trace:
        """Start a call: what it touches is traced, what it writes can be taken back."""
        self._tool, self.trace = tool, Trace()
        self._undo.clear()
        self._hash_before = self.hash
        return self.trace

    def rollback(self) -> None:
        """Take back all writes since ``begin``."""
        for table, key, had, row in reversed(self._undo):
            if had:
                self._changed[table][key] = row
            else:
                del self._changed[table][key]
        self.hash = self._hash_before
        self._undo.clear()

    def fork(self) -> "Database":
        """Another database in the same state; what happens in one is not seen in the other."""
        other = Database(self._base)
        other.hash = self.hash
        other._changed = {table: dict(rows) for table, rows in self._changed.items()}
        return other

    def rows(self, table: str) -> Iterator[Row]:
        """All present rows of a table, untraced; not to be changed."""
        changed = self._changed.get(table, {})
        yield from (row for key, row in self._base.tables[table].items() if key not in changed)
        yield from (row for row in changed.values() if row is not None)

    def has(self, table: str, key: str) -> bool:
        """Whether there is such a row, untraced."""
        return self._current(table, key) is not None

    def _current(self, table: str, key: str) -> Row | None:
        changed = self._changed.get(table)
        if changed is not None and key in changed:
            return changed[key]
        rows = self._base.tables.get(table)
        if rows is None:
            raise BrokenToolError(f"{self._tool}: there is no table {table!r}", hint=f"there are {', '.join(self.spec.tables)}")
        return rows.get(key)

    def _matching(self, table: str, equals: Mapping[str, Scalar]) -> list[tuple[str, Row]]:
        """Keys and rows, by key ascending, as the shared rows and their indexes are."""
        about = self._format(table).table
        if unknown := equals.keys() - about.columns.keys():
            raise self._broken(table, f"{min(unknown)}: no such column")
        wanted = [(column, plain, plain(value)) for column, value in equals.items() for plain in (plain_of(about, column),)]
        rows, changed = self._base.tables[table], self._changed.get(table, {})
        keys = self._base.index(table, wanted[0][0]).get(wanted[0][2], ()) if wanted else rows
        found = [(key, rows[key]) for key in keys if key not in changed]
        for column, plain, value in wanted[1:]:
            found = [(key, row) for key, row in found if plain(row[column]) == value]
        for key, row in changed.items():
            if row is not None and all(plain(row[column]) == value for column, plain, value in wanted):
                found.append((key, row))
        return sorted(found, key=itemgetter(0)) if changed else found

    def _used(self, table: str, key: str) -> bool:
        """Whether a key names a row now, or named one before a deletion in this session."""
        return key in self._base.tables[table] or key in self._changed.get(table, {})

    def _write(self, table: str, key: str, row: Row | None) -> None:
        form = self._format(table)
        if row is not None and (problem := form.problem(row) or self._dangling(form.table, row)):
            raise self._broken(table, problem)
        before = self._current(table, key)
        changed = self._changed.setdefault(table, {})
        self._undo.append((table, key, key in changed, changed.get(key)))
        changed[key] = row
        self.trace.writes.add((table, key))
        self.hash = (self.hash + self._hash_of(form, key, row) - self._hash_of(form, key, before)) % HASH_MODULUS

    def _hash_of(self, form: RowFormat, key: str, row: Row | None) -> int:
        if row is None:
            return 0
        shared = row is self._base.tables[form.name].get(key)
        return self._base.hashes[form.name, key] if shared else form.hash(row)

    def _dangling(self, table: Table, row: Row) -> str | None:
        for column, about in table.columns.items():
            if about.ref and row[column] is not None and not self.has(about.ref, str(row[column])):
                return f"{column}: there is no {row[column]!r} in {about.ref}"
        return None

    def _format(self, table: str) -> RowFormat:
        form = self._base.formats.get(table)
        if form is None:
            raise BrokenToolError(f"{self._tool}: there is no table {table!r}", hint=f"there are {', '.join(self.spec.tables)}")
        return form

    def _broken(self, table: str, problem: str) -> BrokenToolError:
        return BrokenToolError(f"tool {self._tool!r}, table {table!r}: {problem}", param=table, hint="mend the tool")


def _letters(number: int) -> str:
    found = ""
    for _ in range(_ID_LETTERS):
        number, rest = divmod(number, len(_LETTERS))
        found += _LETTERS[rest]
    return found
