"""Several processes of one run: they know each other, end as one, and are told what ends the program that started them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from toolorchestra.training.grpo import launching
from toolorchestra.training.grpo.launching import TOLD_TO_STOP, launch, own_command

ENDS = (0, 3, TOLD_TO_STOP)
SAYS = """
import os, pathlib, sys
names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
pathlib.Path(sys.argv[1], os.environ["RANK"]).write_text(" ".join(os.environ[name] for name in names))
"""
WAITS = """
import os, pathlib, signal, sys, time
here = pathlib.Path(sys.argv[1], os.environ["RANK"])
def stop(*_):
    here.with_suffix(".stopped").touch()
    sys.exit(75)
signal.signal(signal.SIGTERM, stop)
here.touch()
time.sleep(60)
"""
LAUNCHES = """
import sys
from toolorchestra.training.grpo.launching import TOLD_TO_STOP, launch, own_command
sys.exit(launch([sys.executable, "-c", sys.argv[1], sys.argv[2]], 2, ends=(0, 75)))
"""


def python(code, *arguments):
    return [sys.executable, "-c", code, *map(str, arguments)]


def test_each_process_knows_its_place_and_where_the_first_one_is(tmp_path):
    assert launch(python(SAYS, tmp_path), 3, ends=ENDS) == 0
    said = [(tmp_path / str(rank)).read_text().split() for rank in range(3)]
    assert [one[:3] for one in said] == [["0", "0", "3"], ["1", "1", "3"], ["2", "2", "3"]]
    assert len({tuple(one[3:]) for one in said}) == 1


def test_the_first_process_may_take_longer_than_the_others():
    code = "import os, sys, time; time.sleep(0.5 if os.environ['RANK'] == '0' else 0); sys.exit(3)"
    assert launch(python(code), 2, ends=ENDS) == 3


@pytest.mark.parametrize(("dies", "code"), [("sys.exit(5)", 5), ("os.kill(os.getpid(), 9)", 1)])
def test_one_that_fails_ends_the_others(dies, code, monkeypatch):
    monkeypatch.setattr(launching, "GRACE_S", 0.2)
    began = time.monotonic()
    program = f"import os, sys, time; time.sleep(40) if os.environ['RANK'] == '0' else {dies}"
    assert launch(python(program), 2, ends=ENDS) == code
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(("told", "code"), [(signal.SIGTERM, TOLD_TO_STOP), (signal.SIGKILL, -signal.SIGKILL)])
def test_being_told_to_stop_reaches_all_and_so_does_the_end_of_who_started_them(told, code, tmp_path):
    launcher = subprocess.Popen(python(LAUNCHES, WAITS, tmp_path), env=dict(os.environ))
    until(tmp_path, "[01]")
    launcher.send_signal(told)
    assert launcher.wait(timeout=30) == code
    until(tmp_path, "*.stopped")


def test_processes_that_could_not_yet_say_that_they_were_told_to_stop_count_as_stopped(tmp_path):
    waits = WAITS.replace("signal.signal(signal.SIGTERM, stop)", "")
    launcher = subprocess.Popen(python(LAUNCHES, waits, tmp_path), env=dict(os.environ))
    until(tmp_path, "[01]")
    launcher.send_signal(signal.SIGTERM)
    assert launcher.wait(timeout=60) == TOLD_TO_STOP


def test_a_run_that_is_told_to_stop_while_it_is_loading_says_so(tmp_path):
    run = subprocess.Popen(own_command([str(tmp_path / "no.yaml")]), stderr=subprocess.DEVNULL)
    while not catches(run.pid, signal.SIGTERM):
        time.sleep(0.01)
    run.send_signal(signal.SIGTERM)
    assert run.wait(timeout=30) == TOLD_TO_STOP


def catches(pid, number):
    """Whether a process has a handler of its own for a signal."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    caught = next(int(line.split()[1], 16) for line in lines if line.startswith("SigCgt:"))
    return caught >> (number - 1) & 1 == 1


def until(folder, pattern):
    """Both processes have left a file of that name."""
    deadline = time.monotonic() + 30
    while len(list(folder.glob(pattern))) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
