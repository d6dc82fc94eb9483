"""Kueue, from the chart of its release: queues with quotas, in front of Jobs."""

from pathlib import Path
from typing import Final

from infra.cluster.images import Image
from infra.cluster.node import Node
from infra.cluster.recipes import KUEUE
from infra.cluster.steps import run, step

NAMESPACE: Final = "kueue-system"
IMAGE: Final = "localhost/kueue"
_VALUES: Final = {
    "image.repository": IMAGE,
    "image.tag": f"v{KUEUE}",
    "image.pullPolicy": "Never",
    "resources.requests.cpu": "10m",
}


def install(node: Node) -> None:
    """Install Kueue and wait until it works; it makes its own certificates."""
    with step(f"Kueue {KUEUE}"):
        config = {"Entrypoint": ["/manager"], "User": "65532:65532"}
        node.load_image(Image(f"{IMAGE}:v{KUEUE}", {"/manager": node.store.program("kueue")}, config=config))
        values = ",".join(f"controllerManager.manager.{key}={value}" for key, value in _VALUES.items())
        chart = node.store.folder("kueue-chart") / "charts/kueue"
        helm(node, "upgrade", "--install", "kueue", chart, "-n", NAMESPACE, "--create-namespace", "--set", values, "--wait")


def helm(node: Node, *arguments: str | Path) -> str:
    """Helm as the administrator, with its own files in the node's folder."""
    # A bare environment: no proxy stands between this machine and itself.
    environment = {"HOME": str(node.folder / "helm"), "KUBECONFIG": str(node.kubeconfig)}
    return run(node.store.program("helm"), *arguments, env=environment)
