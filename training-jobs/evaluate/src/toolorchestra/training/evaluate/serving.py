"""Routers and simulated experts behind HTTP, as any OpenAI-compatible server: what a platform's ExpertModels lead to.

It listens on the loopback interface in a thread of its own. A reply has the form of a stream with usage where that is asked
for, as the platform does, and is sent in one piece, for it is known at once: nobody waits for virtual latencies, but they are
told in ``x-simulated-latency-ms``.
"""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from types import TracebackType
from typing import Any, Final, Self, TypeAlias

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from toolorchestra.core.chat import ChatModels, ChatReply, ChatRequest
from toolorchestra.core.errors import InvalidRequestError, NotFoundError, ToolOrchestraError, UnavailableError
from toolorchestra.core.functions import ExpertTarget
from toolorchestra.core.sessions import session_of

HOST: Final = "127.0.0.1"
START_S: Final = 10.0
DEFAULT_MAX_TOKENS: Final = 1_024
LATENCY_HEADER: Final = "x-simulated-latency-ms"
Find: TypeAlias = Callable[[str, str | None], tuple[ChatModels, ExpertTarget]]  # by model and session


class ModelServer:
    """``with ModelServer(find, names) as server``: serves the models of these names at ``server.url``.

    ``find`` gives the object behind a model's name in a session. Raises UnavailableError if the port is taken.
    """

    def __init__(self, find: Find, names: Callable[[], list[str]], *, host: str = HOST, port: int = 0) -> None:
        self._find = find
        self._names = names
        routes = [
            Route("/v1/models", self._models, methods=["GET"]),
            Route("/v1/chat/completions", self._chat, methods=["POST"]),
        ]
        app = Starlette(routes=routes, exception_handlers={ToolOrchestraError: _explain})
        config = uvicorn.Config(app, host=host, port=port, log_level="error", lifespan="off", access_log=False)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._serve, name="evaluate-models", daemon=True)
        self._host = host
        self.port = port

    @property
    def url(self) -> str:
        """The base URL of its API."""
        return f"http://{self._host}:{self.port}/v1"

    @property
    def address(self) -> str:
        """``host:port``."""
        return f"{self._host}:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        for _ in range(int(START_S / 0.02)):
            if self._server.started:
                self.port = self._server.servers[0].sockets[0].getsockname()[1]
                return self
            if not self._thread.is_alive():
                break
            threading.Event().wait(0.02)
        raise UnavailableError(f"port {self.port} of {self._host} cannot be listened on", hint="name another with --port")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.should_exit = True
        self._thread.join(START_S)

    def _serve(self) -> None:
        try:
            asyncio.run(self._server.serve())
        except SystemExit:  # how uvicorn says that a port is taken
            return

    async def _models(self, request: Request) -> Response:
        del request
        data = [{"id": name, "object": "model", "created": 0, "owned_by": "simulation"} for name in self._names()]
        return JSONResponse({"object": "list", "data": data})

    async def _chat(self, request: Request) -> Response:
        body = _read(await request.body())
        session = session_of(request.headers)
        models, target = self._find(str(body["model"]), session)
        reply = await models.chat(chat_request(body, target, request.headers))
        headers = {LATENCY_HEADER: str(reply.latency_ms)}
        if not body.get("stream"):
            return JSONResponse(_whole(reply, body), headers=headers)
        usage = bool((body.get("stream_options") or {}).get("include_usage"))
        return Response("".join(_chunks(reply, body, usage=usage)), media_type="text/event-stream", headers=headers)


def chat_request(body: Mapping[str, Any], target: ExpertTarget, headers: Mapping[str, str]) -> ChatRequest:
    """The body of a request as the models of this process take it."""
    return ChatRequest(
        target=target,
        messages=body["messages"],
        max_tokens=int(body.get("max_completion_tokens") or body.get("max_tokens") or DEFAULT_MAX_TOKENS),
        timeout_ms=600_000,
        tools=body.get("tools") or (),
        tool_choice=body.get("tool_choice"),
        temperature=body.get("temperature"),
        seed=body.get("seed"),
        headers=dict(headers),
    )


def _read(content: bytes) -> dict[str, Any]:
    try:
        body = json.loads(content)
    except ValueError as error:
        raise InvalidRequestError(f"the body is not JSON: {error}") from error
    if not isinstance(body, dict) or not isinstance(body.get("messages"), list) or "model" not in body:
        raise InvalidRequestError("the body needs `model` and `messages`", param="messages")
    return body


async def _explain(_: Request, error: Exception) -> Response:
    """An error in the form of OpenAI; what failed on purpose is told with its own status."""
    if not isinstance(error, ToolOrchestraError):
        raise error
    status = HTTPStatus.NOT_FOUND if isinstance(error, NotFoundError) else error.http_status
    body = {"message": str(error), "type": "error", "param": error.param, "code": error.code}
    return JSONResponse({"error": body}, status_code=status)


def _usage(reply: ChatReply) -> dict[str, Any]:
    used = reply.usage
    return {
        "prompt_tokens": used.input,
        "completion_tokens": used.output,
        "total_tokens": used.input + used.output,
        "prompt_tokens_details": {"cached_tokens": used.cached},
        "completion_tokens_details": {"reasoning_tokens": used.reasoning},
    }


def _message(reply: ChatReply) -> dict[str, Any]:
    calls = [
        {"index": n, "id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for n, call in enumerate(reply.tool_calls)
    ]
    return {"role": "assistant", "content": reply.text or None, **({"tool_calls": calls} if calls else {})}


def _frame(body: Mapping[str, Any], kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
    return {"id": "chatcmpl-simulated", "object": kind, "created": 0, "model": body["model"], "choices": choices}


def _whole(reply: ChatReply, body: Mapping[str, Any]) -> dict[str, Any]:
    choice = {"index": 0, "message": _message(reply), "finish_reason": reply.finish_reason}
    return {**_frame(body, "chat.completion", [choice]), "usage": _usage(reply)}


def _chunks(reply: ChatReply, body: Mapping[str, Any], *, usage: bool) -> Iterator[str]:
    kind = "chat.completion.chunk"
    yield _event(_frame(body, kind, [{"index": 0, "delta": _message(reply), "finish_reason": None}]))
    yield _event(_frame(body, kind, [{"index": 0, "delta": {}, "finish_reason": reply.finish_reason}]))
    if usage:
        yield _event({**_frame(body, kind, []), "usage": _usage(reply)})
    yield "data: [DONE]\n\n"


def _event(content: Mapping[str, Any]) -> str:
    return f"data: {json.dumps(content, ensure_ascii=False)}\n\n"
