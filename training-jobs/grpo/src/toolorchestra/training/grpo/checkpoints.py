"""Checkpoints: what a run starts from, and what it publishes with a manifest of where it comes from."""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast

from toolorchestra.core.policyformat import FORMAT_HASH
from toolorchestra.training.grpo.errors import InvalidRunError
from toolorchestra.training.grpo.settings import LoraSettings, ModelSettings
from toolorchestra.training.grpo.tokens import HfCodec

MANIFEST: Final = "toolorchestra.json"
ADAPTER: Final = "adapter"  # folder in a published checkpoint: what was trained, where that was an adapter


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model that can be trained, with its codec and the manifest it came with (empty for a foreign one)."""

    model: PreTrainedModel | PeftModel
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
        model, told = AutoModelForCausalLM.from_pretrained(
            folder, dtype=getattr(torch, settings.dtype), output_loading_info=True
        )
        codec = HfCodec(AutoTokenizer.from_pretrained(folder))
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise InvalidRunError(f"model.path: {folder} cannot be loaded: {error}", param="model.path") from error
    if missing := sorted(told["missing_keys"]):
        raise InvalidRunError(f"model.path: {folder} lacks the weights {', '.join(missing[:3])}", param="model.path")
    model.to(own_device())
    return Loaded(adapted(model, settings.lora) if settings.lora else model, codec, manifest_of(folder))


def own_device() -> str:
    """Where this process computes: on the GPU of its number, if there are any."""
    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if torch.cuda.is_available() else "cpu"


def adapted(model: PreTrainedModel, lora: LoraSettings) -> PeftModel:
    """The model with a new adapter, which alone can be trained; its weights are drawn from torch's global generator."""
    config = LoraConfig(r=lora.rank, lora_alpha=lora.alpha, target_modules="all-linear", task_type="CAUSAL_LM")
    return get_peft_model(model, config)


def publish(
    model: PreTrainedModel | PeftModel, tokenizer: PreTrainedTokenizerFast, folder: Path, manifest: Mapping[str, Any]
) -> Path:
    """Write a checkpoint as a whole or not at all, with its manifest and the hashes of its files.

    An adapter is written beside the whole model, and merged into it: ``model`` has none afterwards.
    """
    draft = folder.with_name(f"{folder.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    if isinstance(model, PeftModel):
        model.save_pretrained(draft / ADAPTER)
        model = model.merge_and_unload()
    model.save_pretrained(draft)
    tokenizer.save_pretrained(draft)
    files = sorted(file for file in draft.rglob("*") if file.is_file())
    hashes = {str(file.relative_to(draft)): sha256(file) for file in files}
    whole = {"formatHash": FORMAT_HASH, **manifest, "files": hashes}
    (draft / MANIFEST).write_text(json.dumps(whole, indent=2, sort_keys=True) + "\n")
    shutil.rmtree(folder, ignore_errors=True)
    draft.rename(folder)
    return folder


def sha256(file: Path) -> str:
    """Of a file's bytes, in hexadecimal."""
    return hashlib.sha256(file.read_bytes()).hexdigest()
