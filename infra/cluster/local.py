"""A control plane alone, for tests and for looking at resources: no node, no root, on free loopback ports."""

import signal
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from infra.cluster.build import Store
from infra.cluster.controlplane import LOOPBACK, ControlPlane, Ports
from infra.cluster.kubectl import Kubectl
from infra.cluster.steps import ClusterError, wait_for
from toolorchestra.cli.embedded.leash import leashed

_GRACE_S: Final = 5
_ATTEMPTS: Final = 3


class EndedError(ClusterError):
    """A part of the control plane ended by itself."""


@dataclass
class LocalControlPlane:
    """Its parts as children of this process, which the kernel ends when this process dies, however it dies.

    Start and stop it from the same thread: the kernel counts the end of the thread that started them as this process's.
    """

    plan: ControlPlane
    _children: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return self.plan.url

    @property
    def token(self) -> str:
        """The administrator's."""
        return self.plan.token

    @property
    def ca_path(self) -> Path:
        return self.plan.ca_path

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.plan.kubeconfig

    @property
    def kubectl(self) -> Kubectl:
        return self.plan.kubectl

    @property
    def pids(self) -> dict[str, int]:
        return {name: child.pid for name, child in self._children.items()}

    def start(self) -> None:
        """Start with the data that is there; ready when the API server is and the first ServiceAccount exists."""
        plan = self.plan
        plan.write_files()
        self._spawn("etcd", plan.etcd())
        self._spawn("kube-apiserver", plan.api_server())
        self._wait("the API server is ready", plan.is_ready)
        if plan.controllers:
            self._spawn("kube-controller-manager", plan.controller_manager())
            self._wait("the first ServiceAccount exists", lambda: plan.kubectl.succeeds("get", "serviceaccount", "default"))

    def stop(self) -> None:
        """End all parts, the one that needs the others first; the data stay."""
        for child in reversed(self._children.values()):
            child.send_signal(signal.SIGTERM)
            try:
                child.wait(_GRACE_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        self._children.clear()

    def restart(self) -> None:
        self.stop()
        self.start()

    def _spawn(self, name: str, command: Sequence[str]) -> None:
        with self._log(name).open("ab") as log:
            argv = leashed(command, end=signal.SIGKILL)
            self._children[name] = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def _wait(self, what: str, happened: Callable[[], bool]) -> None:
        def checked() -> bool:
            for name, child in self._children.items():
                if child.poll() is not None:
                    tail = self._log(name).read_text(errors="replace")[-2000:]
                    raise EndedError(f"{name} ended with {child.returncode}:\n{tail}")
            return happened()

        wait_for(what, checked, hint=f"see {self.plan.folder}/*.log")

    def _log(self, name: str) -> Path:
        return self.plan.folder / f"{name}.log"


@contextmanager
def control_plane(folder: Path, store: Store, *, controllers: bool = True) -> Iterator[LocalControlPlane]:
    """A control plane for as long as the block lasts; ``folder`` must exist and holds all it writes."""
    with ExitStack() as stack:
        for attempt in range(1, _ATTEMPTS + 1):
            running = LocalControlPlane(ControlPlane(folder / str(attempt), store, ports=free_ports(), controllers=controllers))
            stack.callback(running.stop)
            try:
                running.start()
            except EndedError:
                # Between choosing a port and listening on it somebody else may have taken it.
                running.stop()
                if attempt == _ATTEMPTS:
                    raise
            else:
                break
        yield running


def free_ports() -> Ports:
    """Loopback ports that nobody listens on now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(3)]
        for probe in sockets:
            probe.bind((LOOPBACK, 0))
        return Ports(*(int(probe.getsockname()[1]) for probe in sockets))
