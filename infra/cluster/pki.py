"""Makes the cluster's keys, certificates, tokens and kubeconfigs with openssl; what is there already is kept."""

import base64
import os
import secrets
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

from infra.cluster.steps import run

_DAYS: Final = "3650"
_NEW_KEY: Final = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


@dataclass(frozen=True)
class Authority:
    """A certificate authority, kept in ``folder`` as ``<name>.crt`` and ``<name>.key``."""

    folder: Path
    name: str

    @property
    def certificate(self) -> Path:
        return self.folder / f"{self.name}.crt"

    @property
    def key(self) -> Path:
        return self.folder / f"{self.name}.key"

    def create(self) -> "Authority":
        if not self.certificate.exists():
            _private_folder(self.folder)
            run(
                "openssl",
                "req",
                "-x509",
                *_NEW_KEY,
                "-days",
                _DAYS,
                "-subj",
                f"/CN={self.name}",
                "-keyout",
                self.key,
                "-out",
                self.certificate,
            )
        return self

    def issue(self, name: str, subject: str, *, usage: str, names: Iterable[str] = ()) -> None:
        """Write ``<name>.crt`` and ``<name>.key``; ``usage`` as openssl names it, ``names`` like ``IP:…`` and ``DNS:…``."""
        target = self.folder / f"{name}.crt"
        if target.exists():
            return
        extensions = [f"extendedKeyUsage={usage}"] + [f"subjectAltName={','.join(names)}" for _ in (1,) if names]
        with tempfile.TemporaryDirectory() as scratch:
            request, extra, draft = (Path(scratch) / part for part in ("request", "extensions", "certificate"))
            extra.write_text("\n".join(extensions), encoding="utf-8")
            run("openssl", "req", *_NEW_KEY, "-subj", subject, "-keyout", self.folder / f"{name}.key", "-out", request)
            signing = ("-CA", self.certificate, "-CAkey", self.key, "-set_serial", f"0x{secrets.token_hex(8)}")
            run("openssl", "x509", "-req", "-in", request, *signing, "-days", _DAYS, "-out", draft, "-extfile", extra)
            target.write_bytes(draft.read_bytes())


def signing_key(folder: Path, name: str) -> None:
    """Write the pair of keys ``<name>.key`` and ``<name>.pub`` that sign and check ServiceAccount tokens."""
    key, public = folder / f"{name}.key", folder / f"{name}.pub"
    if not public.exists():
        run("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key)
        run("openssl", "ec", "-in", key, "-pubout", "-out", public)


@dataclass(frozen=True)
class Identity:
    """Somebody who shows a token to the API server."""

    user: str
    group: str = ""


def tokens(folder: Path, identities: dict[str, Identity]) -> dict[str, str]:
    """The token of each identity, by its short name; also written to ``tokens.csv``, which the API server reads."""
    path = folder / "tokens.csv"
    if not path.exists():
        rows = [f'{secrets.token_hex(20)},{who.user},{name},"{who.group}"\n' for name, who in identities.items()]
        write_private(path, "".join(rows))
    found = (line.split(",") for line in path.read_text(encoding="utf-8").splitlines())
    return {name: token for token, _, name, _ in found}


def kubeconfig(server: str, authority: Path, token: str) -> str:
    """A kubeconfig that holds all it needs."""
    data = base64.b64encode(authority.read_bytes()).decode()
    name = "toolorchestra"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": server, "certificate-authority-data": data}}],
        "users": [{"name": "admin", "user": {"token": token}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": "admin"}}],
        "current-context": name,
    }
    return yaml.safe_dump(config, sort_keys=False)


def write_private(path: Path, text: str) -> None:
    """Replace a file in one step; nobody else can read it at any moment."""
    draft = path.with_name(f".{path.name}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    draft.replace(path)


def _private_folder(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
