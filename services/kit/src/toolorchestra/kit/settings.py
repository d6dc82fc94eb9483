"""Settings: one frozen tree per application, read once from the environment and passed down in parts.

Every variable begins with ``TOOLORCHESTRA_``; ``__`` leads into a group: ``TOOLORCHESTRA_LOG__LEVEL=debug``. Applications
on one machine share the environment, so a variable that an application does not know may belong to another; one that only
looks like a misspelt setting is refused, and so is any unknown key inside a group. What is not in the environment may be a
file of the same name in the folder ``TOOLORCHESTRA_SECRETS_FOLDER``: passwords in an environment are read by many.
"""

import os
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError

from toolorchestra.core.errors import InvalidRequestError

PREFIX: Final = "TOOLORCHESTRA_"
NESTING: Final = "__"
SECRETS_FOLDER: Final = f"{PREFIX}SECRETS_FOLDER"
SIMILAR: Final = 0.9  # one wrong letter in a name of ten


class Group(BaseModel):
    """A named part of the settings, immutable; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class LogSettings(Group):
    """What is logged, and how."""

    level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="Least level shown.")
    format: Literal["json", "console"] = Field(default="json", description="One JSON object or one coloured line each.")


class Dialect(StrEnum):
    """Whose names the attributes of spans have."""

    GEN_AI = "gen_ai"
    OPENINFERENCE = "openinference"


class TelemetrySettings(Group):
    """Where traces go: to a collector, else to files, else nowhere."""

    otlp_endpoint: str | None = Field(
        default=None, description="Base URL of an OTLP/HTTP collector, e.g. `http://localhost:4318`."
    )
    traces_folder: Path | None = Field(default=None, description="Folder for span files, when there is no collector.")
    max_file_bytes: int = Field(default=32_000_000, ge=10_000, description="Size at which a span file is followed by another.")
    max_folder_bytes: int = Field(default=500_000_000, ge=10_000, description="Size at which the oldest files are removed.")
    keep_days: int = Field(default=7, ge=1, description="Span files older than this are removed.")
    dialect: Dialect = Field(
        default=Dialect.GEN_AI, description="Names of spans' attributes: OpenTelemetry's `gen_ai`, or `openinference`."
    )
    sample_ratio: float = Field(default=1.0, ge=0, le=1, description="Share of new traces that are kept.")
    delay_ms: int = Field(default=250, ge=10, description="Longest time a finished span waits to be written, in ms.")


class Settings(BaseSettings):
    """Base of an application's settings. Subclasses add fields and groups."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        validate_default=True,
        env_prefix=PREFIX,
        env_nested_delimiter=NESTING,
        nested_model_default_partial_update=True,
    )
    shared_names: ClassVar[frozenset[str]] = frozenset()  # variables of other applications that look like ours

    log: LogSettings = Field(default=LogSettings(), description="Logging.")
    telemetry: TelemetrySettings = Field(default=TelemetrySettings(), description="Tracing.")

    @classmethod
    def load(cls, **values: Any) -> Self:
        """Read the environment; ``values`` win over it. Raises InvalidRequestError that names the variable and the fix."""
        cls._refuse_misspelt(os.environ)
        try:
            return cls(_secrets_dir=_secrets_folder(os.environ), **values)
        except ValidationError as error:
            raise InvalidRequestError(f"settings: {'; '.join(_problems(error))}") from error
        except SettingsError as error:
            raise InvalidRequestError(f"settings: {error}", hint="groups are written as NAME__KEY=value") from error

    @classmethod
    def variables(cls) -> Iterator[str]:
        """Names of the variables it knows; groups appear as their first part."""
        return (f"{PREFIX}{name.upper()}" for name in cls.model_fields)

    @classmethod
    def _refuse_misspelt(cls, environ: Mapping[str, str]) -> None:
        known = list(cls.variables())
        for name in environ:
            head = name.partition(NESTING)[0]
            if not head.startswith(PREFIX) or head in known or name in (SECRETS_FOLDER, *cls.shared_names):
                continue
            if similar := get_close_matches(head, known, n=1, cutoff=SIMILAR):
                raise InvalidRequestError(f"unknown setting {name}", param=name, hint=f"did you mean {similar[0]}?")


def _secrets_folder(environ: Mapping[str, str]) -> str | None:
    folder = environ.get(SECRETS_FOLDER)
    if folder and not Path(folder).is_dir():
        raise InvalidRequestError(f"{SECRETS_FOLDER}: {folder} is no folder", param=SECRETS_FOLDER, hint="mount it there")
    return folder or None


def _problems(error: ValidationError) -> Iterator[str]:
    for item in error.errors():
        variable = PREFIX + NESTING.join(str(part) for part in item["loc"]).upper()
        unknown = item["type"] == "extra_forbidden"
        yield f"{variable}: {'unknown setting; check its spelling' if unknown else item['msg']}"
