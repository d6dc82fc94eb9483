"""The images hold what the workspace says that they hold."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
IMAGES = ROOT / "infra" / "images"
WORKSPACE = tomllib.loads((ROOT / "pyproject.toml").read_text())


def members() -> dict[str, tuple[str, set[str]]]:
    """Distribution → its folder, and the distributions of the workspace that it asks for."""
    found = {}
    for path in [
        *ROOT.glob("services/*/pyproject.toml"),
        *ROOT.glob("tools/*/pyproject.toml"),
        *ROOT.glob("training-jobs/*/pyproject.toml"),
        ROOT / "operator/pyproject.toml",
    ]:
        project = tomllib.loads(path.read_text())["project"]
        asked = {text.partition("[")[0] for text in project.get("dependencies", []) if text.startswith("toolorchestra-")}
        found[project["name"]] = (str(path.parent.relative_to(ROOT)), asked)
    return found


def folders_of(names: list[str]) -> set[str]:
    """Folders of these distributions and of all that they need."""
    known, wanted, seen = members(), list(names), set()
    while wanted:
        name = wanted.pop()
        if name not in seen:
            seen.add(name)
            wanted += known[name][1]
    return {known[name][0] for name in seen}


def installed(image: str) -> set[str]:
    """Folders that an image's Dockerfile installs."""
    text = (IMAGES / f"{image}.Dockerfile").read_text()
    (words,) = re.findall(r"--no-sources --reinstall \\\n\s+(.+) \\\n", text)
    return {
        str(path.relative_to(ROOT))
        for word in words.split()
        for path in ROOT.glob(word.removeprefix("./").rstrip("/"))
        if (path / "pyproject.toml").exists()
    }


@pytest.mark.parametrize(("image", "group"), [("platform", "image"), ("sandbox", "sandbox"), ("jobs", "jobs")])
def test_an_image_installs_its_group_and_nothing_else_of_the_workspace(image, group):
    ours = [name for name in WORKSPACE["dependency-groups"][group] if name.startswith("toolorchestra-")]
    assert installed(image) == folders_of(ours)


def test_the_image_of_training_installs_the_job_and_what_it_needs():
    assert installed("training") == folders_of(["toolorchestra-grpo"])


@pytest.mark.parametrize("path", sorted(IMAGES.glob("*.Dockerfile")), ids=lambda path: path.stem)
def test_an_image_is_built_of_replaceable_bases_and_is_not_root_s(path):
    text = path.read_text()
    assert "ARG BASE=" in text
    assert set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) == {"${UV}", "${BASE}"}
    assert re.findall(r"^USER (\d+):(\d+)$", text, re.MULTILINE)[-1] not in (("0", "0"), ())
    assert "--require-hashes" in text


@pytest.mark.parametrize("path", sorted(IMAGES.glob("*.Dockerfile")), ids=lambda path: path.stem)
def test_an_image_s_context_holds_what_it_copies(path):
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = re.findall(r"^COPY (?!--from)(\S+) ", path.read_text(), re.MULTILINE)
    assert copied
    for source in copied:
        assert (ROOT / source).exists()
        assert any(Path(source).match(entry) or source.startswith(f"{entry}/") for entry in let_in), source
