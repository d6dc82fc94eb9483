"""Recognises when a free question is really an arithmetic expression.

A pure reading of the words: no evaluation, no guess. Anything that leaves a word over is prose, and prose is None.
"""

import re
from typing import Final

MAX_QUESTION: Final = 500
_MAX_REWRITES: Final = 32

_OF_ONE: Final = "sqrt|cbrt|abs|floor|ceil|ln|log10|log2|exp|sin|cos|tan|asin|acos|atan|factorial"
_OF_MANY: Final = "round|log|min|max|sum|avg|mean|hypot|gcd|lcm"
_FUNCTIONS: Final = f"{_OF_ONE}|{_OF_MANY}"
_NAMES: Final = frozenset(_FUNCTIONS.split("|"))
_NUMBER: Final = r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])(?:\.[0-9]+)?|[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:e[+-]?[0-9]{1,3})?"
_OPERAND: Final = rf"(?:{_NUMBER}|\([^()]*\)|(?:{_FUNCTIONS})\([^()]*\))"

# An order to compute; after it even "9/11" is meant as a division.
_ORDER: Final = re.compile(
    r"^(?:(?:please|hey|hi|hello|ok|so|now)[, ]+)*"
    r"(?:(?:can|could|would) you (?:please )?)?(?:(?:please|help me|tell me|give me)[, ]+)*"
    r"(?:calculate|compute|evaluate|work out|how much (?:is|are|would be|does|do|makes?)|solve)\b:?"
)
_OPENING: Final = re.compile(
    r"^(?:(?:please|hey|hi|hello|ok|so|now)[, ]+)*"
    r"(?:(?:can|could|would) you (?:please )?)?(?:(?:please|tell me|give me)[, ]+)*"
    r"(?:what(?: i|')?s|what are|what does|find|tell me|give me)?\b:?"
)
_OF_WHAT: Final = re.compile(r"^(?:what(?: i|')s )?(?:me )?(?:the )?(?:exact )?(?:value|result|answer)(?: of| to)?\b:?")
_CLOSING: Final = re.compile(r"(?:[\s?.=,;:]|\b(?:please|equals?(?: to)?|equal to|make|thanks|thank you|is|for me)\b)+$")
_DATE: Final = re.compile(r"(?<![0-9])(?:[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}|[0-9]{1,2}[/-][0-9]{1,2}[/-][0-9]{4})(?![0-9])")
_IDIOM: Final = re.compile(r"^(?:24/7|9/11|50/50|7/11|[0-9]{4}-[0-9]{4}|[0-9]{3}-[0-9]{4})$")

_WORDS: Final = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"[×·]", "*"),
        (r"÷", "/"),
        (r"[−–]", "-"),
        (r"π", "pi"),
        (r"[$€£](?=\s*[0-9.])", ""),
        (r"\bper ?cent\b", "%"),
        (r"\bto the power of\b|\braised to(?: the power of)?\b", "**"),
        (r"\b(?:multiplied by|times)\b", "*"),
        (r"(?<=[0-9)])\s*x\s*(?=[0-9(])", " * "),
        (r"\b(?:divided by|over)\b", "/"),
        (r"\b(?:plus|added to)\b", "+"),
        (r"\bminus\b", "-"),
        (r"\b(?:modulo|modulus)\b", "mod"),
        (r"\bsquared\b", "**2"),
        (r"\bcubed\b", "**3"),
        (r"\bhalf of\b", "0.5 *"),
        (r"\b(?:twice|double)\b", "2 *"),
        (r"\bdegrees?\b", "deg"),
        (rf"\b(?:the )?(?:square root|sqrt) of ({_OPERAND})", r"sqrt(\1)"),
        (rf"\b(?:the )?(?:cube root|cbrt) of ({_OPERAND})", r"cbrt(\1)"),
        (rf"√\s*({_OPERAND})", r"sqrt(\1)"),
        (rf"\b(?:the )?factorial of ({_OPERAND})", r"factorial(\1)"),
        (rf"({_OPERAND})\s*factorial\b(?!\()", r"\1!"),
        (rf"\b(?:the )?(sin|cos|tan|log10|log2|ln)(?:e|gent)? of ({_OPERAND}(?: deg)?)", r"\1(\2)"),
        (rf"\b(?:the )?absolute value of (-?{_OPERAND})", r"abs(\1)"),
        (rf"\b(?:the )?remainder of ({_OPERAND})\s*/\s*({_OPERAND})", r"\1 mod \2"),
        (rf"\b(?:the )?sum of ((?:{_OPERAND}(?:,? and |, ))+{_OPERAND})", r"sum(\1)"),
        (rf"\b(?:the )?average of ((?:{_OPERAND}(?:,? and |, ))+{_OPERAND})", r"avg(\1)"),
        (rf"\b(?:the )?product of ({_OPERAND}) and ({_OPERAND})", r"\1 * \2"),
        (rf"\b(?:the )?difference (?:between|of) ({_OPERAND}) and ({_OPERAND})", r"\1 - \2"),
    )
)
_LIST: Final = re.compile(r"(?<=[0-9)]),? and (?=[0-9(])")
_CALL: Final = re.compile(rf"\b(?:{_FUNCTIONS})\(")
_GROUPED: Final = re.compile(r"(?<![0-9,.])[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])")
_SPACES: Final = re.compile(r"\s+")
_TOKEN: Final = re.compile(rf"\s*(?:(?P<number>{_NUMBER})|(?P<name>[a-z][a-z0-9]*)|(?P<sign>\*\*|//|[-+*/%^!(),]))")
_CONSTANTS: Final = frozenset({"pi", "e", "tau"})
_BINARY: Final = frozenset({"+", "-", "*", "/", "//", "%", "**", "^", "of", "mod"})
_BEHIND: Final = frozenset({"!", "deg"})


