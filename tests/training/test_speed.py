"""The measurement of speed works: what it says belongs in docs/benchmarks.md, from a machine that is named there."""

from pathlib import Path

from tests.training.speed import figures, short
from toolorchestra.training.grpo.settings import read_settings

EXAMPLE = Path("training-jobs/grpo/examples/tiny.yaml")


def test_two_steps_are_timed(tmp_path):
    found = figures(short(read_settings(EXAMPLE), steps=3, model=None), tmp_path)
    assert found["steps"] == 2
    assert found["seconds_per_step"] > found["of_them_playing"] > 0
    assert found["rollouts_per_second"] > 0
    assert found["written_tokens_per_second"] > found["rollouts_per_second"]
    assert found["memory_gib"] > 0
