"""Writing a report to a folder."""

from pathlib import Path
from typing import Final

from toolorchestra.training.evaluate.page import to_html
from toolorchestra.training.evaluate.picture import pareto_file
from toolorchestra.training.evaluate.report import Report, to_json

JSON_NAME: Final = "report.json"
HTML_NAME: Final = "report.html"
PICTURE_NAME: Final = "pareto.svg"


def write_report(report: Report, folder: Path) -> tuple[Path, ...]:
    """Write JSON, page and picture, each whole or not at all; their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    contents = {JSON_NAME: to_json(report), HTML_NAME: to_html(report), PICTURE_NAME: pareto_file(report.policies)}
    return tuple(_write(folder / name, text) for name, text in contents.items() if text)


def _write(path: Path, text: str) -> Path:
    beside = path.with_suffix(f"{path.suffix}.part")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)
    return path
