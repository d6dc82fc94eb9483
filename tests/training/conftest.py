"""Tests of the training job; they run in its own environment, with one thread, so that digits repeat."""

import os
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

import pytest
import torch

from tests.training.taught import make_taught
from toolorchestra.training.grpo.tiny.model import build_model, build_tokenizer
from toolorchestra.training.grpo.tokens import HfCodec

torch.set_num_threads(1)


def pytest_addoption(parser):
    parser.addoption("--vllm", help="URL of a vLLM that serves the model of --taught as `tiny`, and takes adapters")
    parser.addoption("--taught", type=Path, help="a folder that `python -m tests.training.taught` wrote")


def pytest_collection_modifyitems(config, items):
    """With a real server only what is played against it."""
    if config.getoption("--vllm"):
        items[:] = [item for item in items if "served" in item.fixturenames]


@pytest.fixture(scope="session")
def codec() -> HfCodec:
    return HfCodec(build_tokenizer())


@pytest.fixture
def random_model(codec):
    """A tiny model that has learnt nothing."""
    return build_model(len(codec.tokenizer), codec.stop, codec.pad, hidden=32, layers=2, seed=3)


@pytest.fixture(scope="session")
def taught(request, tmp_path_factory):
    """The checkpoint of a tiny model that knows a few tasks."""
    return request.config.getoption("--taught") or make_taught(tmp_path_factory.mktemp("model") / "taught")
