"""``python -m toolorchestra.training.grpo``."""

import signal
import sys

from toolorchestra.training.grpo.launching import TOLD_TO_STOP

if __name__ == "__main__":
    # Before what takes seconds to import; and the first process of a container would not even be ended by the signal.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TOLD_TO_STOP))
    from toolorchestra.training.grpo.main import main

    sys.exit(main())
