"""``python -m toolorchestra.training.evaluate``."""

import os
import signal
import sys

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # episodes and embeddings are spread over processes; threads would only spin
TOLD_TO_STOP = 75

if __name__ == "__main__":
    # SIGTERM is Ctrl-C, also while seconds of imports go by; the first process of a container would not even be ended by it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        from toolorchestra.training.evaluate.job import main  # NumPy reads the setting when it is loaded

        code = main()
    except KeyboardInterrupt:  # so early, or so late, that there is nothing to tell
        code = TOLD_TO_STOP
    sys.exit(code)
