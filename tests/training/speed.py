"""How fast one device trains: ``python -m tests.training.speed RUN.yaml [--steps 5] [--shape qwen3-8b]``.

Trains so many steps by the settings of a run, into a folder that is thrown away, and prints what a step takes without the
first one. A shape puts random weights in the model's place: they write nothing sensible, so every turn is as long as it may
be. With a GPU the memory is the most that PyTorch held there, else the most that the process did.
"""

import argparse
import json
import resource
import tempfile
from pathlib import Path
from typing import Any, Final

import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from toolorchestra.training.grpo.settings import TrainingSettings, check_settings, read_settings
from toolorchestra.training.grpo.tiny.model import build_tokenizer
from toolorchestra.training.grpo.training import METRICS, Run

# From the published config.json of each model.
SHAPES: Final = {
    "qwen3-0.6b": {"hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 28, "num_attention_heads": 16},
    "qwen3-8b": {"hidden_size": 4096, "intermediate_size": 12_288, "num_hidden_layers": 36, "num_attention_heads": 32},
}
COMMON: Final = {"vocab_size": 151_936, "num_key_value_heads": 8, "head_dim": 128, "max_position_embeddings": 40_960}
GIB: Final = 2**30


def random_model(shape: str, folder: Path) -> Path:
    """A checkpoint of that shape with random weights and the tiny policy's tokenizer, in bfloat16."""
    tokenizer = build_tokenizer()
    marks = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id, "bos_token_id": None}
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = Qwen3ForCausalLM(Qwen3Config(**SHAPES[shape], **COMMON, **marks)).to(torch.bfloat16)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def short(settings: TrainingSettings, *, steps: int, model: Path | None) -> TrainingSettings:
    """The same run for so many steps in one process, without a gate, perhaps from another model."""
    document = settings.model_dump(mode="json") | {"gate": None, "processes": 1}
    document["optimiser"] |= {"steps": steps, "minutes": None}
    document["checkpoint"] |= {"every": steps + 1}
    if model is not None:
        document["model"]["path"] = str(model)
    return check_settings(document, where="speed")


def figures(settings: TrainingSettings, folder: Path) -> dict[str, Any]:
    """Train, and tell."""
    Run(settings, folder, tell=lambda _: None).train()
    lines = [json.loads(line) for line in (folder / METRICS).read_text().splitlines()]
    first, *timed = lines
    seconds = (timed[-1]["seconds"] - first["seconds"]) / len(timed)
    played = sum(line["played_seconds"] for line in timed) / len(timed)
    tokens = sum(line["tokens"] for line in timed) / len(timed)
    episodes = settings.rollout.group_size * settings.rollout.groups_per_step
    return {
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else f"cpu, {torch.get_num_threads()} threads",
        "steps": len(timed),
        "episodes_per_step": episodes,
        "seconds_per_step": round(seconds, 2),
        "of_them_playing": round(played, 2),
        "rollouts_per_second": round(episodes / played, 2),
        "written_tokens_per_second": round(tokens / played, 1),
        "memory_gib": round(_memory(), 2),
    }


def _memory() -> float:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / GIB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--steps", type=int, default=5, help="timed ones; one more goes before them")
    parser.add_argument("--shape", choices=SHAPES, help="random weights of that shape instead of the run's model")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        model = random_model(options.shape, Path(scratch) / "model") if options.shape else None
        settings = short(read_settings(options.run), steps=options.steps + 1, model=model)
        print(json.dumps(figures(settings, Path(scratch) / "run"), indent=2))


if __name__ == "__main__":
    main()
