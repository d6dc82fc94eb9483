"""Secrets of a cluster: read from the API server by name, in the resource's own namespace, when a request is sent.

Nothing is listed or watched. Who may read what is the tenant's decision: it binds one ClusterRole in its namespace.
"""

import asyncio
import base64
import binascii
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from toolorchestra.core.errors import ForbiddenError, NotFoundError, UnauthenticatedError, UnavailableError, UpstreamError
from toolorchestra.kit.claims import read_claims
from toolorchestra.kit.kubernetes import SECRETS, KubernetesApi

FRESH_S: Final = 10.0  # a changed value is used within this time
ABSENT_S: Final = 2.0  # a missing one is looked for again after this time
AWAY_S: Final = 900.0  # a known value is used on for so long while the API server cannot be reached
MOST: Final = 10_000
READER_ROLE: Final = "toolorchestra-secret-reader"
POD_FOLDER: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class SecretForbiddenError(NotFoundError):
    """The tenant has not let the platform read its Secrets. For a caller the value is not there."""

    code = "secret_forbidden"


@dataclass(frozen=True, slots=True)
class _Read:
    """The values of one Secret, or why there are none."""

    at: float
    values: Mapping[str, str]  # base64, as the server keeps them
    allowed: bool = True
    there: bool = True

    @property
    def is_good(self) -> bool:
        return self.allowed and self.there

    @property
    def fresh_s(self) -> float:
        return FRESH_S if self.is_good else ABSENT_S


class ClusterSecrets:
    """Implements ``core.calls.SecretReader``. ``readers``: ``namespace:serviceaccount`` of whoever reads, for messages.

    A Secret is asked for at most once in ``FRESH_S``, however many calls need it.
    """

    def __init__(self, api: KubernetesApi, *, readers: Sequence[str] = ()) -> None:
        self._api = api
        self._readers = tuple(readers) or _own_account(POD_FOLDER)
        self._known: dict[tuple[str, str], _Read] = {}
        self._asking: dict[tuple[str, str], asyncio.Lock] = {}

    async def read(self, namespace: str, name: str, key: str) -> str:
        """The value. Raises NotFoundError (SecretForbiddenError for want of a binding) with the command that helps."""
        found = await self._secret(namespace, name)
        if not found.allowed:
            raise self._forbidden(namespace, name)
        value = found.values.get(key)
        if not value:
            raise _missing(namespace, name, key, there=found.there)
        return _text(value, namespace, name, key)

    async def _secret(self, namespace: str, name: str) -> _Read:
        where = (namespace, name)
        async with self._asking.setdefault(where, asyncio.Lock()):
            known = self._known.get(where)
            age = time.monotonic() - known.at if known else 0.0
            if known is not None and age < known.fresh_s:
                return known
            try:
                found = await self._ask(namespace, name)
            except (UpstreamError, UnavailableError, UnauthenticatedError) as error:
                if known is None or not known.is_good or age > AWAY_S:
                    raise UnavailableError(f"Secrets cannot be read now: {error.message}", hint=error.hint) from error
                return known
            if len(self._known) >= MOST:
                self._known.clear()
                self._asking.clear()
            self._known[where] = found
            return found

    async def _ask(self, namespace: str, name: str) -> _Read:
        now = time.monotonic()
        try:
            found = await self._api.get(SECRETS, name, namespace=namespace)
        except ForbiddenError:
            return _Read(now, {}, allowed=False)
        return _Read(now, found.get("data") or {}) if found is not None else _Read(now, {}, there=False)

    def _forbidden(self, namespace: str, name: str) -> SecretForbiddenError:
        return SecretForbiddenError(
            f"the Secret {name!r} in namespace {namespace!r} may not be read by the platform",
            hint=f"let it: {binding_command(namespace, self._readers)}",
        )


class NoSecrets:
    """A ``SecretReader`` for a process that is kept from all of them: the sandbox worker of a cluster."""

    async def read(self, namespace: str, name: str, key: str) -> str:
        raise NotFoundError(
            f"the Secret {name!r} with key {key!r} in namespace {namespace!r} is not available in the sandbox",
            hint="a tool with secrets needs spec.execution: queued or inline",
        )


def binding_command(namespace: str, readers: Sequence[str]) -> str:
    """What a tenant's administrator runs to let the platform read the Secrets of a namespace."""
    accounts = readers or ("<platform-namespace>:<serviceaccount>",)
    subjects = " ".join(f"--serviceaccount={account}" for account in accounts)
    return f"kubectl create rolebinding {READER_ROLE} --namespace {namespace} --clusterrole={READER_ROLE} {subjects}"


def _missing(namespace: str, name: str, key: str, *, there: bool) -> NotFoundError:
    create = f"kubectl create secret generic {name} --namespace {namespace} --from-literal={key}=…"
    add = f"kubectl edit secret {name} --namespace {namespace}"
    what = f"the Secret {name!r} has no key {key!r}" if there else f"the Secret {name!r} with key {key!r} was not found"
    return NotFoundError(f"{what} in namespace {namespace!r}", hint=add if there else create)


def _text(value: str, namespace: str, name: str, key: str) -> str:
    try:
        return base64.b64decode(value, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        # The cause is not chained: it would carry the value.
        raise NotFoundError(
            f"the key {key!r} of the Secret {name!r} in namespace {namespace!r} is not text", hint="store UTF-8 text"
        ) from None


def _own_account(folder: Path) -> tuple[str, ...]:
    """The ServiceAccount of this pod, from its own token; nothing outside of a pod."""
    try:
        claims = read_claims((folder / "token").read_text())
    except OSError:
        return ()
    subject = str(claims.get("sub", ""))
    account = subject.removeprefix("system:serviceaccount:")
    return (account,) if account != subject else ()
