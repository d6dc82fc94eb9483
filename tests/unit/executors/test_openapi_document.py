import json
from typing import Any

import pytest

from toolorchestra.core.errors import InvalidArgumentsError, InvalidManifestError
from toolorchestra.core.registry import DiscoveredOperation
from toolorchestra.executors.openapi import build_request
from toolorchestra.executors.openapi_document import check_document, find_operations, parse_document

PET = {
    "type": "object",
    "required": ["name", "id"],
    "properties": {
        "id": {"type": "integer", "readOnly": True},
        "name": {"type": "string", "example": "Rex"},
        "example": {"type": "string", "nullable": True},
        "parent": {"$ref": "#/components/schemas/Pet"},
    },
}


def document(paths: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "openapi": "3.0.3",
        "servers": [{"url": "https://{env}.example.org/v1/", "variables": {"env": {"default": "api"}}}],
        "components": {"schemas": {"Pet": PET}},
        "paths": paths,
        **more,
    }


def operations(paths: dict[str, Any], *wanted: str, base_url: str | None = None, **more: Any) -> dict[str, DiscoveredOperation]:
    found, problems = find_operations(
        document(paths, **more), tool="pets", wanted=wanted, base_url=base_url, source="https://docs.example.org/a/openapi.json"
    )
    assert problems == ()
    return {operation.name: operation for operation in found}


