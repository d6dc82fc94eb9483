"""HTTP to a platform, wherever it runs. What goes wrong comes back as an error that says what to do."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from ipaddress import ip_address
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote

import httpx

from toolorchestra.cli.events import read_events
from toolorchestra.core.errors import ToolOrchestraError, UnavailableError

CONNECT_S: Final = 5.0
READ_S: Final = 60.0
API_KEY: Final = "API key"
ADMINISTRATOR: Final = "administrator's token"
KUBECONFIG: Final = "token of the cluster"
RUN_ID_HEADER: Final = "x-toolorchestra-run-id"

_HINTS: Final[Mapping[str, str]] = {
    "invalid_api_key": "give another with --key or TOOLORCHESTRA_API_KEY; `toolorchestra keys create NAME` makes one",
    "model_not_found": "`toolorchestra models` lists the names",
    "insufficient_quota": (
        "raise --max-cost if you gave one; `toolorchestra budget show` shows what is left, a BudgetPolicy sets the limits"
    ),
    "unknown_price": "write spec.pricing in the ExpertModel's manifest, or allow it in the BudgetPolicy (spec.unpriced)",
}


def path(*parts: str) -> str:
    """A path of names that may hold anything."""
    return "".join(f"/{quote(part, safe='')}" for part in parts)


class RemoteError(ToolOrchestraError):
    """The platform's own answer to a request that it did not fulfil."""

    def __init__(self, message: str, *, status: int, remote_code: str | None, hint: str | None) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.remote_code = remote_code


@dataclass(frozen=True, slots=True)
class Reply:
    """The events of a streamed answer, and the run it belongs to."""

    run_id: str | None
    events: Iterator[dict[str, Any]]


class Client:
    """Requests to one platform with one credential. ``token`` is an API key, or the administrator's token."""

    def __init__(self, url: str, *, token: str | None, credential: str = API_KEY, logs: str | None = None) -> None:
        self.url = url.rstrip("/")
        self._credential = credential
        self._logs = logs
        self._http = httpx.Client(
            base_url=self.url,
            headers={"authorization": f"Bearer {token}"} if token else {},
            timeout=httpx.Timeout(READ_S, connect=CONNECT_S),
            trust_env=not is_loopback(self.url),  # a proxy does not lead to this machine
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._http.close()

    def get(self, path: str, **query: Any) -> Any:
        """The JSON behind a path; query values that are None are left out."""
        return self._json(self._send("GET", path, query=query))

    def text(self, path: str, **query: Any) -> str:
        """What is behind a path, as it is."""
        return self._send("GET", path, query=query).text

    def post(self, path: str, body: Any = None, *, read_s: float = READ_S) -> Any:
        """Send JSON and get JSON; None when the answer is empty."""
        return self._json(self._send("POST", path, body=body, read_s=read_s))

    def delete(self, path: str) -> None:
        """Remove what is behind a path."""
        self._send("DELETE", path)

    @contextmanager
    def stream(self, path: str, body: Any) -> Iterator[Reply]:
        """Send JSON and read server-sent events for as long as they come; an error among them is raised."""
        timeout = httpx.Timeout(None, connect=CONNECT_S)
        try:
            with self._http.stream("POST", path, json=body, timeout=timeout) as response:
                if response.is_error:
                    response.read()
                    raise self._refusal(response)
                yield Reply(response.headers.get(RUN_ID_HEADER), self._checked(response))
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error

    def _checked(self, response: httpx.Response) -> Iterator[dict[str, Any]]:
        for event in read_events(response.iter_lines()):
            if isinstance(event.get("error"), dict):
                raise self._explained(event["error"], HTTPStatus.OK)
            yield event

    def _send(
        self, method: str, path: str, *, query: Mapping[str, Any] | None = None, body: Any = None, read_s: float = READ_S
    ) -> httpx.Response:
        given = {name: value for name, value in (query or {}).items() if value is not None}
        timeout = httpx.Timeout(read_s, connect=CONNECT_S)
        try:
            response = self._http.request(method, path, params=given or None, json=body, timeout=timeout)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        except httpx.InvalidURL as error:
            raise UnavailableError(f"{self.url!r} is not a URL", hint="write --url http://127.0.0.1:8080") from error
        if response.is_error:
            raise self._refusal(response)
        return response

    def _json(self, response: httpx.Response) -> Any:
        if not response.content:
            return None
        try:
            return response.json()
        except ValueError as error:
            raise UnavailableError(f"{response.url} does not answer with JSON", hint="is --url a ToolOrchestra?") from error

    def _refusal(self, response: httpx.Response) -> RemoteError:
        try:
            body = response.json()["error"]
        except (ValueError, KeyError, TypeError):
            body = {"message": f"{response.url} answered {response.status_code} {response.reason_phrase}"}
        return self._explained(body if isinstance(body, dict) else {"message": str(body)}, response.status_code)

    def _explained(self, body: Mapping[str, Any], status: int) -> RemoteError:
        code = body.get("code")
        return RemoteError(
            str(body.get("message") or "the platform refused the request"),
            status=status,
            remote_code=code,
            hint=self._hint(code, status),
        )

    def _hint(self, code: str | None, status: int) -> str | None:
        if self._credential == KUBECONFIG:
            return None  # the platform's own message says which right or audience is missing
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN) and self._credential != API_KEY:
            return f"the {self._credential} is not accepted; name its file with --admin-token-file"
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR and self._logs:
            return f"see {self._logs}"
        return _HINTS.get(code or "")

    def _unreachable(self, error: httpx.HTTPError) -> UnavailableError:
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            return UnavailableError(f"nothing answers at {self.url}", hint="start it with `toolorchestra up`, or correct --url")
        if isinstance(error, httpx.TimeoutException):
            return UnavailableError(f"{self.url} did not answer in time", hint=self._logs and f"see {self._logs}")
        if isinstance(error, httpx.UnsupportedProtocol):
            return UnavailableError(f"{self.url!r} is not a URL", hint="write --url http://127.0.0.1:8080")
        return UnavailableError(f"the connection to {self.url} broke: {error}", hint=self._logs and f"see {self._logs}")


def is_loopback(url: str) -> bool:
    """Whether a URL leads to this machine itself."""
    host = httpx.URL(url).host
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
