"""A cluster by kind, where a Docker engine runs: the usual way, with KServe left to its own installer."""

from pathlib import Path
from typing import Final

from infra.cluster.steps import run, step, succeeds

NAME: Final = "toolorchestra"


def up(folder: Path) -> Path:
    """Create the cluster unless it is there, and return its kubeconfig."""
    print("Docker and kind are here, so kind makes the cluster; this way is tried less than the node without Docker")
    folder.mkdir(parents=True, exist_ok=True)
    kubeconfig = folder / "kind.kubeconfig"
    if NAME not in _clusters():
        with step("kind"):
            run("kind", "create", "cluster", "--name", NAME, "--wait", "120s", "--kubeconfig", kubeconfig)
    run("kind", "export", "kubeconfig", "--name", NAME, "--kubeconfig", kubeconfig)
    print(f"KServe is not installed here; images come by: kind load docker-image IMAGE --name {NAME}")
    return kubeconfig


def down(folder: Path) -> bool:
    """Delete the cluster; false when there is none by kind."""
    if not succeeds("kind", "version") or NAME not in _clusters():
        return False
    with step("kind"):
        run("kind", "delete", "cluster", "--name", NAME)
    (folder / "kind.kubeconfig").unlink(missing_ok=True)
    return True


def _clusters() -> list[str]:
    return run("kind", "get", "clusters").split()
