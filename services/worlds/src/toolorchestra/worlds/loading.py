"""Reads the folder of a world: world.yaml, tools.py, policy.md, rows/TABLE.jsonl and tasks.jsonl.

tools.py is code and runs with the rights of the process that loads it: load only worlds that you would run.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import ValidationError
from pydantic_core import from_json

from toolorchestra.worlds.errors import InvalidWorldError, mistakes_of
from toolorchestra.worlds.rows import Row
from toolorchestra.worlds.schema import WorldSpec
from toolorchestra.worlds.state import Rows, Where
from toolorchestra.worlds.tasks import Task
from toolorchestra.worlds.tools import Declared, WorldTool
from toolorchestra.worlds.world import World

SPEC, TOOLS, POLICY, ROWS, TASKS = "world.yaml", "tools.py", "policy.md", "rows", "tasks.jsonl"
SHIPPED: Final = Path(__file__).parent / "shipped"
HOWTO: Final = "docs/howto/write-a-world.md shows a whole one"


@dataclass(frozen=True, slots=True)
class Definition:
    """A world without rows: what a person writes, and what rows can be made for."""

    spec: WorldSpec
    tools: Mapping[str, WorldTool]
    policy: str

    def world(self, rows: Mapping[str, Sequence[Row]], *, where: Where | None = None, content_hash: str = "") -> World:
        """The world with these rows. Raises InvalidWorldError for a row that is not sound."""
        if unknown := rows.keys() - self.spec.tables.keys():
            known = ", ".join(self.spec.tables)
            raise InvalidWorldError(f"rows: there is no table {min(unknown)!r}", param=min(unknown), hint=f"there are {known}")
        return World(self.spec, Rows(self.spec, rows, where=where), self.tools, self.policy, content_hash)


def load_world(folder: Path | str) -> World:
    """The world in a folder, or a shipped one by name; the same files give the same object.

    Raises InvalidWorldError that names file, field and fix.
    """
    path = find_world(folder)
    return _load(path, content_hash(path))


def find_world(folder: Path | str) -> Path:
    """The folder of a world, given that or the name of a shipped one."""
    path = Path(folder)
    if not (path / SPEC).is_file() and (SHIPPED / str(folder) / SPEC).is_file():
        path = SHIPPED / str(folder)
    if not (path / SPEC).is_file():
        known = ", ".join(worlds_in(SHIPPED))
        hint = f"write one there, or use a shipped world: {known}"
        raise InvalidWorldError(f"{path / SPEC}: there is no such file", param="world", hint=hint)
    return path.resolve()


def worlds_in(folder: Path) -> dict[str, Path]:
    """The worlds in the folders below this one, by their folder's name."""
    return {path.parent.name: path.parent for path in sorted(folder.glob(f"*/{SPEC}"))}


def load_definition(folder: Path | str) -> Definition:
    """Schema, tools and policy of a folder, without its rows."""
    path = find_world(folder)
    spec = _read_spec(path / SPEC)
    policy = path / POLICY
    return Definition(spec, _read_tools(path / TOOLS, spec), _text(policy, _bytes(policy)) if policy.exists() else "")


def load_tasks(folder: Path | str) -> Iterator[Task]:
    """The tasks of a folder, one at a time. Raises InvalidWorldError that names the line and the field."""
    path = find_world(folder) / TASKS
    if not path.exists():
        raise InvalidWorldError(f"{path}: there is no such file", param=TASKS, hint="build the world, or write tasks")
    for where, line in _lines(path):
        try:
            yield Task.model_validate_json(line)
        except ValidationError as error:
            problems = "; ".join(mistakes_of(error))
            hint = f"see docs/reference/task.schema.json; {HOWTO}"
            raise InvalidWorldError(f"{where}: {problems}", param=TASKS, hint=hint) from error


def content_hash(folder: Path) -> str:
    """128 bits, as hex, over the files that make a world what it is; tasks are not among them."""
    found = blake2b(digest_size=16)
    for path in [folder / SPEC, *sorted(folder.glob("*.py")), folder / POLICY, *sorted((folder / ROWS).glob("*.jsonl"))]:
        content = _bytes(path) if path.exists() else b""
        found.update(f"{path.name} {len(content)}\n".encode() + content)
    return found.hexdigest()


@lru_cache(maxsize=32)
def _load(folder: Path, digest: str) -> World:
    definition = load_definition(folder)
    tables = {name: list(_read_rows(folder / ROWS / f"{name}.jsonl")) for name in definition.spec.tables}
    if stray := {path.stem for path in (folder / ROWS).glob("*.jsonl")} - tables.keys():
        name = min(stray)
        hint = f"rename it, or add the table to {SPEC}"
        raise InvalidWorldError(f"{folder / ROWS / name}.jsonl: there is no table {name!r}", param=name, hint=hint)
    return definition.world(
        tables, where=lambda table, index: f"{folder / ROWS / table}.jsonl:{index + 1}", content_hash=digest
    )


