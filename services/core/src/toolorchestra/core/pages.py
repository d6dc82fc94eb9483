"""Reports as one HTML page: no script, no outside resource, light and dark. All functions take and give texts."""

import math
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from typing import Final

TICKS: Final = 5


def page(title: str, parts: Iterable[str]) -> str:
    """The page. Nothing in it comes from elsewhere, and a browser is told to load nothing. ``parts`` are HTML."""
    body = "\n".join(part for part in parts if part)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{escape(title)}</title>\n<style>\n{css()}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def css() -> str:
    """The rules of a page, one a line."""
    return files("toolorchestra.core").joinpath("page.css").read_text(encoding="utf-8")


def section(title: str, content: str, remark: str = "") -> str:
    """A part with a heading; empty without ``content``, which is HTML."""
    told = f'<p class="soft">{escape(remark)}</p>' if remark else ""
    return f"<section><h2>{escape(title)}</h2>{told}{content}</section>" if content else ""


def notes(texts: Sequence[str]) -> str:
    """Sentences that are not to be missed; empty for none."""
    return f'<ul class="notes">{"".join(f"<li>{escape(text)}</li>" for text in texts)}</ul>' if texts else ""


def verdict(passed: bool, failures: Sequence[str]) -> str:
    """Whether a gate was passed, and if not, why."""
    kind, word = ("good", "passed") if passed else ("bad", "not passed")
    return f'<p class="verdict {kind}">Gate: {word}</p>{notes(failures)}'


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, text: int = 1) -> str:
    """Cells are HTML (or whole ``<td>`` elements); the first ``text`` columns are words, the first one heads its row."""
    cells = "".join(f'<th scope="col"{_class(n < text)}>{name}</th>' for n, name in enumerate(head))
    body = "".join(f"<tr>{''.join(_cell(n, cell, text) for n, cell in enumerate(row))}</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table></div>' if body else ""


def nice_step(top: float) -> float:
    """A round step that cuts ``top``, above 0, into about five."""
    power = 10.0 ** math.floor(math.log10(top / TICKS))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor * TICKS >= top)


def _cell(place: int, content: str, text: int) -> str:
    if content.startswith("<td"):
        return content
    return f'<th scope="row">{content}</th>' if place == 0 else f"<td{_class(place < text)}>{content}</td>"


def _class(is_text: bool) -> str:
    return ' class="text"' if is_text else ""
