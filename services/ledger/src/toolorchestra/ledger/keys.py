"""API keys: ``to_<id>.<secret>``, shown once, kept as a keyed hash, expiring, scoped, with limits under the tenant's."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pydantic import Field
from typing_extensions import override

from toolorchestra.core.errors import InvalidRequestError, NotFoundError, UnauthenticatedError
from toolorchestra.core.functions import Frozen
from toolorchestra.core.resources.budget import BudgetPolicySpec, MoneyLimits, RequestLimits
from toolorchestra.ledger import money
from toolorchestra.ledger.connection import Connection
from toolorchestra.ledger.statements import Step, step

PREFIX: Final = "to_"
SERVICE_ACCOUNT: Final = "sa:"
MIN_PEPPER_BYTES: Final = 16
_TEXT: Final = re.compile(r"^to_([0-9a-f]{16})\.([A-Za-z0-9_-]{43})$")


class KeyLimits(Frozen):
    """Limits of one key; the tenant's hold beside them. Money in USD as decimal strings; None is unlimited."""

    time_zone: str = "UTC"
    limits: MoneyLimits = MoneyLimits()
    requests: RequestLimits = RequestLimits()
    concurrency: int | None = Field(default=None, ge=0)


class Scopes(Frozen):
    """What a key may use: name patterns of models and of tools."""

    models: tuple[str, ...] = ("*",)
    tools: tuple[str, ...] = ("*",)


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A key without its secret."""

    id: str
    tenant: str
    name: str
    scopes: Scopes
    limits: KeyLimits
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key as it is shown, once. ``text`` is the credential."""

    record: KeyRecord
    text: str

    @override
    def __repr__(self) -> str:
        return f"NewKey({self.record.id})"


async def create(
    connection: Connection, tenant: str, *, name: str, pepper: bytes, scopes: Scopes | None = None,
    limits: KeyLimits | None = None, expires_at: datetime | None = None,
) -> NewKey:  # fmt: skip
    """Make a key with an account of its own under the tenant's. Raises InvalidRequestError."""
    limits = _checked(limits or KeyLimits(), name, expires_at)
    identity, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
    values = {
        "key": identity,
        "tenant": tenant,
        "hmac": _digest(secret, pepper),
        "name": name,
        "scopes": (scopes or Scopes()).model_dump_json(),
        "limits": limits.model_dump_json(),
        "expires_at": expires_at,
    }
    row = await connection.row(step("keys", "insert", **values))
    if row is None:
        raise NotFoundError(f"the key of tenant {tenant!r} was not stored")
    await connection.run([_account(tenant, identity, limits)])
    return NewKey(_record(row), f"{PREFIX}{identity}.{secret}")


async def ensure_service_account(connection: Connection, tenant: str, key: str) -> None:
    """Make sure that a service account's key (``sa:name``), whose credential the cluster keeps, has an account."""
    if not key.startswith(SERVICE_ACCOUNT):
        raise InvalidRequestError(f"{key!r} is not a service account", param="key", hint="write sa:<name>")
    await connection.run([_account(tenant, key, KeyLimits())])


async def list_keys(connection: Connection, tenant: str) -> list[KeyRecord]:
    """A tenant's keys, newest first, revoked ones too."""
    rows = await connection.rows(step("keys", "list", tenant=tenant))
    return [_record(row) for row in rows]


async def revoke(connection: Connection, tenant: str, key: str) -> KeyRecord:
    """End a key: its next request and the next hold of its runs are refused. Raises NotFoundError."""
    values = {"tenant": tenant, "key": key, "account": money.key_account(tenant, key)}
    row = await connection.row(step("keys", "revoke", **values))
    if row is None:
        raise NotFoundError(f"there is no key {key!r}", param="key", hint="list keys")
    return _record(row)


async def authenticate(connection: Connection, text: str, *, pepper: bytes) -> KeyRecord:
    """The key that ``text`` proves. Needs the system role. Raises UnauthenticatedError, which never repeats the text."""
    match = _TEXT.match(text)
    if match is None:
        raise UnauthenticatedError("this is not an API key", hint="send Authorization: Bearer to_<id>.<secret>")
    row = await connection.row(step("keys", "find", key=match[1]))
    given = _digest(match[2], pepper)
    known = bytes(row["hmac"]) if row else bytes(len(given))
    if not hmac.compare_digest(given, known) or row is None:
        raise UnauthenticatedError("the API key is unknown", hint="create one with `toolorchestra keys create`")
    if row["revoked_at"] is not None:
        raise UnauthenticatedError("the API key was revoked", hint="create another one")
    if row["expired"]:
        raise UnauthenticatedError("the API key has expired", hint="create another one")
    if row["stale"]:
        await connection.row(step("keys", "touch", key=match[1]))
    return _record(row)


def _checked(limits: KeyLimits, name: str, expires_at: datetime | None) -> KeyLimits:
    if not name.strip():
        raise InvalidRequestError("a key needs a name", param="name")
    if expires_at is not None and expires_at.tzinfo is None:
        raise InvalidRequestError("the expiry needs a time zone", param="expiresAt", hint="write 2030-01-31T00:00:00Z")
    try:
        BudgetPolicySpec(time_zone=limits.time_zone)
    except ValueError as error:
        raise InvalidRequestError(
            f"{limits.time_zone!r} is not an IANA time zone", param="limits.timeZone", hint='write "Europe/Berlin"'
        ) from error
    return limits


def _account(tenant: str, key: str, limits: KeyLimits) -> Step:
    return money.open_account(money.key_account(tenant, key), tenant, rank=1, limits=money.limits_of(limits))


def _digest(secret: str, pepper: bytes) -> bytes:
    if len(pepper) < MIN_PEPPER_BYTES:
        raise InvalidRequestError(
            f"the pepper has fewer than {MIN_PEPPER_BYTES} bytes", param="pepper", hint="set a random secret of 32 bytes"
        )
    return hmac.new(pepper, secret.encode(), hashlib.sha256).digest()


def _record(row: Mapping[str, Any]) -> KeyRecord:
    return KeyRecord(
        id=row["id"],
        tenant=row["tenant"],
        name=row["name"],
        scopes=Scopes.model_validate(row["scopes"]),
        limits=KeyLimits.model_validate(row["limits"]),
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
        last_used_at=row["last_used_at"],
    )
