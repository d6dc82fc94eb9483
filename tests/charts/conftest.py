"""The chart, rendered with its default values and with each file of `ci/`."""

from pathlib import Path

import pytest

from tests.support.helm import CI, MONITORING, OURS, Helm, Rendered


@pytest.fixture(scope="session")
def default(helm: Helm) -> Rendered:
    return helm.render({}, apis=(OURS, MONITORING))


@pytest.fixture(scope="session", params=[None, *CI], ids=lambda path: path.stem if path else "default")
def rendered(request: pytest.FixtureRequest, helm: Helm) -> Rendered:
    """The chart, once per set of values."""
    path: Path | None = request.param
    return helm.render(path or {}, apis=(OURS, MONITORING))
