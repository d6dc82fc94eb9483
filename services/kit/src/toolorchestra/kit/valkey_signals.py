"""The signal bus over Valkey or Redis."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import structlog
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from toolorchestra.core.errors import InvalidRequestError
from toolorchestra.kit.signals import Listeners, NullSignals, Signal, SignalBus, Subscription, is_pattern

_SCHEMES: Final = ("redis", "rediss", "valkey", "valkeys", "unix")
_OPERATION_S: Final = 1.0  # longest wait for the server, in publish and in subscribe
_PAUSE_S: Final = 1.0  # after a failure the server is left alone for so long
_SILENCE_S: Final = 30.0  # after so much silence the connection is tested


def open_signals(url: str | None) -> SignalBus:
    """The bus of a URL; without one, ``NullSignals``. Raises InvalidRequestError for a URL of something else."""
    if not url:
        return NullSignals()
    scheme, _, rest = url.partition("://")
    if scheme not in _SCHEMES or not rest:
        raise InvalidRequestError(
            f"signals cannot go over {scheme!r}", param="signal_url", hint="use a redis:// or unix:// URL, or none"
        )
    return ValkeySignals(f"{scheme.replace('valkey', 'redis')}://{rest}")


class ValkeySignals:
    """Signals over one server. One connection receives for the whole process, however many wait; it connects again by itself.

    Use it from one event loop. Without ``socket_timeout``, since the client would wait with ``asyncio.wait_for``, which before
    Python 3.12 loses a cancellation that comes as its work ends (https://github.com/python/cpython/issues/86296).
    """

    def __init__(self, url: str) -> None:
        self._client: Redis = Redis.from_url(
            url,
            protocol=2,
            socket_connect_timeout=_OPERATION_S,
            socket_timeout=None,
            retry=Retry(NoBackoff(), 0),  # a late signal is worth nothing
        )
        self._away_until = 0.0
        self._receiver = _Receiver(self._client)

    async def publish(self, channel: str, payload: bytes | str = b"") -> None:
        """Send a signal; while the server is away it is dropped at once."""
        if time.monotonic() < self._away_until:
            return
        try:
            async with asyncio.timeout(_OPERATION_S):
                await self._client.publish(channel, payload)
        except (RedisError, OSError, TimeoutError) as error:
            self._away_until = time.monotonic() + _PAUSE_S
            _report("signal not sent", error)

    @asynccontextmanager
    async def subscribe(self, *channels: str) -> AsyncIterator[Subscription]:
        """Listen to channels and patterns."""
        subscription = Subscription()
        await self._receiver.add(subscription, channels)
        try:
            yield subscription
        finally:
            await self._receiver.remove(subscription, channels)

    async def close(self) -> None:
        """Stop receiving and give back connections."""
        await self._receiver.close()
        await self._client.aclose()


class _Receiver:
    """The shared connection that receives.

    A reader task owns it. Others only send subscribe commands over it; when that fails the reader notices too, connects
    again and subscribes to everything that is listened to. ``_asked`` are the channels asked for on this connection,
    ``_active`` those that the server confirmed, ``_gaps`` those on which signals may have been lost.
    """

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._listeners = Listeners()
        self._reader: asyncio.Task[None] | None = None
        self._connection: PubSub | None = None
        self._away = False
        self._asked: set[str] = set()
        self._active: set[str] = set()
        self._gaps: set[str] = set()
        self._confirmed = asyncio.Condition()

    async def add(self, subscription: Subscription, channels: Sequence[str]) -> None:
        self._listeners.add(subscription, channels)
        if self._reader is None or self._reader.done():
            self._reader = asyncio.create_task(self._receive(), name="signals")
        if self._connection is not None:
            with suppress(RedisError, OSError):
                await self._ask(self._connection)
        await self._until_active(set(channels))

    async def remove(self, subscription: Subscription, channels: Sequence[str]) -> None:
        unused = self._listeners.remove(subscription, channels)
        for known in (self._asked, self._active, self._gaps):
            known.difference_update(unused)
        if self._connection is None:
            return
        with suppress(RedisError, OSError):
            async with asyncio.timeout(_OPERATION_S):
                await _send(self._connection.unsubscribe, [name for name in unused if not is_pattern(name)])
                await _send(self._connection.punsubscribe, [name for name in unused if is_pattern(name)])

    async def close(self) -> None:
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)

    async def _until_active(self, channels: set[str]) -> None:
        """Wait for the server's confirmation; without one the listener gets a gap when it comes."""
        if not self._away:
            with suppress(TimeoutError):
                async with asyncio.timeout(_OPERATION_S), self._confirmed:
                    await self._confirmed.wait_for(lambda: channels <= self._active)
        self._gaps.update(channels - self._active)

    async def _receive(self) -> None:
        """Read until cancelled, over one connection after the other, for as long as anybody listens."""
        while self._listeners.channels():
            connection: Any = self._client.pubsub()  # its methods are partly untyped
            try:
                await self._read(connection)
            except (RedisError, OSError, TimeoutError) as error:
                _report("signals not received", error)
            finally:
                self._lose()
                with suppress(RedisError, OSError):
                    await connection.aclose()
            await asyncio.sleep(_PAUSE_S)

    async def _read(self, connection: PubSub) -> None:
        await self._ask(connection)
        self._connection = connection
        await self._ask(connection)  # for those who came while the connection was not yet known to them
        while True:
            message = await connection.get_message(timeout=_SILENCE_S)
            if message is None:
                async with asyncio.timeout(_OPERATION_S):
                    await connection.ping()
                message = await connection.get_message(timeout=_OPERATION_S)
            if message is None:
                raise TimeoutError("the server does not answer")
            await self._handle(message)

    async def _ask(self, connection: PubSub) -> None:
        """Subscribe to what is listened to and not yet asked for on this connection."""
        missing = [name for name in self._listeners.channels() if name not in self._asked]
        self._asked.update(missing)
        async with asyncio.timeout(_OPERATION_S):
            await _send(connection.subscribe, [name for name in missing if not is_pattern(name)])
            await _send(connection.psubscribe, [name for name in missing if is_pattern(name)])

    async def _handle(self, message: Mapping[str, Any]) -> None:
        match message["type"]:
            case "subscribe" | "psubscribe":
                await self._confirm(message["channel"].decode())
            case "message" | "pmessage":
                channel = message["channel"].decode()
                subscribed = (message["pattern"] or message["channel"]).decode()
                self._listeners.deliver(subscribed, Signal(channel, message["data"]))
            case _:  # confirmations of unsubscribing, and answers to our pings
                pass

    async def _confirm(self, name: str) -> None:
        self._away = False
        self._active.add(name)
        async with self._confirmed:
            self._confirmed.notify_all()
        if name in self._gaps:
            self._gaps.discard(name)
            self._listeners.deliver(name, Signal(name, gap=True))

    def _lose(self) -> None:
        self._connection = None
        self._away = True
        self._gaps.update(self._listeners.channels())
        self._asked.clear()
        self._active.clear()


async def _send(command: Any, names: Sequence[str]) -> None:
    if names:
        await command(*names)


def _report(what: str, error: BaseException) -> None:
    structlog.get_logger(__name__).warning(what, reason=str(error) or type(error).__name__)
