"""The manifest of the embedded model: an ExpertModel named ``local``, written when the model's port is known."""

from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import yaml

from toolorchestra.cli.embedded.local_model import CONTEXT_TOKENS, MODEL_NAME
from toolorchestra.cli.embedded.parts import free_port, port_is_free, write_private

FILE_NAME: Final = "local-model.yaml"
HEADER: Final = "# Written by `toolorchestra up`; changes are lost. The model runs on this machine and costs nothing.\n"
DESCRIPTION: Final = (
    "SmolLM2-135M-Instruct, a very small language model on this machine's processor. Free and fast. Good for simple everyday "
    "questions, rewording, and answering from a text that is given to it; weak at facts, arithmetic and reasoning."
)
INSTRUCTIONS: Final = "You are a helpful assistant. Answer the question in one short sentence."  # longer ones confuse it
OUTPUT_TOKENS: Final = 256
STRENGTH: Final = 10


def local_expert(base_url: str) -> dict[str, Any]:
    """The manifest of the model served at ``base_url``."""
    return {
        "apiVersion": "toolorchestra.dev/v1alpha1",
        "kind": "ExpertModel",
        "metadata": {"name": "local"},
        "spec": {
            "description": DESCRIPTION,
            "capabilities": ["general"],
            "model": MODEL_NAME,
            "endpoint": {"baseUrl": base_url},
            "pricing": {"input": "0", "output": "0"},
            "strength": STRENGTH,
            "contextTokens": CONTEXT_TOKENS,
            "maxOutputTokens": OUTPUT_TOKENS,
            "temperature": 0,
            "timeout": "60s",
            "typicalLatency": "2s",
            "concurrency": 2,
            "location": "inside",
            "offers": [{"name": "answer", "instructions": INSTRUCTIONS}],
        },
    }


def write_local_expert(folder: Path, base_url: str) -> None:
    """Write the manifest, or replace the one of an earlier start."""
    write_private(folder / FILE_NAME, HEADER + yaml.safe_dump(local_expert(base_url), sort_keys=False, width=120))


def forget_local_expert(folder: Path) -> None:
    """Remove the manifest: this time there is no local model."""
    (folder / FILE_NAME).unlink(missing_ok=True)


def preferred_port(folder: Path) -> int:
    """The port of the last start if it is still free, so that runs keep their revision; else any free one."""
    try:
        kept = yaml.safe_load((folder / FILE_NAME).read_text())["spec"]["endpoint"]["baseUrl"]
        port = urlsplit(kept).port
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError):
        port = None
    return port if port and port_is_free(port) else free_port()
