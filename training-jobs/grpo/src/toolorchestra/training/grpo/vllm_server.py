"""A vLLM server as training sees it: adapters come and go while it runs, and turns are written from and to token ids.

A request never names a seed: one seeded row in a batch ends the CPU build of vLLM 0.32. Everything that would change what is
sampled is named, because vLLM takes what is not from the model's ``generation_config.json``.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import httpx

from toolorchestra.training.grpo.errors import InvalidRunError
from toolorchestra.training.grpo.policies import PolicyUnavailableError, Turn

CONNECT_RETRIES: Final = 3
WHOLE_DISTRIBUTION: Final = {
    "top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Completed:
    """What was written after a prompt: ids and log-probabilities at the turn's temperature, in nats.

    ``prompt_logprobs`` are those of the prompt's tokens but the first, at temperature 1; empty where nobody asked.
    """

    ids: list[int]
    logprobs: list[float]
    prompt_logprobs: list[float]


@dataclass(frozen=True, slots=True)
class Served:
    """A model or adapter that a server lists. ``context`` is the most tokens of prompt and turn together; None: not told."""

    path: str
    context: int | None


@dataclass(frozen=True, slots=True)
class VllmServer:
    """One server, named by its URL without ``/v1``. A turn ends with the id ``stop``.

    All methods raise PolicyUnavailableError for a server that cannot be reached or broke, and InvalidRunError for one that
    answers but does not do what is asked.
    """

    url: str
    stop: int
    timeout_s: float

    def models(self) -> dict[str, Served]:
        """The models and adapters that it lists, by name."""
        response = _checked(self._ask("GET", "/v1/models"))
        try:
            return {str(one["id"]): Served(str(one["root"]), one.get("max_model_len")) for one in response.json()["data"]}
        except (ValueError, KeyError, TypeError) as error:
            raise _foreign("does not list models as vLLM does") from error

    def load(self, name: str, folder: Path) -> None:
        """Have it load an adapter; nothing if it has one of that name."""
        response = self._ask("POST", "/v1/load_lora_adapter", {"lora_name": name, "lora_path": str(folder)})
        if response.is_error and name not in self.models():
            raise InvalidRunError(
                f"rollout.backend: the server did not load adapter {name}: {_words(response)}",
                param="rollout.backend.adapters",
                hint="start it with --enable-lora, --max-lora-rank of at least model.lora.rank and"
                f" VLLM_ALLOW_RUNTIME_LORA_UPDATING=True, and let it see {folder.parent} under the same path",
            )

    def unload(self, name: str) -> None:
        """Have it forget an adapter; nothing if it has none of that name."""
        self._ask("POST", "/v1/unload_lora_adapter", {"lora_name": name})

    def complete(self, model: str, turn: Turn) -> Completed:
        """One turn at once, with the log-probabilities of its prompt."""
        body = {**self._body(model, turn), "prompt_logprobs": 0}
        found = _completed(_checked(self._ask("POST", "/v1/completions", body)))
        if len(found.prompt_logprobs) != len(turn.ids) - 1:
            raise _foreign("does not say how likely a prompt is")
        return found

    async def write(self, model: str, turns: Sequence[Turn]) -> list[Completed]:
        """All turns side by side; the server makes batches of them."""
        transport = httpx.AsyncHTTPTransport(limits=httpx.Limits(max_connections=None), retries=CONNECT_RETRIES)
        async with httpx.AsyncClient(base_url=self.url, timeout=self.timeout_s, transport=transport) as client:
            return await asyncio.gather(*(self._one(client, model, turn) for turn in turns))

    async def _one(self, client: httpx.AsyncClient, model: str, turn: Turn) -> Completed:
        try:
            response = await client.post("/v1/completions", json=self._body(model, turn))
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        return _completed(_checked(response))

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> httpx.Response:
        try:
            return httpx.request(method, f"{self.url}{path}", json=body, timeout=self.timeout_s)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error

    def _body(self, model: str, turn: Turn) -> dict[str, Any]:
        return {
            "model": model,
            "prompt": list(turn.ids),
            "max_tokens": turn.max_tokens,
            "temperature": turn.temperature,
            "stop_token_ids": [self.stop],
            "ignore_eos": True,  # a turn ends with the format's own mark alone
            "logprobs": 0,
            "return_token_ids": True,
            **WHOLE_DISTRIBUTION,
        }

    def _unreachable(self, error: httpx.HTTPError) -> PolicyUnavailableError:
        told, hint = f"cannot be reached: {str(error) or type(error).__name__}", "start the server, or name another"
        if isinstance(error, httpx.ReadTimeout):
            told = f"did not answer within {self.timeout_s:g} s"
            hint = "raise rollout.backend.timeout_s, or play fewer episodes"
        return PolicyUnavailableError(f"rollout.backend.url: {self.url} {told}", param="rollout.backend.url", hint=hint)


def _checked(response: httpx.Response) -> httpx.Response:
    if response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise PolicyUnavailableError(f"rollout.backend: the server broke: {_words(response)}", hint="see its log")
    if response.is_error:
        raise InvalidRunError(f"rollout.backend: the server refused: {_words(response)}", param="rollout.backend")
    return response


def _words(response: httpx.Response) -> str:
    """What a server says in an error, in its own words."""
    try:
        said = response.json()
        return str(said.get("error", said).get("message", said))
    except (ValueError, AttributeError):
        return f"status {response.status_code}"


def _completed(response: httpx.Response) -> Completed:
    try:
        (choice,) = response.json()["choices"]
        ids, logprobs = choice["token_ids"], choice["logprobs"]["token_logprobs"]
        prompt = [next(iter(one.values()))["logprob"] for one in (choice.get("prompt_logprobs") or ())[1:]]
        return Completed(list(ids), [float(one) for one in logprobs], prompt)
    except (ValueError, KeyError, TypeError, StopIteration) as error:
        raise _foreign("answers without token ids and their log-probabilities") from error


def _foreign(told: str) -> InvalidRunError:
    return InvalidRunError(
        f"rollout.backend.url: the server {told}",
        param="rollout.backend.url",
        hint="vLLM's own server is needed, 0.10.2 or newer",
    )
