"""Writing a report to a folder."""

from pathlib import Path
from typing import Final

from toolorchestra.training.evaluate.page import to_html
from toolorchestra.training.evaluate.picture import pareto_file
from toolorchestra.training.evaluate.report import Report, to_json

JSON_NAME: Final = "report.json"
HTML_NAME: Final = "report.html"
PICTURE_NAME: Final = "pareto.svg"


def write_report(report: Report, folder: Path) -> tuple[Path, Path]:
    """Write JSON and page, each whole or not at all; their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    return _write(folder / JSON_NAME, to_json(report)), _write(folder / HTML_NAME, to_html(report))


def write_picture(report: Report, folder: Path) -> Path:
    """Write the Pareto picture as a file of its own; its path."""
    folder.mkdir(parents=True, exist_ok=True)
    return _write(folder / PICTURE_NAME, pareto_file(report.policies))


def _write(path: Path, text: str) -> Path:
    beside = path.with_suffix(f"{path.suffix}.part")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)
    return path
