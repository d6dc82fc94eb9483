"""Takes the node down: nothing that it made stays on the machine."""

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from infra.cluster import processes, record
from infra.cluster.node import BRIDGE, MARKER, NFT_TABLE
from infra.cluster.record import Record
from infra.cluster.steps import ClusterError, run, step, succeeds, wait_for

CGROUPS: Final = Path("/sys/fs/cgroup")
# The container runtime's own and the one that kubelet makes beside it.
_CGROUP_NAMES: Final = ("k8s.io", "kubepods")
_NFT_TABLES: Final = (("ip", "kube-proxy"), ("ip6", "kube-proxy"), ("ip", NFT_TABLE))


def down(folder: Path) -> None:
    """End the node that is kept in ``folder`` and remove what it left; nothing to do is no error."""
    noted = record.load()
    if noted and Path(noted.folder) != folder:
        raise ClusterError(f"the node on this machine is kept in {noted.folder}: add --folder {noted.folder}")
    if noted and os.geteuid() != 0:
        raise ClusterError("the node was started by root: sudo make cluster-down")
    if noted:
        with step("ending the node's processes"):
            _end(noted)
        with step("removing network, cgroups and settings"):
            _remove_network()
            _remove_cgroups()
            _put_back(noted)
    if (noted and folder.exists()) or (folder / MARKER).exists():
        with step(f"deleting {folder}"):
            shutil.rmtree(folder)
    if noted:
        noted.forget()


def is_running(noted: Record) -> bool:
    return noted.pid > 0 and processes.started(noted.pid) == noted.started


def _end(noted: Record) -> None:
    """With the first process of the namespaces the kernel ends every other and undoes every mount."""
    if not is_running(noted):
        return
    inside = processes.children(noted.pid)
    for pid in [*inside, noted.pid]:
        processes.kill(pid)
    wait_for("the node's processes have ended", lambda: not any(map(processes.started, [*inside, noted.pid])), seconds=30)


def _remove_network() -> None:
    for family, table in _NFT_TABLES:
        if succeeds("nft", "list", "table", family, table):
            run("nft", "delete", "table", family, table)
    if succeeds("ip", "link", "show", BRIDGE):
        run("ip", "link", "delete", BRIDGE)


def _remove_cgroups() -> None:
    """The kernel needs a moment after a process's end before its group can go; groups that others use stay."""
    for _ in range(20):
        if not [group for group in list(_cgroups()) if not _remove_empty(group)]:
            return
        time.sleep(0.1)


def _cgroups() -> Iterator[Path]:
    """The groups of containers, inner ones first, in every hierarchy."""
    for top in (CGROUPS, *(path for path in CGROUPS.iterdir() if path.is_dir())):
        for name in _CGROUP_NAMES:
            inner = [path for path in (top / name).rglob("*") if path.is_dir()]
            yield from sorted(inner, reverse=True)
            if (top / name).is_dir():
                yield top / name


def _remove_empty(group: Path) -> bool:
    try:
        group.rmdir()
    except OSError:
        return False
    return True


def _put_back(noted: Record) -> None:
    for path, value in noted.settings.items():
        Path(path).write_text(value, encoding="utf-8")
    for path in reversed(noted.made):
        _remove_empty(Path(path))
