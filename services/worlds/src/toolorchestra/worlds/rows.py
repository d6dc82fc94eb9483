"""Rows: whether one fits its table, and the hash by which end states are compared."""

import json
import math
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime
from hashlib import blake2b
from typing import Any, Final, TypeAlias

from toolorchestra.worlds.schema import Column, ColumnType, Compare, Table

Scalar: TypeAlias = str | int | float | bool | None
Row: TypeAlias = Mapping[str, Scalar]
HASH_MODULUS: Final = 1 << 128
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_MOMENT: Final = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}", re.ASCII)
_encode: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def fold(text: str) -> str:
    """Text without differences of case, spacing and Unicode form."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def digest(*parts: Any) -> int:
    """128 bits over JSON values."""
    return int.from_bytes(blake2b(_encode(parts).encode(), digest_size=16).digest())


class RowFormat:
    """Reads rows of one table: checks them, and writes the canonical form that hashes and new ids are made of."""

    def __init__(self, name: str, table: Table) -> None:
        self.name, self.table, self.key = name, table, table.key
        compared = sorted(column for column, about in table.columns.items() if about.compare is not Compare.IGNORE)
        self._compared = tuple((column, _canonical(table.columns[column])) for column in compared)
        self._checks = {column: _check(about) for column, about in table.columns.items()}

    def canonical(self, row: Row) -> list[Scalar]:
        """The values that count, in the order of their columns' names."""
        return [row[column] if plain is None else plain(row[column]) for column, plain in self._compared]

    def identity(self, row: Row) -> list[Scalar]:
        """The values that count, apart from the key: what a new id is derived from."""
        return [row[column] if plain is None else plain(row[column]) for column, plain in self._compared if column != self.key]

    def hash(self, row: Row) -> int:
        """128 bits; rows that are to be taken for equal have the same."""
        return digest(self.name, self.canonical(row))

    def problem(self, row: Row) -> str | None:
        """The first column that does not fit, and what it must be; None if the row is sound. References are not looked at."""
        if row.keys() != self._checks.keys():
            return next(self._strangers(row))
        for column, fits in self._checks.items():
            if not fits(row[column]):
                return f"{column}: {row[column]!r} does not fit; it must be {_words(self.table.columns[column])}"
        return None

    def _strangers(self, row: Row) -> Iterator[str]:
        for column in sorted(row.keys() - self._checks.keys()):
            yield f"{column}: the table has no such column; remove it, or add it to world.yaml"
        for column in sorted(self._checks.keys() - row.keys()):
            yield f"{column}: is missing; write it, or null where world.yaml allows that"


def _canonical(column: Column) -> Callable[[Any], Scalar] | None:
    if column.compare is Compare.NORMALISED:
        return lambda value: None if value is None else fold(value)
    if column.type is ColumnType.NUMBER:
        return lambda value: None if value is None else float(value)
    return None


def _check(column: Column) -> Callable[[Any], bool]:
    fits = _FITS[column.type] if column.type is not ColumnType.CHOICE else frozenset(column.values).__contains__
    if column.nullable:
        return lambda value: value is None or fits(value)
    return fits


def misfit(kind: ColumnType, value: Any) -> str | None:
    """What a value must be to be of this type (not for choices); None if it is."""
    return None if _FITS[kind](value) else f"{value!r} does not fit; it must be {_WORDS[kind]}"


def _words(column: Column) -> str:
    kind = f"one of {', '.join(column.values)}" if column.values else _WORDS[column.type]
    return f"{kind}, or null" if column.nullable else kind


def _is_date(value: Any) -> bool:
    if not isinstance(value, str) or not _DATE.fullmatch(value):
        return False
    try:
        date.fromisoformat(value)
    except ValueError:
        return False
    return True


def _is_moment(value: Any) -> bool:
    if not isinstance(value, str) or not _MOMENT.fullmatch(value):
        return False
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


_FITS: Final[Mapping[ColumnType, Callable[[Any], bool]]] = {
    ColumnType.TEXT: lambda value: isinstance(value, str),
    ColumnType.INTEGER: lambda value: type(value) is int,
    ColumnType.NUMBER: lambda value: type(value) in (int, float) and math.isfinite(value),
    ColumnType.MONEY: lambda value: type(value) is int,
    ColumnType.BOOLEAN: lambda value: type(value) is bool,
    ColumnType.DATE: _is_date,
    ColumnType.DATETIME: _is_moment,
}
_WORDS: Final[Mapping[ColumnType, str]] = {
    ColumnType.TEXT: "text",
    ColumnType.INTEGER: "a whole number",
    ColumnType.NUMBER: "a number, such as 12 or 2.5",
    ColumnType.MONEY: "a whole number of cents, such as 617 for 6.17",
    ColumnType.BOOLEAN: "true or false",
    ColumnType.DATE: "a date such as 2026-03-14",
    ColumnType.DATETIME: "a date and time such as 2026-03-14T08:05",
}
