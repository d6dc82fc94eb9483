"""``toolorchestra train``: hands over to the training job, which lives in an environment of its own with PyTorch."""

import os
from pathlib import Path
from typing import Final

import typer

from toolorchestra.core.errors import NotFoundError

MODULE: Final = "toolorchestra.training.grpo"
VARIABLE: Final = "TOOLORCHESTRA_TRAINING_PYTHON"
OF_A_CHECKOUT: Final = Path("training-jobs/grpo/.venv/bin/python")
ANYTHING: Final = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("train", context_settings=ANYTHING)(train_command)


def train_command(context: typer.Context) -> None:
    """Train a manager: RUN.yaml [--out FOLDER] [--dry-run]; `peek RUN.yaml TASK` shows one group, `serve MODEL` serves it."""
    python = str(training_python())
    os.execv(python, [python, "-m", MODULE, *context.args])  # noqa: S606 - in this one's place: it gets the signals itself


def training_python() -> Path:
    """The Python of the training environment. Raises NotFoundError that says how to make one."""
    python = Path(os.environ.get(VARIABLE) or OF_A_CHECKOUT)
    if not python.exists():
        raise NotFoundError(
            f"there is no training environment at {python}",
            hint=f"`make train-setup` in a checkout makes one (4 GB); elsewhere set ${VARIABLE} to its Python",
        )
    return python
