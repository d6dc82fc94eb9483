"""Checks that the locks satisfy what the workspace asks for: every dependency is there, in a version that fits.

usage: python infra/check_locks.py [ROOT]
"""

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

RUNTIME, DEV = "requirements.lock", "requirements-dev.lock"
IMAGE, SANDBOX, JOBS = "requirements-image.lock", "requirements-sandbox.lock", "requirements-jobs.lock"
IN_SANDBOX = ("services/core", "services/kit", "services/ledger", "services/executors", "services/worker", "tools/python")
IN_JOBS = ("services/core", "services/worlds", "training-jobs/toolscale", "training-jobs/evaluate")
PINNED = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\]+)", re.MULTILINE)


def locked(path: Path) -> dict[str, str]:
    """Versions by normalised name."""
    return {canonicalize_name(name): version for name, version in PINNED.findall(path.read_text(encoding="utf-8"))}


def asked(root: Path) -> Iterator[tuple[str, str, Requirement]]:
    """(who asks, a lock it must be in, what) for every member and for the root's groups."""
    for path in [
        *root.glob("services/*/pyproject.toml"),
        *root.glob("tools/*/pyproject.toml"),
        *(root / name / "pyproject.toml" for name in ("operator", "training-jobs/toolscale", "training-jobs/evaluate")),
    ]:
        for text in project(path)["project"].get("dependencies", []) if path.exists() else ():
            yield from ((str(path.relative_to(root)), lock, Requirement(text)) for lock in locks_of(path.relative_to(root)))
    groups = project(root / "pyproject.toml").get("dependency-groups", {})
    for group, texts in groups.items():
        for text in (text for text in texts if isinstance(text, str)):
            yield f"group {group}", RUNTIME if group == "build" else DEV, Requirement(text)


def locks_of(member: Path) -> tuple[str, ...]:
    """The locks that must hold what a member asks for, besides the one for development."""
    match str(member.parent):
        case "services/cli":
            return (RUNTIME,)
        case "operator":
            return (IMAGE,)
        case name if name.startswith("training-jobs/"):
            return RUNTIME, JOBS
        case name:
            others = {SANDBOX: IN_SANDBOX, JOBS: IN_JOBS}
            return (RUNTIME, IMAGE, *(lock for lock, members in others.items() if name in members))


def project(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8"))


def problems(root: Path) -> Iterator[str]:
    locks = {name: locked(root / name) for name in (RUNTIME, IMAGE, SANDBOX, JOBS, DEV)}
    for who, lock, requirement in asked(root):
        name = canonicalize_name(requirement.name)
        if name.startswith("toolorchestra-"):
            continue
        for file in {lock, DEV}:
            version = locks[file].get(name)
            if version is None:
                yield f"{file}: {name} is missing; {who} asks for it"
            elif not requirement.specifier.contains(version, prereleases=True):
                yield f"{file}: {name} {version} does not fit {requirement}, asked for by {who}"
    for lock in (RUNTIME, IMAGE, SANDBOX, JOBS):
        yield from (f"{DEV}: {name} differs from {lock}" for name in locks[lock] if locks[DEV].get(name) != locks[lock][name])


def main(root: str = ".") -> int:
    found = sorted(set(problems(Path(root))))
    print(
        "\n".join(found) + "\nrun `make lock` and commit the locks" if found else "the locks hold what the workspace asks for"
    )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
