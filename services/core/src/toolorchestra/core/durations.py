"""Durations in manifests are strings like ``250ms``, ``30s``, ``5m``, ``1h``; inside they are integer milliseconds."""

import re
from typing import Annotated, Final

from pydantic import AfterValidator, Field

_UNITS_MS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_FORM: Final = r"([0-9]{1,9})(ms|s|m|h|d)"


def parse_duration_ms(text: str) -> int:
    """Read a duration string as milliseconds; raises ValueError for anything else."""
    match = re.fullmatch(_FORM, text)
    if match is None:
        raise ValueError(f'{text!r} is not a duration; write "250ms", "30s", "5m" or "1h"')
    return int(match[1]) * _UNITS_MS[match[2]]


def _check(text: str) -> str:
    parse_duration_ms(text)
    return text


Duration = Annotated[str, Field(max_length=12, json_schema_extra={"pattern": f"^{_FORM}$"}), AfterValidator(_check)]
