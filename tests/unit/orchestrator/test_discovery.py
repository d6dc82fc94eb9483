"""Keeping up with the manifests, and signals on their way out."""

import asyncio
from contextlib import suppress

import pytest

from toolorchestra.core.errors import UnavailableError
from toolorchestra.core.registry import Catalog, DiscoveredOperation, Observation, Problem
from toolorchestra.core.resources import BudgetPolicySpec
from toolorchestra.core.testing import a_catalog, a_tool, an_expert, manifest
from toolorchestra.kit.testing import MemorySignals
from toolorchestra.orchestrator.services.discovery import Discovery
from toolorchestra.orchestrator.services.enforcement import Enforcement
from toolorchestra.orchestrator.services.outbox import MOST, Outbox
from toolorchestra.orchestrator.testing import FixedRegistry, MemoryAccounts, MemoryProber


def policy(namespace, **spec):
    return manifest("BudgetPolicy", "default", spec, namespace=namespace)


def budgets(**specs):
    return Catalog(budgets={(name, "default"): policy(name, **spec) for name, spec in specs.items()})


class Bench:
    def __init__(self, catalog=None, *, interval_s=60.0):
        self.registry = FixedRegistry(catalog)
        self.prober = MemoryProber()
        self.accounts = MemoryAccounts()
        self.reloads = 0
        self.enforcement = Enforcement(self.registry, self.accounts, BudgetPolicySpec())
        self.discovery = Discovery(
            registry=self.registry,
            prober=self.prober,
            enforcement=self.enforcement,
            interval_s=interval_s,
            reload_secrets=self.reload,
        )

    def reload(self):
        self.reloads += 1


async def test_policies_are_written_once_and_again_when_they_change():
    bench = Bench(budgets(acme={}, other={}))
    await bench.enforcement.enforce()
    await bench.enforcement.enforce()
    assert [tenant for tenant, *_ in bench.accounts.applied] == ["acme", "other"]
    bench.registry.put(budgets(acme={"perRun": "0.10"}, other={}))
    await bench.enforcement.enforce()
    assert [(tenant, spec.per_run) for tenant, spec, _ in bench.accounts.applied[2:]] == [("acme", "0.10")]


async def test_a_deleted_policy_gives_way_to_the_default_once():
    bench = Bench(budgets(acme={}, other={}))
    await bench.enforcement.enforce()
    bench.registry.put(budgets(other={}))
    await bench.enforcement.enforce()
    await bench.enforcement.enforce()
    assert bench.accounts.defaults == [("acme", True)]
    bench.registry.put(budgets(acme={}, other={}))
    await bench.enforcement.enforce()
    assert [tenant for tenant, *_ in bench.accounts.applied] == ["acme", "other", "acme"]


async def test_policies_deleted_while_nothing_ran_give_way_and_defaults_are_brought_up_to_date():
    bench = Bench(budgets(acme={}))
    bench.accounts.sources = {"acme": "policy", "gone": "policy", "plain": "default"}
    await bench.enforcement.catch_up()
    assert bench.accounts.defaults == [("gone", True), ("plain", False)]


async def test_a_broken_manifest_at_start_deletes_no_policy():
    bench = Bench(Catalog(problems=(Problem("budget.yaml", "not valid YAML"),)))
    bench.accounts.sources = {"acme": "policy", "plain": "default"}
    await bench.enforcement.catch_up()
    assert bench.accounts.defaults == [("plain", False)]


async def test_a_policy_that_was_not_stored_is_tried_again():
    class Away(MemoryAccounts):
        away = True

        async def apply_policy(self, tenant, spec, generation):
            if self.away:
                raise UnavailableError("the database is away")
            await super().apply_policy(tenant, spec, generation)

    bench = Bench(budgets(acme={}))
    accounts = Away()
    enforcement = Enforcement(bench.registry, accounts, BudgetPolicySpec())
    with pytest.raises(UnavailableError):
        await enforcement.enforce()
    accounts.away = False
    await enforcement.enforce()
    assert len(accounts.applied) == 1


