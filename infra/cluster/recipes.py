"""What the cluster is made of: every part with its version, its Go module and how it is built from it."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

KUBERNETES: Final = "1.35.4"
ETCD: Final = "3.6.16"
COREDNS: Final = "1.14.5"
KSERVE: Final = "0.20.0"
KUEUE: Final = "0.15.2"
HELM: Final = "3.22.0"

FILES: Final = Path(__file__).with_name("files")


@dataclass(frozen=True)
class Recipe:
    """One part of the cluster.

    ``package`` is what is built: ``./…`` inside of the module itself, where the module's own replacements of its
    dependencies hold; another import path, or with ``program`` a main function of ours, in a module that requires it. Without
    a package nothing is built. ``files`` are patterns of files of the module that are kept beside the program. With
    ``staging`` the modules that Kubernetes is published in are taken at the version that belongs to it.
    """

    name: str
    version: str
    module: str = ""
    package: str = ""
    program: str = ""
    values: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    staging: bool = False

    @property
    def in_place(self) -> bool:
        return self.package.startswith("./")

    @property
    def source(self) -> str:
        """The text of our own main function, if it has one."""
        return (FILES / self.program).read_text(encoding="utf-8") if self.program else ""

    @property
    def folder(self) -> str:
        """The name of the folder that it is kept in: another version or another way to build it is another folder."""
        digest = hashlib.sha256(f"{self!r}{self.source}".encode()).hexdigest()
        return f"{self.name}-{self.version}-{digest[:8]}"


def _kubernetes(name: str) -> Recipe:
    major, minor, _ = KUBERNETES.split(".")
    values = {"gitVersion": f"v{KUBERNETES}", "gitMajor": major, "gitMinor": minor}
    return Recipe(
        name,
        KUBERNETES,
        "k8s.io/kubernetes",
        f"k8s.io/kubernetes/cmd/{name}",
        values=tuple(f"k8s.io/component-base/version.{key}={value}" for key, value in values.items()),
        staging=True,
    )


def _all() -> Iterator[Recipe]:
    """In the order in which they are built: what most people wait for comes first."""
    yield Recipe("etcd", ETCD, "go.etcd.io/etcd/server/v3", ".", program="etcd.go")
    yield from map(_kubernetes, ("kubectl", "kube-apiserver"))
    helm_version = f"helm.sh/helm/v3/internal/version.version=v{HELM}"
    yield Recipe("helm", HELM, "helm.sh/helm/v3", "./cmd/helm", values=(helm_version,))
    yield from map(_kubernetes, ("kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy"))
    yield Recipe("pause", "1", package=".", program="pause.go")
    yield Recipe("coredns", COREDNS, "github.com/coredns/coredns", ".", program="coredns.go")
    kserve = "github.com/kserve/kserve"
    yield Recipe(
        "kserve-manifests", KSERVE, kserve, files=(f"install/v{KSERVE}/kserve.yaml", f"install/v{KSERVE}/kserve-crds.yaml")
    )
    yield Recipe("kserve-manager", KSERVE, kserve, "./cmd/manager")
    kueue = "sigs.k8s.io/kueue"
    yield Recipe("kueue-chart", KUEUE, kueue, files=("charts/kueue/**/*", "config/components/crd/bases/*.yaml"))
    yield Recipe("kueue", KUEUE, kueue, "./cmd/kueue")


RECIPES: Final = {recipe.name: recipe for recipe in _all()}

CONTROL_PLANE: Final = ("etcd", "kubectl", "kube-apiserver", "kube-controller-manager")
NODE: Final = (
    *CONTROL_PLANE,
    "helm",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "pause",
    "coredns",
    "kserve-manifests",
    "kserve-manager",
)
WITH_KUEUE: Final = ("kueue-chart", "kueue")
