"""The sign of life of a worker: a file that is touched whenever work was really done."""

from pathlib import Path
from typing import Final

import structlog

logger = structlog.get_logger(__name__)


class Pulse:
    """Touches a file; without one it does nothing. A file that cannot be touched looks like a dead worker, and is."""

    def __init__(self, file: Path | None) -> None:
        self._file = file

    def beat(self) -> None:
        """Work was done just now."""
        if self._file is None:
            return
        try:
            self._file.touch()
        except OSError as error:
            logger.warning("liveness_file_not_touched", file=str(self._file), reason=str(error))


NO_PULSE: Final = Pulse(None)
