"""What a TrainingRun's Job has beside the run itself: its configuration, its folder on the claim, and reports to its status.

Reports are what the operator reads (docs/howto/jobs.md): a line of the log per step, and the termination message at the end.
"""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from toolorchestra.training.grpo.errors import InvalidRunError
from toolorchestra.training.grpo.training import Trained

CONFIG: Final = "TOOLORCHESTRA_CONFIG"
NAME: Final = "TOOLORCHESTRA_NAME"
DATA: Final = Path("/data")
MESSAGE: Final = Path("/dev/termination-log")
MAX_MESSAGE: Final = 500  # characters of a condition's message: a termination message has 4096 bytes in all


def configured(environment: Mapping[str, str] = os.environ) -> Path:
    """The file with ``spec.config``. Raises InvalidRunError outside of a Job."""
    if CONFIG not in environment:
        raise InvalidRunError(f"there is no run: no file is named, and {CONFIG} names none", hint="name a RUN.yaml")
    return Path(environment[CONFIG])


def folder_on_the_claim(environment: Mapping[str, str] = os.environ, data: Path = DATA) -> Path:
    """Where the run of a Job goes, one folder per TrainingRun. Raises InvalidRunError where nothing can be kept."""
    if not os.access(data, os.W_OK):
        raise InvalidRunError(f"{data} cannot be written to, so nothing would be left", hint="set spec.claim")
    return data / "training" / environment.get(NAME, "run")


def show(step: Mapping[str, Any]) -> None:
    """Report a step's figures in the log."""
    sys.stdout.write(json.dumps({"metrics": metrics_of(step)}) + "\n")
    sys.stdout.flush()


def leave(trained: Trained, message: Path = MESSAGE) -> None:
    """Report the end in the termination message."""
    message.write_text(json.dumps(summary(trained)))


def metrics_of(figures: Mapping[str, Any]) -> dict[str, str]:
    """Figures as a status shows them; what is no number is left out."""
    numbers = {name: value for name, value in figures.items() if isinstance(value, int | float)}
    return {name: f"{value:.4g}" if isinstance(value, float) else str(value) for name, value in numbers.items()}


def summary(trained: Trained) -> dict[str, Any]:
    """Metrics, the checkpoint's place, and which steps were taken, or why not."""
    metrics = metrics_of({"step": trained.steps, "seconds": trained.seconds})
    for when, score in (("before", trained.before), ("after", trained.after)):
        figures = metrics_of(score.document()) if score else {}
        metrics |= {f"{name}.{when}": text for name, text in figures.items()}
    location = {"location": str(trained.model)} if trained.model else {}
    return {"metrics": metrics, **location, "conditions": _conditions(trained)}


def _conditions(trained: Trained) -> dict[str, dict[str, str]]:
    if trained.stopped is not None:
        return {"Trained": _condition("False", "Stopped", trained.stopped)}
    told = {"Trained": _condition("True", "Trained", f"{trained.steps} steps in {trained.seconds:.0f} s")}
    if trained.model is not None:
        published = _condition("True", "Published", str(trained.model))
        return {**told, "GatePassed": _condition("True", "GatePassed", ""), "Published": published}
    refused = _condition("False", "GateNotPassed" if trained.after else "NoGate", "; ".join(trained.reasons))
    return {**told, "GatePassed": refused, "Published": refused}


def _condition(status: str, reason: str, message: str) -> dict[str, str]:
    return {"status": status, "reason": reason, "message": message[:MAX_MESSAGE]}
