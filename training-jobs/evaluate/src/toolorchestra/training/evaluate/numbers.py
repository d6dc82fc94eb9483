"""Numbers with units in running text, read exactly: ``1,250``, ``3/4``, ``2 1/2``, ``12 %``, ``6.0 × 10^3 m``."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

_SUPERSCRIPTS: Final = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
_DIGITS: Final = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+"
_NUMBER: Final = re.compile(
    rf"""(?<![\w.])(?P<sign>[-+])?\s?(?:
        (?P<whole>\d+)\s+(?P<mixed_above>\d+)\s?/\s?(?P<mixed_below>\d+)
      | (?P<above>{_DIGITS})\s?/\s?(?P<below>{_DIGITS})
      | (?P<plain>{_DIGITS})(?:
            [eE](?P<exponent>[-+]?\d{{1,3}})
          | \s?(?:×|x|\*|\\times|\\cdot)\s?10(?:\^|\*\*)\{{?(?P<power>[-+]?\d{{1,3}})\}}?
        )?
    )(?![\d])(?:\s?(?P<unit>\\?%|[°µμΩA-Za-z][A-Za-z]*(?:\^?[23²³])?(?:/[A-Za-z]+)?))?""",
    re.VERBOSE,
)
_FRACTION: Final = re.compile(r"\\[dt]?frac\s*\{\s*([^{}]+?)\s*\}\s*\{\s*([^{}]+?)\s*\}")
_SUPERSCRIPTED: Final = re.compile(r"10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)")

# Unit → (dimension, how many of the dimension's first unit). Anything else is a word beside the number.
UNITS: Final[Mapping[str, tuple[str, Fraction]]] = {
    name: (dimension, Fraction(factor))
    for dimension, units in {
        "share": {"%": "0.01", "percent": "0.01"},
        "length": {"m": "1", "km": "1000", "cm": "0.01", "mm": "0.001", "nm": "1e-9", "miles": "1609.344", "ft": "0.3048"},
        "mass": {"kg": "1", "g": "0.001", "mg": "1e-6", "lb": "0.45359237", "lbs": "0.45359237"},
        "time": {"s": "1", "seconds": "1", "ms": "0.001", "min": "60", "minutes": "60", "h": "3600", "hours": "3600"},
        "volume": {"l": "1", "L": "1", "ml": "0.001", "mL": "0.001"},
        "energy": {"J": "1", "kJ": "1000", "eV": "1.602176634e-19"},
        "power": {"W": "1", "kW": "1000", "MW": "1e6"},
        "pressure": {"Pa": "1", "kPa": "1000", "bar": "100000", "atm": "101325"},
        "frequency": {"Hz": "1", "kHz": "1000", "MHz": "1e6", "GHz": "1e9"},
    }.items()
    for name, factor in units.items()
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number as written, and the unit beside it where it is a known one."""

    number: Fraction
    unit: str | None = None

    @property
    def dimension(self) -> str | None:
        return UNITS[self.unit][0] if self.unit else None

    @property
    def value(self) -> Fraction:
        """In the first unit of the dimension."""
        return self.number * UNITS[self.unit][1] if self.unit else self.number


def quantities(text: str) -> list[Quantity]:
    """All numbers that a text names, in order."""
    text = _FRACTION.sub(r" \1/\2 ", text.replace("−", "-").replace("\\,", "").replace("{,}", ","))
    text = _SUPERSCRIPTED.sub(lambda match: f"10^{match[1].translate(_SUPERSCRIPTS)}", text)
    found = (_quantity(match) for match in _NUMBER.finditer(text))
    return [quantity for quantity in found if quantity is not None]


def _quantity(match: re.Match[str]) -> Quantity | None:
    parts = match.groupdict()
    unit = (parts["unit"] or "").removeprefix("\\")
    try:
        number = _number(parts)
    except ZeroDivisionError:
        return None
    return Quantity(-number if parts["sign"] == "-" else number, unit if unit in UNITS else None)


def _number(parts: Mapping[str, str | None]) -> Fraction:
    def read(name: str) -> Fraction:
        return Fraction((parts[name] or "0").replace(",", ""))

    if parts["whole"]:
        return read("whole") + read("mixed_above") / read("mixed_below")
    if parts["above"]:
        return read("above") / read("below")
    return read("plain") * Fraction(10) ** int(parts["exponent"] or parts["power"] or 0)


def close(wanted: Quantity, given: Quantity, *, relative: Fraction, absolute: Fraction) -> bool:
    """Whether two quantities agree within the larger of two tolerances.

    A unit that only one side writes is taken as understood: ``5`` answers ``5 km``. A share may be written either way.
    """
    if wanted.dimension and given.dimension and wanted.dimension != given.dimension:
        return False
    pairs = [(wanted.value, given.value)]
    if bool(wanted.unit) != bool(given.unit):
        pairs = [(wanted.number, given.number)]
        if "share" in (wanted.dimension, given.dimension):
            pairs.append((wanted.value, given.value))
    return any(abs(right - said) <= max(absolute, relative * abs(right)) for right, said in pairs)
