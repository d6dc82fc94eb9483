"""Typed values in running text: which amounts, dates, times, numbers and ids a text names, however they are written.

Both sides of checking use it: what a user's text gives away, and what an answer says.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from typing import Final, TypeAlias

from pydantic import ValidationInfo

from toolorchestra.worlds.rows import fold, misfit
from toolorchestra.worlds.schema import ColumnType

Value: TypeAlias = str | int | float | Decimal | bool


class Kind(StrEnum):
    """What a fact is. Money is in whole cents, a date is ``2026-03-14``, a datetime ``2026-03-14T08:05``."""

    MONEY = "money"
    DATE = "date"
    DATETIME = "datetime"
    NUMBER = "number"
    ID = "id"
    TEXT = "text"
    YESNO = "yesno"


_TYPES: Final[Mapping[Kind, ColumnType]] = {
    Kind.MONEY: ColumnType.MONEY,
    Kind.DATE: ColumnType.DATE,
    Kind.DATETIME: ColumnType.DATETIME,
    Kind.NUMBER: ColumnType.NUMBER,
    Kind.ID: ColumnType.TEXT,
    Kind.TEXT: ColumnType.TEXT,
    Kind.YESNO: ColumnType.BOOLEAN,
}


def of_its_kind(value: str | float, info: ValidationInfo) -> str | float:
    """Validates the field ``value`` of a model by its field ``kind``.

    Raises ValueError, in words for who wrote it, for one that is not of its kind: it would be read as another one.
    """
    kind = info.data.get("kind")
    if kind is None:  # that is the error
        return value
    problem = misfit(_TYPES[kind], value) if value != "" else "is empty; write what the answer must say"
    if problem:
        raise ValueError(f"{problem}, for the kind {kind}")
    return value


@dataclass(slots=True)
class Found:
    """Everything that a text names, by kind. ``words`` are numbers written as words; ``folded`` is the text itself, folded."""

    money: set[int] = field(default_factory=set)
    dates: set[str] = field(default_factory=set)
    datetimes: set[str] = field(default_factory=set)
    numbers: set[Decimal] = field(default_factory=set)
    words: set[Decimal] = field(default_factory=set)
    ids: set[str] = field(default_factory=set)
    yesno: set[bool] = field(default_factory=set)
    folded: str = ""

    def says(self, kind: Kind, value: Value) -> bool:
        """Whether the value stands in the text."""
        match kind:
            case Kind.NUMBER:
                return Decimal(str(value)) in self.numbers | self.words
            case Kind.ID:
                return str(value).upper() in self.ids or self._holds(str(value))
            case Kind.TEXT:
                return self._holds(str(value))
            case _:
                return value in self.of(kind)

    def of(self, kind: Kind) -> set[Value]:
        """All values of a kind that can be told by their form; none for text."""
        match kind:
            case Kind.MONEY:
                return set(self.money)
            case Kind.DATE:
                return set(self.dates)
            case Kind.DATETIME:
                return set(self.datetimes)
            case Kind.NUMBER:
                return set(self.numbers)
            case Kind.ID:
                return set(self.ids)
            case Kind.YESNO:
                return set(self.yesno)
            case Kind.TEXT:
                return set()

    def _holds(self, text: str) -> bool:
        return holds(self.folded, fold(text))


def holds(folded: str, wanted: str) -> bool:
    """Whether a folded text holds another as whole words."""
    start = folded.find(wanted)
    while start >= 0 and wanted:
        end = start + len(wanted)
        if not (start and folded[start - 1].isalnum()) and not (end < len(folded) and folded[end].isalnum()):
            return True
        start = folded.find(wanted, start + 1)
    return False


_MONTHS: Final = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
]
HALF_DAY, DAY, HOUR = 12, 24, 60
_MONTH: Final = "(?P<month>" + "|".join(f"{name}|{name[:3]}" for name in _MONTHS) + r"|sept)\.?"
_DAY: Final = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_YEAR: Final = r"(?:,?\s+(?P<year>\d{4}))?"
_DATES: Final = (
    re.compile(r"(?<![\d-])(?P<year>\d{4})-(?P<number>\d{2})-(?P<day>\d{2})(?!\d)"),
    re.compile(rf"\b{_DAY}(?:\s+of)?\s+{_MONTH}{_YEAR}\b", re.IGNORECASE),
    re.compile(rf"\b{_MONTH}\s+(?:the\s+)?{_DAY}{_YEAR}\b", re.IGNORECASE),
    re.compile(r"(?<![\d/])(?P<day>\d{1,2})/(?P<number>\d{1,2})/(?P<year>\d{4})(?!\d)"),
)
_TIME: Final = re.compile(
    r"(?<![\d:])(?P<hour>\d{1,2})(?:[:.h](?P<minute>\d{2})(?::\d{2})?\s*(?P<half>[ap]\.?m\b\.?)?|\s?(?P<bare>[ap]\.?m\b\.?))(?![\d%])",
    re.IGNORECASE,
)
_CURRENCY: Final = r"£|\$|€|¥|GBP|USD|EUR|CHF"
_AMOUNT: Final = r"(?P<amount>\d{1,3}(?:,\d{3})+(?:\.\d{1,2})?|\d+(?:\.\d{1,2})?)"
_MONEY: Final = (
    re.compile(rf"(?:{_CURRENCY})\s?{_AMOUNT}(?![\d%])", re.IGNORECASE),
    re.compile(rf"(?<![\w.]){_AMOUNT}\s?(?:£|€|\$|(?:GBP|USD|EUR|CHF|pounds?|euros?|dollars?|quid)\b)", re.IGNORECASE),
    re.compile(r"(?<![\w.:,-])(?P<amount>\d{1,3}(?:,\d{3})+\.\d{2}|\d+\.\d{2})(?![\w%]|[.:]\d)"),
)
_ID: Final = re.compile(r"\b(?:[A-Z]{1,5}-[0-9A-Z]{3,12}|[a-z]{1,5}-(?=[a-z]*\d)[0-9a-z]{3,12})\b")
_PHONE: Final = re.compile(r"(?<![\w.])(?:\+\d|0\d)(?:[ -]?\d){7,12}(?![\w.]\d)")
_NUMBER: Final = re.compile(r"(?<![\w.,])-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?!\w)")
_WORDS: Final = {
    word: Decimal(number)
    for number, word in enumerate(
        ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
    )
}
_WORD: Final = re.compile(rf"\b(?:{'|'.join(_WORDS)})\b")
_SENTENCE_YESNO: Final = re.compile(r"(?:^|[.!?:;\n(]\s*|[\"'*]+)(yes|no)\b", re.IGNORECASE)
_YESNO: Final = re.compile(r"\b(yes|no)\b", re.IGNORECASE)


@lru_cache(maxsize=1024)
def scan(text: str, year: int) -> Found:
    """Read a text once. Dates without a year are taken to be of ``year``. The result is shared: do not change it."""
    found = Found(folded=fold(text))
    rest = _take_ids(text, found)
    rest, dates = _take_dates(rest, year, found)
    rest = _take_times(rest, dates, found)
    rest = _PHONE.sub(_blank, _take_money(rest, found))
    found.numbers.update(Decimal(match[0].replace(",", "")).normalize() + 0 for match in _NUMBER.finditer(rest))
    found.words.update(_WORDS[word] for word in _WORD.findall(found.folded))
    yesno = _SENTENCE_YESNO.findall(text) or _YESNO.findall(text)[:1]
    found.yesno.update(word.lower() == "yes" for word in yesno)
    return found


def _take_ids(text: str, found: Found) -> str:
    found.ids.update(match.upper() for match in _ID.findall(text))
    return _ID.sub(_blank, text)


def _take_dates(text: str, year: int, found: Found) -> tuple[str, list[tuple[int, int, str]]]:
    """Dates go into ``found``; also where they stand, for the times beside them."""
    places: list[tuple[int, int, str]] = []
    for pattern in _DATES:
        for match in pattern.finditer(text):
            places.extend((match.start(), match.end(), day) for day in _days(match, year))
        text = pattern.sub(_blank, text)
    found.dates.update(day for _, _, day in places)
    return text, places


def _days(match: re.Match[str], year: int) -> Iterator[str]:
    parts = match.groupdict()
    name = (parts.get("month") or "").lower()[:3]
    month = int(parts["number"]) if "number" in parts else 1 + next(i for i, one in enumerate(_MONTHS) if one.startswith(name))
    try:
        yield date(int(parts["year"] or year), month, int(parts["day"])).isoformat()
    except ValueError:
        return  # 31 June is no date, and so nothing that the text says


def _take_times(text: str, dates: list[tuple[int, int, str]], found: Found) -> str:
    for match in _TIME.finditer(text):
        moment = _moment(match)
        if moment is None:
            continue
        if dates:
            _, _, day = min(dates, key=lambda place: max(place[0] - match.end(), match.start() - place[1], 0))
            found.datetimes.add(f"{day}T{moment}")
    return _TIME.sub(lambda match: _blank(match) if _moment(match) else match[0], text)


def _moment(match: re.Match[str]) -> str | None:
    hour, minute = int(match["hour"]), int(match["minute"] or 0)
    half = (match["half"] or match["bare"] or "").lower().replace(".", "")
    separator = match[0][len(match["hour"]) : len(match["hour"]) + 1]
    if separator == "." and not half:
        return None  # 12.50 without am or pm is an amount
    if half and 1 <= hour <= HALF_DAY:
        hour = hour % HALF_DAY + (HALF_DAY if half == "pm" else 0)
    return f"{hour:02d}:{minute:02d}" if hour < DAY and minute < HOUR else None


def _take_money(text: str, found: Found) -> str:
    for pattern in _MONEY:
        found.money.update(int(Decimal(match["amount"].replace(",", "")) * 100) for match in pattern.finditer(text))
        text = pattern.sub(_blank, text)
    return text


def _blank(match: re.Match[str]) -> str:
    return " " * len(match[0])
