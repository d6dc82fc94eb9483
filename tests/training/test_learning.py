"""The tiny policy learns to route: three minutes of GRPO from its seed, by the very command that users run."""

import json
import os
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "training-jobs/grpo/examples/tiny.yaml"


def test_three_minutes_take_the_seed_to_the_oracle(tmp_path):
    command = [sys.executable, "-m", "toolorchestra.training.grpo", str(EXAMPLE), "--out", str(tmp_path / "run")]
    done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "2"}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    before, after = report["before"], report["after"]
    assert before["tasks"] == after["tasks"] == 400
    assert after["solved"] >= 0.97
    assert after["cost_over_oracle"] <= 1.15
    assert before["solved"] < 0.7  # there was something to learn
    manifest = json.loads((tmp_path / "run" / "model" / "toolorchestra.json").read_text())
    assert manifest["scores"]["after"] == after
    assert manifest["files"]["model.safetensors"]
