"""From a Tool's http template and a call's arguments to one HTTP request. Pure.

``{name}`` stands for an argument. In the URL it is percent-encoded; a value that is exactly ``{name}`` keeps its JSON type
in a body and repeats a query parameter for a list; whatever needs an argument that the call leaves out is left out too.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from toolorchestra.core.errors import InvalidArgumentsError, InvalidManifestError
from toolorchestra.core.resources.tool import HttpBackend

PLACEHOLDER: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_-]*)\}")
_BODY_METHODS: Final = ("POST", "PUT", "PATCH")


class _Missing:
    """The mark of a value that is left out."""


_MISSING: Final = _Missing()


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request, complete but for headers. ``content`` is JSON text; None sends no body."""

    method: str
    url: str
    query: tuple[tuple[str, str], ...] = ()
    content: bytes | None = None


@dataclass(frozen=True, slots=True)
class Arguments:
    """A call's arguments, with the names that the tool declares and its defaults."""

    values: Mapping[str, Any]
    declared: frozenset[str]

    @classmethod
    def of(cls, arguments: Mapping[str, Any], parameters: Mapping[str, Any]) -> "Arguments":
        """Arguments under a JSON Schema; a property's ``default`` stands in for a missing argument."""
        properties: Mapping[str, Any] = parameters.get("properties") or {}
        defaults = {n: s["default"] for n, s in properties.items() if isinstance(s, Mapping) and "default" in s}
        return cls({**defaults, **arguments}, frozenset(properties) | frozenset(arguments))

    def get(self, name: str) -> Any:
        """The value, or the mark of a missing one. None is a value only where JSON keeps it."""
        return self.values.get(name, _MISSING)


def render(backend: HttpBackend, arguments: Arguments) -> HttpRequest:
    """Fill the template. Raises InvalidArgumentsError (a value does not fit) or InvalidManifestError (the template)."""
    url, url_query = _url(backend.url, arguments)
    used = set(names_in(backend.url))
    if backend.query is not None:
        used.update(name for text in backend.query.values() for name in names_in(text))
        explicit = [pair for key, text in backend.query.items() for pair in _pairs(key, text, arguments)]
    else:
        explicit = []
    rest = {name: value for name, value in arguments.values.items() if name not in used}
    with_body = backend.method in _BODY_METHODS
    if backend.query is None and not with_body and backend.body is None:
        explicit = [pair for name, value in rest.items() for pair in _spread(name, value)]
    return HttpRequest(
        method=backend.method,
        url=url,
        query=(*url_query, *explicit),
        content=_content(backend.body, rest if with_body else None, arguments),
    )


def header_value(text: str, arguments: Arguments, *, field: str) -> str | None:
    """A header's value, or None if it needs a missing argument. Raises InvalidArgumentsError if it does not fit."""
    value = _filled(text, arguments, field=field)
    if not isinstance(value, str):
        return None
    if not fits_header(value):
        raise InvalidArgumentsError("an argument does not fit into a header", param=field, hint="use printable ASCII")
    return value


def fits_header(text: str) -> bool:
    """Whether a text can be a header's value: no line break can end it, no character is lost."""
    return text.isascii() and text.isprintable()


def check_template(backend: HttpBackend, parameters: Mapping[str, Any]) -> None:
    """Raises InvalidManifestError if url, query or headers name an argument that ``spec.parameters`` lacks."""
    declared = frozenset(parameters.get("properties") or {})
    texts = [("url", backend.url), *(("query", text) for text in (backend.query or {}).values())]
    texts += [("headers", header.value or "") for header in backend.headers]
    for field, text in texts:
        for name in names_in(text):
            if name not in declared:
                raise _undeclared(name, field=f"spec.http.{field}")


def names_in(text: str) -> Iterator[str]:
    """The arguments that a template text names."""
    return (match[1] for match in PLACEHOLDER.finditer(text))


def segment(value: Any, *, param: str) -> str:
    """An argument as one part of a URL's path, percent-encoded. Raises InvalidArgumentsError for ``.`` and ``..``."""
    text = as_text(value)
    if text in (".", ".."):
        raise InvalidArgumentsError(f"{text!r} cannot be part of a URL's path", param=param)
    return quote(text, safe="")


def as_text(value: Any) -> str:
    """An argument as text: strings as they are, everything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _url(template: str, arguments: Arguments) -> tuple[str, list[tuple[str, str]]]:
    path, _, query = template.partition("#")[0].partition("?")

    def insert(match: re.Match[str]) -> str:
        value = _lookup(match[1], arguments, field="spec.http.url")
        if value is _MISSING or value is None:
            raise InvalidArgumentsError(f"the argument {match[1]!r} is needed", param=match[1], hint="add it")
        return segment(value, param=match[1])

    pieces = [piece.partition("=") for piece in query.split("&") if piece]
    return PLACEHOLDER.sub(insert, path), [p for k, _, text in pieces for p in _pairs(k, text, arguments)]


def _pairs(key: str, text: str, arguments: Arguments) -> Iterator[tuple[str, str]]:
    exact = PLACEHOLDER.fullmatch(text)
    if exact:
        yield from _spread(key, _lookup(exact[1], arguments, field="spec.http.query"))
        return
    value = _filled(text, arguments, field="spec.http.query")
    if isinstance(value, str):
        yield key, value


def _spread(key: str, value: Any) -> Iterator[tuple[str, str]]:
    if value is _MISSING or value is None:
        return
    for item in value if isinstance(value, list) else (value,):
        yield key, as_text(item)


def _content(body: Any, rest: Mapping[str, Any] | None, arguments: Arguments) -> bytes | None:
    if body is None:
        return None if rest is None else _json(rest)
    filled = _body(body, arguments)
    return None if filled is _MISSING else _json(filled)


def _body(template: Any, arguments: Arguments) -> Any:
    match template:
        case str():
            return _text_in_body(template, arguments)
        case Mapping():
            filled = {key: _body(value, arguments) for key, value in template.items()}
            return {key: value for key, value in filled.items() if value is not _MISSING}
        case list():
            return [value for item in template if (value := _body(item, arguments)) is not _MISSING]
        case _:
            return template


def _text_in_body(text: str, arguments: Arguments) -> Any:
    exact = PLACEHOLDER.fullmatch(text)
    if exact and exact[1] in arguments.declared:
        return arguments.get(exact[1])
    # A body may hold braces of its own (GraphQL, code), so names that the tool does not declare stay as they are.
    known = [name for name in names_in(text) if name in arguments.declared]
    if any(arguments.get(name) is _MISSING for name in known):
        return _MISSING
    return PLACEHOLDER.sub(lambda m: as_text(arguments.get(m[1])) if m[1] in arguments.declared else m[0], text)


def _filled(text: str, arguments: Arguments, *, field: str) -> str | _Missing:
    values = {name: _lookup(name, arguments, field=field) for name in names_in(text)}
    if any(value is _MISSING or value is None for value in values.values()):
        return _MISSING
    return PLACEHOLDER.sub(lambda match: as_text(values[match[1]]), text)


def _lookup(name: str, arguments: Arguments, *, field: str) -> Any:
    if name not in arguments.declared:
        raise _undeclared(name, field=field)
    return arguments.get(name)


def _undeclared(name: str, *, field: str) -> InvalidManifestError:
    return InvalidManifestError(
        f"{field}: {{{name}}} is not an argument of the tool",
        param=field,
        hint=f"add {name!r} to spec.parameters.properties",
    )


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
