"""A real node for tests: this machine, as root, for as long as a block lasts and not longer, however it ends."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from infra.cluster.images import Image
from infra.cluster.machine import install
from infra.cluster.node import Node
from infra.cluster.recipes import NODE, WITH_KUEUE
from infra.cluster.up import up
from tests.support.cluster import cluster_store

ROOT = Path(__file__).parents[2]
BUSYBOX = Path("/bin/busybox")


@contextmanager
def node(*, images: Sequence[Path] = (), with_kueue: bool = False) -> Iterator[Node]:
    """A node with CoreDNS and KServe, and with ``images``, which are OCI archives; about 20 s. There is one per machine.

    Who takes it down is another process, which waits for this one to let go of a pipe: that it also does when it is killed.
    """
    if os.geteuid() != 0:
        pytest.skip("a node needs root")
    store = cluster_store(*NODE, *(WITH_KUEUE if with_kueue else ()))
    with tempfile.TemporaryDirectory(prefix="to-node-", ignore_cleanup_errors=True) as scratch:
        folder = Path(scratch) / "node"
        guard = [sys.executable, "-m", "infra.cluster", "--folder", str(folder), "guard"]
        # It says nothing: where it would say it may be gone by then.
        with subprocess.Popen(
            guard, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        ) as guarding:
            try:
                yield up(folder, store, images=images, with_kueue=with_kueue)
            finally:
                guarding.communicate()


def busybox_image(name: str, pages: dict[str, str]) -> Image:
    """A web server on port 8080 that answers with ``pages``; the paths need not be files' names."""
    if not BUSYBOX.exists():
        install(["busybox-static"])
    return Image(
        name,
        files={"/bin/busybox": BUSYBOX},
        texts={f"/www{path}": text for path, text in pages.items()},
        links={f"/bin/{tool}": "/bin/busybox" for tool in ("sh", "nc", "sleep", "nslookup", "cat")},
        config={
            "Entrypoint": ["/bin/busybox", "httpd", "-f", "-p", "8080", "-h", "/www"],
            "User": "65532:65532",
            "Env": ["PATH=/bin"],
        },
    )
