"""Checkpoints: what a run starts from, and what it publishes with a manifest of where it comes from."""

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast

from toolorchestra.core.policyformat import FORMAT_HASH
from toolorchestra.training.grpo.errors import InvalidRunError
from toolorchestra.training.grpo.settings import ModelSettings
from toolorchestra.training.grpo.tokens import HfCodec

MANIFEST: Final = "toolorchestra.json"


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model that can be trained, with its codec and the manifest it came with (empty for a foreign one)."""

    model: PreTrainedModel
    codec: HfCodec
    manifest: Mapping[str, Any]


def folder_of(settings: ModelSettings) -> Path:
    """Where the model's files are. Raises InvalidRunError for a folder that holds no model, or another format."""
    path = Path(settings.path)
    if not (path / "config.json").is_file():
        raise InvalidRunError(
            f"model.path: {path} holds no model (there is no config.json)",
            param="model.path",
            hint="name a folder with a Hugging Face checkpoint",
        )
    stated = manifest_of(path).get("formatHash")
    if stated is not None and stated != FORMAT_HASH:
        raise InvalidRunError(
            f"model.path: {path} was trained in the policy format {stated}, and this is {FORMAT_HASH}",
            param="model.path",
            hint="train it again, or use the version of ToolOrchestra that it was trained with",
        )
    return path


def manifest_of(folder: Path) -> Mapping[str, Any]:
    """The manifest beside a checkpoint; empty without one. Raises InvalidRunError for one that cannot be read."""
    file = folder / MANIFEST
    if not file.exists():
        return {}
    try:
        found = json.loads(file.read_text())
    except ValueError as error:
        raise InvalidRunError(f"{file} is not JSON: {error}", param="model.path") from error
    if not isinstance(found, dict):
        raise InvalidRunError(f"{file} is not a JSON object", param="model.path")
    return found


def load(settings: ModelSettings) -> Loaded:
    """Raises InvalidRunError for a model that cannot be loaded."""
    folder = folder_of(settings)
    try:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, settings.dtype))
        codec = HfCodec(AutoTokenizer.from_pretrained(folder))
    except (OSError, ValueError, SafetensorError) as error:
        raise InvalidRunError(f"model.path: {folder} cannot be loaded: {error}", param="model.path") from error
    return Loaded(model, codec, manifest_of(folder))


def publish(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path, manifest: Mapping[str, Any]) -> Path:
    """Write a checkpoint as a whole or not at all, with its manifest and the hashes of its files."""
    draft = folder.with_name(f"{folder.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    model.save_pretrained(draft)
    tokenizer.save_pretrained(draft)
    hashes = {file.name: _sha256(file) for file in sorted(draft.iterdir())}
    whole = {"formatHash": FORMAT_HASH, **manifest, "files": hashes}
    (draft / MANIFEST).write_text(json.dumps(whole, indent=2, sort_keys=True) + "\n")
    shutil.rmtree(folder, ignore_errors=True)
    draft.rename(folder)
    return folder


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
