"""Starts the processes of a run that trains in several, on this machine, and ends as they did.

They find each other as those of ``torchrun`` do, by its environment. Unlike there a run's exit code stays what it is, so that
one which was told to stop can be told from one that failed, and saving may take as long as whoever said so allows. On Linux
processes whose launcher is gone are told to stop as well.
"""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

LAUNCHED: Final = "WORLD_SIZE"
POLL_S: Final = 0.1
GRACE_S: Final = 30.0  # for the others, when one has failed
FAILED: Final = 1
TOLD_TO_STOP: Final = 75  # EX_TEMPFAIL of sysexits.h
_PR_SET_PDEATHSIG: Final = 1  # of Linux's prctl(2)
Processes = Sequence[subprocess.Popen[bytes]]


def launched(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this is one of several processes already, or of one that a launcher started."""
    return LAUNCHED in environment


def launch(command: Sequence[str], count: int, *, ends: Sequence[int]) -> int:
    """Run ``command`` in so many processes. The exit code of one that failed, else that of the first one.

    ``ends`` are the exit codes of a run that came to its end: after one of those the others have all the time they want.
    """
    port, processes = str(_free_port()), list[subprocess.Popen[bytes]]()
    with _passed_on(processes) as told:
        try:
            for rank in range(count):
                environment = {**os.environ, **_place(rank, count, port)}
                processes.append(subprocess.Popen(command, env=environment, preexec_fn=_tied_to(os.getpid())))  # noqa: PLW1509, S603
                for number in told:  # before this one was there
                    processes[-1].send_signal(number)
            return _until_ended(processes, ends, told)
        finally:
            for process in processes:
                process.kill()
                process.wait()


def _tied_to(launcher: int) -> Callable[[], None]:
    """Run in a new process: the kernel tells it to stop when ``launcher`` ends, however it does."""

    def tie() -> None:
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != launcher:
            os._exit(TOLD_TO_STOP)

    return tie


def own_command(arguments: Sequence[str]) -> list[str]:
    """The program that runs now, with these arguments."""
    return [sys.executable, "-m", "toolorchestra.training.grpo", *arguments]


def _until_ended(processes: Processes, ends: Sequence[int], told: Sequence[int]) -> int:
    while True:
        codes = [process.poll() for process in processes]
        if failed := [code for code in codes if code is not None and code not in ends]:
            _wait(processes)
            if told and set(failed) <= {-number for number in told}:
                return TOLD_TO_STOP  # before they could say so themselves
            return FAILED if failed[0] < 0 else failed[0]
        if codes[0] is not None and None not in codes:
            return codes[0]
        time.sleep(POLL_S)


def _wait(processes: Processes) -> None:
    """Who waits for one that is gone may do so without end."""
    deadline = time.monotonic() + GRACE_S
    while any(process.poll() is None for process in processes) and time.monotonic() < deadline:
        time.sleep(POLL_S)


def _place(rank: int, count: int, port: str) -> Mapping[str, str]:
    ranks = {"RANK": str(rank), "LOCAL_RANK": str(rank), LAUNCHED: str(count), "LOCAL_WORLD_SIZE": str(count)}
    return {**ranks, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}


@contextmanager
def _passed_on(processes: Processes) -> Iterator[Sequence[int]]:
    """While entered, what ends this process is told to those of the run, and it is theirs to end; yields what was told."""
    told: list[int] = []

    def tell(number: int, _: object) -> None:
        told.append(number)
        for process in processes:
            process.send_signal(number)

    before = {number: signal.signal(number, tell) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
