"""``python -m toolorchestra.operator``: reconcile, configured by the environment."""

import asyncio
import sys

from toolorchestra.core.errors import ToolOrchestraError
from toolorchestra.kit.logging import adopt_loggers, configure_logging
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
    adopt_loggers("kopf")
    try:
        asyncio.run(run(settings))
    except ToolOrchestraError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
