"""Server-sent events, as a completion is streamed: JSON after ``data:``, comments to keep the connection alive."""

import json
from collections.abc import Iterable, Iterator
from typing import Any, Final

from toolorchestra.core.errors import UnavailableError

DONE: Final = "[DONE]"


def read_events(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """The JSON objects of a stream, up to ``[DONE]``. Raises UnavailableError for a stream that breaks off before it."""
    for line in lines:
        name, _, value = line.partition(":")
        if name != "data":  # ids, comments and the empty line after each event
            continue
        value = value.removeprefix(" ")
        if value == DONE:
            return
        try:
            event = json.loads(value)
        except ValueError as error:
            raise UnavailableError("the answer is not a stream of JSON", hint="is --url a ToolOrchestra?") from error
        if isinstance(event, dict):
            yield event
    raise UnavailableError("the answer broke off before its end", hint="`toolorchestra runs show` tells how far it came")
