"""``python -m tests.training.runs_together RUN.yaml…``, in each process: several runs one after another, each into the folder beside its file.

One start of several processes for all of them: starting takes longer than these runs.
"""

import sys
from pathlib import Path

from toolorchestra.training.grpo.settings import read_settings
from toolorchestra.training.grpo.training import Run

for name in sys.argv[1:]:
    Run(read_settings(Path(name)), Path(name).with_suffix("")).train()
