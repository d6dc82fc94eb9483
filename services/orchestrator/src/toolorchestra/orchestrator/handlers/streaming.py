"""Responses of server-sent events that clean up after themselves, however they end."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping

from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send
from typing_extensions import override

SSE = "text/event-stream"


async def _nothing() -> None:
    """There is nothing to close."""


class EventStream(StreamingResponse):
    """Server-sent events until they end or the client goes away.

    The source is cancelled once, so that it may clean up with awaits of its own. ``close`` runs at the end, also when not a
    single event was taken from the source.
    """

    def __init__(
        self,
        events: AsyncGenerator[str, None],
        *,
        headers: Mapping[str, str] | None = None,
        close: Callable[[], Awaitable[None]] = _nothing,
    ) -> None:
        super().__init__(events, media_type=SSE, headers=headers)
        self._events = events
        self._close = close

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        sending = asyncio.create_task(self.stream_response(send))
        gone = asyncio.create_task(self.listen_for_disconnect(receive))
        try:
            await asyncio.wait({sending, gone}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
        finally:
            sending.cancel()
            gone.cancel()
            await asyncio.gather(sending, gone, return_exceptions=True)
            try:
                await self._events.aclose()
            finally:
                await self._close()
