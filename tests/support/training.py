"""The training job's own environment, for tests that run it as a program."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HOME = ROOT / "training-jobs" / "grpo"


def train(*arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """``python ARGUMENTS…`` there, in the checkout, with one thread. Nothing is raised; stderr goes into stdout."""
    if subprocess.run([str(HOME / "setup.sh")], check=False).returncode != 0:
        pytest.fail("the training environment could not be set up, see above", pytrace=False)
    return subprocess.run(
        [str(HOME / ".venv/bin/python"), *arguments],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        check=False,
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
