"""Builds the parts of the cluster from their Go modules, once, and keeps them by version and recipe.

Everything is under ``$XDG_CACHE_HOME/toolorchestra/cluster``: one folder per part, which appears only when it is complete, and
``go/`` with Go's own caches, which nothing but the next build needs. The user's Go caches are not touched.
"""

import fcntl
import json
import os
import re
import shutil
import signal
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from infra.cluster.recipes import RECIPES, Recipe
from infra.cluster.steps import ClusterError, run, step
from toolorchestra.cli.embedded.leash import leashed

GO_VERSION: Final = (1, 26)
_GO_HOME: Final = Path("/usr/local/go/bin/go")
_STAGING: Final = re.compile(r"(?m)^\s*(k8s\.io/\S+) => \./staging/src/")


def default_cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "toolorchestra" / "cluster"


@dataclass(frozen=True)
class Store:
    """The built parts; ``root`` is the folder that holds them."""

    root: Path

    def folder(self, name: str) -> Path:
        """Where a part is, or will be."""
        return self.root / RECIPES[name].folder

    def program(self, name: str) -> Path:
        return self.folder(name) / name

    def has(self, name: str) -> bool:
        return self.folder(name).is_dir()

    def missing(self, names: Iterable[str]) -> list[str]:
        return [name for name in names if not self.has(name)]

    def build(self, names: Iterable[str]) -> None:
        """Build what is not there yet; another process that builds into the same store is waited for."""
        names = list(names)
        if not self.missing(names):
            return
        go = find_go()
        with self._alone():
            for name in self.missing(names):
                with step(f"building {name} {RECIPES[name].version}"):
                    self._keep(RECIPES[name], go)
        caches = self.root / "go"
        print(f"built parts: {size_of(self.root) - size_of(caches):.1f} GB; Go's caches: {size_of(caches):.1f} GB, "
              "which 'python -m infra.cluster prune' deletes")  # fmt: skip

    def prune(self) -> float:
        """Delete Go's caches and the parts that no recipe names any more; returns the gigabytes freed."""
        before = size_of(self.root)
        with self._alone():
            current = {recipe.folder for recipe in RECIPES.values()} | {"lock"}
            for path in self.root.iterdir():
                if path.name not in current:
                    shutil.rmtree(path)
        return before - size_of(self.root)

    def _keep(self, recipe: Recipe, go: Path) -> None:
        """Make a part under a temporary name and give it its own when it is complete."""
        with tempfile.TemporaryDirectory(prefix="draft-", dir=self.root) as draft:
            result = Path(draft) / "result"
            result.mkdir()
            builder = Builder(go, self.root / "go", Path(draft))
            builder.make(recipe, result)
            result.rename(self.root / recipe.folder)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                with step("waiting for another build"):
                    fcntl.flock(lock, fcntl.LOCK_EX)
            for abandoned in self.root.glob("draft-*"):
                shutil.rmtree(abandoned)
            yield


@dataclass(frozen=True)
class Builder:
    """Makes one part; ``caches`` holds Go's caches, ``scratch`` is an empty folder to work in."""

    go: Path
    caches: Path
    scratch: Path

    def make(self, recipe: Recipe, result: Path) -> None:
        source = self._download(f"{recipe.module}@v{recipe.version}") if recipe.module else self.scratch
        for pattern in recipe.files:
            copy_matching(source, pattern, result)
        if not recipe.package:
            return
        if not recipe.in_place:
            source = self._module_of_ours(recipe, source)
        flags = " ".join(["-s -w", *(f"-X {value}" for value in recipe.values)])
        freedom = [] if recipe.in_place else ["-mod=mod"]
        target = result / recipe.name
        self._run_go("build", *freedom, "-trimpath", "-ldflags", flags, "-o", str(target), recipe.package, cwd=source)

    def _download(self, module: str) -> Path:
        """The folder of a module in the cache, which is read and never changed."""
        said = json.loads(self._run_go("mod", "download", "-json", module, cwd=self.scratch))
        return Path(said["Dir"])

    def _module_of_ours(self, recipe: Recipe, source: Path) -> Path:
        folder = self.scratch / "module"
        folder.mkdir()
        staged = (source / "go.mod").read_text(encoding="utf-8") if recipe.staging else ""
        (folder / "go.mod").write_text(go_mod(recipe, staged), encoding="utf-8")
        if recipe.program:
            (folder / "main.go").write_text(recipe.source, encoding="utf-8")
        return folder

    def _run_go(self, *arguments: str, cwd: Path) -> str:
        # Interrupted, Go ends its compilers and leaves its caches as they must be.
        command = leashed(("nice", str(self.go), *arguments), end=signal.SIGINT)
        return run(*command, cwd=cwd, env=go_environment(os.environ, self.caches), shown=f"go {' '.join(arguments)}")


def go_mod(recipe: Recipe, staged: str) -> str:
    """A module that requires the recipe's; ``staged`` is the go.mod of Kubernetes, which names the modules beside it."""
    lines = ["module cluster.invalid/build", "", "go 1.25", ""]
    if recipe.module:
        lines += [f"require {recipe.module} v{recipe.version}", ""]
    beside = recipe.version.replace("1.", "0.", 1)
    lines += [f"replace {name} => {name} v{beside}" for name in _STAGING.findall(staged)]
    return "\n".join(lines) + "\n"


def go_environment(environment: Mapping[str, str], caches: Path) -> dict[str, str]:
    """Static programs, caches of our own that can be deleted with ``rm -r``, the rest as the user has it."""
    ours = {
        "CGO_ENABLED": "0",
        "GOFLAGS": "-modcacherw",
        "GOWORK": "off",
        "GOCACHE": str(caches / "build"),
        "GOMODCACHE": str(caches / "mod"),
    }
    return {**environment, **ours}


def find_go() -> Path:
    """Go's command; raises ClusterError when there is none or it is too old."""
    found = shutil.which("go") or (str(_GO_HOME) if _GO_HOME.exists() else None)
    needed = ".".join(map(str, GO_VERSION))
    if not found:
        raise ClusterError(f"Go {needed} or newer is needed to build the cluster: install it from https://go.dev/dl")
    said = run(found, "version")
    version = re.search(r"go(\d+)\.(\d+)", said)
    if not version or (int(version[1]), int(version[2])) < GO_VERSION:
        raise ClusterError(f"Go {needed} or newer is needed, {found} is {said.split()[2]}: see https://go.dev/dl")
    return Path(found)


def copy_matching(source: Path, pattern: str, target: Path) -> None:
    """Copy the files that a pattern matches, each at its path below ``source``; raises ClusterError when there is none."""
    matches = [path for path in source.glob(pattern) if path.is_file()]
    if not matches:
        raise ClusterError(f"{source.name} holds no {pattern}")
    for path in matches:
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)


def size_of(folder: Path) -> float:
    """What a folder takes on disk, in gigabytes."""
    return sum(path.lstat().st_blocks * 512 for path in folder.rglob("*")) / 1e9
