"""``python -m toolorchestra.orchestrator``: serve, configured by the environment."""

import asyncio
import socket
import sys
from typing import Final

import uvicorn

from toolorchestra.core.errors import ToolOrchestraError
from toolorchestra.kit.logging import adopt_loggers, configure_logging
from toolorchestra.kit.telemetry import configure_telemetry
from toolorchestra.orchestrator.main import create_app
from toolorchestra.orchestrator.server import DrainingServer
from toolorchestra.orchestrator.settings import OrchestratorSettings

BACKLOG: Final = 2_048  # as uvicorn's own


def main() -> int:
    """Serve until SIGTERM; the exit code."""
    try:
        settings = OrchestratorSettings.load()
    except ToolOrchestraError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    configure_logging(settings.log, service="orchestrator")
    telemetry = configure_telemetry("orchestrator", settings.telemetry)
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
    )
    adopt_loggers("uvicorn", "uvicorn.error")
    try:
        with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
            runner.run(DrainingServer(config, app).serve(_sockets(settings)))
    finally:
        telemetry.shutdown()
    return 0


def _sockets(settings: OrchestratorSettings) -> list[socket.socket] | None:
    """A socket that others may listen beside; None leaves it to uvicorn to open its own."""
    if not settings.share_port:
        return None
    address = (settings.host, settings.port)
    family, *_ = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)[0]
    return [socket.create_server(address, family=family, backlog=BACKLOG, reuse_port=True)]


if __name__ == "__main__":
    sys.exit(main())
