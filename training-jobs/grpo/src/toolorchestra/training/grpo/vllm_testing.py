"""A server for tests that speaks what ``vllm_server`` asks of vLLM, and can be told to do it wrong; small models only."""

import copy
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import PreTrainedModel
from typing_extensions import override

from toolorchestra.training.grpo.local_policy import LocalPolicy
from toolorchestra.training.grpo.policies import Turn
from toolorchestra.training.grpo.tokens import Codec

Reply = tuple[int, dict[str, Any]]


class _Server(ThreadingHTTPServer):
    request_queue_size = 128  # all episodes of a step come at once


@dataclass
class FakeVllm:
    """One base model and its adapters. ``requests`` holds the bodies that came, by path.

    ``context`` is the most tokens of a prompt and what is written after it.

    Faults: ``deaf_to`` is part of the names of adapters that it says it loaded and did not, ``fixed`` takes no adapters at
    all, ``wordy`` answers in text alone, ``foreign`` is none of this kind, ``broken`` has only errors.
    """

    model: PreTrainedModel
    codec: Codec
    name: str = "tiny"
    context: int = 512
    deaf_to: str | None = None
    fixed: bool = False
    wordy: bool = False
    foreign: bool = False
    broken: bool = False
    requests: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    roots: dict[str, str] = field(default_factory=dict)
    url: str = ""

    def __post_init__(self) -> None:
        self._models: dict[str, Any] = {self.name: self.model}
        self._newest: Any = self.model
        self._one_at_a_time = threading.Lock()

    @contextmanager
    def running(self) -> Iterator["FakeVllm"]:
        """It listens on loopback, at ``url``."""
        server = _Server(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def answer(self, path: str, body: dict[str, Any]) -> Reply:
        """Status and document."""
        with self._one_at_a_time:
            self.requests.append((path, body))
            if self.broken:
                return _error(500, "EngineCore encountered an issue")
            if self.foreign:
                return 200, {"status": "ok"}
            if path == "/v1/models":
                return 200, {"data": [self._card(name) for name in self._models]}
            if path == "/v1/completions":
                return self._complete(body)
            if path.endswith("_lora_adapter") and not self.fixed:
                return self._load(body) if path == "/v1/load_lora_adapter" else self._unload(body["lora_name"])
            return 404, {"detail": "Not Found"}

    def _card(self, name: str) -> dict[str, Any]:
        """As the real one: only the base says how long its context is."""
        context = {"max_model_len": self.context} if name == self.name else {"max_model_len": None}
        return {"id": name, "root": self.roots.get(name, "base"), **context}

    def _load(self, body: dict[str, Any]) -> Reply:
        name, path = body["lora_name"], Path(body["lora_path"])
        if name in self._models:
            return _error(400, f"The lora adapter '{name}' has already been loaded.")
        if not path.is_dir():
            return _error(404, f"Loading lora {name} failed: No adapter found for {path}")
        if self.deaf_to is None or self.deaf_to not in name:
            self._newest = PeftModel.from_pretrained(copy.deepcopy(self.model), path)
        self._models[name], self.roots[name] = self._newest, str(path)
        return 200, {}

    def _unload(self, name: str) -> Reply:
        if self._models.pop(name, None) is None:
            return _error(404, f"The lora adapter '{name}' cannot be found.")
        return 200, {}

    def _complete(self, body: dict[str, Any]) -> Reply:
        model, ids = self._models.get(body["model"]), body["prompt"]
        if model is None:
            return _error(404, f"The model `{body['model']}` does not exist.")
        if body["model"] != self.name and not Path(self.roots[body["model"]]).is_dir():
            self.broken = True  # as the real one, once it has made room for others
            return _error(500, "EngineCore encountered an issue")
        if len(ids) + body["max_tokens"] > self.context:
            return _error(400, f"This model's maximum context length is {self.context} tokens.")
        turn = Turn(ids, body["max_tokens"], body["temperature"])
        (written,) = LocalPolicy(model, self.codec, seed=len(self.requests)).sample([turn])
        choice: dict[str, Any] = {"text": self.codec.decode(written.ids)}
        if not self.wordy:
            choice |= {"token_ids": written.ids, "logprobs": {"token_logprobs": written.logprobs}}
        if "prompt_logprobs" in body:
            choice["prompt_logprobs"] = _of_prompt(model, ids)
        return 200, {"choices": [choice]}


def _of_prompt(model: Any, ids: list[int]) -> list[dict[str, Any] | None]:
    with torch.inference_mode():
        scores = torch.log_softmax(model(input_ids=torch.tensor([ids])).logits[0], dim=-1)
    return [None, *({str(one): {"logprob": scores[place, one].item()}} for place, one in enumerate(ids[1:]))]


def _error(status: int, words: str) -> Reply:
    return status, {"error": {"message": words, "code": status}}


def _handler(fake: FakeVllm) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:  # the name that the base calls
            self._reply({})

        def do_POST(self) -> None:  # the name that the base calls
            self._reply(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def _reply(self, body: dict[str, Any]) -> None:
            status, document = fake.answer(self.path, body)
            content = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        @override
        def log_message(self, format: str, *args: Any) -> None:
            """Nobody reads it."""

    return Handler
