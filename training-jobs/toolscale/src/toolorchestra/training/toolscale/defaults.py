"""What is built when nothing else is said. Apart from all else, so that a command line can name these without loading it."""

from typing import Final

TASKS: Final = 1050  # per domain: ten of them are more than ten thousand tasks
QUESTIONS: Final = 680
SEED: Final = 3
JOBS: Final = 2  # domains at the same time
KEY: Final = "TOOLSCALE_LLM_KEY"  # environment variable with the key of the model that words things
PRINTED: Final = 50  # tasks, for a person to judge
