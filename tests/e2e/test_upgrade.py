"""The release changes and goes under load, and comes back: no run fails, and what people made is still there.

This file is the last one by name: it takes the platform away from the others for a while.
"""

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.installation import NAMESPACE, RELEASE, Installation, Tenant, wait_until
from tests.e2e.resources import cascade, multiplier

CLIENTS = 4


def ready_to_ask(tenant: Tenant) -> None:
    tenant.apply(cascade(), multiplier(price="0.00001"))  # the default budget is one dollar a day
    tenant.wait("tool/multiplier", "Ready")


def migration(installation: Installation) -> str:
    selector = "app.kubernetes.io/component=migrate"
    return installation.kubectl("get", "jobs", "-n", NAMESPACE, "-l", selector, "-o", "name").strip()


@contextmanager
def load(tenant: Tenant) -> Iterator[list[str]]:
    """Clients that ask all the time, with the SDK's own two retries; what they were answered."""
    ended, answers = threading.Event(), list[str]()

    def ask_on(number: int) -> None:
        with tenant.openai() as client:
            while not ended.is_set():
                question = f"What is {number} * {len(answers) + 2}?"
                response = client.chat.completions.create(model="cascade", messages=[{"role": "user", "content": question}])
                answers.append(response.choices[0].message.content or "")

    with ThreadPoolExecutor(CLIENTS) as threads:
        clients = [threads.submit(ask_on, number) for number in range(2, 2 + CLIENTS)]
        try:
            wait_until(lambda: len(answers) > CLIENTS, what="the first answers")
            yield answers
        finally:
            ended.set()
        for one in clients:
            one.result()


def test_an_upgrade_under_load_fails_no_run(tenant: Tenant, figures: list[str]) -> None:
    installation = tenant.installation
    ready_to_ask(tenant)
    before, pods = migration(installation), set(installation.pods("orchestrator"))
    began = time.monotonic()
    with load(tenant) as answers:
        installation.install(log__level="warning", migration__waitSeconds="601")
        took = time.monotonic() - began
        asked = len(answers)
        wait_until(lambda: len(answers) > asked + CLIENTS, what="answers of the new release")
    assert migration(installation) != before
    wait_until(lambda: not pods & set(installation.pods("orchestrator")), what="only new pods")
    rows = installation.sql("SELECT status, count(*) FROM runs WHERE tenant = %s GROUP BY 1", tenant.name)
    assert dict(rows) == {"completed": len(answers)}, failures(tenant)
    assert all(answer.isdigit() for answer in answers), failures(tenant)
    figures.append(f"helm upgrade under load: {took:.0f} s, {len(answers)} runs of {CLIENTS} clients, none failed")


def test_what_people_made_outlives_the_release(tenant: Tenant, figures: list[str], tmp_path: Path) -> None:
    installation = tenant.installation
    ready_to_ask(tenant)
    assert tenant.ask("cascade", "What is 11 * 11?") == "121"
    spent = usage(tenant)
    installation.helm("uninstall", RELEASE, "--namespace", NAMESPACE, "--wait")
    installation.helm("uninstall", "toolorchestra-crds")
    wait_until(lambda: not [pod for pod in installation.all_pods() if pod["status"]["phase"] == "Running"], what="no pod runs")
    assert tenant.get("tool", "multiplier")["spec"]["description"]
    assert len(installation.kubectl("get", "crds", "-o", "name").split("toolorchestra.dev")) == 8
    (claim,) = json.loads(installation.kubectl("get", "pvc", "-n", NAMESPACE, "-o", "json"))["items"]
    assert claim["status"]["phase"] == "Bound"

    began = time.monotonic()
    installation.install_kinds()
    installation.install()
    took = time.monotonic() - began
    assert usage(tenant) == spent
    assert tenant.ask("cascade", "What is 11 * 12?") == "132"
    figures.append(f"uninstalled and installed again in {took:.0f} s: resources, runs and money were there")


def failures(tenant: Tenant) -> list[tuple[object, ...]]:
    """What calls that did not succeed said."""
    query = (
        "SELECT r.id, r.status, e.body->'outcome'->>'status', e.body->'outcome'->>'content' FROM runs r JOIN events e ON e.run = r.id"
        " WHERE r.tenant = %s AND e.type = 'call_finished' AND e.body->'outcome'->>'status' <> 'ok' LIMIT 9"
    )
    return tenant.installation.sql(query, tenant.name)


def usage(tenant: Tenant) -> list[tuple[object, ...]]:
    """What the tenant spent, and on how many runs."""
    query = (
        "SELECT count(*), (SELECT sum(e.amount) FROM entries e JOIN holds h ON h.id = e.hold WHERE h.tenant = r.tenant)::text"
    )
    return tenant.installation.sql(f"{query} FROM runs r WHERE tenant = %s GROUP BY tenant", tenant.name)
