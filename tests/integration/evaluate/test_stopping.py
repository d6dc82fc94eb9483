"""An evaluation in several processes that ends early: what it says, what it leaves, and how much it spends."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml

from toolorchestra.training.evaluate.evaluating import Evaluation
from toolorchestra.training.evaluate.records import read_records

pytestmark = pytest.mark.timeout(120)
WAIT_S = 60.0


JOB = ("toolorchestra.training.evaluate", "plan.yaml")
COMMAND = ("toolorchestra.cli.main", "evaluate", "plan.yaml")
SENTENCE = "it was told to stop: what is recorded is kept, and the same command goes on with it"


@pytest.fixture
def start(material, tmp_path):
    """Starts an evaluation of many episodes in two processes, in a group of its own; it is past its first records then."""
    suite = {"kind": "worlds", "folders": [str(material / "railway")]}
    plan = {
        "suites": [suite],
        "policies": ["golden", "strongest", "cheapest", "cascade"],
        "repeats": 20,
        "limits": {"parallel": 2},
        "report": {"resamples": 100},
    }
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(plan))
    started: list[subprocess.Popen[str]] = []

    def begin(module: str, *arguments: str) -> subprocess.Popen[str]:
        command, pipe = [sys.executable, "-m", module, *arguments, "--out", "out"], subprocess.PIPE
        started.append(subprocess.Popen(command, cwd=tmp_path, stdout=pipe, stderr=pipe, text=True, start_new_session=True))
        until(lambda: recorded(tmp_path) > 20)
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def recorded(folder: Path) -> int:
    path = folder / "out" / "episodes.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def until(condition) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def gone(children) -> bool:
    return not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children)


@pytest.mark.parametrize(
    ("what", "end", "code"),
    [
        (JOB, signal.SIGTERM, 75),
        (JOB, signal.SIGINT, 75),
        (COMMAND, signal.SIGTERM, 128 + signal.SIGTERM),
        (COMMAND, signal.SIGINT, 128 + signal.SIGINT),
    ],
)
def test_told_to_stop_it_ends_its_processes_reports_what_there_is_and_says_how_it_goes_on(start, tmp_path, what, end, code):
    process = start(*what)
    children = psutil.Process(process.pid).children(recursive=True)
    if end == signal.SIGINT:
        os.killpg(process.pid, end)  # as a terminal does, to all of them
    else:
        process.send_signal(end)
    out, err = process.communicate(timeout=WAIT_S)
    assert process.returncode == code, err
    assert err.splitlines()[-1] == SENTENCE
    assert "Traceback" not in err
    assert "Partial: it was told to stop" in out
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["partial"]["done"] == len(read_records(tmp_path / "out" / "episodes.jsonl").episodes)
    until(lambda: gone(children))


def test_no_process_outlives_one_that_is_killed(start):
    process = start(*JOB)
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) >= 2
    process.kill()
    until(lambda: gone(children))


def test_several_processes_keep_to_the_budget(a_plan, tmp_path):
    suites = [{"kind": "worlds", "folders": ["railway"]}]
    plan = a_plan(suites=suites, policies=["golden", "strongest", "monolith:*"], limits={"parallel": 2, "cost_usd": "0.05"})
    partial = asyncio.run(Evaluation(plan, tmp_path).run()).report.partial
    recorded = read_records(tmp_path / "episodes.jsonl")
    dearest = max(episode.cost_nano_usd for episode in recorded.episodes)
    assert partial.reason.startswith("the budget of 0.05 USD is spent")
    assert recorded.spent_nano_usd < 50_000_000 + 2 * dearest
