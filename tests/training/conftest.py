"""Tests of the training job; they run in its own environment, with one thread, so that digits repeat."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

import pytest
import torch

from toolorchestra.training.grpo.tiny.model import build_model, build_tokenizer
from toolorchestra.training.grpo.tokens import HfCodec

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def codec() -> HfCodec:
    return HfCodec(build_tokenizer())


@pytest.fixture
def random_model(codec):
    """A tiny model that has learnt nothing."""
    return build_model(len(codec.tokenizer), codec.stop, codec.pad, hidden=32, layers=2, seed=3)
