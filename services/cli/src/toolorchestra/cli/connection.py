"""Which platform a command talks to, and with which credential: what was said, else the one that runs in this folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Self, TypeAlias

import typer

from toolorchestra.cli.client import Client
from toolorchestra.cli.embedded.state import running_platform
from toolorchestra.cli.platform.folder import API_URL_NAME, StateFolder
from toolorchestra.core.errors import NotFoundError, UnauthenticatedError, UnavailableError

DEFAULT_STATE: Final = Path(".toolorchestra")
TENANT: Final = "default"

UrlOption: TypeAlias = Annotated[
    str | None, typer.Option("--url", envvar="TOOLORCHESTRA_URL", help="The platform. Default: the one that runs here.")
]
KeyOption: TypeAlias = Annotated[
    str | None, typer.Option("--key", envvar="TOOLORCHESTRA_API_KEY", help="API key. Default: the one kept by `up`.")
]
StateOption: TypeAlias = Annotated[
    Path, typer.Option("--state", envvar="TOOLORCHESTRA_STATE", help="Folder of the platform that runs here.", file_okay=False)
]
AdminTokenOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--admin-token-file",
        envvar="TOOLORCHESTRA_ADMIN_TOKEN_FILE",
        help="File with the administrator's token. Default: the one kept by `up`.",
        dir_okay=False,
    ),
]
TenantOption: TypeAlias = Annotated[str, typer.Option("--tenant", help="Who pays: a namespace.")]
JsonOption: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class NotRunningError(UnavailableError):
    """No platform runs here, and none was named."""

    code = "not_running"


@dataclass(frozen=True, slots=True)
class Connection:
    """A platform's address; ``local`` is its state folder when it runs on this machine."""

    url: str
    local: StateFolder | None = None

    @classmethod
    def find(cls, url: str | None, state: Path) -> Self:
        """The platform at ``url``, else the one that runs in ``state``. Raises NotRunningError when there is neither."""
        here = running_platform(state)
        started = here.urls.get(API_URL_NAME) if here else None
        if url is not None:
            return cls(url, StateFolder(state) if started == url.rstrip("/") else None)
        if started is None:
            what = "is still starting" if here else "does not run"
            raise NotRunningError(
                f"the platform of {state} {what}", hint="start it with `toolorchestra up`, or name another with --url"
            )
        return cls(started, StateFolder(state))

    def client(self, key: str | None) -> Client:
        """Requests as a tenant. Raises UnauthenticatedError without a key."""
        token = key or (self.local.api_key() if self.local else None)
        if token is None:
            raise UnauthenticatedError(
                f"no API key for {self.url}",
                hint="give --key or set TOOLORCHESTRA_API_KEY; `toolorchestra keys create NAME` makes one",
            )
        return Client(self.url, token=token, logs=self._logs())

    def admin(self, token_file: Path | None) -> Client:
        """Requests as the administrator. Raises UnauthenticatedError without a token."""
        return Client(self.url, token=self._admin_token(token_file), credential="administrator's token", logs=self._logs())

    def _admin_token(self, token_file: Path | None) -> str:
        if token_file is None:
            token = self.local.admin_token() if self.local else None
            if token is None:
                raise UnauthenticatedError(f"no administrator's token for {self.url}", hint="give --admin-token-file")
            return token
        try:
            return token_file.read_text().strip()
        except OSError as error:
            raise NotFoundError(f"{token_file} cannot be read: {error.strerror}", hint="correct --admin-token-file") from error

    def _logs(self) -> str | None:
        return str(self.local.logs / "orchestrator.log") if self.local else None
