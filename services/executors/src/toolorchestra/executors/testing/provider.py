"""An OpenAI-compatible provider that counts its own bill, for tests of money, crashes and speed.

It is a real HTTP server, by default on the loopback interface, with a thread and an event loop of its own. What it did is in
``bill``; what it does is chosen by ``behave``, by ``once``, or by the request itself (see ``behaviour``).
"""

import asyncio
import itertools
import threading
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from types import TracebackType
from typing import Any, Final, Self

from toolorchestra.core.errors import UnavailableError
from toolorchestra.core.pricing import Price
from toolorchestra.executors.testing.answers import (
    Answer,
    Piece,
    Shape,
    SimulatedExpert,
    count_prompt,
    make_answer,
)
from toolorchestra.executors.testing.behaviour import Behaviour, directed, from_fields, text_of
from toolorchestra.executors.testing.bill import Bill, Entry
from toolorchestra.executors.testing.wire import ClientGoneError, Connection, HangUpError, Request, WatchedReader

HOST: Final = "127.0.0.1"
DEFAULT_PRICE: Final = Price(input=1_000_000_000, output=2_000_000_000)  # $1 and $2 per million tokens
START_S: Final = 10.0
BACKLOG: Final = 1_024


@dataclass(frozen=True, slots=True)
class ProviderConfig:
    """What a provider offers: models and their prices, the key that it wants, and where its API lies."""

    models: Sequence[str] = ("counting",)
    price: Price = DEFAULT_PRICE
    prices: Mapping[str, Price] = field(default_factory=dict)  # by model, instead of ``price``
    api_key: str | None = None
    base_path: str = "/v1"
    simulated: SimulatedExpert | None = None


