"""Fixtures of tests that build worlds or play episodes on them; each is made once, when a test first asks for it.

What they need is imported then, so that no other tier waits for it.
"""

from functools import cache
from pathlib import Path

import pytest

from tests.support.library import LIBRARY

SEED, COUNT = 11, 60  # of the domains that are built for all tests of whole worlds
DOMAINS = LIBRARY.parents[1] / "domains"


@pytest.fixture
def library(monkeypatch):
    """The domain of tests/data/domains, a small one."""
    from toolorchestra.training.toolscale.domain import find_domain

    monkeypatch.syspath_prepend(str(DOMAINS))
    return find_domain("library")


@pytest.fixture(scope="session")
def built_domain():
    """Gives a shipped domain with COUNT tasks by name, built once for all who ask."""
    from toolorchestra.training.toolscale.building import build_domain
    from toolorchestra.training.toolscale.domain import find_domain

    return cache(lambda name: build_domain(find_domain(name), seed=SEED, count=COUNT))


@pytest.fixture(scope="session")
def built_set(tmp_path_factory):
    """Railway and e-commerce with a few tasks, as a set in a folder."""
    from toolorchestra.training.toolscale.worldset import Request, build

    folder = tmp_path_factory.mktemp("set") / "worlds"
    return build(Request(folder, ("railway", "ecommerce"), count=24, seed=5, jobs=1), lambda _: None)


@pytest.fixture(scope="session")
def material(tmp_path_factory) -> Path:
    """A folder with the world ``railway`` of 24 tasks and ``questions.jsonl``."""
    from toolorchestra.training.toolscale.building import build_domain, write_domain
    from toolorchestra.training.toolscale.domain import find_domain
    from toolorchestra.training.toolscale.qa.building import build_questions
    from toolorchestra.worlds.questions import write_questions

    folder = tmp_path_factory.mktemp("material")
    write_domain(build_domain(find_domain("railway"), seed=5, count=24), folder)
    write_questions(folder / "questions.jsonl", build_questions(5, count=40).questions)
    return folder


@pytest.fixture
def a_plan(material):
    """Makes a plan over that material; what is given replaces the default."""
    from toolorchestra.training.evaluate.plan import EvaluationPlan, parse_plan

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
