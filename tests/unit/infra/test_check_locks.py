import textwrap
from pathlib import Path

import pytest

from infra import check_locks


@pytest.fixture
def workspace(tmp_path: Path):
    """A workspace with a member that asks for httpx, one of the sandbox that asks for celery, and a job that asks for numpy."""
    for name, asks in (
        ("services/one", '"httpx[http2]>=1.2", "toolorchestra-core"'),
        ("services/worker", '"celery>=5"'),
        ("training-jobs/toolscale", '"numpy>=2"'),
    ):
        member = tmp_path / name
        member.mkdir(parents=True)
        (member / "pyproject.toml").write_text(f"[project]\ndependencies = [{asks}]\n")
    (tmp_path / "pyproject.toml").write_text('[dependency-groups]\ndev = ["pytest>=9"]\nbuild = ["hatchling"]\n')

    def locks(
        runtime: str, dev: str, image: str | None = None, sandbox: str = "celery==5.7\n", jobs: str = "numpy==2.4\n"
    ) -> list[str]:
        (tmp_path / "requirements.lock").write_text(textwrap.dedent(runtime))
        (tmp_path / "requirements-image.lock").write_text(textwrap.dedent(runtime if image is None else image))
        (tmp_path / "requirements-sandbox.lock").write_text(sandbox)
        (tmp_path / "requirements-jobs.lock").write_text(jobs)
        (tmp_path / "requirements-dev.lock").write_text(textwrap.dedent(dev))
        return sorted(set(check_locks.problems(tmp_path)))

    return locks


RUNTIME = "httpx==1.3.0 ; python_full_version >= '3.11' \\\n    --hash=sha256:0\nhatchling==1.30\ncelery==5.7\nnumpy==2.4\n"


def test_locks_that_hold_everything_pass(workspace):
    assert workspace(RUNTIME, RUNTIME + "pytest==9.2\n") == []


def test_a_missing_dependency_is_named_with_who_asks(workspace):
    (problem,) = workspace(RUNTIME, RUNTIME)
    assert problem == "requirements-dev.lock: pytest is missing; group dev asks for it"


def test_a_version_that_does_not_fit_is_named(workspace):
    old = RUNTIME.replace("1.3.0", "1.1.0")
    problems = workspace(old, old + "pytest==9.2\n")
    assert problems == [
        f"{lock}: httpx 1.1.0 does not fit httpx[http2]>=1.2, asked for by services/one/pyproject.toml"
        for lock in ("requirements-dev.lock", "requirements-image.lock", "requirements.lock")
    ]


def test_what_an_image_lacks_is_named(workspace):
    (problem,) = workspace(RUNTIME, RUNTIME + "pytest==9.2\n", "hatchling==1.30\ncelery==5.7\n")
    assert problem == "requirements-image.lock: httpx is missing; services/one/pyproject.toml asks for it"


def test_what_the_sandbox_lacks_is_named(workspace):
    (problem,) = workspace(RUNTIME, RUNTIME + "pytest==9.2\n", sandbox="")
    assert problem == "requirements-sandbox.lock: celery is missing; services/worker/pyproject.toml asks for it"


def test_what_the_jobs_lack_is_named(workspace):
    (problem,) = workspace(RUNTIME, RUNTIME + "pytest==9.2\n", jobs="")
    assert problem == "requirements-jobs.lock: numpy is missing; training-jobs/toolscale/pyproject.toml asks for it"


def test_locks_that_disagree_are_refused(workspace):
    assert workspace(RUNTIME, RUNTIME.replace("1.3.0", "1.4.0") + "pytest==9.2\n") == [
        "requirements-dev.lock: httpx differs from requirements-image.lock",
        "requirements-dev.lock: httpx differs from requirements.lock",
    ]
