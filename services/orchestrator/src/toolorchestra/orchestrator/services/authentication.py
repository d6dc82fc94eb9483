"""Who asks: API keys of the data plane, and the administrator's token."""

import hmac
from pathlib import Path
from time import monotonic
from typing import Final

from toolorchestra.core.errors import InvalidRequestError
from toolorchestra.orchestrator.services.principal import Principal
from toolorchestra.orchestrator.storage.accounts import AccountStore

CACHE_S: Final = 2.0  # a revoked key stops within this time; its holds are refused at once
CACHE_MOST: Final = 10_000


class Authenticator:
    """Checks API keys; a good answer is remembered for a moment."""

    def __init__(self, accounts: AccountStore) -> None:
        self._accounts = accounts
        self._known: dict[str, tuple[float, Principal]] = {}

    async def authenticate(self, text: str) -> Principal:
        """The caller. Raises UnauthenticatedError."""
        known = self._known.get(text)
        if known is not None and known[0] > monotonic():
            return known[1]
        record = await self._accounts.authenticate(text)
        principal = Principal(record.tenant, record.id, models=record.scopes.models, tools=record.scopes.tools)
        if len(self._known) >= CACHE_MOST:
            self._known.clear()
        self._known[text] = (monotonic() + CACHE_S, principal)
        return principal


class AdminTokens:
    """The token of ``/admin/v1`` on a single machine: the content of a file that only its owner can read."""

    def __init__(self, token: str | None) -> None:
        self._token = token

    def matches(self, text: str) -> bool:
        """Whether ``text`` is the token. Without a token nothing matches."""
        return self._token is not None and hmac.compare_digest(self._token.encode(), text.encode())


def read_secret_file(path: Path) -> str:
    """The content of a secret file. Raises InvalidRequestError when others may read it, or it is not there."""
    try:
        mode = path.stat().st_mode & 0o077
        text = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise InvalidRequestError(f"{path}: {error.strerror}", hint="create it with mode 0600") from error
    if mode or not text:
        raise InvalidRequestError(f"{path}: must not be empty, nor readable by others", hint=f"chmod 600 {path}")
    return text
