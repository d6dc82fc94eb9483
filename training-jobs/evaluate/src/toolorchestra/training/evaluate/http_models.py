"""Chat models behind HTTP, for judges: one request, one reply, as any OpenAI-compatible server gives it."""

from typing import Any, Final

import httpx
from typing_extensions import override

from toolorchestra.core.chat import ChatModels, ChatReply, ChatRequest, CompletionReply, CompletionRequest
from toolorchestra.core.errors import InvalidRequestError, UpstreamError, UpstreamTimeoutError
from toolorchestra.core.pricing import Usage

ATTEMPTS: Final = 3


class HttpModels(ChatModels):
    """``key``: sent as a bearer token, never logged."""

    def __init__(self, client: httpx.AsyncClient, *, key: str | None = None) -> None:
        self._client = client
        self._headers = {"authorization": f"Bearer {key}"} if key else {}

    @override
    async def chat(self, request: ChatRequest) -> ChatReply:
        """Raises UpstreamError after three failed attempts, UpstreamTimeoutError if the last one took too long."""
        body = {
            "model": request.target.spec.model,
            "messages": list(request.messages),
            "max_tokens": request.max_tokens,
            "temperature": request.temperature,
            "seed": request.seed,
        }
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return await self._send(request, {name: value for name, value in body.items() if value is not None})
            except UpstreamError:
                if attempt == ATTEMPTS:
                    raise
        raise UpstreamError(f"the model {request.target.name!r} was not asked")

    @override
    async def complete(self, request: CompletionRequest) -> CompletionReply:
        """Judges are chat models. Raises InvalidRequestError."""
        raise InvalidRequestError("raw prompts are not sent here", param="prompt")

    async def _send(self, request: ChatRequest, body: dict[str, Any]) -> ChatReply:
        url = f"{request.target.base_url.rstrip('/')}/chat/completions"
        name = request.target.name
        try:
            response = await self._client.post(url, json=body, headers=self._headers, timeout=request.timeout_ms / 1_000)
            response.raise_for_status()
            found = response.json()
            choice = found["choices"][0]
            usage = found.get("usage") or {}
            return ChatReply(
                choice["message"]["content"] or "",
                Usage(int(usage.get("prompt_tokens", 0)), int(usage.get("completion_tokens", 0))),
                finish_reason=choice.get("finish_reason") or "stop",
            )
        except httpx.TimeoutException as error:
            raise UpstreamTimeoutError(f"the model {name!r} did not answer in time") from error
        except (httpx.HTTPError, ValueError, KeyError, IndexError, TypeError) as error:
            hint = "look at its server's log, or correct base_url and model"
            raise UpstreamError(f"the model {name!r} at {url}: {type(error).__name__}: {error}", hint=hint) from error
