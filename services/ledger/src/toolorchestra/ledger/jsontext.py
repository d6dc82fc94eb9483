"""JSON as it is stored: text that PostgreSQL takes, in the order it was written.

Tools and models return NUL characters, halves of surrogate pairs and NaN; a transition must not fail for them.
"""

import json
import math
from typing import Any, Final

REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"
_SUSPECT: Final = "\\u0000"


def encode(value: Any) -> str:
    """``value`` as JSON text; what cannot be stored is replaced (U+FFFD, null)."""
    return encode_checked(value)[0]


def encode_checked(value: Any) -> tuple[str, bool]:
    """``value`` as JSON text, and whether anything in it had to be replaced."""
    try:
        text = _dumps(value)
        text.encode()
    except ValueError:  # NaN, or half of a surrogate pair
        return _dumps(cleaned(value)), True
    return (_dumps(cleaned(value)), True) if _SUSPECT in text else (text, False)


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def cleaned(value: Any) -> Any:
    """A copy of a JSON value without what cannot be stored."""
    match value:
        case str():
            return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\0", REPLACEMENT)
        case float() if not math.isfinite(value):
            return None
        case dict():
            return {cleaned(key): cleaned(item) for key, item in value.items()}
        case list() | tuple():
            return [cleaned(item) for item in value]
        case _:
            return value
