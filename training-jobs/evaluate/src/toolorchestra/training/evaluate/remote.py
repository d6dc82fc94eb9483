"""Requests to a platform: JSON over HTTP, with its refusals told apart from its failures."""

from dataclasses import dataclass
from typing import Any, Final

import httpx

from toolorchestra.core.errors import UpstreamError

REQUEST_S: Final = 900.0
OWN: Final = "platform"  # one that is started for an evaluation is always the same


@dataclass(frozen=True, slots=True)
class Address:
    """A platform and the key to it. ``own``: it was started for this evaluation, on whatever port is free."""

    url: str
    key: str
    own: bool = False

    @property
    def name(self) -> str:
        """What tells it from others in the keys of records."""
        return OWN if self.own else self.url.rstrip("/")


class RefusedError(UpstreamError):
    """The platform refused a request; ``remote`` is its own code."""

    def __init__(self, message: str, *, remote: str) -> None:
        super().__init__(message)
        self.remote = remote


def client_of(address: Address, width: int) -> httpx.AsyncClient:
    """Requests to a platform, so many at once; a connection each, so that they are spread over its replicas."""
    limits = httpx.Limits(max_connections=width + 2, max_keepalive_connections=0)
    headers = {"authorization": f"Bearer {address.key}"}
    return httpx.AsyncClient(base_url=address.url, headers=headers, timeout=REQUEST_S, limits=limits)


async def ask(client: httpx.AsyncClient, method: str, path: str, body: Any = None) -> Any:
    """The reply's JSON. Raises RefusedError, and UpstreamError where there is no reply."""
    try:
        response = await client.request(method, path, json=body)
        found = response.json()
    except (httpx.HTTPError, ValueError) as error:
        raise UpstreamError(f"{method} {path}: {type(error).__name__}: {error}", hint="look at the platform's log") from error
    if response.is_error:
        problem = found.get("error") if isinstance(found, dict) else None
        problem = problem if isinstance(problem, dict) else {}
        raise RefusedError(str(problem.get("message") or response.status_code), remote=str(problem.get("code")))
    return found
