"""``python -m toolorchestra.cli``."""

from toolorchestra.cli.main import main

main()
