"""Runs the checks and every tier of tests, and ends with what ran and how it went.

usage: python infra/tiers.py [NAME…]      (default: everything)

Most tiers wait for servers, those in ``BESIDE`` compute: the two kinds run beside each other, each in its order, where there
are two processors. Lines of the second kind begin with the tier's name. Benchmarks come last, with the machine to themselves.

A tier is a folder under tests/ with tests in it, so a new one needs no entry here. Nothing is passed over silently: all is
run even when something fails, a skipped test fails its tier with the reason, and so does a tier without tests. What this
machine cannot run is named with what it lacks; under continuous integration (``CI`` is set) that is a failure.
"""

import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
SOURCES = ("services/*/src", "tools/*/src", "operator/src", "training-jobs/*/src")
NOT_TIERS = {"support", "data"}
FIRST_TIERS = ("unit", "worlds", "integration")
BESIDE = ("unit", "worlds", "training", "vllm")
LAST = "bench"
ON_KUBERNETES = ("controlplane", "charts", "node", "e2e")
IMAGES = ("platform", "sandbox", "jobs", "training", "evaluation", "local-model")  # what tests/e2e runs


@dataclass(frozen=True)
class Step:
    """One command; ``name`` stands in the summary."""

    name: str
    command: tuple[str, ...]


@dataclass(frozen=True)
class Result:
    """How a step ended; ``closing`` is the last line it printed. ``lacks``: why this machine could not run it."""

    step: Step
    passed: bool
    seconds: float
    closing: str
    lacks: str = ""

    @property
    def word(self) -> str:
        return "NOT RUN" if self.lacks else "passed" if self.passed else "FAILED"


def checks() -> list[Step]:
    sources = [str(path.relative_to(ROOT)) for pattern in SOURCES for path in sorted(ROOT.glob(pattern))]
    return [
        Step("lint", (str(BIN / "ruff"), "check", ".")),
        Step("format", (str(BIN / "ruff"), "format", "--check", ".")),
        Step("types", (str(BIN / "mypy"), *sources, "infra")),
        Step("imports", (str(BIN / "lint-imports"),)),
        Step("house", (sys.executable, "infra/house.py")),
        Step("locks", (sys.executable, "infra/check_locks.py")),
    ]


def tiers() -> list[Step]:
    """The folders of tests/, quick ones first."""
    folders = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir() and path.name[0] not in "._"} - NOT_TIERS
    others = sorted(folders - {*FIRST_TIERS, *ON_KUBERNETES})
    # Building these outlasts the time that a test may take; what is built already stays.
    parts = Step("cluster", (sys.executable, "-m", "infra.cluster", "build", "all"))
    images = Step("images", (str(ROOT / "infra/images/build.sh"), *IMAGES))
    first, clustered, last = (
        [Step(name, tier_command(name)) for name in names if name in folders] for names in (FIRST_TIERS, ON_KUBERNETES, others)
    )
    return [*first, parts, images, *clustered, *last]


def tier_command(name: str) -> tuple[str, ...]:
    """Pytest on the tier's folder, but for benchmarks, which are programs and here only show that they still work."""
    if name == "bench":
        return (sys.executable, "infra/bench.py", "--seconds", "1")
    if name == "training":
        return (str(ROOT / "training-jobs/grpo/test.sh"),)  # in an environment of its own
    return (sys.executable, "-m", "pytest", "--forbid-skips", f"tests/{name}")


def lacking(name: str) -> str:
    """What this machine lacks for a step; empty when it has all."""
    native = (sys.platform, platform.machine()) == ("linux", "x86_64")
    needs = {
        "Linux on x86_64": native or name not in ("images", "vllm", "training", *ON_KUBERNETES),
        "Go 1.25 or newer": _has_go() or name not in ("cluster", *ON_KUBERNETES),
        "root": os.geteuid() == 0 or name not in ("images", "node", "e2e"),
    }
    return ", ".join(need for need, met in needs.items() if not met)


def _has_go() -> bool:
    return shutil.which("go") is not None or Path("/usr/local/go/bin/go").exists()


def lanes(steps: Iterable[Step], processors: int) -> list[list[Step]]:
    """What runs one after the other, in lists that run beside each other."""
    beside = [step for step in steps if processors > 1 and step.name in BESIDE]
    return [[step for step in steps if step not in beside], beside]


def run_all(steps: Sequence[Step], processors: int) -> list[Result]:
    """Run the steps; the results come in their order, benchmarks last."""
    first, last = ([step for step in steps if (step.name == LAST) is late] for late in (False, True))
    with ThreadPoolExecutor() as pool:
        waiting, computing = lanes(first, processors)
        beside = pool.submit(lambda: [attempt(step, named=bool(waiting)) for step in computing])
        done = {result.step: result for result in (*map(attempt, waiting), *beside.result())}
    return [*(done[step] for step in first), *map(attempt, last)]


def attempt(step: Step, named: bool = False) -> Result:
    """Run a step, if this machine can."""
    if lacks := lacking(step.name):
        return Result(step, "CI" not in os.environ, 0.0, f"needs {lacks}", lacks)
    return run(step, f"{step.name} | " if named else "")


def run(step: Step, prefix: str = "") -> Result:
    """Run a step with its output shown as it comes, each line behind ``prefix``."""
    words = " ".join(Path(word).name if word.startswith("/") else word for word in step.command)
    print(f"\n{prefix}=== {step.name}: {words}", flush=True)
    began, closing = time.monotonic(), ""
    with subprocess.Popen(step.command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        for line in process.stdout or ():
            print(f"{prefix}{line}", end="", flush=True)
            closing = line.strip(" =\n") or closing
    return Result(step, process.returncode == 0, time.monotonic() - began, closing)


def summary(results: Sequence[Result]) -> str:
    lines = [f"  {result.word:<7}  {result.step.name:<12} {result.seconds:6.1f} s  {result.closing}" for result in results]
    failed = [result.step.name for result in results if not result.passed]
    left = [result.step.name for result in results if result.passed and result.lacks]
    end = f"FAILED: {', '.join(failed)}" if failed else f"All {len(results) - len(left)} steps that can run here passed."
    if left:
        end += f" Not run here: {', '.join(left)}."
    return "\n".join(["", "=== summary", *lines, "", end])


def main(names: Sequence[str]) -> int:
    steps = {step.name: step for step in (*checks(), *tiers())}
    if unknown := [name for name in names if name not in steps]:
        print(f"unknown: {', '.join(unknown)}; there are: {', '.join(steps)}", file=sys.stderr)
        return 2
    results = run_all([steps[name] for name in names or steps], os.cpu_count() or 1)
    print(summary(results))
    return 0 if all(result.passed for result in results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
