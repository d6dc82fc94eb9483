"""``python -m toolorchestra.training.grpo``."""

import sys

from toolorchestra.training.grpo.main import main

if __name__ == "__main__":
    sys.exit(main())
