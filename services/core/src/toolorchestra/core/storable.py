"""Text and JSON that models, tools and clients wrote, made fit to be stored and sent on.

A database refuses NUL characters, and no encoder takes half of a surrogate pair, NaN or a million brackets. What can be
replaced is replaced where a fact is made, so that the live state, the stored one and every prompt say the same.
"""

import json
import math
from typing import Annotated, Any, Final

from pydantic import AfterValidator

from toolorchestra.core.errors import InvalidArgumentsError

MAX_DEPTH: Final = 64
_REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"


def clean_text(text: str) -> str:
    """The text with U+FFFD for what cannot be stored."""
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text.replace("\0", _REPLACEMENT)


def clean_json(value: Any) -> Any:
    """The JSON value with clean texts, and null for numbers that JSON does not have."""
    match value:
        case str():
            return clean_text(value)
        case float() if not math.isfinite(value):
            return None
        case dict():
            return {clean_text(str(key)): clean_json(item) for key, item in value.items()}
        case list() | tuple():
            return [clean_json(item) for item in value]
        case _:
            return value


def parse_object(text: str) -> dict[str, Any]:
    """The JSON object that a model wrote, clean. Raises InvalidArgumentsError that says what is wrong."""
    try:
        value = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise InvalidArgumentsError("the arguments are not valid JSON") from error
    if not isinstance(value, dict):
        raise InvalidArgumentsError("the arguments must be a JSON object")
    if _depth(value) > MAX_DEPTH:
        raise InvalidArgumentsError(f"the arguments are nested more than {MAX_DEPTH} deep")
    found: dict[str, Any] = clean_json(value)
    return found


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _depth(value: Any) -> int:
    """How deep lists and objects are nested; level by level, so that depth costs no stack."""
    depth, level = 0, [value]
    while level:
        depth += 1
        level = [
            inner
            for item in level
            if isinstance(item, dict | list)
            for inner in (item.values() if isinstance(item, dict) else item)
        ]
    return depth


Text = Annotated[str, AfterValidator(clean_text)]
JsonObject = Annotated[dict[str, Any], AfterValidator(clean_json)]
