"""A model behind an OpenAI-compatible address that words things. Its key comes from the environment and is never written."""

import os
import time
from dataclasses import dataclass, field
from typing import Final, Protocol

import httpx

from toolorchestra.training.toolscale.defaults import KEY
from toolorchestra.training.toolscale.errors import WordingEndpointError

TIMEOUT_S: Final = 60.0
ATTEMPTS: Final = 3
PAUSE_S: Final = 0.5  # before the second attempt; twice as long before the third
BUSY: Final = (408, 409, 429)
SERVER_FAULT: Final = 500
_HINTS: Final = {401: f"set {KEY}", 403: f"set {KEY} to a key that may use the model", 404: "check --llm-url and --llm-model"}


class WordingModel(Protocol):
    """Something that answers a request with text."""

    def ask(self, instruction: str, request: str) -> str | None:
        """The answer, or None if there was none this time. Raises WordingEndpointError if there will never be one."""
        ...


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a model is: the address that ends before ``/chat/completions``, and its name."""

    url: str
    model: str

    def open(self, key: str | None = None) -> "ChatEndpoint":
        """The model, asked with a key, by default that of the environment."""
        return ChatEndpoint(self, os.environ.get(KEY, "") if key is None else key)


@dataclass(slots=True)
class ChatEndpoint:
    """An OpenAI chat endpoint as a WordingModel; may be asked by several threads at once. ``key`` is not shown by ``repr``."""

    endpoint: Endpoint
    key: str = field(repr=False)
    pause_s: float = PAUSE_S
    _client: httpx.Client = field(init=False, repr=False)

    def __post_init__(self) -> None:
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        self._client = httpx.Client(headers=headers, timeout=TIMEOUT_S)

    def close(self) -> None:
        """End its connections."""
        self._client.close()

    def ask(self, instruction: str, request: str) -> str | None:
        """One chat completion at temperature 1; busy and failing servers are asked up to ATTEMPTS times."""
        messages = [{"role": "system", "content": instruction}, {"role": "user", "content": request}]
        body = {"model": self.endpoint.model, "messages": messages, "temperature": 1.0, "max_tokens": 800}
        for attempt in range(ATTEMPTS):
            time.sleep(self.pause_s * attempt)
            answer = self._post(body)
            if answer is not None:
                return answer
        return None

    def _post(self, body: dict[str, object]) -> str | None:
        url = f"{self.endpoint.url.rstrip('/')}/chat/completions"
        try:
            response = self._client.post(url, json=body)
        except (httpx.ConnectError, httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
            raise WordingEndpointError(f"llm-url: {url} cannot be reached: {error}", param="llm-url") from error
        except httpx.HTTPError:
            return None  # slow or cut off: another attempt may do
        status = response.status_code
        if status in BUSY or status >= SERVER_FAULT:
            return None
        if response.is_error:
            raise WordingEndpointError(f"llm-url: {url} answered {status}", param="llm-url", hint=_HINTS.get(status))
        return _content(response)


def _content(response: httpx.Response) -> str | None:
    try:
        found = response.json()["choices"][0]["message"]["content"]
    except (ValueError, KeyError, IndexError, TypeError):
        return None
    return found.strip() if isinstance(found, str) and found.strip() else None
