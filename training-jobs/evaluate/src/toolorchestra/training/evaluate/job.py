"""An evaluation as a program: ``python -m toolorchestra.training.evaluate``, which is also what an ``Evaluation``'s Job runs.

The plan is the file that is named, or the Job's ``spec.config`` in ``$TOOLORCHESTRA_CONFIG``. What it leaves stands in a folder
(``--out``; in a Job ``/data/evaluation``), and its summary where the operator reads it: docs/howto/jobs.md.
"""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from rich.console import Console

from toolorchestra.core.errors import ToolOrchestraError
from toolorchestra.training.evaluate.errors import InvalidPlanError
from toolorchestra.training.evaluate.evaluating import Done, Evaluation
from toolorchestra.training.evaluate.output import JSON_NAME
from toolorchestra.training.evaluate.plan import EvaluationPlan, parse_plan, read_plan
from toolorchestra.training.evaluate.platform import PlatformEvaluation
from toolorchestra.training.evaluate.stopping import GOES_ON
from toolorchestra.training.evaluate.terminal import print_report

CONFIG: Final = "TOOLORCHESTRA_CONFIG"
TERMINATION: Final = Path("/dev/termination-log")
DATA: Final = Path("/data")
MAX_SUMMARY_BYTES: Final = 4_096  # what Kubernetes keeps of a termination message
FAILURE, PARTIAL, USAGE, TOLD_TO_STOP = 1, 3, 2, 75


def main(arguments: Sequence[str] | None = None, *, environment: Mapping[str, str] = os.environ) -> int:
    """Returns the exit code: 0 done, 1 failed, 2 the plan is wrong, 3 it ended early (partial results are kept).

    75: it was told to stop, and goes on when it is started again (``EX_TEMPFAIL`` of sysexits.h).
    """
    options = _options(arguments)
    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
    try:
        plan = _plan(options.plan, environment)
        done = asyncio.run(_run(plan, options, console))
    except ToolOrchestraError as error:
        sys.stderr.write(f"error: {error}\n")
        return USAGE if isinstance(error, InvalidPlanError) else FAILURE
    except KeyboardInterrupt:  # before anything was played, or after a second Ctrl-C
        return _told()
    print_report(done.report, console)
    _leave(done, options.summary)
    if done.told:
        return _told()
    return PARTIAL if done.report.partial else 0


def _told() -> int:
    sys.stderr.write(f"{GOES_ON}\n")
    return TOLD_TO_STOP


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m toolorchestra.training.evaluate", description="Evaluate managers by a plan."
    )
    parser.add_argument("plan", nargs="?", type=Path, help=f"plan.yaml; default: the job's configuration in ${CONFIG}")
    parser.add_argument("--out", type=Path, default=None, help="folder of records and report; default: /data/evaluation or .")
    parser.add_argument("--fresh", action="store_true", help="play everything anew")
    parser.add_argument("--platform", action="store_true", help="play on the platform that the plan names")
    parser.add_argument("--summary", type=Path, default=TERMINATION, help="where the summary of a Job goes")
    return parser.parse_args(arguments)


async def _run(plan: EvaluationPlan, options: argparse.Namespace, console: Console) -> Done:
    folder = options.out or (DATA / "evaluation" if DATA.is_dir() else Path("evaluation"))
    kind = PlatformEvaluation if options.platform or plan.needs_platform else Evaluation
    return await kind(plan, folder, fresh=options.fresh, tell=console.print).run()


def _plan(path: Path | None, environment: Mapping[str, str]) -> EvaluationPlan:
    if path is not None:
        return read_plan(path)
    config = environment.get(CONFIG)
    if not config:
        raise InvalidPlanError(f"there is no plan, and {CONFIG} names no configuration", param="plan", hint="name a plan.yaml")
    try:
        content = json.loads(Path(config).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidPlanError(f"{config}: cannot be read as JSON: {error}", param="spec.config") from error
    return parse_plan(content, source="spec.config", base=DATA if DATA.is_dir() else Path.cwd())


def summary(done: Done) -> dict[str, object]:
    """Metrics by name and the report's place, as the status of an ``Evaluation`` shows them."""
    report = done.report
    metrics = {"tasks": report.reproducibility["tasks"], "episodes": report.reproducibility["episodes"]}
    if report.partial:
        metrics["partial"] = report.partial.reason
    if report.gate:
        metrics["gate"] = "passed" if report.gate.passed else "; ".join(report.gate.failures)
    for one in report.policies:
        metrics[f"success.{one.policy}"] = _share(one.rates.success.value)
        metrics[f"usdPerTask.{one.policy}"] = _usd(one.rates.cost_per_task.value)
    return {"metrics": metrics, "location": str(done.folder / JSON_NAME)}


def _share(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4f}"


def _usd(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.6f}"


def _leave(done: Done, path: Path) -> None:
    """Write the summary, without the last metrics where it would be too long; nothing where there is no such file."""
    if not path.exists() and path == TERMINATION:
        return
    found = summary(done)
    metrics = dict(found["metrics"]) if isinstance(found["metrics"], dict) else {}
    while len(text := json.dumps({**found, "metrics": metrics}).encode()) > MAX_SUMMARY_BYTES:
        metrics.popitem()
    path.write_bytes(text)
