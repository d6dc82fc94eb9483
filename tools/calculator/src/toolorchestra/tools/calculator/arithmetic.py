"""Exact arithmetic where it can be exact, forty digits where not, and bounds so that no expression can take long."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Context, Decimal, DecimalException, Overflow
from fractions import Fraction
from math import isqrt
from typing import Final

from toolorchestra.core.errors import InvalidArgumentsError

MAX_BITS: Final = 14_000  # about 4200 digits
DIGITS: Final = 40
_MAX_ROOT: Final = 64
_SQUARE: Final = 2
_NOISE: Final = Fraction(1, 10**30)
_CONTEXT: Final = Context(prec=DIGITS, Emin=-5_000, Emax=5_000, traps=[Overflow])


@dataclass(frozen=True, slots=True)
class Value:
    """A number, and whether it is the true value or one rounded to many digits. ``percent`` marks a bare ``15%``."""

    number: Fraction
    exact: bool = True
    percent: bool = False


def problem(message: str, hint: str | None = None) -> InvalidArgumentsError:
    """The error for an expression that cannot be computed."""
    return InvalidArgumentsError(message, param="expression", hint=hint)


def bounded(number: Fraction) -> Fraction:
    """The number itself, or an error if it has become too long to go on with."""
    if max(number.numerator.bit_length(), number.denominator.bit_length()) > MAX_BITS:
        raise problem("a result on the way is too large", "keep numbers below 4000 digits")
    return number


def add(left: Value, right: Value) -> Value:
    """``80 + 15%`` adds a share of the left side, as pocket calculators do; ``5% + 15%`` is 20%."""
    share = left.number if right.percent and not left.percent else Fraction(1)
    total = bounded(left.number + share * right.number)
    exact = left.exact and right.exact
    if not exact and abs(total) < abs(left.number) * _NOISE:
        total = Fraction(0)  # two rounded numbers that agree to thirty digits cancel
    return Value(total, exact, left.percent and right.percent)


def negate(value: Value) -> Value:
    return Value(-value.number, value.exact, value.percent)


def multiply(left: Value, right: Value) -> Value:
    return Value(bounded(left.number * right.number), left.exact and right.exact)


def divide(left: Value, right: Value) -> Value:
    return Value(bounded(left.number / _divisor(right)), left.exact and right.exact)


def floor_divide(left: Value, right: Value) -> Value:
    return Value(bounded(Fraction(left.number // _divisor(right))), left.exact and right.exact)


def modulo(left: Value, right: Value) -> Value:
    """The remainder, with the sign of the divisor."""
    return Value(bounded(left.number % _divisor(right)), left.exact and right.exact)


def power(base: Value, exponent: Value) -> Value:
    """``base ** exponent``; exact for whole exponents and for roots that come out even."""
    exact = base.exact and exponent.exact
    if exponent.number.denominator == 1 and base.exact:
        return Value(_whole_power(base.number, exponent.number.numerator), exact)
    if base.number < 0 and exponent.number.denominator != 1:
        raise problem("a negative number to a fractional power is not a real number")
    if base.number == 0:
        return Value(_zero_power(exponent.number), exact)
    if exact and exponent.number.denominator <= _MAX_ROOT:
        found = root(base.number, exponent.number.denominator)
        if found is not None:
            return Value(_whole_power(found, exponent.number.numerator))
    return by_decimal(lambda: _CONTEXT.power(decimal(base.number), decimal(exponent.number)))


def root(number: Fraction, degree: int) -> Fraction | None:
    """The exact non-negative root of a non-negative number, or None if it is irrational."""
    top, bottom = _whole_root(number.numerator, degree), _whole_root(number.denominator, degree)
    return None if top is None or bottom is None else Fraction(top, bottom)


def square_root(value: Value) -> Value:
    if value.number < 0:
        raise problem("the square root of a negative number is not a real number")
    return power(value, Value(Fraction(1, 2)))


def decimal(number: Fraction) -> Decimal:
    """The number with forty digits."""
    return _CONTEXT.divide(Decimal(number.numerator), Decimal(number.denominator))


def by_decimal(compute: Callable[[], Decimal]) -> Value:
    """The rounded value of a computation in decimals, with the error for results beyond bounds."""
    try:
        result = compute()
    except DecimalException as error:
        raise problem("a result on the way is too large", "keep numbers below 4000 digits") from error
    if not result.is_finite():
        raise problem("the result is not a real number")
    return Value(bounded(Fraction(result)), exact=False)


def natural_logarithm(value: Value) -> Decimal:
    if value.number <= 0:
        raise problem("a logarithm needs a number above zero")
    return decimal(value.number).ln(_CONTEXT)


def exponential(value: Value) -> Value:
    return by_decimal(lambda: decimal(value.number).exp(_CONTEXT))


def quotient(left: Decimal, right: Decimal) -> Decimal:
    if not right:
        raise problem("division by zero")
    return _CONTEXT.divide(left, right)


def _divisor(value: Value) -> Fraction:
    if not value.number:
        raise problem("division by zero")
    return value.number


def _zero_power(exponent: Fraction) -> Fraction:
    if exponent < 0:
        raise problem("division by zero")
    return Fraction(0 if exponent else 1)


def _whole_power(base: Fraction, exponent: int) -> Fraction:
    if base in (0, 1):
        return _zero_power(Fraction(exponent)) if base == 0 else Fraction(1)
    size = max(base.numerator.bit_length(), base.denominator.bit_length())
    if base != -1 and (size - 1) * abs(exponent) > MAX_BITS:
        raise problem("the power is too large", "keep numbers below 4000 digits")
    return Fraction(1 if exponent % 2 == 0 else -1) if base == -1 else bounded(base**exponent)


def _whole_root(number: int, degree: int) -> int | None:
    guess = isqrt(number) if degree == _SQUARE else _newton_root(number, degree)
    return guess if guess**degree == number else None


def _newton_root(number: int, degree: int) -> int:
    if number in (0, 1):
        return number
    guess = 1 << -(-number.bit_length() // degree)
    while True:
        better = ((degree - 1) * guess + number // guess ** (degree - 1)) // degree
        if better >= guess:
            return guess
        guess = better
