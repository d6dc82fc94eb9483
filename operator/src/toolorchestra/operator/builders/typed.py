"""The typed models of the Kubernetes and KServe clients, as JSON that a server-side apply takes.

KServe's package imports its whole model server when it is imported: 126 MB and some seconds. Its models need 1 MB, so they
are imported without running the package's own code.
"""

import hashlib
import json
import sys
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from typing import Any, Final

from pydantic import BaseModel

DIGEST_CHARACTERS: Final = 8


@cache
def kserve_models() -> Any:
    """The module ``kserve.models``. An ``import kserve`` elsewhere is not affected, before or after."""
    if "kserve" in sys.modules:
        return import_module("kserve.models")
    spec = find_spec("kserve")
    if spec is None:
        raise ModuleNotFoundError("the package kserve is not installed", name="kserve")
    sys.modules["kserve"] = module_from_spec(spec)
    try:
        return import_module("kserve.models")
    finally:
        del sys.modules["kserve"]


def as_json(value: Any) -> Any:
    """A model, or a list or mapping of them, as the JSON of the API, without what is not set.

    The models of the two clients have different makers: pydantic's for Kubernetes, older generated classes for KServe.
    """
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", by_alias=True, exclude_none=True)
    names = getattr(value, "attribute_map", None)
    if names is not None:
        fields = ((key, getattr(value, field)) for field, key in names.items())
        return {key: as_json(part) for key, part in fields if part is not None and part != ""}
    if isinstance(value, Mapping):
        return {key: as_json(part) for key, part in value.items()}
    return [as_json(part) for part in value] if isinstance(value, list) else value


def digest(plain: Any) -> str:
    """A short name for the content of a JSON value."""
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:DIGEST_CHARACTERS]
