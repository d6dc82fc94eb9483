"""Splits an expression into tokens. Commas are thousands separators unless they stand between a function's arguments."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from toolorchestra.core.errors import InvalidArgumentsError

MAX_LENGTH: Final = 1_000


class Kind(StrEnum):
    NUMBER = "number"
    NAME = "name"
    OPERATOR = "operator"
    END = "end"


@dataclass(frozen=True, slots=True)
class Token:
    """One token; ``position`` counts characters from 1."""

    kind: Kind
    text: str
    position: int


_PLAIN: Final = r"(?:[0-9][0-9_]*(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_GROUPED: Final = r"[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?(?![0-9])"
_REST: Final = r"|(?P<name>(?:math\.)?[A-Za-z][A-Za-z0-9]*|π|√)|(?P<operator>\*\*|//|[-+*/%^!(),×÷·−°])"
_SPACE: Final = re.compile(r"\s*")
_TOKEN: Final = re.compile(rf"(?P<number>{_GROUPED}|{_PLAIN}){_REST}")
_TOKEN_IN_CALL: Final = re.compile(rf"(?P<number>{_PLAIN}){_REST}")
_SPELLINGS: Final = {"^": "**", "×": "*", "·": "*", "÷": "/", "−": "-", "π": "pi", "√": "sqrt", "°": "deg"}


def tokenize(text: str) -> list[Token]:
    """The tokens of ``text`` and an end mark. Raises InvalidArgumentsError for what is no expression at all."""
    if len(text) > MAX_LENGTH:
        raise InvalidArgumentsError(
            f"the expression has {len(text)} characters, at most {MAX_LENGTH} are allowed", param="expression"
        )
    tokens: list[Token] = []
    calls: list[bool] = []  # for each open parenthesis, whether it holds a function's arguments
    place = _skip_space(text, 0)
    while place < len(text):
        token, place = _next(text, place, in_call=bool(calls) and calls[-1])
        _track(calls, token, tokens)
        tokens.append(token)
        place = _skip_space(text, place)
    return [*tokens, Token(Kind.END, "", len(text) + 1)]


def _skip_space(text: str, place: int) -> int:
    match = _SPACE.match(text, place)
    return match.end() if match else place


def _next(text: str, place: int, *, in_call: bool) -> tuple[Token, int]:
    match = (_TOKEN_IN_CALL if in_call else _TOKEN).match(text, place)
    if match is None:
        raise InvalidArgumentsError(
            f"{text[place]!r} at position {place + 1} is not part of an arithmetic expression",
            param="expression",
            hint='write numbers, + - * / // % ** and functions, e.g. "sqrt(2) * 15% of 80"',
        )
    kind = Kind(match.lastgroup or "")
    word = match[0].removeprefix("math.")
    if kind is Kind.NUMBER:
        word = word.replace(",", "").replace("_", "")
    return Token(kind, _SPELLINGS.get(word, word), place + 1), match.end()


def _track(calls: list[bool], token: Token, before: list[Token]) -> None:
    if token.text == "(":
        calls.append(bool(before) and before[-1].kind is Kind.NAME and before[-1].text != "of")
    elif token.text == ")" and calls:
        calls.pop()