GET_PET = {
    "operationId": "getPet",
    "summary": "Find a pet.",
    "description": "By its number.",
    "parameters": [
        {"name": "petId", "in": "path", "required": True, "schema": {"type": "integer"}, "description": "its number"},
        {"name": "fields", "in": "query", "schema": {"type": "array", "items": {"type": "string"}}, "explode": False},
        {"name": "X-Trace", "in": "header", "schema": {"type": "string"}},
        {"name": "Authorization", "in": "header", "schema": {"type": "string"}},
        {"name": "session", "in": "cookie", "schema": {"type": "string"}},
    ],
}
ADD_PET = {
    "operationId": "addPet",
    "requestBody": {"required": True, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Pet"}}}},
}


def test_only_read_only_operations_are_offered_unless_named() -> None:
    paths = {"/pets/{petId}": {"get": GET_PET, "delete": {"operationId": "delete"}}, "/pets": {"post": ADD_PET}}
    assert set(operations(paths)) == {"getPet"}
    assert set(operations(paths, "addPet", "delete")) == {"addPet", "delete"}
    assert operations(paths)["getPet"].side_effects == "readOnly"
    assert operations(paths, "addPet")["addPet"].side_effects is None


def test_parameters_become_a_schema() -> None:
    found = operations({"/pets/{petId}": {"get": GET_PET}})["getPet"]
    assert found.description == "Find a pet. By its number"
    assert found.parameters == {
        "type": "object",
        "properties": {
            "petId": {"type": "integer", "description": "its number"},
            "fields": {"type": "array", "items": {"type": "string"}},
            "X-Trace": {"type": "string"},
        },
        "required": ["petId"],
        "additionalProperties": False,
    }


def test_a_call_fills_path_query_and_headers() -> None:
    details = operations({"/pets/{petId}": {"get": GET_PET}})["getPet"].details
    request, headers = build_request(details, {"petId": "a/b", "fields": ["x", "y"], "X-Trace": "1"})
    assert (request.method, request.url) == ("GET", "https://api.example.org/v1/pets/a%2Fb")
    assert request.query == (("fields", "x,y"),)
    assert headers == {"X-Trace": "1"}
    with pytest.raises(InvalidArgumentsError, match="missing"):
        build_request(details, {})


def test_an_object_body_is_spread_over_the_arguments_without_read_only_fields() -> None:
    found = operations({"/pets": {"post": ADD_PET}}, "addPet")["addPet"]
    properties = found.parameters["properties"]
    assert set(properties) == {"name", "example", "parent"}
    assert properties["example"] == {"type": ["string", "null"]}
    assert properties["name"] == {"type": "string"}
    assert properties["parent"] == {}, "a schema that contains itself ends in anything"
    assert found.parameters["required"] == ["name"]
    request, _ = build_request(found.details, {"name": "Rex"})
    assert json.loads(request.content or b"") == {"name": "Rex"}


def test_a_body_that_is_no_object_or_collides_becomes_one_argument() -> None:
    listing = {"content": {"application/json": {"schema": {"type": "array"}}}, "required": True}
    found = operations({"/x": {"post": {"operationId": "x", "requestBody": listing}}}, "x")["x"]
    assert found.parameters["required"] == ["body"]
    assert json.loads(build_request(found.details, {"body": [1]})[0].content or b"") == [1]
    collides = {**ADD_PET, "parameters": [{"name": "name", "in": "query", "schema": {}}]}
    found = operations({"/pets": {"post": collides}}, "addPet")["addPet"]
    assert set(found.parameters["properties"]) == {"name", "body"}
    request, _ = build_request(found.details, {"name": "q", "body": {"name": "Rex"}})
    assert (request.query, json.loads(request.content or b"")) == ((("name", "q"),), {"name": "Rex"})


def test_same_names_in_two_places_stay_apart() -> None:
    both = [{"name": "id", "in": "path", "required": True}, {"name": "id", "in": "query"}]
    found = operations({"/x/{id}": {"get": {"operationId": "x", "parameters": both}}})["x"]
    request, _ = build_request(found.details, {"id": "p", "query_id": "q"})
    assert (request.url, request.query) == ("https://api.example.org/v1/x/p", (("id", "q"),))


def test_path_level_parameters_are_inherited_and_overridden() -> None:
    path = {
        "parameters": [{"name": "a", "in": "query", "schema": {"type": "string"}}, {"name": "b", "in": "query"}],
        "get": {"operationId": "x", "parameters": [{"name": "a", "in": "query", "schema": {"type": "integer"}}]},
    }
    assert operations({"/x": path})["x"].parameters["properties"] == {"a": {"type": "integer"}, "b": {}}


@pytest.mark.parametrize(
    ("style", "value", "pairs"),
    [
        ({}, ["a", "b"], [("q", "a"), ("q", "b")]),
        ({"explode": False}, ["a", "b"], [("q", "a,b")]),
        ({"style": "pipeDelimited", "explode": False}, ["a", "b"], [("q", "a|b")]),
        ({"style": "deepObject"}, {"k": 1}, [("q[k]", "1")]),
        ({}, {"k": 1}, [("k", "1")]),
        ({"content": {"application/json": {"schema": {}}}}, {"k": 1}, [("q", '{"k":1}')]),
    ],
)
def test_query_styles(style: dict[str, Any], value: Any, pairs: list[tuple[str, str]]) -> None:
    found = operations({"/x": {"get": {"operationId": "x", "parameters": [{"name": "q", "in": "query", **style}]}}})["x"]
    assert list(build_request(found.details, {"q": value})[0].query) == pairs


def test_servers_are_resolved_against_the_documents_place() -> None:
    paths = {"/x": {"get": {"operationId": "x"}}}
    assert operations(paths, servers=[{"url": "/api"}])["x"].details["url"] == "https://docs.example.org/api/x"
    assert operations(paths, servers=[{"url": "/"}])["x"].details["url"] == "https://docs.example.org/x"
    assert operations(paths, base_url="http://own:1/b")["x"].details["url"] == "http://own:1/b/x"


def test_a_broken_operation_does_not_spoil_the_others() -> None:
    upload = {"content": {"multipart/form-data": {"schema": {}}}, "required": True}
    paths = {
        "/a": {"get": {"operationId": "a", "parameters": [{"$ref": "#/components/parameters/Gone"}]}},
        "/b": {"post": {"operationId": "b", "requestBody": upload}},
        "/c": {"get": {"operationId": "c"}},
    }
    found, problems = find_operations(document(paths), tool="t", wanted=["a", "b", "c", "d"], base_url=None, source=None)
    assert [operation.name for operation in found] == ["c"]
    assert [problem.split(":")[0] for problem in problems] == [
        "operation a",
        "operation b",
        "spec.openapi.operations",
    ]


def test_references_out_of_the_document_and_in_circles_are_refused() -> None:
    for target in ("https://evil.example/x.json#/a", "#/components/schemas/Nope"):
        paths = {"/a": {"get": {"operationId": "a", "parameters": [{"name": "q", "in": "query", "schema": {"$ref": target}}]}}}
        _, problems = find_operations(document(paths), tool="t", wanted=[], base_url=None, source=None)
        assert "$ref" in problems[0] or "reference" in problems[0]
    circle = {"A": {"$ref": "#/components/schemas/B"}, "B": {"$ref": "#/components/schemas/A"}}
    paths = {"/a": {"get": {"operationId": "a", "requestBody": {"$ref": "#/components/schemas/A"}}}}
    _, problems = find_operations(
        document(paths, components={"schemas": circle}), tool="t", wanted=[], base_url=None, source=None
    )
    assert "circle" in problems[0]


def test_a_schema_that_explodes_is_bounded() -> None:
    layers = {
        f"L{i}": {"type": "object", "properties": {k: {"$ref": f"#/components/schemas/L{i + 1}"} for k in "abcdefgh"}}
        for i in range(9)
    }
    layers["L9"] = {"type": "string"}
    paths = {
        "/a": {
            "get": {
                "operationId": "a",
                "parameters": [{"name": "q", "in": "query", "schema": {"$ref": "#/components/schemas/L0"}}],
            }
        }
    }
    found, _ = find_operations(document(paths, components={"schemas": layers}), tool="t", wanted=[], base_url=None, source=None)
    assert len(json.dumps(found[0].parameters)) < 400_000


def test_operations_without_an_id_and_with_long_ids_get_valid_names() -> None:
    long = "x" * 90
    found = operations(
        {"/a/{b}": {"get": {}}, "/c": {"get": {"operationId": long}}, "/d": {"get": {"operationId": long + "y"}}}
    )
    assert "get__a_b" in found
    assert len(found) == 3
    assert all(len(f"pets__{name}") <= 64 for name in found)


def test_yaml_and_json_are_read_and_other_things_refused() -> None:
    assert parse_document("openapi: 3.1.0\npaths: {}")["openapi"] == "3.1.0"
    assert parse_document('{"openapi": "3.0.0"}')["openapi"] == "3.0.0"
    for text in ("{not json", "a: [", "swagger: '2.0'", "[]", "openapi: 2"):
        with pytest.raises(InvalidManifestError):
            parse_document(text)
    with pytest.raises(InvalidManifestError, match="not an OpenAPI"):
        check_document(None)


def test_the_hash_changes_with_what_a_model_is_told_and_with_nothing_else() -> None:
    one = operations({"/x": {"get": {"operationId": "x", "summary": "A"}}})["x"].schema_hash
    same = operations({"/y": {"get": {"summary": "A", "operationId": "x"}}})["x"].schema_hash
    other = operations({"/x": {"get": {"operationId": "x", "summary": "B"}}})["x"].schema_hash
    assert one == same != other