class ProviderApp:
    """Answers requests and keeps the bill; runs in one event loop."""

    def __init__(self, config: ProviderConfig, behaviour: Behaviour) -> None:
        self.config = config
        self.behaviour = behaviour
        self.queued: deque[Behaviour] = deque()
        self.bill = Bill()
        self._numbers = itertools.count(1)
        self._clients: set[asyncio.Task[None]] = set()

    def protocol(self) -> asyncio.StreamReaderProtocol:
        """The protocol of one new connection."""
        reader = WatchedReader()

        def connected(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.bill.connections += 1
            task = asyncio.get_running_loop().create_task(self._serve(Connection(reader, writer)))
            self._clients.add(task)
            task.add_done_callback(self._clients.discard)

        return asyncio.StreamReaderProtocol(reader, connected)

    async def aclose(self) -> None:
        """Break all connections."""
        for task in list(self._clients):
            task.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)

    async def _serve(self, connection: Connection) -> None:
        try:
            while (request := await connection.read()) is not None:
                await self._respond(request, connection)
        except (ClientGoneError, HangUpError):
            connection.hang_up()
        finally:
            await connection.close()

    async def _respond(self, request: Request, connection: Connection) -> None:
        base = self.config.base_path
        try:
            match request.method, request.path:
                case "GET", path if path == f"{base}/models":
                    await self._models(request, connection)
                case "POST", path if path == f"{base}/chat/completions":
                    await self._generate(request, connection, chat=True)
                case "POST", path if path == f"{base}/completions":
                    await self._generate(request, connection, chat=False)
                case _, "/bill" | "/behaviour":
                    await self._control(request, connection)
                case _:
                    await connection.answer(404, _error(f"there is no {request.method} {request.path}"))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            await connection.answer(400, _error(f"bad request: {error}"))

    async def _control(self, request: Request, connection: Connection) -> None:
        if (request.method, request.path) == ("DELETE", "/bill"):
            self.bill.entries.clear()
        elif (request.method, request.path) == ("PUT", "/behaviour"):
            self.behaviour = from_fields(Behaviour(), request.json())
        await connection.answer(200, self.bill.as_json())

    async def _models(self, request: Request, connection: Connection) -> None:
        if not self._authorized(request):
            await connection.answer(401, _error("wrong API key", "invalid_api_key"))
            return
        label = {"simulated": True} if self.config.simulated else {}
        models = [{"id": m, "object": "model", "created": 0, "owned_by": "tests", **label} for m in self.config.models]
        await connection.answer(200, {"object": "list", "data": models})

    def _authorized(self, request: Request) -> bool:
        key = self.config.api_key
        return key is None or request.headers.get("authorization") == f"Bearer {key}"

    async def _generate(self, request: Request, connection: Connection, *, chat: bool) -> None:
        body = request.json()
        entry = self._entry(request, body)
        behaviour = self._behaviour(body)
        with _recorded(entry):
            await connection.pause(behaviour.first_delay_ms)
            if not await self._refused(request, body, connection, behaviour, entry):
                entry.prompt_tokens = count_prompt(body)
                entry.cached_tokens = min(behaviour.cached, entry.prompt_tokens)
                await _Generation(self.config, connection, behaviour, entry, body, chat).run()

    async def _refused(
        self, request: Request, body: Mapping[str, Any], connection: Connection, behaviour: Behaviour, entry: Entry
    ) -> bool:
        found = next((name for name in behaviour.refuse if name in body), None)
        if not self._authorized(request):
            entry.status, message, code = 401, f"wrong API key: {request.headers.get('authorization')}", "invalid_api_key"
        elif body.get("model") not in self.config.models:
            entry.status, message, code = 404, f"the model {body.get('model')!r} does not exist", "model_not_found"
        elif found is not None:
            renamed = ", use 'max_completion_tokens' instead" if found == "max_tokens" else ""
            entry.status, message, code = 400, f"unsupported parameter: '{found}'{renamed}", "unsupported_parameter"
        elif behaviour.status != HTTPStatus.OK:
            entry.status, message, code = behaviour.status, "refused on purpose", "on_purpose"
        else:
            return False
        headers = {} if behaviour.retry_after_s is None else {"retry-after": str(behaviour.retry_after_s)}
        await connection.answer(entry.status, _error(message, code), headers)
        entry.finished = True
        return True

    def _behaviour(self, body: Mapping[str, Any]) -> Behaviour:
        base = self.queued.popleft() if self.queued else self.behaviour
        messages: list[Mapping[str, Any]] = list(body.get("messages") or ())
        if isinstance(body.get("prompt"), str):
            messages = [{"role": "user", "content": body["prompt"]}]
        chosen = directed(base, messages)
        if chosen.needs_tools and not body.get("tools"):
            chosen = replace(chosen, calls=())
        asked = [text_of(message) for message in messages if message.get("role") == "user"]
        if self.config.simulated is not None and chosen.text is None and not chosen.calls:
            return replace(chosen, text=self.config.simulated.answer("\n".join(asked)))
        return chosen

    def _entry(self, request: Request, body: Mapping[str, Any]) -> Entry:
        model = str(body.get("model"))
        entry = Entry(
            id=f"{next(self._numbers)}",
            path=request.path,
            model=model,
            price=self.config.prices.get(model, self.config.price),
            max_tokens=body.get("max_completion_tokens", body.get("max_tokens")),
            stream=bool(body.get("stream")),
            traceparent=request.headers.get("traceparent"),
            baggage=request.headers.get("baggage"),
        )
        self.bill.entries.append(entry)
        return entry


