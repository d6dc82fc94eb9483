"""The registry of a cluster over a small API server in memory."""

import asyncio
from collections.abc import Callable

from toolorchestra.core.errors import ForbiddenError, UpstreamError
from toolorchestra.core.registry import Observation, WatchedRegistry
from toolorchestra.core.resources import API_VERSION
from toolorchestra.kit import cluster_registry
from toolorchestra.kit.cluster_registry import WATCHED, ClusterRegistry
from toolorchestra.kit.testing import MemoryKubernetes

TOOLS, EXPERTS, _, BUDGETS = WATCHED
CALCULATOR = {"description": "Adds.", "plugin": {"name": "calculator"}}
READY = {"type": "Ready", "status": "True", "reason": "Ready", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}
MCP = {"description": "A server.", "mcp": {"url": "https://tools.example/mcp"}}
LOOK = {"name": "look", "parameters": {"type": "object"}, "schemaHash": "h1", "state": "Accepted"}


def body(name, spec=None, *, of=TOOLS, namespace="acme"):
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": API_VERSION, "kind": of.kind, "metadata": metadata, "spec": spec or CALCULATOR}


def an_expert(**serving):
    return {"description": "An expert.", "model": "m", "pricing": {"input": "1", "output": "1"}, **serving}


async def observed(api, of, name, *conditions, namespace="acme", generation=None, **status):
    """What the operator does."""
    found = await api.get(of, name, namespace=namespace)
    seen = {"observedGeneration": generation or found["metadata"]["generation"], "conditions": list(conditions), **status}
    target = {"metadata": {"name": name, "namespace": namespace}, "status": seen}
    await api.apply(of, target, subresource="status")


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


def names(registry: WatchedRegistry) -> set[str]:
    return {name for _, name in registry.catalog().tools}


async def test_it_is_not_ready_until_every_kind_was_listed():
    api = MemoryKubernetes(*WATCHED)
    api.put(TOOLS, body("a"))
    api.fail("list", BUDGETS, ForbiddenError('cannot list resource "budgetpolicies"'))
    async with ClusterRegistry(api) as registry:
        await until(lambda: "cannot list" in (registry.not_ready() or ""))
        assert registry.not_ready() == (
            'the first list of budgetpolicies is not complete: cannot list resource "budgetpolicies"'
        )
        api.fail("list", BUDGETS, None)
        await until(lambda: registry.not_ready() is None)
        assert names(registry) == {"a"}
        api.fail("list", BUDGETS, UpstreamError("away"))
        api.fail("watch", BUDGETS, UpstreamError("away"))
        assert registry.not_ready() is None


async def test_a_missing_kind_is_said_with_the_fix():
    async with ClusterRegistry(MemoryKubernetes()) as registry:
        await until(lambda: "install the chart toolorchestra-crds" in (registry.not_ready() or ""))


async def test_changes_arrive_and_what_is_deleted_goes():
    api = MemoryKubernetes(*WATCHED)
    async with ClusterRegistry(api) as registry:
        await until(lambda: registry.not_ready() is None)
        before = registry.catalog()
        api.put(TOOLS, body("a"))
        catalog = await registry.changed(before.version)
        assert (set(catalog.tools), before.tools) == ({("acme", "a")}, {})
        await api.delete(TOOLS, "a", namespace="acme")
        await until(lambda: names(registry) == set())


async def test_only_the_namespaces_that_are_named_are_seen():
    api = MemoryKubernetes(*WATCHED)
    for namespace in ("acme", "other", "third"):
        api.put(TOOLS, body(namespace, namespace=namespace))
    async with ClusterRegistry(api, namespaces=("acme", "third")) as registry:
        await until(lambda: names(registry) == {"acme", "third"})


async def test_a_thousand_changes_make_few_catalogs():
    api = MemoryKubernetes(*WATCHED)
    async with ClusterRegistry(api) as registry:
        await until(lambda: registry.not_ready() is None)
        for number in range(1_000):
            api.put(TOOLS, body(f"t{number}"))
        await until(lambda: len(names(registry)) == 1_000)
        assert registry.catalog().version < 200


