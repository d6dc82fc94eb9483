"""What ``toolorchestra evaluate`` does. Loaded only when it runs: worlds, NumPy and YAML take a while."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import typer
import yaml
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from toolorchestra.cli.connection import Connection
from toolorchestra.cli.embedded.parts import free_port
from toolorchestra.cli.embedded.supervisor import Supervisor
from toolorchestra.cli.platform.options import UpOptions
from toolorchestra.cli.platform.start import Starter
from toolorchestra.cli.shell import Shell
from toolorchestra.core.errors import UnauthenticatedError
from toolorchestra.training.evaluate.evaluating import Done, Evaluation
from toolorchestra.training.evaluate.plan import EvaluationPlan, read_plan
from toolorchestra.training.evaluate.platform import Connect, PlatformEvaluation
from toolorchestra.training.evaluate.records import Episode
from toolorchestra.training.evaluate.remote import Address
from toolorchestra.training.evaluate.report import Report, to_json
from toolorchestra.training.evaluate.stopping import GOES_ON
from toolorchestra.training.evaluate.terminal import print_report
from toolorchestra.training.toolscale.qa.building import build_questions
from toolorchestra.training.toolscale.worldset import Request, build
from toolorchestra.worlds.questions import write_questions

EXIT_BY_SIGNAL: Final = 128
QUICK_DOMAINS: Final = ("ecommerce", "railway")
QUICK_SEED: Final = 3
QUICK_TASKS: Final = 80  # per domain, half of them for learning
QUICK_QUESTIONS: Final = 180  # a fifth of them to be judged by
QUESTIONS: Final = "questions.jsonl"
HELD: Final = ["test", "heldout-intent", "heldout-template"]
HELD_QUESTIONS: Final = ["test", "heldout-document", "heldout-template"]
_LOCAL_MODELS: Final = ("prompted:", "orchestrator:")  # policies that may want the small local model


@dataclass(frozen=True, slots=True)
class Wanted:
    """How an evaluation is to be done. ``local``: on the platform that runs in ``state``, which else only has the key."""

    out: Path
    fresh: bool = False
    platform: bool = False
    url: str | None = None
    key: str | None = None
    state: Path = Path(".toolorchestra")
    local: bool = False
    as_json: bool = False


def evaluate(shell: Shell, path: Path, wanted: Wanted) -> Report:
    """Play the plan in a file, print the tables, and say where the rest is. Raises what the plan's files are wrong in.

    Raises typer.Exit where a signal ended it; what was played by then is printed before.
    """
    plan = read_plan(path)
    began = time.monotonic()
    done = _played(shell, plan, wanted)
    print_report(done.report, shell.err if wanted.as_json else shell.out)
    if wanted.as_json:
        shell.raw(to_json(done.report))
    shell.note(f"{time.monotonic() - began:.0f} s; see {', '.join(str(file) for file in done.files)}")
    if done.told:
        raise _stopped(shell, done.told)
    return done.report


def _played(shell: Shell, plan: EvaluationPlan, wanted: Wanted) -> Done:
    try:
        with _Bars(shell) as bars:
            return asyncio.run(_evaluation(plan, wanted, bars).run())
    except KeyboardInterrupt:  # before the first episode, or a second time
        raise _stopped(shell, signal.SIGINT) from None


def _stopped(shell: Shell, by: signal.Signals) -> typer.Exit:
    shell.note(GOES_ON)
    return typer.Exit(EXIT_BY_SIGNAL + by)


def _evaluation(plan: EvaluationPlan, wanted: Wanted, bars: "_Bars") -> Evaluation:
    if not (wanted.platform or plan.needs_platform):
        return Evaluation(plan, wanted.out, fresh=wanted.fresh, tell=bars.tell, progress=bars.take)
    connect = _platform(plan, wanted)
    return PlatformEvaluation(plan, wanted.out, fresh=wanted.fresh, tell=bars.tell, progress=bars.take, connect=connect)


def _platform(plan: EvaluationPlan, wanted: Wanted) -> Connect | None:
    """The platform that was named, else one that runs for this evaluation only; None where the plan names its own."""
    if wanted.local:
        return _running(None, wanted)
    if wanted.url is not None:
        return _running(wanted.url, wanted)
    return None if plan.platform.url is not None else _own(plan, wanted)


def _running(url: str | None, wanted: Wanted) -> Connect:
    """The platform at an address, or without one that of the state folder.

    Raises NotRunningError and UnauthenticatedError at once, before anything is read or played.
    """
    found = Connection.find(url, wanted.state)
    key = wanted.key or (found.local.api_key() if found.local else None)
    if key is None or found.url is None:
        raise UnauthenticatedError(f"no API key for {found.url}", hint="give --key or set TOOLORCHESTRA_API_KEY")
    address = Address(found.url, key)

    @asynccontextmanager
    async def connect(manifests: Path, models: str) -> AsyncIterator[Address]:
        del manifests, models
        yield address

    return connect


def _own(plan: EvaluationPlan, wanted: Wanted) -> Connect:
    """A platform on a free port, with its own state, that reads the evaluation's manifests."""

    @asynccontextmanager
    async def connect(manifests: Path, models: str) -> AsyncIterator[Address]:
        options = UpOptions(
            state=wanted.out / "platform",
            port=free_port(),
            replicas=_replicas(),
            manifests=(manifests,),
            local_model=any(name.startswith(_LOCAL_MODELS) for name in plan.policies),
            allow_egress=(models,),
        )
        async with Supervisor(options.state) as supervisor:
            platform = await Starter(options).start(supervisor)
            yield Address(platform.url, platform.api_key, own=True)

    return connect


