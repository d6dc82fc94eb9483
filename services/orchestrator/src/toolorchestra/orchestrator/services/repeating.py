"""Requests that repeat another one: which run they mean, and what is stored of it. The same for runs of every kind."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from toolorchestra.core.errors import ConflictError, InvalidRequestError
from toolorchestra.core.loop.state import State, fold
from toolorchestra.core.openai import ChatCompletionRequest
from toolorchestra.orchestrator.services.principal import Principal
from toolorchestra.orchestrator.storage.runs import RunStore

MAX_IDEMPOTENCY_KEY: Final = 255


@dataclass(frozen=True, slots=True)
class Attempt:
    """What the headers of a request say: whether it repeats another, and preferences in short."""

    idempotency_key: str | None = None
    retry: bool = False
    preference_words: str | None = None
    max_cost_usd: str | None = None

    def __post_init__(self) -> None:
        if len(self.idempotency_key or "") > MAX_IDEMPOTENCY_KEY:
            raise InvalidRequestError(f"Idempotency-Key is longer than {MAX_IDEMPOTENCY_KEY}", param="Idempotency-Key")


class Repeats:
    """One per process."""

    def __init__(self, runs: RunStore) -> None:
        self._runs = runs

    async def find(self, caller: Principal, attempt: Attempt, body_hash: str) -> State | None:
        """The run that a client's own repetition means; None for a first attempt, which an Idempotency-Key may still repeat."""
        if not attempt.retry or attempt.idempotency_key is not None:
            return None
        run_id = await self._runs.find_retry(caller.tenant, caller.key, body_hash)
        return None if run_id is None else await self.state(caller, run_id)

    async def state(self, caller: Principal, run_id: str) -> State:
        """A run as it is stored now. Raises ConflictError when what was said in it is deleted."""
        log = await self._runs.log(caller.tenant, run_id)
        if not log:
            raise ConflictError(f"what was said in run {run_id} is deleted", hint="send a new Idempotency-Key")
        return fold(run_id, log)


def body_hash(wish: ChatCompletionRequest, extra: Mapping[str, Any] | None = None) -> str:
    """What two requests have in common that ask for the same. ``extra``: further fields of the wire."""
    body = wish.model_dump(mode="json", exclude_defaults=True) | ({"extra": extra} if extra else {})
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