@dataclass(slots=True)
class _Generation:
    """One answer on its way out."""

    config: ProviderConfig
    connection: Connection
    behaviour: Behaviour
    entry: Entry
    body: Mapping[str, Any]
    chat: bool

    async def run(self) -> None:
        answer = make_answer(self.behaviour, identity=self.entry.id, max_tokens=self.entry.max_tokens)
        simulated = self.config.simulated is not None
        shape = Shape(f"answer-{self.entry.id}", self.entry.model, chat=self.chat, simulated=simulated)
        if self.entry.stream and self.behaviour.streams:
            await self._stream(shape, answer)
        else:
            pieces = [piece async for piece in self._pieces(answer)]
            await self.connection.answer(200, shape.whole(pieces, answer.finish_reason, self._usage()))

    async def _stream(self, shape: Shape, answer: Answer) -> None:
        await self.connection.begin_events({"x-simulated": "true"} if shape.simulated else {})
        role: dict[str, Any] = {"role": "assistant"}
        async for piece in self._pieces(answer):
            await self.connection.event(shape.chunk({**role, **piece.delta()}))
            role = {}
        await self.connection.event(shape.chunk(role, answer.finish_reason))
        if self.behaviour.usage and (self.body.get("stream_options") or {}).get("include_usage"):
            await self.connection.event({**shape.chunk(None), "usage": self._usage()})
        await self.connection.event("[DONE]")
        await self.connection.end_events()

    async def _pieces(self, answer: Answer) -> AsyncIterator[Piece]:
        for number, piece in enumerate(answer.pieces):
            await self._stumble(number)
            await self.connection.pause(self.behaviour.delay_ms)
            self.entry.output_tokens += 1
            yield piece
        await self._stumble(len(answer.pieces))

    async def _stumble(self, written: int) -> None:
        if written == self.behaviour.abort_after:
            raise HangUpError
        if written == self.behaviour.hang_after:
            await self.connection.hang()
        if written == self.behaviour.error_after:
            await self.connection.event(_error("the model broke", "server_error"))
            raise HangUpError

    def _usage(self) -> dict[str, Any] | None:
        if not self.behaviour.usage:
            return None
        entry = self.entry
        return {
            "prompt_tokens": entry.prompt_tokens,
            "completion_tokens": entry.output_tokens,
            "total_tokens": entry.prompt_tokens + entry.output_tokens,
            "prompt_tokens_details": {"cached_tokens": entry.cached_tokens},
            "completion_tokens_details": {"reasoning_tokens": min(self.behaviour.reasoning, entry.output_tokens)},
        }


class CountingProvider:
    """A provider in a thread of its own: ``with CountingProvider() as provider: …``."""

    def __init__(self, config: ProviderConfig | None = None, *, behaviour: Behaviour | None = None) -> None:
        self._app = ProviderApp(config or ProviderConfig(), behaviour or Behaviour())
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="counting-provider", daemon=True)
        self._server: asyncio.Server | None = None
        self.port = 0

    @property
    def url(self) -> str:
        """The base URL of its API."""
        return f"{self.origin}{self._app.config.base_path}"

    @property
    def origin(self) -> str:
        """Where ``/bill`` and ``/behaviour`` are."""
        return f"http://{HOST}:{self.port}"

    @property
    def bill(self) -> Bill:
        """What it has charged so far."""
        return self._app.bill

    def behave(self, behaviour: Behaviour) -> None:
        """Do this from now on."""
        self._app.behaviour = behaviour

    def once(self, *behaviours: Behaviour) -> None:
        """Do these first, one per request."""
        self._app.queued.extend(behaviours)

    def start(self, port: int = 0, *, host: str = HOST) -> Self:
        """Listen; port 0 takes a free one. Raises UnavailableError."""
        self._thread.start()
        try:
            self._server = asyncio.run_coroutine_threadsafe(self._listen(host, port), self._loop).result(START_S)
        except OSError as error:
            self.stop()
            raise UnavailableError(f"port {port} cannot be listened on: {error}") from error
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def stop(self) -> None:
        """Break all connections and end the thread."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(START_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(START_S)
        self._loop.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.stop()

    async def _listen(self, host: str, port: int) -> asyncio.Server:
        return await asyncio.get_running_loop().create_server(self._app.protocol, host, port, backlog=BACKLOG)

    async def _end(self) -> None:
        if self._server is not None:
            self._server.close()
        await self._app.aclose()


@contextmanager
def _recorded(entry: Entry) -> Iterator[None]:
    """Notes in the entry how the answer ended."""
    try:
        yield
        entry.finished = True
    except ClientGoneError:
        entry.client_gone = True
        raise


def _error(message: str, code: str = "invalid_request") -> dict[str, Any]:
    return {"error": {"message": message, "type": "error", "param": None, "code": code}}
