"""What README and docs/ say is so: links lead somewhere, manifests are valid, commands, routes, variables and errors exist."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer

from infra import reference
from toolorchestra.cli.main import create_app
from toolorchestra.core import errors
from toolorchestra.core.resources import API_VERSION, KINDS, parse_documents, parse_resource
from toolorchestra.kit.secrets import read_secret
from toolorchestra.kit.settings import SECRETS_FOLDER
from toolorchestra.operator.builders.job import CONFIG_VARIABLE, NAME_VARIABLE
from toolorchestra.operator.settings import OperatorSettings
from toolorchestra.orchestrator.main import create_app as create_service
from toolorchestra.orchestrator.settings import OrchestratorSettings
from toolorchestra.worker.settings import WorkerSettings
from toolorchestra.worlds.serving.finding import WORLDS
from toolorchestra.worlds.serving.log import SESSIONS

ROOT = Path(__file__).resolve().parents[3]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
EXAMPLES = sorted((ROOT / "infra" / "examples").rglob("*.yaml"))
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
COMMAND = re.compile(r"(?:^|[\s/(])toolorchestra((?: [^\s&|>#`;]+)*)")


class Block(NamedTuple):
    page: str
    language: str
    text: str


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(*languages: str) -> list[Block]:
    found = (Block(name_of(page), *match.groups()) for page in PAGES for match in FENCE.finditer(read(page)))
    return [block for block in found if block.language in languages]


def manifests() -> list[Block]:
    return [block for block in blocks("yaml") if "apiVersion:" in block.text]


def prose(page: Path) -> str:
    return FENCE.sub("", read(page))


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    heads = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def broken_links(page: Path) -> Iterator[str]:
    for target in LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        if not found.exists() or (anchor and anchor not in anchors(found)):
            yield target


def commands() -> list[tuple[str, list[str]]]:
    """Every use of the command, with the words behind it: in consoles behind a prompt, and in code within prose."""
    typed = [(b.page, line[2:]) for b in blocks("console", "sh") for line in b.text.splitlines() if line.startswith("$ ")]
    lines = [(page, line) for page, line in typed if not re.search(r"\b(helm|kubectl) ", line)]  # there it names a release
    lines += [
        (name_of(page), span) for page in PAGES for span in SPAN.findall(prose(page)) if span.startswith("toolorchestra ")
    ]
    return [(page, words.split()) for page, line in lines for words in COMMAND.findall(line) if words]


def problem_with(words: list[str]) -> str | None:
    """Why this command line cannot be; None if it can, as far as command and options go."""
    command: Any = typer.main.get_command(create_app())
    while words and hasattr(command, "commands") and not words[0].startswith("-"):
        if words[0] not in command.commands:
            return f"there is no command {words[0]!r}"
        command, words = command.commands[words[0]], words[1:]
    if command.context_settings.get("ignore_unknown_options"):
        return None  # its words are those of the program that it hands over to
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    unknown = [word for word in words if word.startswith("--") and word.partition("=")[0] not in known]
    return f"there is no option {unknown[0]!r}" if unknown else None


def routes() -> set[tuple[str, str]]:
    settings = OrchestratorSettings(database_url="postgresql://", key_pepper_file="pepper")
    paths = create_service(settings).openapi()["paths"]
    return {(method.upper(), path) for path, methods in paths.items() for method in methods}


def variables() -> set[str]:
    root: Any = typer.main.get_command(create_app())
    leaves = [command for _, command in reference._commands(root, "")]
    named = {parameter.envvar for command in leaves for parameter in command.params if isinstance(parameter.envvar, str)}
    services = (
        row.name.strip("`")
        for kind in (OrchestratorSettings, WorkerSettings, OperatorSettings)
        for row in reference.variables(kind, "TOOLORCHESTRA_")
    )
    others = {SECRETS_FOLDER, "TOOLORCHESTRA_OWNER_URL", WORLDS, SESSIONS, CONFIG_VARIABLE, NAME_VARIABLE}
    return named | set(services) | others


def codes(error: type[errors.ToolOrchestraError]) -> set[str]:
    """The codes that core knows; other packages refine them."""
    below = [codes(kind) for kind in error.__subclasses__() if kind.__module__ == errors.__name__]
    return {error.code}.union(*below)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    assert list(broken_links(page)) == []


def test_there_are_manifests_to_check():
    assert len(manifests()) >= 15
    assert len(EXAMPLES) >= 4


@pytest.mark.parametrize("block", manifests(), ids=lambda b: f"{b.page}:{re.findall('name: (.+)', b.text)[0]}")
def test_manifests_in_pages_are_valid(block):
    for document in parse_documents(block.text, source=block.page):
        if document["kind"] == "Secret":
            assert read_secret(document)
        else:
            parse_resource(document, source=block.page)


@pytest.mark.parametrize("path", EXAMPLES, ids=name_of)
def test_example_manifests_are_valid(path):
    documents = parse_documents(read(path), source=str(path))
    ours = [one for one in documents if one["apiVersion"] == API_VERSION]  # the others are tried on a server
    assert [parse_resource(one, source=str(path)) for one in ours]


@pytest.mark.parametrize("block", blocks("python"), ids=lambda b: b.page)
def test_python_in_pages_is_python(block):
    assert ast.parse(block.text).body


def test_the_generated_reference_is_what_the_code_says():
    assert reference.stale() == [], "run python infra/reference.py"


def test_a_page_that_is_old_is_found(tmp_path):
    (tmp_path / "settings.md").write_text("old")
    (tmp_path / "cli.md").write_text(reference.cli())
    assert reference.stale(tmp_path) == ["resources.md", "settings.md", "task.schema.json"]


def test_every_field_of_every_kind_has_a_meaning():
    page = reference.resources()
    assert all(f"## {kind}\n" in page for kind in KINDS)
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| `spec.")]
    assert [row[0] for row in rows if len(row) != 4 or not row[3].strip(" |")] == []


def test_commands_in_pages_exist():
    found = commands()
    assert len(found) > 40
    assert [(page, words, problem) for page, words in found if (problem := problem_with(words))] == []


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("runs show --trace", None),
        ("runs shwo", "no command 'shwo'"),
        ("ask --cheap", "no option '--cheap'"),
        ("--version", None),
    ],
)
def test_a_command_that_does_not_exist_is_found(line, problem):
    found = problem_with(line.split())
    assert found is None if problem is None else problem in found


def test_make_targets_in_pages_exist():
    targets = set(re.findall(r"^([a-z-]+):", read(ROOT / "Makefile"), re.MULTILINE))
    said = {word for page in PAGES for span in SPAN.findall(prose(page)) for word in re.findall(r"^make ([a-z-]+)", span)}
    assert said
    assert said <= targets


def test_the_routes_in_the_http_reference_are_the_applications():
    page = read(ROOT / "docs" / "reference" / "http.md")
    assert set(re.findall(r"^\| `([A-Z]+) (/[^`]*)` \|", page, re.MULTILINE)) == routes()


def test_every_error_code_is_in_the_http_reference():
    page = read(ROOT / "docs" / "reference" / "http.md")
    assert sorted(code for code in codes(errors.ToolOrchestraError) if f"`{code}`" not in page) == []


def test_environment_variables_in_pages_exist():
    said = {name for page in PAGES for name in re.findall(r"\bTOOLORCHESTRA_[A-Z_]*[A-Z]", read(page))}
    assert len(said) > 20
    assert said - variables() == set()


def test_decisions_are_numbered_and_complete():
    pages = sorted((ROOT / "docs" / "adr").glob("*.md"))
    assert [int(page.name[:4]) for page in pages] == list(range(1, len(pages) + 1))
    for page in pages:
        text = read(page)
        assert text.startswith(f"# {int(page.name[:4])}. ")
        assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Context", "Decision", "Consequences"]
        assert "\nStatus: " in text
