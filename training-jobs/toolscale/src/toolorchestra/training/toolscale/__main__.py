"""``python -m toolorchestra.training.toolscale``: the Job of a ToolScaleDataset."""

import sys

from toolorchestra.training.toolscale.job import main

sys.exit(main())
