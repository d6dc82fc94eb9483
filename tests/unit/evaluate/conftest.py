"""One small world with tasks and one file of questions, built once for all tests of episodes."""

from pathlib import Path

import pytest

from toolorchestra.training.evaluate.plan import EvaluationPlan, parse_plan
from toolorchestra.training.toolscale.building import build_domain, write_domain
from toolorchestra.training.toolscale.domain import find_domain
from toolorchestra.training.toolscale.qa.building import build_questions
from toolorchestra.worlds.questions import write_questions


@pytest.fixture(scope="session")
def material(tmp_path_factory) -> Path:
    """A folder with the world ``railway`` of 24 tasks and ``questions.jsonl``."""
    folder = tmp_path_factory.mktemp("material")
    write_domain(build_domain(find_domain("railway"), seed=5, count=24), folder)
    write_questions(folder / "questions.jsonl", build_questions(5, count=40).questions)
    return folder


@pytest.fixture
def a_plan(material):
    """Makes a plan over that material; what is given replaces the default."""

    def make(**fields: object) -> EvaluationPlan:
        default = {
            "seed": 3,
            "cast": {"seed": 3},
            "suites": [{"kind": "worlds", "folders": ["railway"], "count": 6}],
            "policies": ["golden", "nothing", "cheapest"],
            "limits": {"parallel": 1},
            "report": {"resamples": 100},
        }
        return parse_plan(default | fields, source="plan", base=material)

    return make
