"""``python -m toolorchestra.worker`` runs a worker of the class that TOOLORCHESTRA_WORKER_CLASS names."""

import sys

from toolorchestra.worker.main import main

if __name__ == "__main__":
    sys.exit(main())
