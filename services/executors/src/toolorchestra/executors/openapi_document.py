"""From an OpenAPI 3 document to operations that a model can call. Pure: what it reads was fetched elsewhere.

Local ``$ref`` are written out, to a bounded depth and size; a schema that contains itself ends in "anything". Every operation
carries in ``details`` all that a later call needs, so a call never reads the document again.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urljoin

import yaml

from toolorchestra.core.errors import InvalidManifestError
from toolorchestra.core.registry import DiscoveredOperation
from toolorchestra.executors.discovery import operation_name, schema_hash

READ_ONLY: Final = ("get", "head")
METHODS: Final = ("get", "head", "post", "put", "patch", "delete")
MAX_DEPTH: Final = 12
MAX_NODES: Final = 4_000  # of one operation's schema
MAX_DESCRIPTION: Final = 1_024
_DROPPED: Final = frozenset({"example", "examples", "xml", "externalDocs", "discriminator", "deprecated"})
_VERBATIM: Final = frozenset({"default", "enum", "const", "required"})
_NAMED: Final = frozenset({"properties", "patternProperties", "$defs", "dependentSchemas"})
_OWN_HEADERS: Final = ("accept", "content-type", "authorization")


@dataclass(slots=True)
class _References:
    """Writes out local references of one document, within the bounds of one operation."""

    document: Mapping[str, Any]
    nodes: int = 0
    open: list[str] = field(default_factory=list)

    def resolve(self, node: Any) -> Any:
        """What ``node`` points to, one or several references away. Raises InvalidManifestError."""
        for _ in range(MAX_DEPTH):
            if not isinstance(node, Mapping) or not isinstance(node.get("$ref"), str):
                return node
            node = self._at(node["$ref"])
        raise InvalidManifestError("the document's references go round in a circle", param="$ref")

    def schema(self, node: Any, depth: int = 0) -> Any:
        """A JSON Schema without references. Too deep, too large or recursive parts become "anything"."""
        self.nodes += 1
        if depth > MAX_DEPTH or self.nodes > MAX_NODES:
            return {}
        if isinstance(node, list):
            return [self.schema(item, depth + 1) for item in node]
        if not isinstance(node, Mapping):
            return node
        if isinstance(node.get("$ref"), str):
            return self._referenced(node["$ref"], depth)
        written = {str(k): self._keyword(str(k), value, depth) for k, value in node.items() if k not in _DROPPED}
        return _as_json_schema(written)

    def _keyword(self, key: str, value: Any, depth: int) -> Any:
        if key in _VERBATIM:
            return value
        if key in _NAMED and isinstance(value, Mapping):
            return {str(name): self.schema(inner, depth + 1) for name, inner in value.items()}
        return self.schema(value, depth + 1)

    def _referenced(self, pointer: str, depth: int) -> Any:
        if pointer in self.open:
            return {}
        self.open.append(pointer)
        try:
            return self.schema(self._at(pointer), depth + 1)
        finally:
            self.open.pop()

    def _at(self, pointer: str) -> Any:
        if not pointer.startswith("#/"):
            raise InvalidManifestError(
                f"the reference {pointer!r} leaves the document", param="$ref", hint="bundle the document into one file"
            )
        node: Any = self.document
        for part in pointer[2:].split("/"):
            key = part.replace("~1", "/").replace("~0", "~")
            if not isinstance(node, Mapping) or key not in node:
                raise InvalidManifestError(f"the reference {pointer!r} points nowhere", param="$ref")
            node = node[key]
        return node


def parse_document(text: str) -> Mapping[str, Any]:
    """Read JSON or YAML. Raises InvalidManifestError unless it is an OpenAPI 3.0 or 3.1 document."""
    try:
        document = json.loads(text) if text.lstrip().startswith("{") else yaml.load(text, Loader=yaml.CSafeLoader)
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise InvalidManifestError(f"the OpenAPI document is neither JSON nor YAML: {error}") from error
    return check_document(document)


def check_document(document: Any) -> Mapping[str, Any]:
    """The document, if it is OpenAPI 3.0 or 3.1. Raises InvalidManifestError."""
    version = document.get("openapi") if isinstance(document, Mapping) else None
    if not isinstance(document, Mapping) or not str(version).startswith(("3.0", "3.1")):
        raise InvalidManifestError(
            f"not an OpenAPI 3.0 or 3.1 document (openapi: {version!r})", param="openapi", hint="convert it to 3.1"
        )
    return document


def find_operations(
    document: Mapping[str, Any], *, tool: str, wanted: Sequence[str], base_url: str | None, source: str | None
) -> tuple[tuple[DiscoveredOperation, ...], tuple[str, ...]]:
    """The operations on offer, and what is wrong with others: those ``wanted`` by id, or all read-only ones.

    ``base_url`` wins over the document's servers; ``source`` is where the document was read, for relative servers.
    """
    found: dict[str, DiscoveredOperation] = {}
    problems: list[str] = []
    seen: set[str] = set()
    for path, item, method, operation in _each(document):
        identity = str(operation.get("operationId") or f"{method}_{path}")
        if identity not in wanted and (wanted or method not in READ_ONLY):
            continue
        seen.add(identity)
        try:
            server = base_url or _server(document, item, operation, source)
            found[identity] = _operation(document, tool, identity, (method, path, server), item, operation)
        except InvalidManifestError as error:
            problems.append(f"operation {identity}: {error}")
    problems += [f"spec.openapi.operations: the document has no operation {name!r}" for name in wanted if name not in seen]
    return tuple(found.values()), tuple(problems)


def _each(document: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any], str, Mapping[str, Any]]]:
    references = _References(document)
    for path, node in (document.get("paths") or {}).items():
        item = references.resolve(node)
        for method in METHODS:
            operation = item.get(method) if isinstance(item, Mapping) else None
            if isinstance(operation, Mapping):
                yield str(path), item, method, operation


def _server(document: Mapping[str, Any], item: Mapping[str, Any], operation: Mapping[str, Any], source: str | None) -> str:
    servers = operation.get("servers") or item.get("servers") or document.get("servers") or [{"url": "/"}]
    url = str(servers[0].get("url", "/"))
    for name, variable in (servers[0].get("variables") or {}).items():
        url = url.replace(f"{{{name}}}", str(variable.get("default", "")))
    full = urljoin(source or "", url)
    if not full.startswith(("http://", "https://")):
        raise InvalidManifestError(
            f"the document names no server ({url!r})", param="spec.openapi.baseUrl", hint="set spec.openapi.baseUrl"
        )
    return full


def _operation(
    document: Mapping[str, Any],
    tool: str,
    identity: str,
    route: tuple[str, str, str],
    item: Mapping[str, Any],
    operation: Mapping[str, Any],
) -> DiscoveredOperation:
    method, path, server = route
    references = _References(document)
    shape = _Shape()
    for parameter in _parameters(references, item, operation):
        shape.add_parameter(parameter, references)
    shape.add_body(references.resolve(operation.get("requestBody")), references)
    name, description = operation_name(tool, identity), _description(operation)
    parameters = json.loads(json.dumps(shape.schema(), default=str))
    return DiscoveredOperation(
        name=name,
        description=description,
        parameters=parameters,
        schema_hash=schema_hash(name, description, parameters),
        side_effects="readOnly" if method in READ_ONLY else None,
        details={
            "operationId": identity,
            "method": method.upper(),
            "url": server.rstrip("/") + path,
            "arguments": shape.arguments,
            "body": shape.body,
        },
    )


def _parameters(references: _References, item: Mapping[str, Any], operation: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    found: dict[tuple[Any, Any], Mapping[str, Any]] = {}
    for node in [*(item.get("parameters") or []), *(operation.get("parameters") or [])]:
        parameter = references.resolve(node)
        if not isinstance(parameter, Mapping) or parameter.get("in") not in ("path", "query", "header"):
            continue
        if parameter["in"] != "header" or str(parameter.get("name")).lower() not in _OWN_HEADERS:
            found[parameter["in"], parameter.get("name")] = parameter
    return list(found.values())


@dataclass(slots=True)
class _Shape:
    """The arguments of one operation, gathered from its parameters and its body."""

    properties: dict[str, Any] = field(default_factory=dict)
    required: list[str] = field(default_factory=list)
    arguments: dict[str, dict[str, Any]] = field(default_factory=dict)  # argument -> where it goes
    body: str | list[str] | None = None  # the argument that is the body, or those that are its fields

    def add_parameter(self, parameter: Mapping[str, Any], references: _References) -> None:
        place, remote = str(parameter["in"]), str(parameter.get("name"))
        name = remote if remote not in self.properties else f"{place}_{remote}"
        content = parameter.get("content") or {}
        media: Mapping[str, Any] = next(iter(content.values()), {})
        schema = references.schema(parameter.get("schema") or media.get("schema") or {})
        if parameter.get("description") and isinstance(schema, dict):
            schema = {**schema, "description": str(parameter["description"])[:MAX_DESCRIPTION]}
        self.properties[name] = schema
        self.arguments[name] = _placed(place, remote, parameter, as_json=bool(content))
        if parameter.get("required") or place == "path":
            self.required.append(name)

    def add_body(self, body: Any, references: _References) -> None:
        if not isinstance(body, Mapping):
            return
        schema = _json_schema_of(body, references)
        if schema is None:
            if body.get("required"):
                raise InvalidManifestError("its body is not JSON", param="spec.openapi.operations")
            return
        fields = schema.get("properties")
        if schema.get("type") == "object" and fields and not set(fields) & set(self.properties):
            self._flatten(schema, fields, required=bool(body.get("required")))
        else:
            self.body = "body" if "body" not in self.properties else "request_body"
            self.properties[self.body] = schema
            self.required += [self.body] if body.get("required") else []

    def _flatten(self, schema: Mapping[str, Any], fields: Mapping[str, Any], *, required: bool) -> None:
        writable = {n: s for n, s in fields.items() if not (isinstance(s, Mapping) and s.get("readOnly"))}
        self.properties.update(writable)
        self.body = list(writable)
        if required:
            self.required += [name for name in schema.get("required", ()) if name in writable]

    def schema(self) -> dict[str, Any]:
        """The JSON Schema of all arguments."""
        return {
            "type": "object",
            "properties": self.properties,
            "required": self.required,
            "additionalProperties": False,
        }


def _placed(place: str, remote: str, parameter: Mapping[str, Any], *, as_json: bool) -> dict[str, Any]:
    style = str(parameter.get("style") or ("form" if place == "query" else "simple"))
    explode = parameter.get("explode")
    return {
        "in": place,
        "name": remote,
        "style": "json" if as_json else style,
        "explode": style == "form" if explode is None else bool(explode),
    }


def _json_schema_of(body: Mapping[str, Any], references: _References) -> dict[str, Any] | None:
    for media_type, media in (body.get("content") or {}).items():
        kind = str(media_type).partition(";")[0].strip().lower()
        if (kind == "application/json" or kind.endswith("+json")) and isinstance(media, Mapping):
            schema = references.schema(media.get("schema") or {})
            return schema if isinstance(schema, dict) else {}
    return None


def _description(operation: Mapping[str, Any]) -> str:
    parts = [str(operation[key]).strip() for key in ("summary", "description") if operation.get(key)]
    text = ". ".join(dict.fromkeys(part.rstrip(".") for part in parts))
    return (f"Deprecated. {text}" if operation.get("deprecated") else text)[:MAX_DESCRIPTION]


def _as_json_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """OpenAPI 3.0's own words as JSON Schema: ``nullable``, and boolean exclusive limits."""
    if schema.pop("nullable", None) is True and isinstance(schema.get("type"), str):
        schema["type"] = [schema["type"], "null"]
    for limit, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if schema.get(exclusive) is True and limit in schema:
            schema[exclusive] = schema.pop(limit)
        elif isinstance(schema.get(exclusive), bool):
            del schema[exclusive]
    return schema
