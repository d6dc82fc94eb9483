"""The policy behind a vLLM server: each step's adapter is saved, loaded there, and checked to have arrived.

A turn is written as far as the server's context reaches, and not at all beyond: its episode goes wrong, the run does not.

An adapter is named after its step, its content and its folder, so a name never stands for two sets of weights: not for a run
that was ended and goes on, nor for several processes that train together and all do the same. Nor for two files: vLLM reads an
adapter again when it needs room for others, and its engine dies of one that is gone. So one is unloaded before it is deleted.
"""

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final
from uuid import uuid4

from peft import PeftModel
from typing_extensions import override

from toolorchestra.training.grpo.arrival import largest_gap
from toolorchestra.training.grpo.checkpoints import sha256
from toolorchestra.training.grpo.errors import InvalidRunError
from toolorchestra.training.grpo.policies import PolicyBackend, PolicyUnavailableError, Turn, Written
from toolorchestra.training.grpo.settings import VllmBackend
from toolorchestra.training.grpo.tokens import Codec
from toolorchestra.training.grpo.vllm_server import Completed, VllmServer

WEIGHTS: Final = "adapter_model.safetensors"
PREFIX: Final = "policy-v"


class VllmPolicy(PolicyBackend):
    """Samples from ``model`` as it was when the step began. ``temperature`` is the run's, at which arrival is checked."""

    overlapping = True  # the server makes batches of whatever has come

    def __init__(self, model: PeftModel, codec: Codec, settings: VllmBackend, *, temperature: float) -> None:
        self._model = model
        self._codec = codec
        self._settings = settings
        self._temperature = temperature
        self._server = VllmServer(settings.url.rstrip("/").removesuffix("/v1"), codec.stop, settings.timeout_s)
        self._folder = Path(settings.adapters).absolute()
        self._name = ""
        self._version = 0
        self._context: int | None = None
        self._gap = 0.0

    @override
    def begin(self, step: int) -> None:
        if not self._name:
            self._check_model()
        self._version = step
        saved = self._save(step)
        if saved.name != self._name:
            self._server.load(saved.name, saved)
            self._check_arrival(saved.name)
            self._name = saved.name
            self._forget_others()

    @override
    async def write(self, turns: Sequence[Turn]) -> list[Written]:
        fitting = [replace(turn, max_tokens=min(turn.max_tokens, self._room(turn))) for turn in turns if self._room(turn) > 0]
        found = iter(await self._server.write(self._name, fitting))
        return [self._written(next(found)) if self._room(turn) > 0 else Written([], [], self._version) for turn in turns]

    @override
    def figures(self) -> Mapping[str, float]:
        return {"sync_gap": self._gap}

    def _room(self, turn: Turn) -> int:
        """How many tokens may follow."""
        return turn.max_tokens if self._context is None else self._context - len(turn.ids)

    def _written(self, found: Completed) -> Written:
        return Written(found.ids, found.logprobs, self._version)

    def _check_model(self) -> None:
        listed = self._server.models()
        if self._settings.model not in listed:
            raise InvalidRunError(
                f"rollout.backend.model: the server does not serve {self._settings.model!r}",
                param="rollout.backend.model",
                hint=f"it serves {', '.join(sorted(listed))}",
            )
        self._context = listed[self._settings.model].context

    def _save(self, step: int) -> Path:
        """The adapter as it is now, in a folder that has its name."""
        draft = self._folder / f".draft-{uuid4().hex}"
        try:
            self._model.save_pretrained(draft)
            digest = hashlib.sha256(f"{self._folder}/{sha256(draft / WEIGHTS)}".encode()).hexdigest()
            folder = self._folder / f"{PREFIX}{step}-{digest[:8]}"
            try:
                draft.rename(folder)
            except OSError:
                shutil.rmtree(draft)
                if not folder.exists():  # saved before, by this process or another
                    raise
        except OSError as error:
            raise InvalidRunError(
                f"rollout.backend.adapters: {self._folder} cannot be written: {error}", param="rollout.backend.adapters"
            ) from error
        return folder

    def _check_arrival(self, name: str) -> None:
        """Raises InvalidRunError for a server that never had the trainer's weights, PolicyUnavailableError for one that missed
        an update.
        """
        self._gap = largest_gap(self._model, self._codec, self._server, name, temperature=self._temperature)
        if self._gap <= self._settings.tolerance:
            return
        told = (
            f"{name}: log-probabilities differ by up to {self._gap:.2g} nats between server and trainer, and "
            f"rollout.backend.tolerance is {self._settings.tolerance:g}"
        )
        if self._name:
            raise PolicyUnavailableError(f"{told}; {self._name} did not", hint="the server did not take the new adapter")
        raise InvalidRunError(
            told,
            param="rollout.backend",
            hint="serve model.path itself, with --dtype as in model.dtype and --logprobs-mode processed_logprobs",
        )

    def _forget_others(self) -> None:
        """Only this run's, but also those of its earlier life."""
        for name, served in self._server.models().items():
            if name != self._name and Path(served.path).parent == self._folder:
                self._server.unload(name)
        for folder in self._folder.glob(f"{PREFIX}*"):
            if folder.name != self._name:
                shutil.rmtree(folder, ignore_errors=True)
