"""A real platform plays what memory plays: the same successes, with a real ledger and real runs behind them."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.support.dialogues import dialogue
from toolorchestra.cli.evaluation import Wanted, evaluate
from toolorchestra.cli.shell import Shell
from toolorchestra.training.evaluate.records import Episode, read_records
from toolorchestra.training.toolscale.building import build_domain, write_domain
from toolorchestra.training.toolscale.domain import find_domain
from toolorchestra.training.toolscale.qa.building import build_questions
from toolorchestra.worlds.loading import load_tasks
from toolorchestra.worlds.questions import write_questions

pytestmark = pytest.mark.timeout(300)
POLICIES = ["golden", "nothing", "cheapest", "oracle", "monolith:*"]


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder that servers of another user may reach, with a world, questions and a plan over them."""
    folder = Path(tempfile.mkdtemp(prefix="to-evaluate-"))
    write_domain(build_domain(find_domain("railway"), seed=5, count=4), folder)
    write_questions(folder / "questions.jsonl", build_questions(5, count=20).questions)
    (folder / "tasks.json").write_text(json.dumps([dialogue(task) for task in list(load_tasks(folder / "railway"))[:2]]))
    plan = {
        "seed": 3,
        "cast": {"seed": 3},
        "suites": [
            {"kind": "worlds", "folders": ["railway"], "count": 3},
            {"kind": "renamed-tools", "folders": ["railway"], "count": 1},
            {"kind": "qa", "file": "questions.jsonl", "count": 3},
            {"kind": "tau2", "file": "tasks.json", "world": "railway"},
        ],
        "policies": POLICIES,
        "limits": {"parallel": 4},
        "report": {"resamples": 100},
    }
    (folder / "plan.yaml").write_text(yaml.safe_dump(plan))
    yield folder
    shutil.rmtree(folder)


def played(folder: Path, name: str, *, platform: bool) -> dict[tuple[str, ...], Episode]:
    evaluate(Shell(), folder / "plan.yaml", Wanted(out=folder / name, platform=platform))
    episodes = read_records(folder / name / "episodes.jsonl").episodes
    return {(one.suite, one.task, one.policy): one for one in episodes}


def test_a_platform_gives_the_results_of_memory_and_real_runs(folder):
    memory = played(folder, "memory", platform=False)
    real = played(folder, "real", platform=True)
    assert real.keys() == memory.keys()
    golden = [one for one in real.values() if (one.suite, one.policy) == ("tau2", "golden")]
    assert [one.success for one in golden] == [True, True]
    assert all(one.turns == sum(one.calls.values()) + 2 for one in golden)  # two runs: a question, then calls and an answer
    for key, one in real.items():
        assert one.error is None, one.error_message
        assert one.run_id.startswith("run-")
        assert one.success == memory[key].success, (key, one.error_message)
        assert one.calls == memory[key].calls, key
        assert one.turns == memory[key].turns, key
        if one.suite != "qa":  # what real tools bring is worded a little differently there, and read by the token
            assert one.cost_nano_usd == pytest.approx(memory[key].cost_nano_usd, rel=0.02), key
