"""Who a Kubernetes token is: asked of the API server, remembered for a moment, and at a bounded rate.

The API server itself remembers a good token for up to ten seconds; ours come on top.
"""

import asyncio
import hashlib
import time
from dataclasses import dataclass
from typing import Final, TypeAlias

from toolorchestra.core.errors import RateLimitedError, UnauthenticatedError, UnavailableError
from toolorchestra.kit.claims import read_claims
from toolorchestra.orchestrator.storage.reviews import Identity, Reviews

FRESH_S: Final = 5.0
AWAY_S: Final = 300.0  # a token seen good is believed for so long while the API server cannot be reached
MOST: Final = 10_000
NEW_PER_S: Final = 20.0  # reviews of tokens not seen good before; strangers cannot make this process flood the API server
NEW_AT_ONCE: Final = 100.0
AT_ONCE: Final = 8

_Key: TypeAlias = tuple[bytes, str | None]  # a hash of the token, and the audience it is used for


@dataclass(frozen=True, slots=True)
class _Known:
    """An answer: an identity, or None for a token that was refused. Times are of the monotonic clock."""

    identity: Identity | None
    refusal: str
    at: float
    expires_at: float

    def within(self, seconds: float) -> bool:
        return time.monotonic() < min(self.at + seconds, self.expires_at)


class Identities:
    """One per process."""

    def __init__(self, reviews: Reviews) -> None:
        self._reviews = reviews
        self._known: dict[_Key, _Known] = {}
        self._asking: dict[_Key, asyncio.Task[_Known]] = {}
        self._places = asyncio.Semaphore(AT_ONCE)
        self._strangers = _Bucket(NEW_PER_S, NEW_AT_ONCE)

    async def identify(self, token: str, audience: str | None) -> Identity:
        """Whose token it is. Raises UnauthenticatedError, RateLimitedError, or UnavailableError without an API server."""
        key = (hashlib.sha256(token.encode()).digest(), audience)
        known = self._known.get(key)
        if known is None or not known.within(FRESH_S):
            known = await self._ask(key, token, known)
        if known.identity is None:
            raise UnauthenticatedError(known.refusal, hint="it may have expired; get another one")
        return known.identity

    async def _ask(self, key: _Key, token: str, before: _Known | None) -> _Known:
        """One review for all who ask for the same token at once."""
        task = self._asking.get(key)
        if task is None:
            if (before is None or before.identity is None) and not self._strangers.take():
                raise RateLimitedError("too many unknown tokens at once", hint="try again in a second")
            task = self._asking[key] = asyncio.create_task(self._review(key, token))
            task.add_done_callback(lambda _: self._asking.pop(key, None))
        try:
            return await asyncio.shield(task)
        except UnavailableError as error:
            if before is not None and before.identity is not None and before.within(AWAY_S):
                return before
            raise UnavailableError(
                f"tokens cannot be checked now: {error.message}", hint=error.hint or "an API key works"
            ) from error

    async def _review(self, key: _Key, token: str) -> _Known:
        now = time.monotonic()
        left_s = float(read_claims(token).get("exp") or time.time() + AWAY_S) - time.time()
        async with self._places:
            try:
                found = _Known(await self._reviews.identify(token, key[1]), "", now, now + left_s)
            except UnauthenticatedError as error:
                found = _Known(None, error.message, now, now + FRESH_S)
        if len(self._known) >= MOST:
            self._known.clear()
        self._known[key] = found
        return found


class _Bucket:
    """Lets ``per_s`` through in the long run, and ``at_once`` after a rest."""

    def __init__(self, per_s: float, at_once: float) -> None:
        self._per_s = per_s
        self._at_once = at_once
        self._left = at_once
        self._at = time.monotonic()

    def take(self) -> bool:
        now = time.monotonic()
        self._left = min(self._at_once, self._left + (now - self._at) * self._per_s)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
