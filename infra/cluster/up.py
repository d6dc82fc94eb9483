"""Brings the node up, step by step; each can be done again, so what was interrupted is continued."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from infra.cluster import kserve, kueue, machine, record
from infra.cluster.build import Store
from infra.cluster.node import Node, free_networks
from infra.cluster.recipes import NODE, WITH_KUEUE
from infra.cluster.record import Record
from infra.cluster.steps import ClusterError, step
from infra.cluster.teardown import down, is_running


def up(folder: Path, store: Store, *, images: Sequence[Path] = (), with_kueue: bool = False) -> Node:
    """From nothing, or from where it stopped, to a node with KServe; ``images`` are OCI archives for it."""
    machine.require_node_host()
    store.build([*NODE, *(WITH_KUEUE if with_kueue else ())])
    node = Node(folder, store)
    noted = record.load()
    if noted and is_running(noted) and Path(noted.folder) != folder:
        raise ClusterError(f"a node is already there, kept in {noted.folder}: end it first with 'make cluster-down'")
    if noted and not is_running(noted):
        print("removing what an earlier node left")
        down(Path(noted.folder))
        noted = None
    if not noted:
        _start(node)
    _finish(node, images, with_kueue=with_kueue)
    return node


def _start(node: Node) -> None:
    free_networks()
    noted = Record(str(node.folder))
    noted.save()
    with step("keys, settings and network"):
        node.prepare(noted)
    node.start(noted)


def _finish(node: Node, images: Iterable[Path], *, with_kueue: bool) -> None:
    with step("containerd and its first images"):
        node.load_own_images()
    with step("API server"):
        node.wait_for_api()
    with step("node"):
        node.wait_until_ready()
        node.install_basics()
    kserve.install(node)
    if with_kueue:
        kueue.install(node)
    for archive in images:
        with step(f"loading {archive.name}"):
            node.load([archive])
    with step("CoreDNS"):
        node.wait_for_deployment("kube-system", "coredns")
