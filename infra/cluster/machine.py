"""What this machine must have before a node can run on it, and what is missing."""

import ipaddress
import json
import os
import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from infra.cluster.steps import ClusterError, run, step, succeeds

# Debian's package for each program that the node uses.
PACKAGES: Final = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "nft": "nftables",
    "ip": "iproute2",
    "openssl": "openssl",
    "unshare": "util-linux",
    "mount": "mount",
}
_CNI_PACKAGE: Final = "containernetworking-plugins"
_CNI_FOLDERS: Final = (Path("/usr/lib/cni"), Path("/opt/cni/bin"))
_SYSTEM_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def docker_with_kind() -> bool:
    """Whether a Docker engine answers and kind is there to use it."""
    return shutil.which("kind") is not None and shutil.which("docker") is not None and succeeds("docker", "info")


def missing_packages() -> list[str]:
    wanted = {package for program, package in PACKAGES.items() if not shutil.which(program, path=_SYSTEM_PATH)}
    return sorted(wanted | ({_CNI_PACKAGE} if cni_programs() is None else set()))


def cni_programs() -> Path | None:
    """The folder of the network plugins."""
    return next((folder for folder in _CNI_FOLDERS if (folder / "bridge").exists()), None)


def require_node_host() -> None:
    """Raise ClusterError that names the command which helps, unless a node can run here; packages are installed if need be."""
    if sys.platform != "linux":
        raise ClusterError(
            "a cluster needs Docker and kind here: install them from https://kind.sigs.k8s.io, then run 'make cluster' again"
        )
    missing = missing_packages()
    by_hand = f"apt-get install -y --no-install-recommends {' '.join(missing)}"
    if os.geteuid() != 0:
        first = f"sudo {by_hand}; " if missing else ""
        raise ClusterError(
            f"without Docker and kind the cluster is a node on this machine itself, which needs root: {first}sudo make cluster"
        )
    if missing and not shutil.which("apt-get"):
        raise ClusterError(f"missing: {', '.join(missing)} (Debian's names); install them, then run 'make cluster' again")
    if missing:
        install(missing)


def install(packages: list[str]) -> None:
    with step(f"installing {' '.join(packages)}"):
        command = ("apt-get", "install", "-y", "--no-install-recommends", *packages)
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        if not succeeds(*command, env=quiet):
            run("apt-get", "update", env=quiet)
            run(*command, env=quiet)


def require_free_networks(networks: Iterable[str], own: str) -> None:
    """Raise ClusterError when a network of this machine overlaps; ``own`` is the node's own interface."""
    if succeeds("nft", "list", "table", "ip", "kube-proxy"):
        raise ClusterError("another Kubernetes node runs on this machine; end it first")
    routes = json.loads(run("ip", "-j", "route", "show"))
    if taken := overlapping(networks, routes, own):
        raise ClusterError(f"this machine uses {', '.join(taken)}, which the cluster needs; take the network down first")


def overlapping(networks: Iterable[str], routes: Iterable[Mapping[str, str]], own: str) -> list[str]:
    """The routes, as ``ip -j route`` gives them, that share addresses with one of the networks."""
    wanted = [ipaddress.ip_network(network) for network in networks]
    used = [route["dst"] for route in routes if route["dst"] != "default" and route.get("dev") != own]
    return [network for network in used if any(ipaddress.ip_network(network).overlaps(one) for one in wanted)]


def nameservers(texts: Iterable[str]) -> list[str]:
    """The name servers of the first resolv.conf that has any which a Pod can reach too, so none on loopback."""
    for text in texts:
        lines = [line.split() for line in text.splitlines()]
        found = [words[1] for words in lines if len(words) > 1 and words[0] == "nameserver"]
        if reachable := [server for server in found if not ipaddress.ip_address(server.partition("%")[0]).is_loopback]:
            return reachable
    return []
