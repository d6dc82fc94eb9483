"""The functions and constants that an expression may name."""

import math
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Final, TypeAlias

from toolorchestra.tools.calculator.arithmetic import (
    Value,
    add,
    bounded,
    by_decimal,
    decimal,
    divide,
    exponential,
    modulo,
    multiply,
    natural_logarithm,
    negate,
    power,
    problem,
    quotient,
    root,
    square_root,
)

Body: TypeAlias = Callable[[list[Value]], Value]

MAX_FACTORIAL: Final = 1_000
MAX_PLACES: Final = 100
MAX_ARGUMENTS: Final = 100
_TINY: Final = 1e-15


def _call_sqrt(values: list[Value]) -> Value:
    return square_root(values[0])


def _call_cbrt(values: list[Value]) -> Value:
    """The real cube root, also of negative numbers."""
    value = values[0]
    size = Value(abs(value.number), value.exact)
    found = root(size.number, 3) if value.exact else None
    result = power(size, Value(Fraction(1, 3))) if found is None else Value(found)
    return negate(result) if value.number < 0 else result


def _call_abs(values: list[Value]) -> Value:
    return Value(abs(values[0].number), values[0].exact)


def _call_round(values: list[Value]) -> Value:
    """Halves are rounded away from zero, as in everyday use."""
    places = _whole(values[1], "the number of places", limit=MAX_PLACES) if len(values) > 1 else 0
    scaled = abs(values[0].number) * Fraction(10) ** places
    size = Fraction(math.floor(scaled + Fraction(1, 2))) / Fraction(10) ** places
    return Value(size if values[0].number >= 0 else -size, values[0].exact)


def _rounding(rounded: Callable[[Fraction], int]) -> Body:
    return lambda values: Value(Fraction(rounded(values[0].number)), values[0].exact)


def _call_min(values: list[Value]) -> Value:
    return min(values, key=lambda value: value.number)


def _call_max(values: list[Value]) -> Value:
    return max(values, key=lambda value: value.number)


def _call_sum(values: list[Value]) -> Value:
    total = values[0]
    for value in values[1:]:
        total = add(Value(total.number, total.exact), Value(value.number, value.exact))
    return total


def _call_average(values: list[Value]) -> Value:
    return divide(_call_sum(values), Value(Fraction(len(values))))


def _call_log(values: list[Value]) -> Value:
    """The natural logarithm, or with two arguments that to a base."""
    if len(values) == 1:
        return by_decimal(lambda: natural_logarithm(values[0]))
    return _log_to_base(values[0], values[1])


def _log_to_base(value: Value, base: Value) -> Value:
    near = by_decimal(lambda: quotient(natural_logarithm(value), natural_logarithm(base)))
    whole = round(near.number)
    exact = base.exact and value.exact and abs(whole) < MAX_FACTORIAL and abs(near.number - whole) < Fraction(1, 10**30)
    if exact and power(base, Value(Fraction(whole))).number == value.number:
        return Value(Fraction(whole))
    return near


def _to_base(base: int) -> Body:
    return lambda values: _log_to_base(values[0], Value(Fraction(base)))


def _call_exp(values: list[Value]) -> Value:
    return exponential(values[0])


def _circular(compute: Callable[[float], float]) -> Body:
    """A function of analysis in double precision; what is zero but for rounding is made zero."""

    def body(values: list[Value]) -> Value:
        argument = _float(values[0])
        try:
            result = compute(argument)
        except (ValueError, OverflowError) as error:
            raise problem(f"the function is not defined for {argument:g}") from error
        if abs(result) < _TINY < abs(argument):
            result = 0.0
        return Value(Fraction(result), exact=False)

    return body


def _call_tan(values: list[Value]) -> Value:
    return divide(_circular(math.sin)(values), _circular(math.cos)(values))


def _call_factorial(values: list[Value]) -> Value:
    return factorial(values[0])


def factorial(value: Value) -> Value:
    number = _whole(value, "the argument of factorial", limit=MAX_FACTORIAL)
    if number < 0:
        raise problem("factorial needs zero or more")
    return Value(Fraction(math.factorial(number)))


def _choosing(count: Callable[[int, int], int]) -> Body:
    def body(values: list[Value]) -> Value:
        total, chosen = (_whole(value, "the argument", limit=MAX_FACTORIAL) for value in values)
        if min(total, chosen) < 0:
            raise problem("combinations need numbers of zero or more")
        return Value(Fraction(count(total, chosen)))

    return body


