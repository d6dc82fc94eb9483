"""A small domain of the tests' own, and a set of two worlds built once."""

import pytest

from tests.support.library import LIBRARY
from toolorchestra.training.toolscale.domain import find_domain
from toolorchestra.training.toolscale.worldset import Request, build

DOMAINS = LIBRARY.parents[1] / "domains"


@pytest.fixture
def library(monkeypatch):
    """The domain of tests/data/domains."""
    monkeypatch.syspath_prepend(str(DOMAINS))
    return find_domain("library")


@pytest.fixture(scope="session")
def built_set(tmp_path_factory):
    """Railway and e-commerce with a few tasks."""
    folder = tmp_path_factory.mktemp("set") / "worlds"
    return build(Request(folder, ("railway", "ecommerce"), count=24, seed=5, jobs=1), lambda _: None)