class _Loader(yaml.SafeLoader):
    """YAML in which dates stay text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_yaml(path: Path) -> Any:
    """A YAML file, dates as text. Raises InvalidWorldError that names the file and the place."""
    try:
        return _Loader(path.read_text(encoding="utf-8")).get_single_data()
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidWorldError(f"{path}: not valid YAML: {' '.join(str(error).split())}", param=path.name) from error
    except OSError as error:
        raise InvalidWorldError(f"{path}: cannot be read: {error.strerror}", param=path.name) from error


def _read_spec(path: Path) -> WorldSpec:
    try:
        return WorldSpec.model_validate(read_yaml(path))
    except ValidationError as error:
        raise InvalidWorldError(f"{path}: {'; '.join(mistakes_of(error))}", param=SPEC, hint=HOWTO) from error


def _read_rows(path: Path) -> Iterator[Row]:
    if not path.exists():
        raise InvalidWorldError(f"{path}: there is no such file", param=path.stem, hint="every table has one; it may be empty")
    for where, line in _lines(path):
        try:
            row = from_json(line, allow_inf_nan=False)
        except ValueError as error:
            hint = "write one JSON object per line"
            raise InvalidWorldError(f"{where}: not valid JSON: {error}", param=path.stem, hint=hint) from error
        if not isinstance(row, dict):
            raise InvalidWorldError(f"{where}: must be a JSON object, one per line", param=path.stem)
        yield row


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    """The lines of a file, each with its place as a person finds it."""
    for number, line in enumerate(_bytes(path).splitlines(), 1):
        where = f"{path}:{number}"
        yield where, _text(where, line)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        hint = "a world's files are plain files that you may read"
        raise InvalidWorldError(f"{path}: cannot be read: {error.strerror}", param=path.name, hint=hint) from error


def _text(where: Path | str, content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        problem = f"byte 0x{content[error.start]:02x} at place {error.start + 1} is not text in UTF-8"
        raise InvalidWorldError(f"{where}: {problem}", hint="save the file as UTF-8") from error


def _read_tools(path: Path, spec: WorldSpec) -> dict[str, WorldTool]:
    declared = _run(path)
    tools: dict[str, WorldTool] = {}
    for one in declared:
        if not isinstance(one, Declared):
            hint = "fill TOOLS with functions marked @tool and with combinators"
            raise InvalidWorldError(f"{path}: TOOLS: {one!r} is no tool", param="TOOLS", hint=hint)
        if one.name in tools:
            raise InvalidWorldError(f"{path}: TOOLS: the name {one.name!r} stands twice", param="TOOLS")
        try:
            tools[one.name] = one.bind(spec)
        except InvalidWorldError as error:
            raise InvalidWorldError(f"{path}: {error.message}", param=error.param, hint=error.hint) from error
        except Exception as error:  # whatever Python or pydantic finds in the signature of somebody's function
            hint = "see the types that an argument can have in docs/howto/write-a-world.md"
            problem = f"tool {one.name!r}: {type(error).__name__}: {error}"
            raise InvalidWorldError(f"{path}: {problem}", param=one.name, hint=hint) from error
    return tools


def _run(path: Path) -> Sequence[Any]:
    """TOOLS of a tools.py, imported as a package of a private name: two worlds may have the same modules.

    So tools.py may import other modules of its folder, as ``from .rules import fee``.
    """
    if not path.exists():
        raise InvalidWorldError(f"{path}: there is no such file", param=TOOLS, hint="write TOOLS = (…) there")
    name = f"_toolorchestra_world_{blake2b(str(path).encode(), digest_size=8).hexdigest()}"
    for old in [known for known in sys.modules if known.startswith(f"{name}.")]:
        del sys.modules[old]  # of an earlier state of the folder
    spec = spec_from_file_location(name, path, submodule_search_locations=[str(path.parent)])
    if spec is None or spec.loader is None:
        raise InvalidWorldError(f"{path}: is no Python file", param=TOOLS)
    module = module_from_spec(spec)
    sys.modules[name] = module  # annotations are looked up there
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # whatever somebody's file raises when it is run; it may even end the program
        del sys.modules[name]
        hint = "it is run to read TOOLS, and must come to its end"
        raise InvalidWorldError(f"{path}: {type(error).__name__}: {error}", param=TOOLS, hint=hint) from error
    found = getattr(module, "TOOLS", None)
    if not isinstance(found, list | tuple) or not found:
        raise InvalidWorldError(f"{path}: has no TOOLS", param="TOOLS", hint="write TOOLS = (…), a tuple of tools")
    return found
