"""``python -m tests.training.taught FOLDER``: a tiny model that knows what a few tasks want by heart, half of the time.

That is enough for groups whose episodes differ, so that a step of training moves something.
"""

import asyncio
import sys
from pathlib import Path

from toolorchestra.training.grpo.checkpoints import publish
from toolorchestra.training.grpo.supervised import Course, teach
from toolorchestra.training.grpo.tiny.model import build_model, build_tokenizer
from toolorchestra.training.grpo.tiny.routes import Draw
from toolorchestra.training.grpo.tiny.warmstart import record
from toolorchestra.training.grpo.tokens import HfCodec

TASKS = 4
SEED = 10


def make_taught(folder: Path) -> Path:
    """Write its checkpoint; takes seconds."""
    codec = HfCodec(build_tokenizer())
    model = build_model(len(codec.tokenizer), codec.stop, codec.pad, hidden=128, layers=2, seed=3)
    tasks = [Draw(SEED).task(number) for number in range(TASKS)]
    conversations = [asyncio.run(record(task, card, codec)) for task in tasks for card in task.cards]
    teach(model, conversations, Course(steps=100, batch=20, learning_rate=3e-3), tell=lambda _: None)
    return publish(model, codec.tokenizer, folder, {})


if __name__ == "__main__":
    make_taught(Path(sys.argv[1]))
