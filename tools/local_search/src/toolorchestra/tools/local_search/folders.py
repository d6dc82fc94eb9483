"""Finds the documents of the configured folders and notices when they change."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Final

from toolorchestra.core.errors import UnavailableError
from toolorchestra.tools.local_search.documents import SUFFIXES, Passage, passages

MAX_FILES: Final = 20_000
MAX_FILE_BYTES: Final = 4 << 20
_SHIPPED: Final = {"corpus": "", "docs": "toolorchestra"}  # names of shipped folders, below the package's corpus


@dataclass(frozen=True, slots=True)
class File:
    """A document on disk. ``stamp`` changes whenever the file does, and costs no reading."""

    path: Path
    source: str
    stamp: tuple[int, int]


def resolve_folder(name: str) -> tuple[Path, str]:
    """The folder meant by a setting, and the prefix of its sources. Raises UnavailableError if it is not there."""
    corpus = Path(str(files("toolorchestra.tools.local_search").joinpath("corpus")))
    if name in _SHIPPED:
        path, prefix = corpus / _SHIPPED[name], name
    else:
        path = Path(name).expanduser().resolve()
        prefix = path.name
    if not path.is_dir():
        raise UnavailableError(f"the folder {name!r} to search does not exist", hint="correct spec.plugin.config.folders")
    return path, prefix


def find(names: tuple[str, ...]) -> list[File]:
    """All documents of the folders, each once, in a fixed order. Raises UnavailableError if there are too many."""
    found: dict[Path, File] = {}
    for name in names:
        folder, prefix = resolve_folder(name)
        for path in _walk(folder):
            found.setdefault(path, _file(path, f"{prefix}/{path.relative_to(folder).as_posix()}"))
            if len(found) > MAX_FILES:
                raise UnavailableError(f"the folders hold more than {MAX_FILES} documents", hint="name smaller folders")
    return sorted(found.values(), key=lambda file: file.source)


def content_hash(documents: list[tuple[File, bytes]], version: str) -> str:
    """What an index depends on: names and contents of all documents, and the way they are read."""
    digest = sha256(version.encode())
    for file, content in documents:
        digest.update(f"\0{file.source}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()[:32]


def read(found: list[File]) -> list[tuple[File, bytes]]:
    """The contents; a document that vanished or cannot be read meanwhile is left out."""
    documents = []
    for file in found:
        try:
            content = file.path.read_bytes()
        except OSError:
            continue
        if len(content) <= MAX_FILE_BYTES and b"\0" not in content[:8_192]:
            documents.append((file, content))
    return documents


def cut(documents: list[tuple[File, bytes]]) -> list[Passage]:
    """All passages of all documents."""
    return [
        passage
        for file, content in documents
        for passage in passages(content.decode("utf-8-sig", errors="replace"), source=file.source)
    ]


def _walk(folder: Path) -> Iterator[Path]:
    """Documents below a folder; hidden ones and links that lead outside are left out."""
    root = folder.resolve()
    for current, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(current, name)
            if name.startswith(".") or path.suffix.lower() not in SUFFIXES:
                continue
            if path.is_symlink() and not path.resolve().is_relative_to(root):
                continue
            if path.is_file():
                yield path


def _file(path: Path, source: str) -> File:
    status = path.stat()
    return File(path, source, (status.st_mtime_ns, status.st_size))