async def test_a_status_that_says_nothing_new_makes_no_new_catalog():
    api = MemoryKubernetes(*WATCHED)
    api.put(TOOLS, body("a"))
    async with ClusterRegistry(api) as registry:
        await until(lambda: registry.not_ready() is None)
        await observed(api, TOOLS, "a", READY, latencyMs=3)
        await until(lambda: ("Tool", "acme", "a") in registry.catalog().observed)
        before = registry.catalog()
        await observed(api, TOOLS, "a", READY, latencyMs=4)
        api.put(TOOLS, body("b"))
        await until(lambda: "b" in names(registry))
        assert registry.catalog().version == before.version + 1
        assert registry.catalog().observed["Tool", "acme", "a"] is before.observed["Tool", "acme", "a"]
        assert registry.catalog().tools["acme", "a"] is before.tools["acme", "a"]


async def test_a_history_that_is_gone_is_listed_again():
    api = MemoryKubernetes(*WATCHED)
    api.put(TOOLS, body("a"))
    async with ClusterRegistry(api) as registry:
        await until(lambda: names(registry) == {"a"})
        api.fail("watch", TOOLS, UpstreamError("the connection broke"))
        await asyncio.sleep(0.01)
        api.put(TOOLS, body("b"))
        await api.delete(TOOLS, "a", namespace="acme")
        api.forget_history()
        api.fail("watch", TOOLS, None)
        await until(lambda: names(registry) == {"b"})


async def test_the_last_catalog_is_served_while_the_server_is_away(monkeypatch):
    monkeypatch.setattr(cluster_registry, "BACK_OFF_S", (0.01, 0.02))
    api = MemoryKubernetes(*WATCHED)
    api.put(TOOLS, body("a"))
    async with ClusterRegistry(api) as registry:
        await until(lambda: names(registry) == {"a"})
        for verb in ("list", "watch"):
            api.fail(verb, TOOLS, UpstreamError("away"))
        api.forget_history()
        api.put(TOOLS, body("b"))
        await asyncio.sleep(0.1)
        assert registry.not_ready() is None
        for verb in ("list", "watch"):
            api.fail(verb, TOOLS, None)
        await until(lambda: names(registry) == {"a", "b"})


async def test_a_broken_object_is_a_problem_of_its_namespace_and_its_last_good_version_stays():
    api = MemoryKubernetes(*WATCHED)
    api.put(TOOLS, body("a"))
    api.put(TOOLS, body("b"))
    async with ClusterRegistry(api) as registry:
        await until(lambda: names(registry) == {"a", "b"})
        api.put(TOOLS, body("a", {"description": "Broken."}))
        await until(lambda: len(registry.catalog().problems) == 1)
        (problem,) = registry.catalog().problems
        assert (problem.source, problem.namespace) == ("Tool acme/a", "acme")
        assert "exactly one of" in problem.message
        assert "its last good version is used" in problem.message
        assert registry.catalog().tools["acme", "a"].spec.plugin
        api.put(TOOLS, body("a"))
        await until(lambda: registry.catalog().problems == ())
        api.put(TOOLS, body("new", {"description": "Broken."}))
        await until(lambda: len(registry.catalog().problems) == 1)
        assert "last good" not in registry.catalog().problems[0].message
        await api.delete(TOOLS, "new", namespace="acme")
        await until(lambda: registry.catalog().problems == ())


async def test_what_the_operator_observed_of_this_spec_counts():
    api = MemoryKubernetes(*WATCHED)
    api.put(TOOLS, body("remote", MCP))
    async with ClusterRegistry(api) as registry:
        drifted = LOOK | {"name": "changed", "state": "Drifted", "schemaHash": "h2"}
        await observed(api, TOOLS, "remote", READY, operations=[LOOK, drifted])
        await until(lambda: ("Tool", "acme", "remote") in registry.catalog().observed)
        seen = registry.catalog().observed["Tool", "acme", "remote"]
        assert ([o.name for o in seen.operations], seen.details) == (["look"], {"drifted": {"changed": "h2"}})
        assert registry.first_hashes() == {("Tool", "acme", "remote"): {"look": "h1"}}


async def test_operations_outlive_an_edit_that_leaves_the_backend_alone_and_no_other():
    api = MemoryKubernetes(*WATCHED)
    api.put(TOOLS, body("remote", MCP))
    async with ClusterRegistry(api) as registry:
        await observed(api, TOOLS, "remote", READY, operations=[LOOK])
        await until(lambda: ("Tool", "acme", "remote") in registry.catalog().observed)
        api.put(TOOLS, body("remote", MCP | {"timeout": "5s"}))
        await until(lambda: registry.catalog().tools["acme", "remote"].spec.timeout == "5s")
        assert registry.catalog().observed["Tool", "acme", "remote"].operations
        api.put(TOOLS, body("remote", MCP | {"mcp": {"url": "https://elsewhere.example/mcp"}}))
        await until(lambda: ("Tool", "acme", "remote") not in registry.catalog().observed)
        assert registry.first_hashes() == {("Tool", "acme", "remote"): {"look": "h1"}}


