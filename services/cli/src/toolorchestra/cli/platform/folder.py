"""The state folder of a platform on this machine: what lies where, and the secrets that are drawn once."""

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from toolorchestra.cli.embedded.parts import private_folder, write_private

API_URL_NAME: Final = "api"  # under which a platform announces its address once it is ready
SECRET_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class StateFolder:
    """Names of what is under one folder. Secrets are files that only their owner can read."""

    root: Path

    @property
    def postgres(self) -> Path:
        return self.root / "postgres"

    @property
    def valkey(self) -> Path:
        return self.root / "valkey"

    @property
    def traces(self) -> Path:
        return self.root / "traces"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def manifests(self) -> Path:
        """Manifests that the command writes; people's own lie elsewhere."""
        return self.root / "manifests"

    @property
    def status_file(self) -> Path:
        return self.root / "status.json"

    @property
    def admin_token_file(self) -> Path:
        return self.root / "secrets" / "admin-token"

    @property
    def key_pepper_file(self) -> Path:
        return self.root / "secrets" / "key-pepper"

    @property
    def api_key_file(self) -> Path:
        return self.root / "secrets" / "api-key"

    @property
    def ready(self) -> Path:
        """Files by which parts without an address say that they are ready."""
        return self.root / "ready"

    def ready_file(self, part: str) -> Path:
        return self.ready / part

    def prepare(self) -> None:
        """Create the folders, and the secrets that are not there yet. Parts that were killed left files that are not true."""
        private_folder(self.root)
        for folder in (self.manifests, self.traces, self.logs, self.ready, self.admin_token_file.parent):
            private_folder(folder)
        for file in self.ready.iterdir():
            file.unlink()
        for file in (self.admin_token_file, self.key_pepper_file):
            if not file.exists():
                write_private(file, secrets.token_urlsafe(SECRET_BYTES))

    def admin_token(self) -> str | None:
        return _read(self.admin_token_file)

    def api_key(self) -> str | None:
        """The ready-made key, once it was created."""
        return _read(self.api_key_file)

    def keep_api_key(self, key: str) -> None:
        write_private(self.api_key_file, key)


def _read(file: Path) -> str | None:
    try:
        return file.read_text().strip() or None
    except OSError:
        return None
