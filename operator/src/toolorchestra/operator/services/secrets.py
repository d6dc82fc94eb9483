"""Whether the secrets that a resource names can be read, and what to do when not. Values are looked at and let go."""

from collections.abc import Mapping
from typing import Final

from toolorchestra.core.calls import SecretReader
from toolorchestra.core.errors import NotFoundError
from toolorchestra.core.resources import SecretKeyRef
from toolorchestra.kit.cluster_secrets import SecretForbiddenError
from toolorchestra.operator.plan import Condition, State

SECRETS_READABLE: Final = "SecretsReadable"


class SecretCheck:
    """Looks secrets up by name, as whoever sends them will."""

    def __init__(self, secrets: SecretReader) -> None:
        self._secrets = secrets

    async def check(self, namespace: str, refs: Mapping[str, SecretKeyRef]) -> Condition | None:
        """The condition SecretsReadable; None for a resource without secrets. ``refs`` by the paths of their fields.

        Raises UnavailableError.
        """
        for path, ref in refs.items():
            try:
                await self._secrets.read(namespace, ref.name, ref.key)
            except SecretForbiddenError as error:
                return Condition(SECRETS_READABLE, State.FALSE, "SecretForbidden", f"{path}: {error}")
            except NotFoundError as error:
                return Condition(SECRETS_READABLE, State.FALSE, "SecretMissing", f"{path}: {error}")
        return Condition(SECRETS_READABLE, State.TRUE, "Readable") if refs else None
