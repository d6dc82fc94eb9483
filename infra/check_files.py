"""Checks files before a commit: YAML, TOML and JSON parse, texts end with a newline, no merge leftovers, nothing large.

usage: python infra/check_files.py FILE…
"""

import json
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

MAX_BYTES = 1_000_000
MERGE_MARKS = ("<" * 7 + " ", ">" * 7 + " ")


def parse_yaml(text: str) -> None:
    """All documents of the file; local tags, as in templates of other tools, are let through."""
    list(yaml.parse(text, Loader=yaml.SafeLoader))


PARSERS: dict[str, Callable[[str], Any]] = {
    ".yaml": parse_yaml,
    ".yml": parse_yaml,
    ".toml": tomllib.loads,
    ".json": json.loads,
}


def problems(path: Path) -> Iterator[str]:
    content = path.read_bytes()
    if len(content) > MAX_BYTES:
        yield f"larger than {MAX_BYTES} bytes"
    if b"\0" in content:
        return
    text = content.decode("utf-8", errors="replace")
    if text and not text.endswith("\n"):
        yield "does not end with a newline"
    if any(line.startswith(MERGE_MARKS) for line in text.splitlines()):
        yield "holds leftovers of a merge"
    if (parse := PARSERS.get(path.suffix)) and "templates" not in path.parts:
        yield from unparsable(parse, text)


def unparsable(parse: Callable[[str], Any], text: str) -> Iterator[str]:
    try:
        parse(text)
    except (yaml.YAMLError, ValueError) as error:
        yield f"cannot be parsed: {' '.join(str(error).split())}"


def main(names: list[str]) -> int:
    found = [f"{name}: {problem}" for name in names if Path(name).is_file() for problem in problems(Path(name))]
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
