"""Reads and computes an expression in one pass: a recursive descent over the tokens, lowest precedence first.

sum     := product (("+" | "-") product)*
product := sign (("*" | "/" | "//" | "%" | "of" | "mod" | nothing) sign)*
sign    := ("+" | "-") sign | power
power   := postfix ("**" sign)?
postfix := atom ("!" | "%" | "deg")*
atom    := number | constant | name "(" sum ("," sum)* ")" | "(" sum ")"
"""

from collections.abc import Callable
from decimal import Decimal
from difflib import get_close_matches
from fractions import Fraction
from typing import Final

from toolorchestra.tools.calculator.arithmetic import (
    Value,
    add,
    bounded,
    divide,
    floor_divide,
    modulo,
    multiply,
    negate,
    power,
    problem,
)
from toolorchestra.tools.calculator.functions import CONSTANTS, FUNCTIONS, degrees, factorial
from toolorchestra.tools.calculator.lexer import Kind, Token, tokenize

MAX_DEPTH: Final = 64
MAX_EXPONENT: Final = 4_000
_HUNDRED: Final = Value(Fraction(100))
_PRODUCTS: Final[dict[str, Callable[[Value, Value], Value]]] = {
    "*": multiply,
    "/": divide,
    "//": floor_divide,
    "%": modulo,
    "of": multiply,
    "mod": modulo,
}
_AFTER_NUMBER: Final = ("of", "mod", "deg")  # words that stand behind a value and cannot begin one


def compute(expression: str) -> Value:
    """The value of an expression. Raises InvalidArgumentsError that names the place and the fix."""
    return _Parser(tokenize(expression)).parse()


class _Parser:
    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._next = 0
        self._depth = 0

    def parse(self) -> Value:
        if self._peek().kind is Kind.END:
            raise problem("the expression is empty", 'write one, e.g. "17 * 23"')
        value = self._sum()
        if self._peek().kind is not Kind.END:
            raise self._unexpected("an operator")
        return value

    def _sum(self) -> Value:
        value = self._product()
        while self._peek().text in ("+", "-"):
            minus = self._take().text == "-"
            right = self._product()
            value = add(value, negate(right) if minus else right)
        return value

    def _product(self) -> Value:
        value = self._sign()
        while True:
            token = self._peek()
            if token.text in _PRODUCTS:
                self._take()
                value = _PRODUCTS[token.text](value, self._sign())
            elif token.text == "(" or (token.kind is Kind.NAME and token.text not in _AFTER_NUMBER):
                value = multiply(value, self._power())  # 2(3 + 4), 2pi
            else:
                return value

    def _sign(self) -> Value:
        signs = 0
        while self._peek().text in ("+", "-"):
            signs += self._take().text == "-"
        value = self._power()
        return negate(value) if signs % 2 else value

    def _power(self) -> Value:
        base = self._postfix()
        if self._peek().text != "**":
            return base
        self._take()
        return self._deeper(lambda: power(base, self._sign()))

    def _postfix(self) -> Value:
        value = self._atom()
        while True:
            token = self._peek()
            if token.text == "!":
                value = factorial(value)
            elif token.text == "deg":
                value = degrees(value)
            elif token.text == "%" and not self._begins_operand(1):
                value = Value(divide(value, _HUNDRED).number, value.exact, percent=True)
            else:
                return value
            self._take()

    def _atom(self) -> Value:
        token = self._peek()
        if token.kind is Kind.END or (token.kind is Kind.OPERATOR and token.text != "(") or token.text in _AFTER_NUMBER:
            raise self._unexpected("a number")
        self._take()
        if token.kind is Kind.NUMBER:
            return Value(_number(token.text))
        if token.text == "(":
            return self._deeper(self._group)
        constant = CONSTANTS.get(token.text.lower())
        return self._deeper(lambda: self._call(token)) if constant is None else constant

    def _group(self) -> Value:
        value = self._sum()
        self._expect(")")
        return Value(value.number, value.exact)

    def _call(self, name: Token) -> Value:
        found = FUNCTIONS.get(name.text.lower())
        if found is None:
            raise _unknown(name)
        fewest, most, body = found
        arguments = self._arguments(name)
        if not fewest <= len(arguments) <= most:
            wanted = str(fewest) if fewest == most else f"{fewest} to {most}"
            raise problem(f"{name.text} takes {wanted} arguments, not {len(arguments)}")
        return body(arguments)

    def _arguments(self, name: Token) -> list[Value]:
        if self._peek().text != "(":
            if name.text == "sqrt" and self._peek().kind is Kind.NUMBER:  # written as a root sign
                return [self._atom()]
            raise problem(f"{name.text} needs its arguments in parentheses", f'write "{name.text}(…)"')
        self._take()
        arguments = [self._sum()]
        while self._peek().text == ",":
            self._take()
            arguments.append(self._sum())
        self._expect(")")
        return arguments

    def _deeper(self, read: Callable[[], Value]) -> Value:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise problem(f"the expression is nested more than {MAX_DEPTH} deep", "split it")
        value = read()
        self._depth -= 1
        return value

    def _begins_operand(self, ahead: int) -> bool:
        token = self._tokens[min(self._next + ahead, len(self._tokens) - 1)]
        return token.kind is Kind.NUMBER or token.text == "(" or (token.kind is Kind.NAME and token.text not in _AFTER_NUMBER)

    def _peek(self) -> Token:
        return self._tokens[self._next]

    def _take(self) -> Token:
        token = self._tokens[self._next]
        self._next = min(self._next + 1, len(self._tokens) - 1)
        return token

    def _expect(self, text: str) -> None:
        if self._peek().text != text:
            raise self._unexpected(repr(text))
        self._take()

    def _unexpected(self, wanted: str) -> Exception:
        token = self._peek()
        if token.kind is Kind.END:
            return problem(f"the expression ends where {wanted} is expected")
        return problem(f"{token.text!r} at position {token.position} stands where {wanted} is expected")


def _number(text: str) -> Fraction:
    exponent = text.lower().partition("e")[2]
    if exponent and abs(int(exponent)) > MAX_EXPONENT:
        raise problem(f"{text!r} is too large or too small", "keep exponents below 4000")
    return bounded(Fraction(Decimal(text)))


def _unknown(name: Token) -> Exception:
    close = get_close_matches(name.text.lower(), [*FUNCTIONS, *CONSTANTS], n=1)
    meant = f"did you mean {close[0]}?" if close else f"known: {', '.join([*FUNCTIONS, *CONSTANTS])}"
    return problem(f"{name.text!r} at position {name.position} is not a known function or constant", meant)
