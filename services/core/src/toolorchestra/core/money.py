"""Money is an integer number of nano-US-dollars; decimal strings at the edges, never floats.

One nano-dollar is 10⁻⁹ USD: a price of $0.05 per million tokens is exactly 50 nano-USD per token.
"""

import re
from typing import Final, TypeAlias

from toolorchestra.core.errors import InvalidRequestError

NanoUsd: TypeAlias = int

NANO_PER_USD: Final = 1_000_000_000
MAX_NANO_USD: Final = 9_000_000 * NANO_PER_USD  # bounded well inside a 64-bit column
USD_PATTERN: Final = r"^[0-9]+(\.[0-9]{1,9})?$"
MAX_USD_CHARACTERS: Final = 24
_USD: Final = re.compile(r"([0-9]+)(?:\.([0-9]{1,9}))?")


def parse_usd(text: str, *, param: str | None = None) -> NanoUsd:
    """Read a decimal string of US dollars (``"12.50"``) exactly.

    Raises InvalidRequestError for anything that is not a plain, non-negative decimal with at most nine places.
    """
    found = _USD.fullmatch(text) if len(text) <= MAX_USD_CHARACTERS else None
    if found is None:
        message = f"{text[:MAX_USD_CHARACTERS]!r} is not an amount in US dollars"
        raise InvalidRequestError(message, param=param, hint='zero or more, at most nine decimal places: write "12.50"')
    nano = int(found[1]) * NANO_PER_USD + int((found[2] or "").ljust(9, "0"))
    if nano > MAX_NANO_USD:
        raise InvalidRequestError(f"{text!r} is too large", param=param, hint=f"the most is {format_usd(MAX_NANO_USD)}")
    return nano


def format_usd(nano_usd: NanoUsd) -> str:
    """Write nano-dollars as a decimal string, exact, with at least two places: ``12500000000`` → ``"12.50"``."""
    sign = "-" if nano_usd < 0 else ""
    whole, fraction = divmod(abs(nano_usd), NANO_PER_USD)
    return f"{sign}{whole}.{f'{fraction:09d}'.rstrip('0').ljust(2, '0')}"
