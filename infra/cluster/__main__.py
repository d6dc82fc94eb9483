"""The command line: builds, starts, shows and ends a local cluster."""

import argparse
import signal
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from infra.cluster import kind, machine, processes, record
from infra.cluster.build import Store, default_cache
from infra.cluster.local import control_plane
from infra.cluster.node import Node
from infra.cluster.recipes import CONTROL_PLANE, NODE, RECIPES
from infra.cluster.steps import ClusterError, step
from infra.cluster.teardown import down as take_down
from infra.cluster.teardown import is_running
from infra.cluster.up import up as bring_up

ROOT = Path(__file__).resolve().parents[2]

GROUPS = {"control-plane": CONTROL_PLANE, "node": NODE, "all": tuple(RECIPES)}


def build(arguments: argparse.Namespace) -> None:
    names = [name for given in arguments.names or ["node"] for name in GROUPS.get(given, (given,))]
    if unknown := [name for name in names if name not in RECIPES]:
        raise ClusterError(f"unknown: {', '.join(unknown)}; there are: {', '.join([*GROUPS, *RECIPES])}")
    store = Store(default_cache())
    store.build(names)
    print(f"all built, in {store.root}")


def prune(_: argparse.Namespace) -> None:
    with step("deleting Go's caches and old parts"):
        freed = Store(default_cache()).prune()
    print(f"freed {freed:.1f} GB")


def run_control_plane(_: argparse.Namespace) -> None:
    store = Store(default_cache())
    store.build(CONTROL_PLANE)
    with tempfile.TemporaryDirectory(prefix="control-plane-") as folder, control_plane(Path(folder), store) as running:
        print(f"export KUBECONFIG={running.kubeconfig}\nuntil Ctrl-C: an API server without nodes at {running.url}", flush=True)
        with suppress(KeyboardInterrupt):
            signal.pause()


def up(arguments: argparse.Namespace) -> None:
    began = time.monotonic()
    if machine.docker_with_kind():
        kubeconfig, path = kind.up(arguments.folder), ""
    else:
        images = [archive.resolve() for archive in arguments.image]
        node = bring_up(arguments.folder, Store(default_cache()), images=images, with_kueue="kueue" in arguments.with_)
        kubeconfig, path = node.kubeconfig, f" PATH={node.programs}:$PATH"
    print(
        f"\nThe cluster is there, after {time.monotonic() - began:.0f} s. To use it:\n\n  export KUBECONFIG={kubeconfig}{path}"
    )
    print("  helm upgrade --install toolorchestra-crds charts/toolorchestra-crds")
    print("  helm upgrade --install toolorchestra charts/toolorchestra --namespace toolorchestra --create-namespace \\")
    print("    --values charts/toolorchestra/ci/local-values.yaml --wait\n")


def down(arguments: argparse.Namespace) -> None:
    if not kind.down(arguments.folder):
        take_down(arguments.folder)
    print("no cluster is left")


def load(arguments: argparse.Namespace) -> None:
    for archive in arguments.archives:
        with step(f"loading {archive.name}"):
            Node(arguments.folder, Store(default_cache())).load([archive.resolve()])


def status(_: argparse.Namespace) -> None:
    noted = record.load()
    if not noted or not is_running(noted):
        raise ClusterError("no node runs on this machine; 'make cluster' starts one")
    print(f"kept in {noted.folder}")
    for pid in (daemon for first in processes.children(noted.pid) for daemon in processes.children(first)):
        print(f"{pid:>8} {processes.resident_mb(pid):7.0f} MB  {Path(processes.command(pid)[0]).name}")
    print(Node(Path(noted.folder), Store(default_cache())).kubectl("get", "nodes,pods", "-A"))


def guard(arguments: argparse.Namespace) -> None:
    """Take the node down when whoever holds the other end of standard input lets go of it, by dying too."""
    sys.stdin.read()
    take_down(arguments.folder)


def parser() -> argparse.ArgumentParser:
    root = argparse.ArgumentParser(prog="python -m infra.cluster", description=__doc__)
    root.add_argument("--folder", type=lambda given: Path(given).resolve(), default=ROOT / ".cluster", help="where it is kept")
    commands = root.add_subparsers(required=True, metavar="COMMAND")
    one = commands.add_parser("up", help="a whole cluster: kind where Docker is, otherwise a node on this machine, as root")
    one.add_argument(
        "--with", dest="with_", action="append", choices=["kueue"], default=[], help="what to install besides KServe"
    )
    one.add_argument("--image", action="append", type=Path, default=[], help="an OCI archive to load; may be repeated")
    one.set_defaults(run=up)
    commands.add_parser("down", help="end it and remove all that it made").set_defaults(run=down)
    commands.add_parser("status", help="what runs").set_defaults(run=status)
    one = commands.add_parser("load", help="give images to a running node")
    one.add_argument("archives", nargs="+", type=Path, help="OCI archives")
    one.set_defaults(run=load)
    commands.add_parser("guard", help="take it down at the end of standard input").set_defaults(run=guard)
    one = commands.add_parser("build", help="build parts, or groups of them; what is there is kept")
    one.add_argument("names", nargs="*", help=f"{', '.join(GROUPS)} or single parts; default: node")
    one.set_defaults(run=build)
    commands.add_parser("prune", help="delete Go's caches and outdated parts").set_defaults(run=prune)
    commands.add_parser("control-plane", help="an API server alone, until Ctrl-C; needs no root").set_defaults(
        run=run_control_plane
    )
    return root


def main() -> int:
    arguments = parser().parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        arguments.run(arguments)
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return 0


if __name__ == "__main__":
    sys.exit(main())
