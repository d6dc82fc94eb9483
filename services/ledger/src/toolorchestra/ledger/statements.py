"""SQL in named files: every statement has a name and a sentence, and code passes nothing else to the database.

A file is a list of ``-- name --`` blocks: comment lines that describe the statement, then its text.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any, Final, LiteralString

_PACKAGE: Final = "toolorchestra.ledger"
_HEAD: Final = re.compile(r"^-- ([a-z_]+) --\n((?:-- .*\n)+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of a file."""

    name: str
    description: str
    text: LiteralString


@dataclass(frozen=True, slots=True)
class Step:
    """A statement with its parameters, ready to be sent."""

    text: LiteralString
    params: Mapping[str, Any] = field(default_factory=dict)


@cache
def statements(area: str) -> Mapping[str, Statement]:
    """All statements of ``sql/<area>.sql`` by name."""
    text = (resources.files(_PACKAGE) / "sql" / f"{area}.sql").read_text(encoding="utf-8")
    pieces = _HEAD.split(text)[1:]
    found = [_statement(*pieces[n : n + 3]) for n in range(0, len(pieces), 3)]
    return {statement.name: statement for statement in found}


def sql(area: str, name: str) -> LiteralString:
    """The text of one statement."""
    return statements(area)[name].text


def step(area: str, name: str, /, **params: Any) -> Step:
    """One statement with its parameters."""
    return Step(sql(area, name), params)


def _statement(name: str, description: str, text: str) -> Statement:
    sentence = " ".join(line.removeprefix("-- ") for line in description.splitlines())
    return Statement(name, sentence, text.strip())
