"""What a platform on this machine is started with."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from toolorchestra.cli.embedded.parts import free_port, port_is_free

DEFAULT_PORT: Final = 8080
OWN_MANIFESTS: Final = Path("manifests")  # read unless other folders were named, also when it comes later


@dataclass(frozen=True, slots=True)
class UpOptions:
    """``manifests`` are the person's own folders; a URL that is given replaces the embedded part behind it.
    ``replicas`` of the orchestrator listen side by side on ``port``; more than one needs Linux.
    """

    state: Path
    port: int = DEFAULT_PORT
    replicas: int = 1
    manifests: tuple[Path, ...] = ()
    local_model: bool = True
    allow_egress: tuple[str, ...] = ()
    database_url: str | None = None
    broker_url: str | None = None
    signal_url: str | None = None
    otlp_endpoint: str | None = None

    @property
    def own_manifests(self) -> tuple[Path, ...]:
        """The person's folders, or ``./manifests``, whether it is there yet or not."""
        return self.manifests or (OWN_MANIFESTS,)


def usual_port() -> int:
    """The port for platforms whose port nobody chose: the default one, or any other when that is taken."""
    return DEFAULT_PORT if port_is_free(DEFAULT_PORT) else free_port()
