"""Says what is being done and how long it took, runs commands and waits for things to happen."""

import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path


class ClusterError(Exception):
    """Something that stops the work; the message says what it is and how to mend it."""


@contextmanager
def step(text: str) -> Iterator[None]:
    """Print what is being done and, at its end, the seconds it took."""
    began = time.monotonic()
    print(f"{text} …", end=" ", flush=True)
    try:
        yield
    except BaseException:
        print("failed", flush=True)
        raise
    print(f"{time.monotonic() - began:.1f} s", flush=True)


def run(
    *argv: str | Path,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    shown: str | None = None,
) -> str:
    """Run a command to its end and return what it printed; raises ClusterError with what it complained about.

    ``shown`` is how the error names the command, by default by its first words.
    """
    command = [str(word) for word in argv]
    try:
        done = subprocess.run(command, input=stdin, env=env, cwd=cwd, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise ClusterError(f"{command[0]} is not installed") from error
    if done.returncode != 0:
        shown = shown or " ".join([Path(command[0]).name, *command[1:4], "…"])
        raise ClusterError(f"'{shown}' ended with {done.returncode}: {(done.stderr or done.stdout).strip()[-2000:]}")
    return done.stdout


def succeeds(*argv: str | Path, env: Mapping[str, str] | None = None) -> bool:
    """Whether a command can be run and ends well."""
    try:
        run(*argv, env=env)
    except ClusterError:
        return False
    return True


def wait_for(what: str, happened: Callable[[], bool], *, seconds: float = 60, hint: str = "") -> None:
    """Ask until it has happened; raises ClusterError with ``hint``, which says where to look, when it does not in time."""
    deadline = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > deadline:
            raise ClusterError(f"{what}: not within {seconds:.0f} s" + (f"; {hint}" if hint else ""))
        time.sleep(0.1)
