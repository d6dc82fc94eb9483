"""Pods die in the middle of runs: every run ends, nobody is billed twice, and what must not be repeated is not."""

import json
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import openai

from tests.e2e.installation import Installation, Tenant, wait_until
from tests.e2e.peers import MANAGER, TOOLS
from tests.e2e.resources import noting, scripted_manager

RUNS = 20
TOOL_NANO_USD = 1_000_000
PRICED = {"pricing": {"perCall": "0.001"}}


def test_all_runs_end_when_pods_are_killed_in_their_middle(tenant: Tenant, figures: list[str]) -> None:
    installation = tenant.installation
    tenant.apply(
        *scripted_manager(),
        noting("look", "readOnly", **PRICED),
        noting("pay", "destructive", execution="queued", **PRICED),
    )
    for what in ("tool/look", "tool/pay", "expertmodel/scripted"):
        tenant.wait(what, "Ready")
    names = [f"{tenant.name}-{number}" for number in range(RUNS)]
    began = time.monotonic()
    # More patience than the SDK's own: this machine starts Pythons on two cores while it answers.
    with tenant.openai(retries=30) as client, ThreadPoolExecutor(RUNS) as threads:
        asked = {name: threads.submit(ask, client, name) for name in names}
        killed = kill_one_after_the_other(installation, lambda: visits(installation, names))
        answers = {name: future.result() for name, future in asked.items()}
    took = time.monotonic() - began
    installation.wait_for_pods()

    assert answers == {name: f"Finished {name}." for name in names}
    rows = installation.sql(
        "SELECT id, status, resumes, traceparent FROM runs WHERE tenant = %s AND state = 'ended'", tenant.name
    )
    assert Counter(status for _, status, _, _ in rows) == {"completed": RUNS}, "each client's repetitions found its own run"
    paid = Counter(visit["n"] for visit in visits(installation, names) if visit["path"] == "/pay")
    assert max(paid.values()) == 1
    resumed = sum(resumes > 0 for _, _, resumes, _ in rows)
    assert resumed > 0, "some runs went on elsewhere"
    check_money(installation, tenant, paid)
    lost = RUNS - len(paid)
    figures.append(
        f"crashes: {RUNS} runs, killed {', '.join(killed)}; all completed in {took:.0f} s, {resumed} went on elsewhere, "
        f"{len(paid)} paid once, {lost} not at all, none twice"
    )


def ask(client: openai.OpenAI, name: str) -> str:
    turns = [
        {"call": ["look", {"n": name}], "first_delay_ms": 300},
        {"call": ["pay", {"n": name}], "first_delay_ms": 300},
        {"call": ["look", {"n": f"{name} again"}], "first_delay_ms": 300},
        {"text": f"Finished {name}.", "first_delay_ms": 300},
    ]
    question = f"{name} [[{json.dumps({'turns': turns})}]]"
    answer = client.chat.completions.create(
        model="manager",
        messages=[{"role": "user", "content": question}],
        extra_headers={"idempotency-key": name},
        extra_body={"toolorchestra": {"on_disconnect": "continue"}},
    )
    return answer.choices[0].message.content or ""


def visits(installation: Installation, names: list[str]) -> list[dict[str, str]]:
    """Who came to the tools for these runs."""
    found: list[dict[str, str]] = installation.peer(TOOLS, "/visits")
    return [visit for visit in found if visit["n"].removesuffix(" again") in names]


def kill_one_after_the_other(installation: Installation, visits: Callable[[], list[dict[str, str]]]) -> list[str]:
    """Kill a process or delete a pod each time that the runs have come a step further."""
    first = {component: installation.pods(component) for component in ("orchestrator", "worker", "operator")}
    steps = [
        ("an orchestrator's process", 3, lambda: installation.kill_process(first["orchestrator"][0])),
        ("a worker's pod", 8, lambda: installation.delete_pod(first["worker"][0])),
        ("the operator's process", 12, lambda: installation.kill_process(first["operator"][0])),
        ("an orchestrator's pod", 16, lambda: installation.delete_pod(first["orchestrator"][1])),
        ("a worker's process", 22, lambda: installation.kill_process(first["worker"][1])),
        ("the operator's pod", 26, lambda: installation.delete_pod(first["operator"][0])),
    ]
    for _, reached, kill in steps:
        wait_until(lambda reached=reached: len(visits()) >= reached, what=f"visit {reached}", seconds=120)  # type: ignore[misc]
        assert len(visits()) < 3 * RUNS, "the runs are still under way"
        kill()
    return [name for name, _, _ in steps]


def check_money(installation: Installation, tenant: Tenant, paid: Counter[str]) -> None:
    """No law of the ledger is broken, nothing is held, and what peers counted is charged: once, or as an estimate if lost."""
    open_holds = "SELECT count(*) FROM holds WHERE tenant = %s AND state = 'open'"
    wait_until(lambda: installation.sql(open_holds, tenant.name) == [(0,)], what="no open holds")
    assert installation.ledger_laws().strip() == "0 violations"
    query = (
        "SELECT h.function, sum(e.amount)::bigint FROM entries e JOIN holds h ON h.id = e.hold"
        " WHERE h.tenant = %s AND e.unit = 'nano_usd' GROUP BY 1"
    )
    charged = dict(installation.sql(query, tenant.name))
    bill = [one for one in installation.peer(MANAGER, "/bill")["entries"] if one["status"] == 200]
    assert charged.get("pay", 0) >= len(paid) * TOOL_NANO_USD
    assert charged.get("pay", 0) <= RUNS * TOOL_NANO_USD
    assert sum(amount for name, amount in charged.items() if name not in ("pay", "look")) >= sum(
        one["cost_nano_usd"] for one in bill if one["finished"]
    ), charged
