"""Where secret values come from when a request is sent: the environment, or ``kind: Secret`` manifests on a laptop.

Values are handed to whoever sends and kept nowhere else; no message here ever contains one.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from toolorchestra.core.calls import SecretReader
from toolorchestra.core.errors import InvalidManifestError, NotFoundError
from toolorchestra.core.resources.meta import DEFAULT_NAMESPACE

_NOT_A_NAME: Final = re.compile(r"[^A-Z0-9]+")


class EnvironmentSecrets:
    """Reads Secret ``openai``, key ``api-key`` from the variable ``OPENAI_API_KEY``; namespaces share the environment."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    async def read(self, namespace: str, name: str, key: str) -> str:
        variable = variable_for(name, key)
        value = self._environ.get(variable)
        if not value:
            raise _missing(namespace, name, key, hint=f"set the environment variable {variable}")
        return value


class ManifestSecrets:
    """Reads the values of ``kind: Secret`` manifests: ``stringData`` as written, ``data`` from base64."""

    def __init__(self, documents: Iterable[Mapping[str, Any]] = ()) -> None:
        self._values: dict[tuple[str, str], dict[str, str]] = {}
        self.load(documents)

    def load(self, documents: Iterable[Mapping[str, Any]]) -> None:
        """Take these manifests instead of the earlier ones. Raises InvalidManifestError and keeps the earlier ones."""
        values: dict[tuple[str, str], dict[str, str]] = {}
        for document in documents:
            where, found = read_secret(document)
            values.setdefault(where, {}).update(found)
        self._values = values

    async def read(self, namespace: str, name: str, key: str) -> str:
        value = self._values.get((namespace, name), {}).get(key)
        if not value:
            raise _missing(namespace, name, key, hint=f"add a manifest of kind Secret with stringData.{key}")
        return value


class ChainedSecrets:
    """Asks several readers in turn; the first that has the value gives it."""

    def __init__(self, *readers: SecretReader) -> None:
        self._readers = readers

    async def read(self, namespace: str, name: str, key: str) -> str:
        hints: list[str] = []
        for reader in self._readers:
            try:
                return await reader.read(namespace, name, key)
            except NotFoundError as error:
                hints.append(error.hint or str(error))
        raise _missing(namespace, name, key, hint=", or ".join(hints) or "no place for secrets is configured")


def variable_for(name: str, key: str) -> str:
    """The environment variable of a secret's key: upper case, everything but letters and digits as ``_``."""
    return _NOT_A_NAME.sub("_", f"{name}_{key}".upper())


def read_secret(document: Mapping[str, Any]) -> tuple[tuple[str, str], dict[str, str]]:
    """``((namespace, name), values)`` of a Secret manifest. Raises InvalidManifestError, which shows no value."""
    metadata = document.get("metadata")
    if not isinstance(metadata, Mapping) or not isinstance(metadata.get("name"), str):
        raise InvalidManifestError("Secret: metadata.name is missing", param="metadata.name")
    name = metadata["name"]
    values = {key: _decoded(name, key, text) for key, text in _texts(document, name, "data").items()}
    values.update(_texts(document, name, "stringData"))
    return (metadata.get("namespace") or DEFAULT_NAMESPACE, name), values


def _texts(document: Mapping[str, Any], name: str, field: str) -> dict[str, str]:
    found = document.get(field) or {}
    if not isinstance(found, Mapping):
        raise InvalidManifestError(f"Secret {name!r}: {field} must be a mapping of texts", param=field)
    for key, value in found.items():
        if not isinstance(value, str):
            raise InvalidManifestError(
                f"Secret {name!r}: {field}.{key} is not a text", param=f"{field}.{key}", hint="put it in quotes"
            )
    return dict(found)


def _decoded(name: str, key: str, text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        # The cause is not chained: it would carry the value.
        raise InvalidManifestError(
            f"Secret {name!r}: data.{key} is not base64 of a text",
            param=f"data.{key}",
            hint="write plain text under stringData instead",
        ) from None


def _missing(namespace: str, name: str, key: str, *, hint: str) -> NotFoundError:
    return NotFoundError(f"the Secret {name!r} with key {key!r} was not found in namespace {namespace!r}", hint=hint)