async def test_what_was_seen_is_kept_and_its_hashes_are_known_to_the_next_probe():
    seen = Observation(ready=True, reason="Ready", operations=(DiscoveredOperation("op", "", {}, "hash"),))
    bench = Bench(a_catalog(a_tool("lookup"), observed={("Tool", "default", "remote"): seen}))
    await bench.discovery.probe()
    assert bench.registry.catalog().observed["Tool", "default", "lookup"].ready
    assert bench.prober.known == [{("Tool", "default", "remote"): {"op": "hash"}}]


async def test_who_asks_during_a_probe_shares_the_next_one():
    bench = Bench(a_catalog(a_tool("lookup")))
    bench.prober.gate = asyncio.Event()
    first = asyncio.create_task(bench.discovery.probe())
    while bench.prober.probes == 0:
        await asyncio.sleep(0)
    others = [asyncio.create_task(bench.discovery.probe()) for _ in range(5)]
    await asyncio.sleep(0)
    bench.prober.gate.set()
    await asyncio.gather(first, *others)
    assert bench.prober.probes == 2


async def test_a_check_looks_at_what_the_tenant_may_use_and_leaves_the_operators_word_on_served_models():
    served = an_expert("served", kserve={"storageUri": "hf://org/model"})
    seen = {("ExpertModel", "default", "served"): Observation(ready=True, reason="Ready", base_url="http://isvc/v1")}
    lent = a_tool("lent", namespace="other", allowedNamespaces={"from": "All"})
    bench = Bench(a_catalog(a_tool("lookup"), served, lent, a_tool("private", namespace="other"), observed=seen))
    await bench.discovery.check("default")
    assert set(bench.registry.catalog().observed) == {
        ("Tool", "default", "lookup"),
        ("Tool", "other", "lent"),
        ("ExpertModel", "default", "served"),
    }


async def test_where_the_operator_enforces_policies_nothing_is_written():
    bench = Bench(budgets(acme={}))
    discovery = Discovery(
        registry=bench.registry, prober=bench.prober, enforcement=None, interval_s=0.01, reload_secrets=bench.reload
    )
    await discovery.start()
    task = asyncio.create_task(discovery.run_forever())
    async with asyncio.timeout(5):
        while bench.prober.probes < 3:
            await asyncio.sleep(0.01)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert (bench.accounts.applied, bench.accounts.defaults) == ([], [])


async def test_a_change_is_enforced_without_waiting_for_the_interval_and_an_observation_is_no_change():
    bench = Bench(budgets(acme={}))
    task = asyncio.create_task(bench.discovery.run_forever())
    async with asyncio.timeout(5):
        while bench.prober.probes < 1:
            await asyncio.sleep(0)
        bench.registry.observe({("Tool", "acme", "t"): Observation(ready=False, reason="Down")})
        for _ in range(10):
            await asyncio.sleep(0)
        assert bench.prober.probes == 1
        bench.registry.put(budgets(acme={}, other={}))
        while bench.prober.probes < 2:
            await asyncio.sleep(0)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert [tenant for tenant, *_ in bench.accounts.applied] == ["acme", "other"]
    assert bench.reloads == 2


async def test_posted_signals_leave_in_order_and_a_full_box_drops():
    signals = MemorySignals()
    outbox = Outbox(signals)
    for number in range(MOST + 5):
        outbox.post("run", str(number))
    task = asyncio.create_task(outbox.run_forever())
    async with asyncio.timeout(5):
        while len(signals.published) < MOST:
            await asyncio.sleep(0)
    outbox.post("run", "after")
    while len(signals.published) == MOST:
        await asyncio.sleep(0)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert [int(s.payload) for s in signals.published[:-1]] == list(range(MOST))
    assert signals.published[-1].payload == b"after"
