"""What a JSON web token says of itself, unverified: for messages and to refuse early, never to believe anything."""

import base64
import binascii
import json
from typing import Any, Final

_PARTS: Final = 3
MAX_CHARACTERS: Final = 16_384


def read_claims(token: str) -> dict[str, Any]:
    """The claims of a token; empty for what is no JSON web token."""
    parts = token.strip().split(".")
    if len(parts) != _PARTS or len(token) > MAX_CHARACTERS:
        return {}
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}


def audiences_of(claims: dict[str, Any]) -> tuple[str, ...]:
    """Whom a token is meant for."""
    found = claims.get("aud")
    listed = found if isinstance(found, list) else [found]
    return tuple(str(one) for one in listed if one is not None)
