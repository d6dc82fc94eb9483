"""Several processes of one run: they know each other, end as one, and are told what ends the program that started them."""

import os
import signal
import subprocess
import sys
import time

import pytest

from toolorchestra.training.grpo import launching
from toolorchestra.training.grpo.launching import launch

TOLD_TO_STOP = 75
ENDS = (0, 3, TOLD_TO_STOP)
SAYS = """
import os, pathlib, sys
names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
pathlib.Path(sys.argv[1], os.environ["RANK"]).write_text(" ".join(os.environ[name] for name in names))
"""
WAITS = """
import os, pathlib, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))
pathlib.Path(sys.argv[1], os.environ["RANK"]).touch()
time.sleep(60)
"""
LAUNCHES = """
import sys
from toolorchestra.training.grpo.launching import launch
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


def test_being_told_to_stop_reaches_all(tmp_path):
    launcher = subprocess.Popen(python(LAUNCHES, WAITS, tmp_path), env=dict(os.environ))
    while len(list(tmp_path.iterdir())) < 2:
        assert launcher.poll() is None
        time.sleep(0.05)
    launcher.send_signal(signal.SIGTERM)
    assert launcher.wait(timeout=30) == TOLD_TO_STOP
