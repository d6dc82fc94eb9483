"""``toolorchestra-train``: train a manager, look at one group of episodes, or say what a run would take.

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

from toolorchestra.core.errors import InvalidRequestError, ToolOrchestraError
from toolorchestra.training.grpo.peeking import peek
from toolorchestra.training.grpo.planning import dry_run
from toolorchestra.training.grpo.settings import read_settings
from toolorchestra.training.grpo.training import Run

FAILED: Final = 1
WRONG: Final = 2
NOT_PASSED: Final = 3
TOLD_TO_STOP: Final = 75


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit code."""
    chosen = _parser().parse_args(arguments)
    try:
        return int(chosen.run(chosen))
    except ToolOrchestraError as error:
        sys.stderr.write(f"{error.message}\n" + (f"  {error.hint}\n" if error.hint else ""))
        return WRONG if isinstance(error, InvalidRequestError) else FAILED


def _train(chosen: argparse.Namespace) -> int:
    settings = read_settings(chosen.file)
    if chosen.dry_run:
        print(json.dumps(dry_run(settings), indent=2))
        return 0
    trained = Run(settings, chosen.out, tell=_say).train()
    if trained.stopped is not None:
        return TOLD_TO_STOP
    return 0 if trained.model is not None else NOT_PASSED


def _peek(chosen: argparse.Namespace) -> int:
    print(asyncio.run(peek(read_settings(chosen.file), chosen.task, chosen.episodes)))
    return 0


def _say(sentence: str) -> None:
    print(sentence, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="toolorchestra-train", description="Train a manager by its reward.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    train = commands.add_parser("train", help="train, pass the gate, publish")
    train.add_argument("file", type=Path, metavar="RUN.yaml")
    train.add_argument("--out", type=Path, default=Path("training"), help="folder of the run; default: training")
    train.add_argument("--dry-run", action="store_true", help="say what it would take, and train nothing")
    train.set_defaults(run=_train)
    show = commands.add_parser("peek", help="play one group and show calls, dollars, reward terms and advantages")
    show.add_argument("file", type=Path, metavar="RUN.yaml")
    show.add_argument("task", type=int, metavar="TASK", help="number of the task")
    show.add_argument("-n", dest="episodes", type=int, default=8, help="episodes; default: 8")
    show.set_defaults(run=_peek)
    return parser


if __name__ == "__main__":
    sys.exit(main())
