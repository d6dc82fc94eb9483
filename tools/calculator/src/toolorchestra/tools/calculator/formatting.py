"""Writes a value as people write numbers: exact when short enough, else with fifteen digits."""

from decimal import ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction
from typing import Final

from toolorchestra.tools.calculator.arithmetic import Value

MAX_EXACT_DIGITS: Final = 1_000
MAX_DECIMALS: Final = 30
_DIGITS: Final = 15
_PLAIN_FROM, _PLAIN_TO = -6, 21  # powers of ten written without an exponent
_ROUNDED: Final = Context(prec=_DIGITS, rounding=ROUND_HALF_EVEN, Emin=-9_999, Emax=9_999)


def format_value(value: Value) -> str:
    """``391``, ``0.1``, ``0.333333333333333``, ``1.5e+30``."""
    exact = _exact(value.number) if value.exact else None
    return _rounded(value.number) if exact is None else exact


def _exact(number: Fraction) -> str | None:
    if number.denominator == 1:
        text = str(number.numerator)
        return text if len(text) <= MAX_EXACT_DIGITS else None
    places = _places(number.denominator)
    if places is None or places > MAX_DECIMALS:
        return None
    digits = str(abs(number.numerator) * 10**places // number.denominator).rjust(places + 1, "0")
    if len(digits) > MAX_EXACT_DIGITS:
        return None
    return f"{'-' if number < 0 else ''}{digits[:-places]}.{digits[-places:]}"


def _places(denominator: int) -> int | None:
    """How many decimals a fraction with this denominator has; None if they do not end."""
    twos = (denominator & -denominator).bit_length() - 1
    rest = denominator >> twos
    fives = 0
    while rest % 5 == 0:
        rest //= 5
        fives += 1
    return max(twos, fives) if rest == 1 else None


def _rounded(number: Fraction) -> str:
    value = _ROUNDED.divide(Decimal(number.numerator), Decimal(number.denominator)).normalize(_ROUNDED)
    if not value:
        return "0"
    if _PLAIN_FROM <= value.adjusted() < _PLAIN_TO:
        return f"{value:f}"
    mantissa, _, exponent = f"{value:e}".partition("e")
    return f"{mantissa}e{exponent}"