async def test_a_model_keeps_its_address_while_new_weights_are_loaded():
    """Also for a process that started after the edit; an endpoint that moved is called where it is now."""
    api = MemoryKubernetes(*WATCHED)
    api.put(EXPERTS, body("served", an_expert(kserve={"storageUri": "hf://org/old"}), of=EXPERTS))
    api.put(EXPERTS, body("fixed", an_expert(endpoint={"baseUrl": "https://old.example"}), of=EXPERTS))
    await observed(api, EXPERTS, "served", READY, url="http://10.1.2.3/v1", inferenceService="served")
    await observed(api, EXPERTS, "fixed", READY, url="https://old.example/v1")
    async with ClusterRegistry(api) as early:
        await until(lambda: len(early.catalog().observed) == 2)
        api.put(EXPERTS, body("served", an_expert(kserve={"storageUri": "hf://org/new"}), of=EXPERTS))
        api.put(EXPERTS, body("fixed", an_expert(endpoint={"baseUrl": "https://new.example"}), of=EXPERTS))
        async with ClusterRegistry(api) as late:
            for registry in (early, late):
                await until(lambda r=registry: ("ExpertModel", "acme", "fixed") not in r.catalog().observed)
                await until(lambda r=registry: len(r.catalog().experts) == 2)
                assert registry.catalog().observed["ExpertModel", "acme", "served"].base_url == "http://10.1.2.3/v1"


async def test_the_address_of_an_endpoint_is_believed_only_where_its_spec_says():
    api = MemoryKubernetes(*WATCHED)
    api.put(EXPERTS, body("fixed", an_expert(endpoint={"baseUrl": "https://api.example"}), of=EXPERTS))
    await observed(api, EXPERTS, "fixed", READY, url="https://thief.example/v1")
    async with ClusterRegistry(api) as registry:
        await until(lambda: len(registry.catalog().observed) == 1)
        assert registry.catalog().observed["ExpertModel", "acme", "fixed"].base_url is None


async def test_what_nobody_observed_is_due_after_the_grace_and_again_later():
    api = MemoryKubernetes(*WATCHED)
    api.put(TOOLS, body("seen"))
    api.put(TOOLS, body("lonely"))
    api.put(EXPERTS, body("served", an_expert(kserve={"storageUri": "hf://org/m"}), of=EXPERTS))
    await observed(api, TOOLS, "seen", READY)
    async with ClusterRegistry(api, grace_s=0.1, again_s=0.2) as registry:
        await until(lambda: registry.not_ready() is None)
        assert registry.due().tools == {}
        await until(lambda: set(registry.due().tools) == {("acme", "lonely")})
        assert registry.due().experts == {}
        registry.observe({("Tool", "acme", "lonely"): Observation(ready=True, reason="Ready")})
        assert registry.due().tools == {}
        await until(lambda: ("Tool", "acme", "lonely") in registry.catalog().observed)
        await until(lambda: set(registry.due().tools) == {("acme", "lonely")})
        await observed(api, TOOLS, "lonely", READY | {"status": "False", "reason": "Down"})
        await until(lambda: registry.catalog().observed["Tool", "acme", "lonely"].reason == "Down")
        assert registry.due().tools == {}
        registry.observe({("Tool", "acme", "gone"): Observation(ready=True, reason="Ready")})


async def test_an_object_that_was_made_anew_forgets_what_was_seen_of_the_old_one():
    api = MemoryKubernetes(*WATCHED)
    api.put(TOOLS, body("remote", MCP))
    await observed(api, TOOLS, "remote", READY, operations=[LOOK])
    async with ClusterRegistry(api) as registry:
        await until(lambda: len(registry.catalog().observed) == 1)
        await api.delete(TOOLS, "remote", namespace="acme")
        api.put(TOOLS, body("remote", MCP))
        await until(lambda: registry.catalog().observed == {} and names(registry) == {"remote"})
        assert registry.first_hashes() == {}


async def test_a_status_that_cannot_be_read_hides_no_spec():
    api = MemoryKubernetes(*WATCHED)
    api.put(TOOLS, body("a"))
    await observed(api, TOOLS, "a", {"type": "Ready"}, operations="many")
    async with ClusterRegistry(api) as registry:
        await until(lambda: names(registry) == {"a"})
        assert (registry.catalog().problems, registry.catalog().observed) == ((), {})
