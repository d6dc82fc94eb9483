"""kubectl as the administrator of one cluster."""

from dataclasses import dataclass
from pathlib import Path

from infra.cluster.steps import ClusterError, run


@dataclass(frozen=True)
class Kubectl:
    """``cache`` is the folder where it keeps what the server offers, instead of the user's home."""

    program: Path
    kubeconfig: Path
    cache: Path

    def __call__(self, *arguments: str | Path, stdin: str | None = None) -> str:
        """What it printed; raises ClusterError with what the server said."""
        # A bare environment: no proxy stands between this machine and itself.
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(self.cache), "KUBECACHEDIR": str(self.cache)}
        return run(self.program, f"--kubeconfig={self.kubeconfig}", *arguments, stdin=stdin, env=environment)

    def apply(self, manifest: str) -> None:
        """Server-side, which has no limit on the size of an object."""
        self("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=manifest)

    def succeeds(self, *arguments: str | Path) -> bool:
        try:
            self(*arguments)
        except ClusterError:
            return False
        return True
