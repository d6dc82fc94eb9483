"""Secrets from manifest folders, read again when a file has changed, so that a new value needs no restart."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import structlog
from typing_extensions import override

from toolorchestra.core.calls import SecretReader
from toolorchestra.core.errors import InvalidManifestError
from toolorchestra.kit.manifests import Manifests, read_folders
from toolorchestra.kit.secrets import ManifestSecrets, read_secret

logger = structlog.get_logger(__name__)


class FolderSecrets(SecretReader):
    """The ``kind: Secret`` manifests below some folders. A broken one does not hide the others."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = tuple(folder.resolve() for folder in folders)
        self._manifests = Manifests()
        self._secrets = ManifestSecrets()

    @override
    async def read(self, namespace: str, name: str, key: str) -> str:
        found = await asyncio.to_thread(read_folders, self._folders, self._manifests)
        if found is not self._manifests:
            self._manifests = found
            self._secrets.load([document for document in found.secrets if _is_good(document)])
        return await self._secrets.read(namespace, name, key)


def _is_good(document: Mapping[str, Any]) -> bool:
    try:
        read_secret(document)
    except InvalidManifestError as error:
        logger.warning("secret_unreadable", reason=str(error))
        return False
    return True