def _replicas() -> int:
    """One for each processor that this process may use, up to four; one where a port cannot be shared."""
    return min(4, len(os.sched_getaffinity(0))) if sys.platform == "linux" else 1


def quick_plan(shell: Shell, out: Path) -> Path:
    """Write a small plan with its worlds and questions below ``out``; what an earlier call built is used again."""
    path = out / "plan.yaml"
    worlds = out / "worlds"
    if not path.exists():
        shell.note(f"building {' and '.join(QUICK_DOMAINS)} …")
        build(Request(worlds, QUICK_DOMAINS, QUICK_TASKS, QUICK_SEED), lambda _: None)
        write_questions(out / QUESTIONS, build_questions(QUICK_SEED, count=QUICK_QUESTIONS).questions)
        path.write_text(yaml.safe_dump(_quick(worlds), sort_keys=False), encoding="utf-8")
    return path


def _quick(worlds: Path) -> dict[str, object]:
    folders = [f"{worlds.name}/{name}" for name in QUICK_DOMAINS]
    return {
        "title": "Quick evaluation",
        "seed": QUICK_SEED,
        "cast": {"seed": QUICK_SEED, "split": "train"},
        "suites": [
            {"kind": "worlds", "folders": folders, "split": HELD, "count": 25},
            {"kind": "qa", "file": QUESTIONS, "split": HELD_QUESTIONS, "count": 25},
        ],
        "policies": [
            *("golden", "nothing", "cheapest", "strongest", "random", "cascade", "lexical", "embedding", "oracle"),
            "monolith:*",
        ],
        "training": {"folders": folders, "questions": QUESTIONS, "split": ["train"], "count": 40},
        "report": {"policy": "lexical", "baseline": "strongest", "resamples": 1000},
    }


class _Bars:
    """Progress on standard error: a bar for all episodes, and the newest policy beside it."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        columns = (TextColumn("{task.description:<28}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=shell.err, transient=True)
        self._bar: TaskID | None = None

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def tell(self, text: str) -> None:
        self._shell.note(text)

    def take(self, episode: Episode, done: int, planned: int) -> None:
        if self._bar is None:
            self._bar = self._progress.add_task("episodes", total=planned)
        self._progress.update(self._bar, completed=done, description=f"{episode.suite} · {episode.policy}"[:28])
