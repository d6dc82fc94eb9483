"""``toolorchestra train``: train a manager, look at one group of episodes, say what a run would take, or serve what came of it.

Exit codes: 0 published (or shown); 1 it failed; 2 the run's file or the command line is wrong; 3 the gate was not passed;
75 it was told to stop and goes on when started again (``EX_TEMPFAIL`` of sysexits.h).
"""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing is fetched, and nobody is told that a training has begun
os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
os.environ.setdefault("TQDM_DISABLE", "1")  # bars of steps that take no time

from toolorchestra.core.errors import InvalidRequestError, ToolOrchestraError
from toolorchestra.training.grpo import job
from toolorchestra.training.grpo.launching import TOLD_TO_STOP, launch, launched, own_command
from toolorchestra.training.grpo.peeking import peek
from toolorchestra.training.grpo.planning import dry_run
from toolorchestra.training.grpo.serving import serve
from toolorchestra.training.grpo.settings import TrainingSettings, read_settings
from toolorchestra.training.grpo.training import Run, Trained

PEEK: Final = "peek"
SERVE: Final = "serve"
FAILED: Final = 1
WRONG: Final = 2
NOT_PASSED: Final = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if given[:1] == [PEEK]:
            return _peek(_peek_parser().parse_args(given[1:]))
        if given[:1] == [SERVE]:
            return _serve(_serve_parser().parse_args(given[1:]))
        return _train(_train_parser().parse_args(given), given)
    except ToolOrchestraError as error:
        sys.stderr.write(f"{error.message}\n" + (f"  {error.hint}\n" if error.hint else ""))
        return WRONG if isinstance(error, InvalidRequestError) else FAILED


def _train(chosen: argparse.Namespace, given: Sequence[str]) -> int:
    settings = read_settings(chosen.file or job.configured())
    if chosen.dry_run:
        print(json.dumps(dry_run(settings), indent=2))
        return 0
    if settings.processes > 1 and not launched():
        return launch(own_command(given), settings.processes, ends=(0, NOT_PASSED, TOLD_TO_STOP))
    trained = _trained(settings, chosen)
    if trained.stopped is not None:
        return TOLD_TO_STOP
    return 0 if trained.model is not None else NOT_PASSED


def _trained(settings: TrainingSettings, chosen: argparse.Namespace) -> Trained:
    if chosen.file is not None:
        return Run(settings, chosen.out or Path("training"), tell=_say).train()
    run = Run(settings, chosen.out or job.folder_on_the_claim(), tell=_say, show=job.show)
    trained = run.train()
    if run.place.is_first:
        job.leave(trained)
    return trained


def _peek(chosen: argparse.Namespace) -> int:
    print(asyncio.run(peek(read_settings(chosen.file), chosen.task, chosen.episodes)))
    return 0


def _serve(chosen: argparse.Namespace) -> int:
    serve(chosen.folder, chosen.name, host=chosen.host, port=chosen.port, tell=_say)
    return 0


def _say(sentence: str) -> None:
    print(sentence, flush=True)


def _train_parser() -> argparse.ArgumentParser:
    about = "Train a manager, pass the gate, publish. `peek` shows one group of episodes, `serve` serves what was published."
    parser = argparse.ArgumentParser(prog="toolorchestra train", description=about)
    parser.add_argument("file", type=Path, nargs="?", metavar="RUN.yaml", help="the run; in a Job: its configuration")
    parser.add_argument("--out", type=Path, help="folder of the run; default: training, in a Job one of its own on the claim")
    parser.add_argument("--dry-run", action="store_true", help="say what it would take, and train nothing")
    return parser


def _peek_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"toolorchestra train {PEEK}", description="Play one group and show why it is worth what."
    )
    parser.add_argument("file", type=Path, metavar="RUN.yaml")
    parser.add_argument("task", type=int, metavar="TASK", help="number of the task")
    parser.add_argument("-n", dest="episodes", type=int, default=8, help="episodes; default: 8")
    return parser


def _serve_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"toolorchestra train {SERVE}", description="Serve a published checkpoint.")
    parser.add_argument("folder", type=Path, metavar="MODEL", help="the folder model/ of a run")
    parser.add_argument("--name", default="policy", help="name of the model; default: policy")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; default: 127.0.0.1")
    parser.add_argument("--port", type=int, default=8080, help="default: 8080")
    return parser
