"""The Job of a ToolScaleDataset: reads its configuration, builds the worlds onto the volume, leaves a summary for the status.

The configuration is ``spec.config``, in the file that ``$TOOLORCHESTRA_CONFIG`` names. The summary goes to the termination
message, where the operator reads it: at most 4096 bytes, 64 metrics.
"""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from toolorchestra.core.errors import ToolOrchestraError
from toolorchestra.training.toolscale.defaults import JOBS, SEED, TASKS
from toolorchestra.training.toolscale.endpoint import Endpoint
from toolorchestra.training.toolscale.errors import InvalidBuildError
from toolorchestra.training.toolscale.making import BUILDING, News
from toolorchestra.training.toolscale.page import page_of
from toolorchestra.training.toolscale.report import make_report, require_sound, save_report
from toolorchestra.training.toolscale.worldset import Request, build
from toolorchestra.worlds.errors import mistakes_of

CONFIG: Final = "TOOLORCHESTRA_CONFIG"
DATA: Final = Path("/data")
MESSAGE: Final = Path("/dev/termination-log")
MAX_BYTES: Final = 4096
FAILURE: Final = 1


class WordingModelConfig(BaseModel):
    """The model that rewrites wording; its key comes from the environment."""

    model_config = ConfigDict(extra="forbid")

    url: str = Field(pattern=r"^https?://", description="OpenAI-compatible address, without /chat/completions.")
    model: str = Field(min_length=1, description="Name of the model.")


class JobConfig(BaseModel):
    """``spec.config`` of a ToolScaleDataset."""

    model_config = ConfigDict(extra="forbid")

    domains: tuple[str, ...] = Field(default=(), description="Domains. Default: all.")
    tasks: int = Field(default=TASKS, ge=1, le=100_000, description="Tasks per domain.")
    seed: int = Field(default=SEED, description="Seed of all draws.")
    jobs: int = Field(default=JOBS, ge=1, le=256, description="Domains built at the same time.")
    out: str = Field(default="worlds", pattern=r"^[A-Za-z0-9._-]+(?:/[A-Za-z0-9._-]+)*$", description="Folder on the claim.")
    llm: WordingModelConfig | None = Field(default=None, description="Model that rewrites wording. Default: none.")

    @classmethod
    def read(cls, path: Path) -> Self:
        """The configuration in a file. Raises InvalidBuildError that names the fields."""
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise InvalidBuildError(f"{CONFIG}: {path} cannot be read: {error.strerror}", param="config") from error
        except ValidationError as error:
            raise InvalidBuildError(f"spec.config: {'; '.join(mistakes_of(error))}", param="config") from error

    def request(self, data: Path) -> Request:
        """What to build, onto the volume at ``data``."""
        folder = (data / self.out).resolve()
        if not folder.is_relative_to(data.resolve()):
            raise InvalidBuildError(f"spec.config.out: {self.out!r} leads out of {data}", param="out")
        endpoint = Endpoint(self.llm.url, self.llm.model) if self.llm else None
        return Request(folder, self.domains, self.tasks, self.seed, self.jobs, endpoint)


def main(data: Path = DATA, message: Path = MESSAGE) -> int:
    """Run the job; returns its exit code. ``message``: where the summary goes."""
    try:
        request = JobConfig.read(Path(os.environ.get(CONFIG, "config.json"))).request(data)
        summary = run(request)
    except ToolOrchestraError as error:
        sys.stderr.write(f"error: {error}\n")
        return FAILURE
    message.write_bytes(shortened(summary))
    return 0


def run(request: Request) -> dict[str, Any]:
    """Build, report, and require that the set is sound. Returns the summary: metrics as texts or numbers, and the location."""
    found = build(request, _log)
    report = make_report(found)
    save_report(found, report, page_of(report))
    require_sound(found)
    return {"location": str(found.folder), "metrics": metrics_of(report)}


def metrics_of(report: Mapping[str, Any]) -> dict[str, Any]:
    """What the status shows: sums, the splits, and drops by reason."""
    total = {name: report["total"][name] for name in ("tasks", "tools", "rows", "mean_calls", "max_calls", "with_writes")}
    audit = {f"unsound.{name}": count for name, count in report["audit"].items()}
    splits = {f"split.{name}": count for name, count in report["splits"].items()}
    drops = {f"dropped.{name}": count for name, count in report["drops"].items()}
    worlds = {f"tasks.{name}": about["figures"]["tasks"] for name, about in report["worlds"].items()}
    return {**total, "worlds": len(report["worlds"]), "attempts": report["attempts"], **audit, **splits, **drops, **worlds}


def shortened(summary: Mapping[str, Any]) -> bytes:
    """The summary as the termination message, without its last metrics where it is too long for one."""
    metrics = dict(summary["metrics"])
    while len(text := json.dumps({**summary, "metrics": metrics}, separators=(",", ":")).encode()) > MAX_BYTES and metrics:
        metrics.popitem()
    return text


def _log(news: News) -> None:
    if news.stage != BUILDING or news.done % 100 == 0:
        sys.stdout.write(f"{news.domain}: {news.stage}, {news.done} tasks\n")
        sys.stdout.flush()
