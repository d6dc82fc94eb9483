"""Reading the records of a benchmark's file, with the line where each begins: JSON lines, one JSON array, or a table (.tsv)."""

import csv
import json
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import AliasChoices, BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from toolorchestra.training.evaluate.errors import InvalidBenchmarkError, MissingBenchmarkError, problems_of

_LFS: Final = "version https://git-lfs"


class Foreign(BaseModel):
    """A record of somebody else's format: what is read must fit, what is not read may be anything."""

    model_config = ConfigDict(extra="ignore", frozen=True)


_Record = TypeVar("_Record", bound=Foreign)


def read_all(path: Path, kind: type[_Record], *, benchmark: str, source: str) -> list[tuple[int, _Record]]:
    """All records with their line numbers.

    Raises MissingBenchmarkError with ``source``, where the publisher offers the file, and InvalidBenchmarkError for another
    schema.
    """
    text = _text(path, benchmark=benchmark, source=source)
    values = _rows(path, text) if path.suffix == ".tsv" else _values(path, text)
    records = [(line, _record(path, line, value, kind)) for line, value in values]
    if not records:
        raise InvalidBenchmarkError(f"{path} holds no records", hint=f"expected a file of {benchmark}: {source}")
    return records


def refuse(path: Path, line: int, field: str, problem: str) -> InvalidBenchmarkError:
    """The error for what a schema cannot say."""
    return InvalidBenchmarkError(f"{path}, line {line}, {field}: {problem}", param=field)


def _text(path: Path, *, benchmark: str, source: str) -> str:
    if not path.is_file():
        raise MissingBenchmarkError(f"{benchmark}: there is no file {path}", param="path", hint=source)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidBenchmarkError(f"{path} is not text in UTF-8", hint=f"expected JSON; {source}") from error
    if text.startswith(_LFS):
        raise InvalidBenchmarkError(f"{path} is a Git LFS pointer, not the data", hint="fetch it with `git lfs pull`")
    return text


def _values(path: Path, text: str) -> Iterator[tuple[int, Any]]:
    """JSON values with the line they begin in: one after the other, or the items of one array."""
    decoder, place = json.JSONDecoder(), _next(text, 0, "")
    in_array = text[place : place + 1] == "["
    if in_array:
        place = _next(text, place + 1, "")
    while place < len(text) and not (in_array and text[place] == "]"):
        line = text.count("\n", 0, place) + 1
        try:
            value, end = decoder.raw_decode(text, place)
        except (json.JSONDecodeError, RecursionError) as error:
            raise InvalidBenchmarkError(
                f"{path}, line {line}: not valid JSON ({error})", hint="expected one JSON object per line, or one array of them"
            ) from error
        yield line, value
        place = _next(text, end, "," if in_array else "")


def _rows(path: Path, text: str) -> Iterator[tuple[int, Any]]:
    """The rows of a table whose first line names the columns; what is quoted may hold tabs and lines."""
    reader, line = csv.DictReader(StringIO(text, newline=""), delimiter="\t", strict=True), 2
    try:
        for row in reader:
            if None in row:
                raise refuse(path, line, "columns", "there are more than the first line names")
            yield line, row
            line = reader.line_num + 1
    except csv.Error as error:
        raise refuse(path, line, "columns", f"not a row of a table: {error}") from error


def _next(text: str, place: int, skipped: str) -> int:
    while place < len(text) and (text[place].isspace() or text[place] in skipped):
        place += 1
    return place


def _record(path: Path, line: int, value: Any, kind: type[_Record]) -> _Record:
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        fields = ", ".join(_named(name, field) for name, field in kind.model_fields.items() if field.is_required())
        raise InvalidBenchmarkError(
            f"{path}, line {line}: {'; '.join(problems_of(error))}",
            param=".".join(map(str, error.errors()[0]["loc"])) or None,
            hint=f"each record needs at least {fields}",
        ) from error


def _named(name: str, field: FieldInfo) -> str:
    """A field as its publisher calls it, and as it may be called too."""
    other = field.validation_alias
    names = [str(one) for one in other.choices] if isinstance(other, AliasChoices) else [name]
    return " or ".join(f"`{one}`" for one in names)
