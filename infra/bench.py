"""Runs the benchmarks: every module of tests/bench, as `python -m tests.bench.NAME --seconds S`.

usage: python infra/bench.py [--seconds S] [NAME…]

A benchmark prints ratios to its peers, measured side by side, and fails only when something is broken, never on slowness.
With few seconds per measurement this is a smoke test: it shows that the benchmarks still work.
"""

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def names() -> list[str]:
    return sorted(path.stem for path in (ROOT / "tests" / "bench").glob("*.py") if not path.stem.startswith("_"))


def command(name: str, seconds: float | None) -> list[str]:
    options = [] if seconds is None else ["--seconds", f"{seconds:g}"]
    return [sys.executable, "-m", f"tests.bench.{name}", *options]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(names()))
    parser.add_argument("--seconds", type=float, help="per measurement; default: each benchmark's own")
    options = parser.parse_args()
    if unknown := set(options.names) - set(names()):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are: {', '.join(names())}")
    chosen, failed = options.names or names(), []
    for name in chosen:
        print(f"--- {name}", flush=True)
        if subprocess.run(command(name, options.seconds), cwd=ROOT, check=False).returncode != 0:
            failed.append(name)
    print(f"{len(chosen)} benchmarks ran, failed: {', '.join(failed) or 'none'}")
    return 1 if failed or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