def extract_expression(text: str) -> str | None:
    """The arithmetic expression that a question asks for, ready for a calculator; None if the question is anything else.

    "What is 17 * 23?" → "17 * 23"; "square root of 144" → "sqrt(144)"; word problems, dates and prose → None.
    """
    if len(text) > MAX_QUESTION or not any(character.isdigit() for character in text):
        return None
    asked = _SPACES.sub(" ", text).strip().lower()
    ordered = _ORDER.match(asked) is not None
    body = _rewrite(_strip(asked))
    if _DATE.search(body) or (not ordered and _IDIOM.match(body)):
        return None
    return body if _is_expression(_tokens(body)) else None


def _strip(asked: str) -> str:
    body = _ORDER.sub("", asked, count=1)
    body = _OPENING.sub("", body.strip(), count=1).strip()
    body = _OF_WHAT.sub("", body, count=1).strip()
    return _CLOSING.sub("", body).strip()


def _rewrite(body: str) -> str:
    if not _CALL.search(body):  # between a function's arguments a comma may be a separator of arguments
        body = _GROUPED.sub(lambda match: match[0].replace(",", ""), body)
    for _ in range(_MAX_REWRITES):  # "square root of the square root of 16" takes two rounds
        before = body
        for pattern, replacement in _WORDS:
            body = pattern.sub(replacement, body)
        if body == before:
            break
    body = re.sub(r"^the (?=[0-9(]|sqrt|cbrt)", "", body)
    return _SPACES.sub(" ", _LIST.sub(", ", body) if _CALL.search(body) else body).strip()


def _tokens(body: str) -> list[tuple[str, str]]:
    """(kind, text) of each token; empty if something is left that is none."""
    tokens: list[tuple[str, str]] = []
    place = 0
    while place < len(body):
        match = _TOKEN.match(body, place)
        if match is None:
            return []
        tokens.append((match.lastgroup or "", match[match.lastgroup or 0]))
        place = match.end()
    return tokens


def _is_expression(tokens: list[tuple[str, str]]) -> bool:
    """Whether operands and operators alternate, parentheses match, and there is something to compute."""
    reader = _Reader()
    return bool(tokens) and all(reader.take(kind, text) for kind, text in tokens) and reader.complete()


class _Reader:
    """Checks the order of tokens, one by one."""

    def __init__(self) -> None:
        self._wants_operand = True
        self._calling = False  # a function's name was read, its parenthesis must follow
        self._open: list[bool] = []  # for each parenthesis, whether it is a call's
        self._works = 0
        self._percent = False

    def complete(self) -> bool:
        return not self._wants_operand and not self._calling and not self._open and self._works > 0

    def take(self, kind: str, text: str) -> bool:
        if self._calling or text == "(":
            return self._take_opening(text)
        if text in _BEHIND:
            return self._take_behind()
        if text in _BINARY:
            return self._take_binary(text)
        if text == ",":
            return self._take_comma()
        if text == ")":
            return self._take_closing()
        return self._take_operand(kind, text)

    def _take_operand(self, kind: str, text: str) -> bool:
        if not self._wants_operand and not (self._percent and kind == "number"):
            return False
        if kind == "name" and text in _NAMES:
            self._calling = True
            self._works += 1
            return True
        self._works += self._percent  # it was a remainder
        self._wants_operand = self._percent = False
        return kind == "number" or text in _CONSTANTS

    def _take_opening(self, text: str) -> bool:
        if text != "(":
            return False
        self._works += not self._wants_operand and not self._calling  # 3(4 + 5) is a product, 5 % (3) a remainder
        self._open.append(self._calling)
        self._calling = self._percent = False
        self._wants_operand = True
        return True

    def _take_closing(self) -> bool:
        if self._wants_operand or not self._open:
            return False
        self._open.pop()
        self._percent = False
        return True

    def _take_comma(self) -> bool:
        if self._wants_operand or not self._open or not self._open[-1]:
            return False
        self._wants_operand, self._percent = True, False
        return True

    def _take_behind(self) -> bool:
        self._works += 1
        return not self._wants_operand

    def _take_binary(self, text: str) -> bool:
        if self._wants_operand:
            return text in ("+", "-")
        if text == "of" and not self._percent:
            return False
        self._works += text != "%"  # a percentage alone is nothing to compute
        self._percent = text == "%"
        self._wants_operand = not self._percent
        return True
