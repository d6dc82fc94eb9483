"""Which of two functions of one name is told to change; nobody's resource fails because of another tenant's."""

from typing import Any

from tests.unit.operator.making import SPECS, body, resource
from toolorchestra.operator.services.collisions import collision, hidden
from toolorchestra.operator.services.index import Index

LENT = {"allowedNamespaces": {"from": "All"}}


def index_of(*bodies: Any) -> Index:
    index = Index()
    for one in bodies:
        index.put(one)
    return index


def test_a_tool_comes_before_a_model_and_the_model_is_told():
    index = index_of(body("Tool"), body("ExpertModel"))
    assert collision(index, resource("Tool")) is None
    assert collision(index, resource("ExpertModel")) == "the Tool 'one' has the function 'one' too; rename one"


def test_operations_collide_with_offers():
    offers = {"offers": [{"name": "code"}, {"name": "math"}]}
    expert = body("ExpertModel", spec=SPECS["ExpertModel"] | offers)
    tool = {"description": "d", "mcp": {"url": "https://example.org/mcp"}}
    found = body("Tool", spec=tool) | {"status": {"operations": [{"name": "math"}]}}
    index = index_of(found, expert)
    told = collision(index, resource("ExpertModel", spec=SPECS["ExpertModel"] | offers))
    assert told == "the Tool 'one' has the function 'one__math' too; rename one"


def test_names_that_are_just_found_count_before_they_are_stored():
    index = index_of(body("ExpertModel", "a"), body("ExpertModel", "b"))
    assert collision(index, resource("ExpertModel", "b"), names=["a"]) is not None
    assert collision(index, resource("ExpertModel", "b")) is None


def test_other_namespaces_have_names_of_their_own():
    index = index_of(body("Tool"), body("ExpertModel", namespace="other"))
    assert collision(index, resource("ExpertModel", namespace="other")) is None
    assert hidden(index, resource("ExpertModel", namespace="other")) is None


def test_a_lent_function_makes_no_own_one_fail_but_is_told():
    lent = body("Tool", spec=SPECS["Tool"] | LENT, namespace="lender")
    index = index_of(lent, body("ExpertModel"))
    assert collision(index, resource("ExpertModel")) is None
    assert hidden(index, resource("ExpertModel")) == "here it hides the function 'one' that 'lender' lends"
    lender = resource("Tool", spec=SPECS["Tool"] | LENT, namespace="lender")
    assert (collision(index, lender), hidden(index, lender)) == (None, None), "who lends learns nothing of others' names"
