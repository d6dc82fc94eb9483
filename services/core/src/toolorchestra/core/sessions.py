"""Sessions: a name that a client may give to what it does, so that whoever answers its calls can tell them from others'.

It travels with every call of a run: in the plug-in's context, in MCP's ``_meta`` (``SESSION_META``), and over HTTP, to tools
and models, as an entry of the W3C ``baggage`` header (https://www.w3.org/TR/baggage/).
"""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, unquote

SESSION_PATTERN: Final = r"^[A-Za-z0-9._:+-]{1,128}$"
SESSION_RULE: Final = "must be 1 to 128 of the characters A-Z a-z 0-9 . _ : + -"
SESSION_META: Final = "toolorchestra.dev/session"
BAGGAGE: Final = "baggage"
BAGGAGE_KEY: Final = "toolorchestra.session"
_SESSION: Final = re.compile(SESSION_PATTERN.removeprefix("^").removesuffix("$"))


def is_session(text: str) -> bool:
    """Whether a text can name a session."""
    return _SESSION.fullmatch(text) is not None


def session_headers(session: str | None) -> dict[str, str]:
    """The headers that carry a session over HTTP; none without one."""
    return {} if session is None else {BAGGAGE: f"{BAGGAGE_KEY}={quote(session, safe=':')}"}


def session_of(headers: Mapping[str, str]) -> str | None:
    """The session that received headers carry, whatever the case of their names; None without one."""
    baggage = next((value for name, value in headers.items() if name.lower() == BAGGAGE), "")
    for entry in baggage.split(","):
        name, _, value = entry.partition(";")[0].partition("=")
        if name.strip() == BAGGAGE_KEY and value.strip():
            return unquote(value.strip())
    return None
