"""Which world a served name means."""

import os
from pathlib import Path
from typing import Final

from toolorchestra.worlds.errors import InvalidWorldError
from toolorchestra.worlds.loading import ROWS, SHIPPED, SPEC, find_world, load_world
from toolorchestra.worlds.world import World

WORLDS: Final = "TOOLORCHESTRA_WORLDS"  # the folder of worlds that names are looked up in


def served_world(where: str) -> World:
    """The world in a folder, or by name: below the folder in ``TOOLORCHESTRA_WORLDS``, else a shipped one.

    Raises InvalidWorldError that says what is missing and how to make it.
    """
    built = Path(os.environ.get(WORLDS, ".")) / where
    folder = built if WORLDS in os.environ and (built / SPEC).is_file() else find_world(where)
    if folder.is_relative_to(SHIPPED.resolve()) and not (folder / ROWS).is_dir():
        raise InvalidWorldError(
            f"world {where!r}: it is shipped without rows, which are made from a seed",
            param="world",
            hint=f"run `toolorchestra worlds build --out FOLDER` and set {WORLDS}=FOLDER",
        )
    return load_world(folder)
