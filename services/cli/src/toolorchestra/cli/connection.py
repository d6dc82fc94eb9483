"""Which platform a command talks to, and with which credential: what was said, else the one that runs in this folder."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final, Self, TypeAlias

import typer

from toolorchestra.cli.client import ADMINISTRATOR, API_KEY, KUBECONFIG, Client, is_loopback
from toolorchestra.cli.embedded.state import running_platform
from toolorchestra.cli.kubectl import Cluster
from toolorchestra.cli.platform.folder import API_URL_NAME, StateFolder
from toolorchestra.core.errors import ForbiddenError, NotFoundError, UnauthenticatedError, UnavailableError

DEFAULT_STATE: Final = Path(".toolorchestra")

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
ContextOption: TypeAlias = Annotated[
    str | None,
    typer.Option("--context", envvar="TOOLORCHESTRA_CONTEXT", help="The platform of this context of your kubeconfig."),
]
NamespaceOption: TypeAlias = Annotated[
    str | None,
    typer.Option("--namespace", "-n", envvar="TOOLORCHESTRA_NAMESPACE", help="The tenant there. Default: the context's."),
]
TenantOption: TypeAlias = Annotated[
    str | None,
    typer.Option("--tenant", "--namespace", "-n", envvar="TOOLORCHESTRA_NAMESPACE", help="Who pays: a namespace."),
]
AccountOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--service-account",
        envvar="TOOLORCHESTRA_SERVICE_ACCOUNT",
        metavar="NAME",
        help="Act as this ServiceAccount of the namespace. Default: `default` to ask, yourself to administer.",
    ),
]
JsonOption: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class NotRunningError(UnavailableError):
    """No platform runs here, and none was named."""

    code = "not_running"


@dataclass(frozen=True, slots=True)
class Connection:
    """A platform's address, None behind a port-forward; ``local`` is its state folder when it runs on this machine."""

    url: str | None
    local: StateFolder | None = None
    cluster: Cluster = field(default_factory=Cluster)

    @classmethod
    def find(cls, url: str | None, state: Path, cluster: Cluster | None = None) -> Self:
        """The platform at ``url``, else in the ``cluster`` that was named, else the one that runs in ``state``.

        Raises NotRunningError when there is none of them.
        """
        cluster = cluster or Cluster()
        if cluster.is_named:
            return cls(url, None, cluster)
        here = running_platform(state)
        started = here.urls.get(API_URL_NAME) if here else None
        if url is not None:
            return cls(url, StateFolder(state) if started == url.rstrip("/") else None, cluster)
        if started is None:
            what = "is still starting" if here else "does not run"
            raise NotRunningError(
                f"the platform of {state} {what}",
                hint="start it with `toolorchestra up`, or name another with --url or --context",
            )
        return cls(started, StateFolder(state), cluster)

    @property
    def tenant(self) -> str:
        """Who pays."""
        return self.cluster.tenant()

    @contextmanager
    def client(self, key: str | None) -> Iterator[Client]:
        """Requests as a tenant. Raises UnauthenticatedError without a key."""
        token = key or (self.local.api_key() if self.local else None)
        credential = API_KEY
        if token is None and self.cluster.is_named:
            token, credential = self.cluster.data_token(), KUBECONFIG
        if token is None:
            raise UnauthenticatedError(
                f"no API key for {self.url}",
                hint="give --key or set TOOLORCHESTRA_API_KEY; `toolorchestra keys create NAME` makes one",
            )
        with self._address() as url, Client(url, token=token, credential=credential, logs=self._logs()) as client:
            yield client

    @contextmanager
    def admin(self, token_file: Path | None) -> Iterator[Client]:
        """Requests as the administrator. Raises UnauthenticatedError without a token."""
        token = self._admin_token(token_file)
        credential = KUBECONFIG if self.cluster.is_named and token_file is None else ADMINISTRATOR
        with self._address() as url, Client(url, token=token, credential=credential, logs=self._logs()) as client:
            yield client

    def _address(self) -> AbstractContextManager[str]:
        return nullcontext(self.url) if self.url is not None else self.cluster.forwarded()

    def _admin_token(self, token_file: Path | None) -> str:
        if token_file is None and self.cluster.is_named:
            self._require_privacy()
            return self.cluster.admin_token()
        if token_file is None:
            token = self.local.admin_token() if self.local else None
            if token is None:
                raise UnauthenticatedError(f"no administrator's token for {self.url}", hint="give --admin-token-file")
            return token
        try:
            return token_file.read_text().strip()
        except OSError as error:
            raise NotFoundError(f"{token_file} cannot be read: {error.strerror}", hint="correct --admin-token-file") from error

    def _require_privacy(self) -> None:
        """A person's own token opens the whole cluster to whoever reads it, so it travels in no clear text."""
        readable = self.url is not None and self.url.startswith("http://") and not is_loopback(self.url)
        if readable and self.cluster.service_account is None:
            raise ForbiddenError(
                f"your kubeconfig's token would travel in clear text to {self.url}",
                hint="leave --url out to forward a port, use https, or act with --service-account NAME",
            )

    def _logs(self) -> str | None:
        return str(self.local.logs / "orchestrator.log") if self.local else None
