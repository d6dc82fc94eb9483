"""Manifests in folders: what they say now, and what is wrong with them.

Reading is a pure step from files and the earlier state to the new one. A document that cannot be taken is a Problem, and the
last good version of its object is served on; so a typing error in one file never takes a working tool away.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, TypeAlias

from toolorchestra.core.errors import InvalidManifestError
from toolorchestra.core.registry import Identity, Problem
from toolorchestra.core.resources import Resource, parse_documents, parse_resource

SUFFIXES: Final = (".yaml", ".yml")
USUAL_FOLDER: Final = "manifests"  # a person may create it later, so it is empty until then
MAX_FILE_BYTES: Final = 4_000_000
SECRET_KIND: Final = ("v1", "Secret")

Stamp: TypeAlias = tuple[int, int, int]  # inode, modification time in ns, size


@dataclass(frozen=True, slots=True)
class ManifestFile:
    """One file: its objects, those of an earlier version that still stand in for broken ones, and its problems."""

    path: Path
    stamp: Stamp
    resources: tuple[Resource, ...] = ()
    secrets: tuple[Mapping[str, Any], ...] = ()
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Manifests:
    """All files of some folders, and what they amount to."""

    files: Mapping[Path, ManifestFile] = field(default_factory=dict)
    resources: Mapping[Identity, Resource] = field(default_factory=dict)
    secrets: tuple[Mapping[str, Any], ...] = ()
    problems: tuple[Problem, ...] = ()


def read_folders(folders: Sequence[Path], before: Manifests) -> Manifests:
    """Read what has changed since ``before``; returns ``before`` itself when nothing has."""
    files = {path: _read_changed(path, before.files.get(path)) for path in manifest_paths(folders)}
    now = _merge(files, _missing(folders))
    return before if now == before else now


def _missing(folders: Sequence[Path]) -> list[Problem]:
    absent = [folder for folder in folders if not folder.is_dir() and (folder.name != USUAL_FOLDER or folder.exists())]
    return [Problem(str(folder), "this folder does not exist; create it") for folder in absent]


def manifest_paths(folders: Sequence[Path]) -> list[Path]:
    """The manifest files below some folders, each once, in an order that does not change; hidden ones are left out."""
    found: dict[Path, None] = {}
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
            if path.suffix in SUFFIXES and not hidden and path.is_file():
                found[path.resolve()] = None
    return list(found)


def identity(resource: Resource) -> Identity:
    """What no other resource may share."""
    return resource.kind, resource.metadata.namespace, resource.metadata.name


def _read_changed(path: Path, before: ManifestFile | None) -> ManifestFile:
    try:
        found = path.stat()
        stamp = (found.st_ino, found.st_mtime_ns, found.st_size)
        if before is not None and before.stamp == stamp:
            return before
        return _parse(path, stamp, _text(path, size=found.st_size), before)
    except (InvalidManifestError, OSError) as error:
        return _still_good(before or ManifestFile(path, (0, 0, 0)), error)


def _text(path: Path, *, size: int) -> str:
    if size > MAX_FILE_BYTES:
        raise InvalidManifestError(f"{path}: larger than {MAX_FILE_BYTES} bytes", hint="split it")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InvalidManifestError(f"{path}: not UTF-8 text (byte {error.start})") from error


def _still_good(before: ManifestFile, error: Exception) -> ManifestFile:
    """An unreadable file: all that it last said still counts. It is read again as long as it stays so."""
    note = "; its last good version is used" if before.resources or before.secrets else ""
    return replace(before, stamp=(0, 0, 0), problems=(Problem(str(before.path), f"{_without(str(before.path), error)}{note}"),))


def _without(source: str, error: Exception) -> str:
    """What an error says, without the source that a Problem names anyway."""
    return str(error).removeprefix(source).removeprefix(": ")


def _parse(path: Path, stamp: Stamp, text: str, before: ManifestFile | None) -> ManifestFile:
    documents = parse_documents(text, source=str(path))
    resources: list[Resource] = []
    secrets: list[Mapping[str, Any]] = []
    problems: list[Problem] = []
    broken: list[Any] = []
    for number, document in enumerate(documents, start=1):
        source = str(path) if len(documents) == 1 else f"{path}, document {number}"
        if isinstance(document, dict) and (document.get("apiVersion"), document.get("kind")) == SECRET_KIND:
            secrets.append(document)
            continue
        try:
            resources.append(parse_resource(document, source=source))
        except InvalidManifestError as error:
            problems.append(Problem(source, _without(source, error)))
            broken.append(document)
    kept = _stand_ins(broken, resources, before) if broken and before else ()
    note = f"; still used as it was: {', '.join(_title(resource) for resource in kept)}" if kept else ""
    noted = tuple(replace(problem, message=f"{problem.message}{note}") for problem in problems)
    return ManifestFile(path, stamp, (*resources, *kept), tuple(secrets), noted)


def _stand_ins(broken: Sequence[Any], good: Sequence[Resource], before: ManifestFile) -> tuple[Resource, ...]:
    """Earlier versions of the objects that the broken documents mean.

    A broken document may not even tell which object it means: then every earlier object of the file that is not there in
    another form stays.
    """
    present = {identity(resource) for resource in good}
    earlier = {identity(resource): resource for resource in before.resources if identity(resource) not in present}
    meant = {_claimed_identity(document) for document in broken}
    return tuple(earlier.values() if meant - earlier.keys() else (earlier[key] for key in earlier if key in meant))


def _title(resource: Resource) -> str:
    return f"{resource.kind} {resource.metadata.name}"


def _claimed_identity(document: Any) -> Identity:
    """Which object a broken document means, as far as one can tell."""
    metadata = document.get("metadata") if isinstance(document, dict) else None
    if not isinstance(metadata, dict):
        return "", "", ""
    return str(document.get("kind")), str(metadata.get("namespace") or "default"), str(metadata.get("name"))


def _merge(files: Mapping[Path, ManifestFile], missing: Iterable[Problem]) -> Manifests:
    """One object per identity: the first file has it, any other is a Problem."""
    resources: dict[Identity, Resource] = {}
    owners: dict[Identity, Path] = {}
    problems: list[Problem] = list(missing)
    for file in files.values():
        problems.extend(file.problems)
        for resource in file.resources:
            key = identity(resource)
            if key in resources:
                problems.append(_duplicate(key, file.path, owners[key]))
                continue
            resources[key], owners[key] = resource, file.path
    return Manifests(files, resources, tuple(_secrets(files.values())), tuple(problems))


def _duplicate(key: Identity, path: Path, owner: Path) -> Problem:
    kind, namespace, name = key
    where = "earlier in this file" if path == owner else f"in {owner}"
    message = f"{kind} {name!r} in namespace {namespace!r} is already defined {where}; rename or remove one (the first is used)"
    return Problem(str(path), message)


def _secrets(files: Iterable[ManifestFile]) -> Iterator[Mapping[str, Any]]:
    for file in files:
        yield from file.secrets