def _folding(combine: Callable[[int, int], int]) -> Body:
    def body(values: list[Value]) -> Value:
        result = 0
        for index, value in enumerate(values):
            number = _whole(value, "the argument", limit=None)
            result = combine(result, number) if index else abs(number)
        return Value(bounded(Fraction(result)))

    return body


def _call_hypot(values: list[Value]) -> Value:
    return square_root(_call_sum([multiply(value, value) for value in values]))


def _scaling(factor: Callable[[], Value]) -> Body:
    return lambda values: multiply(values[0], factor())


def _whole(value: Value, what: str, *, limit: int | None) -> int:
    if value.number.denominator != 1:
        raise problem(f"{what} must be a whole number")
    number = value.number.numerator
    if limit is not None and abs(number) > limit:
        raise problem(f"{what} must be at most {limit}")
    return number


def _float(value: Value) -> float:
    try:
        return float(value.number)
    except OverflowError as error:
        raise problem("the argument of the function is too large") from error


_PI: Final = Value(Fraction(Decimal("3.14159265358979323846264338327950288419716939937510")), exact=False)
_E: Final = Value(Fraction(Decimal("2.71828182845904523536028747135266249775724709369996")), exact=False)
CONSTANTS: Final = {
    "pi": _PI,
    "tau": multiply(_PI, Value(Fraction(2))),
    "e": _E,
    "phi": by_decimal(lambda: (1 + decimal(Fraction(5)).sqrt()) / 2),
}


def degrees(value: Value) -> Value:
    """An angle written in degrees, in radians."""
    return multiply(value, divide(_PI, Value(Fraction(180))))


def _to_degrees() -> Value:
    return divide(Value(Fraction(180)), _PI)


def _to_radians() -> Value:
    return degrees(Value(Fraction(1)))


# Name: fewest arguments, most arguments, what it does.
FUNCTIONS: Final[dict[str, tuple[int, int, Body]]] = {
    "sqrt": (1, 1, _call_sqrt),
    "cbrt": (1, 1, _call_cbrt),
    "abs": (1, 1, _call_abs),
    "round": (1, 2, _call_round),
    "floor": (1, 1, _rounding(math.floor)),
    "ceil": (1, 1, _rounding(math.ceil)),
    "trunc": (1, 1, _rounding(math.trunc)),
    "int": (1, 1, _rounding(math.trunc)),
    "min": (1, MAX_ARGUMENTS, _call_min),
    "max": (1, MAX_ARGUMENTS, _call_max),
    "sum": (1, MAX_ARGUMENTS, _call_sum),
    "avg": (1, MAX_ARGUMENTS, _call_average),
    "mean": (1, MAX_ARGUMENTS, _call_average),
    "log": (1, 2, _call_log),
    "ln": (1, 1, _call_log),
    "log10": (1, 1, _to_base(10)),
    "log2": (1, 1, _to_base(2)),
    "exp": (1, 1, _call_exp),
    "pow": (2, 2, lambda values: power(values[0], values[1])),
    "mod": (2, 2, lambda values: modulo(values[0], values[1])),
    "sin": (1, 1, _circular(math.sin)),
    "cos": (1, 1, _circular(math.cos)),
    "tan": (1, 1, _call_tan),
    "asin": (1, 1, _circular(math.asin)),
    "acos": (1, 1, _circular(math.acos)),
    "atan": (1, 1, _circular(math.atan)),
    "sinh": (1, 1, _circular(math.sinh)),
    "cosh": (1, 1, _circular(math.cosh)),
    "tanh": (1, 1, _circular(math.tanh)),
    "degrees": (1, 1, _scaling(_to_degrees)),
    "radians": (1, 1, _scaling(_to_radians)),
    "hypot": (1, MAX_ARGUMENTS, _call_hypot),
    "factorial": (1, 1, _call_factorial),
    "comb": (2, 2, _choosing(math.comb)),
    "perm": (2, 2, _choosing(math.perm)),
    "gcd": (1, MAX_ARGUMENTS, _folding(math.gcd)),
    "lcm": (1, MAX_ARGUMENTS, _folding(math.lcm)),
}
