"""The node: a control plane, containerd, kubelet and kube-proxy on this machine itself, in namespaces that end together."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Final

from infra.cluster import machine, processes
from infra.cluster.build import Store
from infra.cluster.controlplane import NODE_NAME, SERVICE_NET, ControlPlane
from infra.cluster.images import Image
from infra.cluster.kubectl import Kubectl
from infra.cluster.recipes import COREDNS, FILES
from infra.cluster.record import Record
from infra.cluster.steps import ClusterError, run, succeeds, wait_for

NODE_IP: Final = "10.244.0.1"
POD_NET: Final = "10.244.0.0/24"
DNS_IP: Final = "10.96.0.10"
BRIDGE: Final = "toolorchestra0"
NFT_TABLE: Final = "toolorchestra"
PAUSE_IMAGE: Final = "localhost/pause:1"
COREDNS_IMAGE: Final = f"localhost/coredns:{COREDNS}"
VOLUMES: Final = 8
MARKER: Final = "this-is-a-cluster"
# Programs write here whatever they are told, so the node sees folders of its own in their place.
_PRIVATE: Final = (
    "/run/containerd",
    "/var/lib/cni",
    "/var/lib/kubelet",
    "/var/log/containers",
    "/var/log/pods",
    "/usr/libexec/kubernetes",
)
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_MAX_FOLDER: Final = 60  # The paths of sockets below it may have 107 bytes.
_KERNEL: Final = Path("/proc/sys")
# What kubelet, kube-proxy and the network plugin set; they are put back at the end.
_SWITCHED_ON: Final = ("net/ipv4/ip_forward", "net/bridge/bridge-nf-call-iptables")
_SETTINGS: Final = (
    *_SWITCHED_ON,
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxbytes",
    "kernel/keys/root_maxkeys",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
)


@dataclass(frozen=True)
class Node:
    """One node; everything that it keeps is below ``folder``."""

    folder: Path
    store: Store

    @property
    def plane(self) -> ControlPlane:
        return ControlPlane(self.folder, self.store, address=NODE_IP)

    @property
    def kubectl(self) -> Kubectl:
        return self.plane.kubectl

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.plane.kubeconfig

    @property
    def programs(self) -> Path:
        """A folder with kubectl and helm in the cluster's versions."""
        return self.folder / "bin"

    @property
    def socket(self) -> Path:
        return self.folder / "containerd" / "containerd.sock"

    def prepare(self, record: Record) -> None:
        """Write files and set up the network; ``record`` learns of everything outside of the folder."""
        self._make_folder()
        self.plane.write_files()
        self._write_configs()
        record.make_folders(map(Path, _PRIVATE))
        succeeds("modprobe", "-qa", "br_netfilter", "overlay")
        record.note_settings(_KERNEL / name for name in _SETTINGS)
        _set_network((self.folder / "conf" / "pods.nft").read_text(encoding="utf-8"))

    def start(self, record: Record) -> None:
        """Start the namespaces with all daemons in them; they go on when this process ends."""
        plan = self.folder / "conf" / "plan.json"
        plan.write_text(json.dumps(self._plan()), encoding="utf-8")
        command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "slave"]
        with (self.folder / "log" / "supervisor.log").open("ab") as log:
            supervisor = [sys.executable, "-I", str(Path(__file__).with_name("supervisor.py")), str(plan)]
            holder = subprocess.Popen(
                [*command, *supervisor],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={"PATH": _PATH},
            )
        record.pid, record.started = holder.pid, processes.started(holder.pid)
        record.save()
        if holder.stdin:
            holder.stdin.write(b"go\n")
            holder.stdin.close()
        # It may outlive this process; if it does not, somebody must ask how it ended.
        threading.Thread(target=holder.wait, daemon=True).start()

    def load(self, archives: Iterable[Path]) -> None:
        """Give images to containerd; each archive says its name itself."""
        wait_for("containerd answers", lambda: succeeds("ctr", "-a", self.socket, "version"), hint=self._logs("containerd"))
        for archive in archives:
            if not archive.is_file():
                raise ClusterError(f"no such image archive: {archive}")
            run("ctr", "-a", self.socket, "-n", "k8s.io", "images", "import", archive)

    def load_image(self, image: Image) -> None:
        archive = self.folder / "image.tar"
        image.write(archive, machine=os.uname().machine)
        self.load([archive])
        archive.unlink()

    def load_own_images(self) -> None:
        program = self.store.program
        self.load_image(
            Image(PAUSE_IMAGE, {"/pause": program("pause")}, config={"Entrypoint": ["/pause"], "User": "65535:65535"})
        )
        self.load_image(Image(COREDNS_IMAGE, {"/coredns": program("coredns")}, config={"Entrypoint": ["/coredns"]}))

    def wait_for_api(self) -> None:
        wait_for("the API server is ready", self.plane.is_ready, hint=self._logs("kube-apiserver"))

    def wait_until_ready(self) -> None:
        """Until Pods can be made on it."""
        ready = ("wait", f"node/{NODE_NAME}", "--for=condition=Ready", "--timeout=1s")
        wait_for("the node is ready", lambda: self.kubectl.succeeds(*ready), hint=self._logs("kubelet"))
        wait_for("the first ServiceAccount exists", lambda: self.kubectl.succeeds("get", "serviceaccount", "default"))

    def install_basics(self) -> None:
        """Names for Services, and volumes for whoever claims some."""
        self.kubectl.apply(self._rendered("coredns.yaml"))
        self.kubectl.apply(self._rendered("volumes.yaml") + "".join(self._volume(number) for number in range(1, VOLUMES + 1)))

    def wait_for_deployment(self, namespace: str, name: str, *, seconds: float = 60) -> None:
        available = ("wait", f"deployment/{name}", "-n", namespace, "--for=condition=Available", "--timeout=1s")
        wait_for(
            f"{name} is available",
            lambda: self.kubectl.succeeds(*available),
            seconds=seconds,
            hint=f"see 'kubectl -n {namespace} get pods'",
        )

    def _make_folder(self) -> None:
        if len(str(self.folder)) > _MAX_FOLDER:
            raise ClusterError(f"{self.folder} is too long a path for the sockets below it; choose a shorter one with --folder")
        if self.folder.exists() and any(self.folder.iterdir()) and not (self.folder / MARKER).exists():
            raise ClusterError(f"{self.folder} holds something else; choose another folder with --folder")
        self.folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        (self.folder / MARKER).touch()
        for name in ("log", "conf", "containerd", "cni", "kubelet", "bin"):
            (self.folder / name).mkdir(exist_ok=True)
        for name in ("kubectl", "helm"):
            link = self.programs / name
            link.unlink(missing_ok=True)
            link.symlink_to(self.store.program(name))
        for number in range(1, VOLUMES + 1):
            # Whoever claims a volume may run as any user.
            volume = self.folder / "volumes" / str(number)
            volume.mkdir(parents=True, exist_ok=True)
            volume.chmod(0o777)

    def _write_configs(self) -> None:
        for source, target in (
            ("containerd.toml", "conf/containerd.toml"),
            ("kubelet.yaml", "conf/kubelet.yaml"),
            ("kube-proxy.yaml", "conf/kube-proxy.yaml"),
            ("pods.nft", "conf/pods.nft"),
            ("pods.conflist", "cni/10-pods.conflist"),
        ):
            (self.folder / target).write_text(self._rendered(source), encoding="utf-8")
        (self.folder / "conf" / "resolv.conf").write_text("nameserver 127.0.0.1\n", encoding="utf-8")

    def _rendered(self, name: str, **more: str) -> str:
        """A file of ours with the node's values in it."""
        resolv = (Path("/run/systemd/resolve/resolv.conf"), Path("/etc/resolv.conf"))
        servers = machine.nameservers(path.read_text(encoding="utf-8") for path in resolv if path.exists())
        values = {
            "folder": str(self.folder),
            "keys": str(self.plane.keys),
            "socket": str(self.socket),
            "node_ip": NODE_IP,
            "node_name": NODE_NAME,
            "pod_net": POD_NET,
            "dns_ip": DNS_IP,
            "bridge": BRIDGE,
            "table": NFT_TABLE,
            "pause_image": PAUSE_IMAGE,
            "coredns_image": COREDNS_IMAGE,
            "cni_programs": str(machine.cni_programs()),
            "forward": f"forward . {' '.join(servers)}"
            if servers
            else "# This machine has no name server that a Pod could reach.",
        }
        return Template((FILES / name).read_text(encoding="utf-8")).substitute(values | more)

    def _volume(self, number: int) -> str:
        return self._rendered("volume.yaml", number=str(number))

    def _plan(self) -> dict[str, object]:
        """What the supervisor reads."""
        plane, conf = self.plane, self.folder / "conf"
        kubelet = [
            str(self.store.program("kubelet")),
            f"--kubeconfig={plane.config_of('kubelet')}",
            f"--config={conf / 'kubelet.yaml'}",
            f"--root-dir={self.folder / 'kubelet'}",
            f"--cert-dir={self.folder / 'kubelet' / 'pki'}",
            f"--hostname-override={NODE_NAME}",
            f"--node-ip={NODE_IP}",
        ]
        return {
            "private": list(_PRIVATE),
            "logs": str(self.folder / "log"),
            # A bare environment: no proxy stands between this machine and itself.
            "environment": {"PATH": _PATH, "HOME": str(self.folder)},
            "daemons": {
                "etcd": plane.etcd(),
                "containerd": [shutil.which("containerd", path=_PATH), f"--config={conf / 'containerd.toml'}"],
                "kube-apiserver": plane.api_server(),
                "kube-controller-manager": plane.controller_manager(),
                "kube-scheduler": plane.scheduler(),
                "kubelet": kubelet,
                "kube-proxy": [str(self.store.program("kube-proxy")), f"--config={conf / 'kube-proxy.yaml'}"],
            },
        }

    def _logs(self, name: str) -> str:
        return f"see {self.folder / 'log' / name}.log"


def _set_network(rules: str) -> None:
    """Let packets be forwarded, make the bridge that Pods hang on, and let them out under this machine's address."""
    for name in _SWITCHED_ON:
        if not (_KERNEL / name).exists():
            raise ClusterError(f"the kernel has no {name}: load its module br_netfilter")
        (_KERNEL / name).write_text("1", encoding="utf-8")
    if not succeeds("ip", "link", "show", BRIDGE):
        run("ip", "link", "add", BRIDGE, "type", "bridge")
    run("ip", "address", "replace", f"{NODE_IP}/24", "dev", BRIDGE)
    run("ip", "link", "set", BRIDGE, "mtu", "1400", "up")
    run("nft", "-f", "-", stdin=rules)


def free_networks() -> None:
    machine.require_free_networks((POD_NET, SERVICE_NET), BRIDGE)
