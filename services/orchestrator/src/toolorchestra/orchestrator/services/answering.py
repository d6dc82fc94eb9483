"""The answers of pass-throughs to their clients: while a call is under way here, or from what is stored of it."""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Any

from typing_extensions import override

from toolorchestra.core.errors import ToolOrchestraError, UnavailableError
from toolorchestra.core.loop.journal import Stamped
from toolorchestra.core.loop.state import State, apply
from toolorchestra.core.openai import error_body
from toolorchestra.orchestrator.services.hub import Item
from toolorchestra.orchestrator.services.passed import Envelope, PassedEnd
from toolorchestra.orchestrator.services.passing import PassedRun
from toolorchestra.orchestrator.services.responding import DONE, KEEP_ALIVE, data, with_keep_alive


class Answer(ABC):
    """The answer to one client, of whatever call. Whoever has it must ``leave`` in the end."""

    def __init__(self, envelope: Envelope, let_go: Callable[[], None]) -> None:
        self.envelope = envelope
        self.let_go = let_go

    async def leave(self) -> None:
        """``let_go``, for those who await."""
        self.let_go()

    async def whole(self) -> dict[str, Any]:
        """The body of the response. Raises PassedCallError when the model gave no answer."""
        end = await self._end()
        if end.error is not None:
            raise end.error
        return self.envelope.whole(end)

    @abstractmethod
    async def begun(self) -> None:
        """Wait until there is something to stream. Raises PassedCallError when it is known that nothing will come."""

    @abstractmethod
    def events(self) -> AsyncGenerator[str, None]:
        """The response as server-sent events, after ``begun``."""

    @abstractmethod
    async def _end(self) -> PassedEnd: ...


class LiveAnswer(Answer):
    """Of a call that this process makes: the model's own chunks; what was said before the client came is one chunk."""

    def __init__(self, run: PassedRun, envelope: Envelope, let_go: Callable[[], None]) -> None:
        super().__init__(envelope, let_go)
        self._run = run
        self._follower = run.join()
        self._first: Mapping[str, Any] | None = None

    @override
    async def begun(self) -> None:
        if self._follower.said is not None:
            return
        self._first = await self._follower.next()
        if self._first is None and (error := (await self._run.end).error) is not None:
            raise error

    @override
    async def events(self) -> AsyncGenerator[str, None]:
        finished = False
        if self._follower.said is not None:
            yield self.envelope.said(self._follower.said)
        chunk = self._first or await self._follower.next()
        while chunk is not None:
            choices = chunk.get("choices") or []
            finished = finished or any(choice.get("finish_reason") for choice in choices)
            if choices:
                yield data({**chunk, **self.envelope.base})
            chunk = await self._follower.next()
        for event in self.envelope.last(await self._run.end, finished=finished):
            yield event

    @override
    async def _end(self) -> PassedEnd:
        return await self._run.end


class StoredAnswer(Answer):
    """Of a call that has ended, or that another process makes: all that was said is one chunk."""

    def __init__(
        self,
        state: State,
        items: AsyncGenerator[Item, None],
        envelope: Envelope,
        let_go: Callable[[], None],
        keep_alive_s: float,
    ) -> None:
        super().__init__(envelope, let_go)
        self._state = state
        self._items = items
        self._keep_alive_s = keep_alive_s

    @override
    async def begun(self) -> None:
        end = PassedEnd.of(self._state)
        if end is not None and end.error is not None:
            raise end.error

    @override
    async def events(self) -> AsyncGenerator[str, None]:
        try:
            async with aclosing(with_keep_alive(self._items, self._keep_alive_s)) as items:
                async for item in items:
                    if item is None:
                        yield KEEP_ALIVE
                    else:
                        self._note(item)
            end = self._known()
        except ToolOrchestraError as error:
            yield data(error_body(error))
            yield DONE
            return
        if end.error is None:
            yield self.envelope.said(end.message)
        for event in self.envelope.last(end, finished=False):
            yield event

    @override
    async def _end(self) -> PassedEnd:
        async with aclosing(self._items) as items:
            async for item in items:
                self._note(item)
        return self._known()

    def _note(self, item: Item) -> None:
        if isinstance(item, Stamped) and item.seq > self._state.seq:
            self._state = apply(self._state, item)

    def _known(self) -> PassedEnd:
        end = PassedEnd.of(self._state)
        if end is None:
            raise UnavailableError("the call goes on in another process", hint="send the request again: it attaches to the run")
        return end
