"""What a run pins: which functions, at which price, under which names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolorchestra.core.errors import ForbiddenError, ModelNotFoundError, UnavailableError, UnpricedError
from toolorchestra.core.pricing import Price
from toolorchestra.core.registry import DiscoveredOperation, Observation
from toolorchestra.core.resources import BudgetPolicySpec
from toolorchestra.core.resources.orchestrator import PreferenceSpec
from toolorchestra.core.revision import Revision, find_expert, functions_for, pin, pin_expert, price_of, require_inside
from toolorchestra.core.testing import a_catalog, a_revision, a_tool, an_expert, an_orchestrator

FREE_FOR_ALL = BudgetPolicySpec()
MCP = {"mcp": {"url": "http://127.0.0.1:9/mcp"}, "parameters": {"type": "object"}}
OPENAPI = {"openapi": {"url": "http://127.0.0.1:9/openapi.json"}, "parameters": {"type": "object"}}


def names(catalog, tenant="default", budget=FREE_FOR_ALL):
    functions, problems = functions_for(catalog, tenant, budget)
    return [f.name for f in functions], [f"{p.source}: {p.message}" for p in problems]


def operation(name, **fields):
    return DiscoveredOperation(
        name, fields.pop("description", ""), fields.pop("parameters", {"type": "object"}), "hash", **fields
    )


def seen(*operations, ready=True, reason="Ready", message="", base_url=None):
    return Observation(ready=ready, reason=reason, message=message, operations=operations, base_url=base_url)


def test_tools_come_first_then_experts_each_by_name():
    assert names(a_catalog(an_expert("zed"), a_tool("b"), an_expert("ann"), a_tool("a"))) == (["a", "b", "ann", "zed"], [])


def test_an_expert_with_several_offers_is_several_functions():
    expert = an_expert(
        "wise", offers=[{"name": "answer"}, {"name": "code", "description": "Writes code.", "maxOutputTokens": 9}]
    )
    functions, _ = functions_for(a_catalog(expert), "default", FREE_FOR_ALL)
    assert [(f.name, f.description, f.max_output_tokens) for f in functions] == [
        ("wise__answer", "The expert wise.", 256),
        ("wise__code", "Writes code.", 9),
    ]
    assert [f.target.offer for f in functions] == ["answer", "code"]


def test_a_simulated_expert_says_so_to_the_manager():
    functions, _ = functions_for(a_catalog(an_expert("actor", simulated=True)), "default", FREE_FOR_ALL)
    assert functions[0].description.startswith("[simulated] ")


def test_a_name_taken_twice_is_a_problem_of_the_second_and_the_first_stays():
    found, problems = names(
        a_catalog(a_tool("same"), an_expert("same"), a_tool("same", namespace="other", allowedNamespaces={"from": "All"}))
    )
    assert found == ["same"]
    assert problems == [
        "Tool other/same: Tool default/same has the function 'same' too; rename one",
        "ExpertModel default/same: Tool default/same has the function 'same' too; rename one",
    ]


def test_own_tools_win_over_lent_ones_whatever_their_namespaces_are_called():
    catalog = a_catalog(
        a_tool("same", namespace="aaa", allowedNamespaces={"from": "All"}, description="Lent."), a_tool("same", namespace="zzz")
    )
    functions, problems = functions_for(catalog, "zzz", FREE_FOR_ALL)
    assert [f.target.namespace for f in functions] == ["zzz"]
    assert len(problems) == 1


def test_only_what_is_lent_is_seen_from_another_namespace():
    catalog = a_catalog(
        a_tool("own", namespace="mine"),
        a_tool("lent", namespace="theirs", allowedNamespaces={"from": "Names", "names": ["mine"]}),
        a_tool("kept", namespace="theirs"),
        an_expert("wise", namespace="theirs", allowedNamespaces={"from": "All"}),
    )
    assert names(catalog, "mine") == (["own", "lent", "wise"], [])
    assert names(catalog, "theirs")[0] == ["kept", "lent", "wise"]


def test_the_budget_says_which_tools_and_experts_there_are():
    catalog = a_catalog(a_tool("search"), a_tool("shell"), an_expert("dear"), an_expert("cheap"))
    budget = BudgetPolicySpec(allowed_tools=["se*"], allowed_experts=["cheap"])
    assert names(catalog, budget=budget)[0] == ["search", "cheap"]


def test_an_orchestrator_chooses_by_patterns_that_cover_operations():
    catalog = a_catalog(
        an_orchestrator(tools={"include": ["search", "wise"], "exclude": ["*__drop"]}),
        a_tool("search", **MCP),
        a_tool("other"),
        an_expert("wise", offers=[{"name": "a"}, {"name": "drop"}]),
        observed={("Tool", "default", "search"): seen(operation("web"), operation("drop"))},
    )
    revision = pin(catalog, "default", "main", FREE_FOR_ALL)
    assert [f.name for f in revision.functions] == ["search__web", "wise__a"]


@pytest.mark.parametrize("backend", [MCP, OPENAPI])
def test_discovered_operations_become_functions_with_what_a_call_needs(backend):
    found = operation("get", description="Gets.", parameters={"type": "object", "required": ["id"]}, details={"path": "/x"})
    catalog = a_catalog(a_tool("api", **backend), observed={("Tool", "default", "api"): seen(found, operation("put"))})
    functions, problems = functions_for(catalog, "default", FREE_FOR_ALL)
    assert problems == ()
    assert [(f.name, f.description, f.target.operation) for f in functions] == [
        ("api__get", "Gets.", "get"),
        ("api__put", "Does api.", "put"),
    ]
    assert functions[0].parameters == {"type": "object", "required": ["id"]}
    assert functions[0].target.details == {"path": "/x"}


@pytest.mark.parametrize(
    ("observation", "problem"),
    [
        (None, "it has no operations: they are not discovered yet"),
        (seen(ready=False, reason="Unreachable", message="connection refused"), "it has no operations: connection refused"),
        (seen(operation("a.b")), "'api__a.b' cannot be the name of a function"),
        (seen(operation("a\n")), "cannot be the name of a function"),
        (seen(operation("x" * 64)), "cannot be the name of a function"),
        (seen(operation("a", parameters={"type": "objec"})), "the schema of 'a' is broken: type:"),
        (seen(ready=False, reason="SecretMissing", message="no key"), "it is not ready: no key"),
    ],
)
def test_operations_that_cannot_be_offered_are_problems_and_the_rest_goes_on(observation, problem):
    observed = {("Tool", "default", "api"): observation} if observation else {}
    found, problems = names(a_catalog(a_tool("api", **MCP), a_tool("good"), observed=observed))
    assert found == ["good"]
    assert len(problems) == 1
    assert problems[0].startswith("Tool default/api: ")
    assert problem in problems[0]


def test_a_tool_that_did_not_answer_a_probe_is_offered_all_the_same():
    observed = {("Tool", "default", "lookup"): seen(ready=False, reason="Unreachable")}
    assert names(a_catalog(a_tool("lookup"), observed=observed)) == (["lookup"], [])


def test_a_price_is_the_manifests_else_the_public_one_else_refused():
    assert price_of(an_expert(pricing={"input": "0.05", "output": "0.1", "cachedInput": "0.01", "perSecond": "2"})) == Price(
        input=50_000_000, output=100_000_000, cached=10_000_000, per_second=2_000_000_000
    )
    assert price_of(an_expert(model="gpt-4o-mini", pricing=None)).input == 150_000_000
    with pytest.raises(UnpricedError) as caught:
        price_of(an_expert(model="home-made", pricing=None))
    assert caught.value.param == "spec.pricing"
    assert "set spec.pricing.input" in str(caught.value)
    assert price_of(an_expert(model="home-made", pricing=None), unpriced="allow") == Price()


def test_an_expert_without_a_price_is_left_out_unless_the_policy_allows_it():
    catalog = a_catalog(an_expert("wise"), an_expert("home", pricing=None))
    found, problems = names(catalog)
    assert found == ["wise"]
    assert problems[0].startswith("ExpertModel default/home: the price of 'home'")
    assert names(catalog, budget=BudgetPolicySpec(unpriced="allow")) == (["home", "wise"], [])


def test_an_expert_that_is_not_served_yet_is_left_out_and_found_once_it_is():
    expert = an_expert("wise", kserve={"storageUri": "hf://a/b"})
    assert names(a_catalog(expert)) == ([], ["ExpertModel default/wise: the model 'wise' is not served yet (see its status)"])
    observed = {("ExpertModel", "default", "wise"): seen(base_url="http://wise.default.svc/v1")}
    functions, _ = functions_for(a_catalog(expert, observed=observed), "default", FREE_FOR_ALL)
    assert functions[0].target.base_url == "http://wise.default.svc/v1"
    assert functions[0].inside


@pytest.mark.parametrize(
    ("url", "location", "inside"),
    [
        ("http://localhost:1/v1", None, True),
        ("http://[::1]:1/v1", None, True),
        ("http://m.ns.svc/v1", None, True),
        ("http://m.ns.svc.cluster.local/v1", None, True),
        ("https://api.example.com/v1", None, False),
        ("https://svc.example.com/v1", None, False),
        ("https://api.example.com/v1", "inside", True),
        ("http://localhost:1/v1", "outside", False),
    ],
)
def test_whether_data_stays_inside_follows_the_address_unless_it_is_declared(url, location, inside):
    more = {"location": location} if location else {}
    assert (
        functions_for(a_catalog(an_expert(endpoint={"baseUrl": url}, **more)), "default", FREE_FOR_ALL)[0][0].inside is inside
    )


@pytest.mark.parametrize(
    ("backend", "inside"),
    [
        ({"http": {"url": "http://127.0.0.1:9/{query}"}}, True),
        ({"http": {"url": "https://example.com/{query}"}}, False),
        ({"plugin": {"name": "it"}}, True),
        ({"plugin": {"name": "it"}, "location": "outside"}, False),
    ],
)
def test_a_tool_keeps_data_inside_by_its_address_too(backend, inside):
    (function,) = a_revision(a_tool("lookup", **backend)).functions
    assert function.inside is inside


def test_a_manager_is_pinned_and_writes_the_closing_answer():
    revision = a_revision(an_expert("boss"), an_expert("cheap", pricing={"input": "0", "output": "0"}), manager="boss")
    assert revision.manager.target.name == "boss"
    assert revision.closing == revision.manager


def test_without_a_manager_the_cheapest_expert_writes_the_closing_answer():
    revision = a_revision(an_expert("dear", pricing={"input": "9", "output": "9"}), an_expert("cheap"))
    assert revision.manager is None
    assert revision.closing.offered_as == "cheap"
    assert a_revision(a_tool()).closing is None


@pytest.mark.parametrize(
    ("manager", "rules", "refused"),
    [
        ({"location": "outside"}, {"inside_only": True}, True),
        ({}, {"inside_only": True}, False),
        ({"location": "outside"}, {}, False),
    ],
)
def test_a_run_whose_data_must_stay_inside_needs_a_manager_inside(manager, rules, refused):
    revision = a_revision(an_expert("boss", **manager), manager="boss")
    if refused:
        with pytest.raises(ForbiddenError, match="the manager 'boss' is outside"):
            require_inside(revision, PreferenceSpec(**rules))
    else:
        require_inside(revision, PreferenceSpec(**rules))


def test_a_canary_is_another_policy_of_the_same_name():
    spec = {"policy": {"baseline": "cheapest"}, "canary": {"policy": {"baseline": "strongest"}, "weight": 5}}
    catalog = a_catalog(an_orchestrator(**spec), an_expert())
    assert pin(catalog, "default", "main", FREE_FOR_ALL).policy.baseline == "cheapest"
    assert pin(catalog, "default", "main", FREE_FOR_ALL, canary=True).policy.baseline == "strongest"


@pytest.mark.parametrize("model", ["nothing", "other/kept", "other/nothing", "/wise", "other/"])
def test_a_model_that_does_not_exist_or_is_not_lent_is_not_found(model):
    catalog = a_catalog(an_expert("kept", namespace="other"), an_orchestrator())
    with pytest.raises(ModelNotFoundError):
        find_expert(catalog, "default", model)
    with pytest.raises(ModelNotFoundError):
        pin(catalog, "default", model, FREE_FOR_ALL)


def test_a_lent_model_is_named_with_its_namespace():
    catalog = a_catalog(an_expert("wise", namespace="other", allowedNamespaces={"from": "All"}))
    assert find_expert(catalog, "default", "other/wise").metadata.name == "wise"
    with pytest.raises(ModelNotFoundError):
        find_expert(catalog, "default", "wise")


def test_a_plain_model_is_pinned_with_its_price_and_no_functions():
    revision = pin_expert(a_catalog(an_expert("wise"), a_tool()), "default", "wise", FREE_FOR_ALL)
    assert revision.functions == ()
    assert revision.manager.price == Price(input=1_000_000_000, output=2_000_000_000)


def test_an_unserved_or_unpriced_manager_is_refused_when_the_run_opens():
    for manager, error in (
        (an_expert("boss", pricing=None), UnpricedError),
        (an_expert("boss", kserve={"storageUri": "x"}), UnavailableError),
    ):
        with pytest.raises(error):
            a_revision(manager, manager="boss")


@given(st.permutations([a_tool("a"), a_tool("b"), an_expert("c"), an_expert("d"), an_orchestrator()]))
def test_the_id_does_not_depend_on_the_order_in_which_resources_were_read(resources):
    revision = pin(a_catalog(*resources), "default", "main", FREE_FOR_ALL)
    assert revision.id == pin(a_catalog(*reversed(resources)), "default", "main", FREE_FOR_ALL).id


def test_the_id_changes_with_whatever_a_run_may_notice():
    base = a_revision(a_tool("a"), an_expert("wise"))
    others = [
        a_revision(a_tool("a"), an_expert("wise", pricing={"input": "1", "output": "2.000000001"})),
        a_revision(a_tool("a", description="Other."), an_expert("wise")),
        a_revision(a_tool("a"), an_expert("wise"), policy={"baseline": "random"}),
        a_revision(a_tool("a"), a_tool("b"), an_expert("wise")),
        a_revision(a_tool("a"), an_expert("wise"), limits={"maxTurns": 3}),
    ]
    assert len({base.id, *(other.id for other in others)}) == len(others) + 1
    assert a_revision(a_tool("a"), an_expert("wise")).id == base.id


def test_a_stored_revision_reads_back_as_it_was():
    revision = a_revision(a_tool("a", allowedNamespaces={"from": "All"}), an_expert("wise"), manager="wise")
    assert Revision.model_validate_json(revision.model_dump_json()) == revision
