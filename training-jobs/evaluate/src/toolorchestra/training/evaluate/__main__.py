"""``python -m toolorchestra.training.evaluate``."""

import os
import sys

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # episodes and embeddings are spread over processes; threads would only spin

from toolorchestra.training.evaluate.job import main  # NumPy reads the setting when it is loaded

if __name__ == "__main__":
    sys.exit(main())
