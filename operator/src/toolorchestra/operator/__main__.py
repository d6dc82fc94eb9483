"""``python -m toolorchestra.operator``: reconcile, configured by the environment."""

import asyncio
import logging
import sys

from toolorchestra.core.errors import ToolOrchestraError
from toolorchestra.kit.logging import configure_logging
from toolorchestra.kit.telemetry import configure_telemetry
from toolorchestra.operator.main import run
from toolorchestra.operator.settings import OperatorSettings


def main() -> int:
    """Run until SIGTERM; the exit code."""
    try:
        settings = OperatorSettings.load()
    except ToolOrchestraError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    configure_logging(settings.log, service="operator")
    logging.getLogger("kopf").setLevel(logging.WARNING)  # it tells of every event
    logging.getLogger("kopf._core.reactor.running").setLevel(logging.ERROR)  # signals are not its business here
    telemetry = configure_telemetry("operator", settings.telemetry)
    try:
        asyncio.run(run(settings))
    except ToolOrchestraError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    finally:
        telemetry.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
