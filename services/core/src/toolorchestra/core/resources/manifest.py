"""From YAML to resources, with errors that name the place, the field and the fix."""

import math
from typing import Any, Final, TypeAlias

import yaml
from pydantic import ValidationError
from typing_extensions import override

from toolorchestra.core.errors import InvalidManifestError
from toolorchestra.core.problems import words_of
from toolorchestra.core.resources.budget import BudgetPolicy
from toolorchestra.core.resources.expert import ExpertModel
from toolorchestra.core.resources.jobs import Evaluation, ToolScaleDataset, TrainingRun
from toolorchestra.core.resources.meta import API_VERSION
from toolorchestra.core.resources.orchestrator import Orchestrator
from toolorchestra.core.resources.tool import Tool

Resource: TypeAlias = Tool | ExpertModel | Orchestrator | BudgetPolicy | ToolScaleDataset | TrainingRun | Evaluation

KINDS: Final[dict[str, type[Resource]]] = {
    "Tool": Tool,
    "ExpertModel": ExpertModel,
    "Orchestrator": Orchestrator,
    "BudgetPolicy": BudgetPolicy,
    "ToolScaleDataset": ToolScaleDataset,
    "TrainingRun": TrainingRun,
    "Evaluation": Evaluation,
}
MAX_PROBLEMS: Final = 5


class _Loader(yaml.SafeLoader):
    """YAML as Kubernetes reads it: what looks like a date stays text, and no key stands twice."""

    @override
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"found the key {key.value!r} twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def parse_documents(text: str, *, source: str) -> list[Any]:
    """The YAML documents of a file, without empty ones. ``source`` names the file in errors."""
    try:
        return [document for document in yaml.load_all(text, _Loader) if document is not None]
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InvalidManifestError(f"{source}: not valid YAML: {' '.join(str(error).split())}") from error


def parse_resource(document: Any, *, source: str) -> Resource:
    """Validate one object. Raises InvalidManifestError that names source, object, field and fix."""
    if not isinstance(document, dict):
        raise InvalidManifestError(f"{source}: a manifest must be a mapping with apiVersion, kind, metadata and spec")
    kind = document.get("kind")
    if document.get("apiVersion") != API_VERSION or not isinstance(kind, str) or kind not in KINDS:
        raise InvalidManifestError(
            f"{source}: unknown apiVersion {document.get('apiVersion')!r} or kind {kind!r}",
            param="kind",
            hint=f"use apiVersion {API_VERSION} and one of {', '.join(KINDS)}",
        )
    try:
        odd = _odd(document)
    except RecursionError as error:
        raise InvalidManifestError(f"{source}: it contains itself, or is nested too deeply") from error
    if odd is not None:
        raise InvalidManifestError(f"{source}: {odd}: not a value that JSON has", param=odd, hint="write text in quotes")
    try:
        return KINDS[kind].model_validate(document, strict=True)  # like the API server: "3" is no number
    except ValidationError as error:
        metadata = document.get("metadata")
        name = metadata.get("name", "?") if isinstance(metadata, dict) else "?"
        raise InvalidManifestError(f"{source}: {kind} {name!r}: {describe(error)}", param=first_field(error)) from error


def describe(error: ValidationError) -> str:
    """A validation error as one line: ``spec.http.url: Field required; …``."""
    problems = [f"{field_path(item['loc'])}: {words_of(item)}" for item in error.errors()]
    more = f"; and {len(problems) - MAX_PROBLEMS} more" if len(problems) > MAX_PROBLEMS else ""
    return "; ".join(problems[:MAX_PROBLEMS]) + more


def first_field(error: ValidationError) -> str:
    """Dotted path of the first field in error."""
    return field_path(error.errors()[0]["loc"])


def field_path(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location) or "(top level)"


def _odd(value: Any, path: tuple[int | str, ...] = ()) -> str | None:
    """Dotted path of the first value that JSON does not have: NaN, bytes, sets, keys that are not text; None without one."""
    match value:
        case None | bool() | int() | str():
            return None
        case float():
            return None if math.isfinite(value) else field_path(path)
        case dict():
            return next((odd for key, item in value.items() if (odd := _odd_item(key, item, path)) is not None), None)
        case list():
            return next((odd for place, item in enumerate(value) if (odd := _odd(item, (*path, place))) is not None), None)
        case _:
            return field_path(path)


def _odd_item(key: Any, item: Any, path: tuple[int | str, ...]) -> str | None:
    return _odd(item, (*path, key)) if isinstance(key, str) else field_path((*path, str(key)))
