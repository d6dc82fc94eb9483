"""The charts as real Helm renders them."""

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from infra.cluster.recipes import KUBERNETES
from tests.support.cluster import cluster_store

ROOT: Final = Path(__file__).resolve().parents[2]
CHART: Final = ROOT / "charts" / "toolorchestra"
CRD_CHART: Final = ROOT / "charts" / "toolorchestra-crds"
CI: Final = sorted(CHART.glob("ci/*-values.yaml"))
OURS: Final = "toolorchestra.dev/v1alpha1"
MONITORING: Final = "monitoring.coreos.com/v1"
POD_KINDS: Final = ("Pod", "Job", "Deployment", "StatefulSet")


class HelmError(Exception):
    """What Helm said."""


@dataclass(frozen=True)
class Helm:
    """Helm, with a home of its own. ``kubeconfig`` is for commands that speak to a cluster."""

    program: Path
    home: Path
    kubeconfig: Path | None = None

    def __call__(self, *arguments: str | Path, stdin: str = "") -> str:
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(self.home)}
        if self.kubeconfig:
            environment["KUBECONFIG"] = str(self.kubeconfig)
        done = subprocess.run(
            [self.program, *arguments], input=stdin, env=environment, text=True, capture_output=True, check=False
        )
        if done.returncode:
            raise HelmError(done.stderr + done.stdout)
        return done.stdout

    def render(
        self, values: Mapping[str, Any] | Path | None = None, *, release: str = "toolorchestra", apis: Sequence[str] = (OURS,)
    ) -> "Rendered":
        """The chart's objects in the namespace `platform`. Raises HelmError."""
        given = [f"--values={values}"] if isinstance(values, Path) else ["--values=-"]
        known = [f"--api-versions={api}" for api in apis]
        text = self(
            *("template", release, CHART, "--namespace=platform", f"--kube-version={KUBERNETES}"),
            *(*known, *given),
            stdin="" if isinstance(values, Path) else json.dumps(values or {}),
        )
        return Rendered(tuple(document for document in yaml.safe_load_all(text) if document))


@dataclass(frozen=True)
class Rendered:
    """Objects by kind and name."""

    objects: tuple[Mapping[str, Any], ...]

    def of(self, kind: str) -> dict[str, Mapping[str, Any]]:
        return {item["metadata"]["name"]: item for item in self.objects if item["kind"] == kind}

    def one(self, kind: str, name: str) -> Mapping[str, Any]:
        return self.of(kind)[name]

    def pods(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """(component, pod) of everything that makes pods."""
        for item in self.objects:
            if item["kind"] in POD_KINDS:
                pod = item if item["kind"] == "Pod" else item["spec"]["template"]
                yield pod["metadata"]["labels"]["app.kubernetes.io/component"], pod


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Helm without a cluster."""
    return Helm(cluster_store("helm").program("helm"), tmp_path_factory.mktemp("helm"))
