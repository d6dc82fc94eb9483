"""Schemas of functions: sound or not, and arguments that fit or not."""

from urllib.error import URLError
from urllib.request import OpenerDirector, install_opener

import pytest

from toolorchestra.core.schemas import arguments_problem, schema_problem

CITY = {
    "type": "object",
    "properties": {"city": {"type": "string", "minLength": 2}},
    "required": ["city"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        (CITY, None),
        ({}, None),
        ({"type": "objec"}, "type: "),
        ({"type": "array"}, 'type: must be "object"'),
        ({"properties": []}, "properties: "),
        ({"properties": {"a": {"pattern": "("}}}, "properties.a.pattern: "),
        ({"properties": {"a": {"minimum": "1"}}}, "properties.a.minimum: "),
    ],
)
def test_a_broken_schema_is_named_with_its_place(schema, problem):
    found = schema_problem(schema)
    assert found is None if problem is None else found.startswith(problem)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"city": "Rome"}, None),
        ({}, "arguments: 'city' is a required property"),
        ({"city": 3}, "city: 3 is not of type 'string'"),
        ({"city": "R"}, "city: 'R' is too short"),
        ({"city": "Rome", "zip": 1}, "arguments: Additional properties are not allowed ('zip' was unexpected)"),
    ],
)
def test_arguments_that_break_the_schema_are_named_with_their_place(arguments, problem):
    assert arguments_problem(CITY, arguments) == problem


@pytest.mark.parametrize(
    "broken",
    [{"$ref": "http://127.0.0.1:9/secret"}, {"$ref": "#/$defs/none"}, {"pattern": "("}],
)
def test_a_schema_that_cannot_be_followed_is_a_problem_never_a_download_or_a_crash(broken):
    found = arguments_problem({"type": "object", "properties": {"a": broken}}, {"a": "x"})
    assert found is not None
    assert found.startswith("the schema of the arguments is broken: ")


@pytest.fixture
def fetched():
    """The addresses that anything in this process tried to download."""

    class Watch(OpenerDirector):
        def open(self, fullurl, *_, **__):
            addresses.append(fullurl.full_url)
            raise URLError("refused by the test")

    addresses = []
    install_opener(Watch())
    yield addresses
    install_opener(None)


def test_what_a_schema_refers_to_is_never_downloaded(fetched):
    address = "http://169.254.169.254/latest/meta-data"
    assert arguments_problem({"type": "object", "properties": {"a": {"$ref": address}}}, {"a": 1}) is not None
    assert schema_problem({"$schema": address, "$ref": address}) is None
    assert fetched == []


def test_arguments_nested_without_end_are_a_problem_not_a_crash():
    deep: dict = {}
    for _ in range(2_000):
        deep = {"a": deep}
    assert arguments_problem({"type": "object", "additionalProperties": {"$ref": "#"}}, deep) is not None


def test_a_schema_nested_without_end_is_a_problem_not_a_crash():
    deep: dict = {}
    for _ in range(2_000):
        deep = {"type": "object", "properties": {"a": deep}}
    assert schema_problem(deep) == "it is nested too deeply"


def test_a_long_complaint_is_cut():
    found = arguments_problem({"type": "object", "properties": {"a": {"const": 1}}}, {"a": "x" * 10_000})
    assert found is not None
    assert len(found) < 400
