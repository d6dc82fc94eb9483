"""Serves a published checkpoint behind ``/v1/completions``, so that an Orchestrator can run on a policy that was trained here.

For policies that fit into one process; large ones are served by vLLM. Requests that wait at the same time are written as one
batch. There is no chat: such a policy knows its own format and nothing else.
"""

import json
import queue
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from time import time
from typing import Any, Final, NamedTuple
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from typing_extensions import override

from toolorchestra.core.errors import InvalidRequestError, NotFoundError, ToolOrchestraError
from toolorchestra.core.policyformat import STOP
from toolorchestra.training.grpo.checkpoints import load
from toolorchestra.training.grpo.local_policy import LocalPolicy
from toolorchestra.training.grpo.policies import PolicyUnavailableError, Turn, Written
from toolorchestra.training.grpo.settings import ModelSettings
from toolorchestra.training.grpo.tokens import Codec

AT_ONCE: Final = 64  # turns of one batch
MOST_BYTES: Final = 4_000_000
DEFAULT_TOKENS: Final = 256


class CompletionBody(BaseModel):
    """What is read of an OpenAI completion request. Fields that change nothing here are let through."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    model: str
    prompt: str | list[int]
    max_tokens: int = Field(default=DEFAULT_TOKENS, ge=1)
    temperature: float = Field(default=1.0, ge=0, le=2)
    stop: str | list[str] | None = None
    logprobs: int | None = None
    stream: bool = False


class Answer(NamedTuple):
    """A response: status, content type and body."""

    status: int
    kind: str
    body: bytes


@dataclass(slots=True)
class Batcher:
    """Has turns that wait at the same time written together, in a thread of its own."""

    policy: LocalPolicy
    waiting: "queue.Queue[tuple[Turn, Future[Written]]]" = field(default_factory=queue.Queue)

    def start(self) -> None:
        """Serve until the process ends."""
        threading.Thread(target=self._serve, name="batcher", daemon=True).start()

    def write(self, turn: Turn) -> Written:
        """The turn, written. Raises PolicyUnavailableError."""
        answer: Future[Written] = Future()
        self.waiting.put((turn, answer))
        return answer.result()

    def _serve(self) -> None:
        while True:
            batch = [self.waiting.get()]
            while len(batch) < AT_ONCE and not self.waiting.empty():
                batch.append(self.waiting.get())
            self._answer(batch)

    def _answer(self, batch: Sequence[tuple[Turn, Future[Written]]]) -> None:
        try:
            found = self.policy.sample([turn for turn, _ in batch])
        except Exception as error:  # noqa: BLE001 - of this batch alone: the next one is served
            for _, answer in batch:
                answer.set_exception(PolicyUnavailableError(f"{type(error).__name__}: {error}"))
            return
        for (_, answer), written in zip(batch, found, strict=True):
            answer.set_result(written)


@dataclass(frozen=True, slots=True)
class Service:
    """Answers requests under one model name, without HTTP. ``context``: most tokens of prompt and answer together."""

    name: str
    codec: Codec
    context: int
    batcher: Batcher

    def get(self, path: str) -> Answer:
        """``/health`` and ``/v1/models``. Raises NotFoundError."""
        if path == "/health":
            return _json({"status": "ok"})
        if path == "/v1/models":
            model = {"id": self.name, "object": "model", "created": 0, "owned_by": "toolorchestra"}
            return _json({"object": "list", "data": [model]})
        raise NotFoundError(f"there is no {path}")

    def post(self, path: str, content: bytes) -> Answer:
        """``/v1/completions``. Raises NotFoundError, InvalidRequestError, PolicyUnavailableError."""
        if path != "/v1/completions":
            raise NotFoundError(f"there is no {path}: this model completes its own format, and does not chat")
        body = _body(content)
        if body.model != self.name:
            raise NotFoundError(f"the model {body.model!r} does not exist; this is {self.name!r}")
        ids = self.codec.encode(body.prompt) if isinstance(body.prompt, str) else body.prompt
        room = self.context - len(ids)
        if not ids or room < 1:
            raise InvalidRequestError(f"prompt: {len(ids)} tokens, and the context has {self.context}")
        written = self.batcher.write(Turn(ids, min(body.max_tokens, room), body.temperature))
        return _answered(self._document(body, ids, written), stream=body.stream)

    def _document(self, body: CompletionBody, ids: Sequence[int], written: Written) -> dict[str, Any]:
        ended = written.ids[-1:] == [self.codec.stop]
        own = written.ids[:-1] if ended else written.ids
        choice: dict[str, Any] = {"index": 0, "text": self.codec.decode(own), "finish_reason": "stop" if ended else "length"}
        if body.logprobs is not None:
            tokens = [self.codec.decode([one]) for one in own]
            choice["logprobs"] = {"tokens": tokens, "token_logprobs": written.logprobs[: len(own)]}
        usage = {"prompt_tokens": len(ids), "completion_tokens": len(written.ids), "total_tokens": len(ids) + len(written.ids)}
        about = {"id": f"cmpl-{uuid4().hex}", "object": "text_completion", "created": int(time()), "model": self.name}
        return {**about, "choices": [choice], "usage": usage}


def open_service(folder: Path, name: str) -> Service:
    """The service of a checkpoint. Raises InvalidRunError for one that cannot be loaded, or was trained in another format."""
    loaded = load(ModelSettings(path=str(folder)))
    batcher = Batcher(LocalPolicy(loaded.model, loaded.codec, seed=0))
    batcher.start()
    return Service(name, loaded.codec, int(loaded.model.config.max_position_embeddings), batcher)


def open_server(service: Service, host: str, port: int) -> ThreadingHTTPServer:
    """The HTTP server, listening; port 0 takes a free one. Raises InvalidRequestError for an address that cannot be had."""
    try:
        return _Server((host, port), _handler(service))
    except OSError as error:
        raise InvalidRequestError(f"{host}:{port} cannot be listened on: {error}", param="port") from error


def serve(folder: Path, name: str, *, host: str, port: int, tell: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT. ``tell`` hears where. Raises what ``open_service`` and ``open_server`` raise."""
    server = open_server(open_service(folder, name), host, port)
    for end in (signal.SIGTERM, signal.SIGINT):
        signal.signal(end, lambda *_: threading.Thread(target=server.shutdown).start())
    tell(f"serving {folder} as {name} at http://{host}:{server.server_address[1]}/v1")
    server.serve_forever()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    @override
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up is not worth a word."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def _handler(service: Service) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._send(lambda: service.get(self.path))

        def do_POST(self) -> None:
            self._send(lambda: service.post(self.path, self._content()))

        def _content(self) -> bytes:
            length = int(self.headers.get("Content-Length") or 0)
            if not 0 < length <= MOST_BYTES:
                self.close_connection = True  # what was not read would be taken for the next request
                raise InvalidRequestError(f"a body of 1 to {MOST_BYTES} bytes is needed")
            return self.rfile.read(length)

        def _send(self, answered: Callable[[], Answer]) -> None:
            try:
                answer = answered()
            except ToolOrchestraError as error:
                answer = _refused(error)
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.kind)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        @override
        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            """Only what was refused is worth a line: probes come every second."""
            if isinstance(code, int) and code >= HTTPStatus.BAD_REQUEST:
                sys.stderr.write(f"{self.requestline}: {code}\n")

    return Handler


def _body(content: bytes) -> CompletionBody:
    try:
        body = CompletionBody.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        raise InvalidRequestError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    if body.stop not in (None, [], STOP, [STOP]):
        raise InvalidRequestError(f"stop: turns end at {STOP}, and nowhere else")
    return body


def _answered(document: Mapping[str, Any], *, stream: bool) -> Answer:
    """The answer whole, or as the only event of a stream: it is written at once."""
    if not stream:
        return _json(document)
    events = f"data: {json.dumps(document)}\n\ndata: [DONE]\n\n"
    return Answer(HTTPStatus.OK, "text/event-stream", events.encode())


def _json(document: Mapping[str, Any], status: int = HTTPStatus.OK) -> Answer:
    return Answer(status, "application/json", json.dumps(document).encode())


def _refused(error: ToolOrchestraError) -> Answer:
    body = {"message": str(error), "type": "error", "param": error.param, "code": error.code}
    return _json({"error": body}, error.http_status)
