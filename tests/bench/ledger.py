"""Settle+hold transactions per second: the ledger's journal beside ``pgbench`` with the same statements, on the same server.

One hot tenant, and fifty. Run it with ``python -m tests.bench.ledger``; it prints ratios and never fails on seconds.
"""

import argparse
import asyncio
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from tests.support.services import running
from toolorchestra.cli.embedded.postgres import binaries, postgres_part, postgres_url
from toolorchestra.core.loop.facts import Asked, Limits, Opened
from toolorchestra.core.loop.journal import Settle, Take, Transition
from toolorchestra.core.resources.budget import BudgetPolicySpec
from toolorchestra.ledger import keys, policies
from toolorchestra.ledger.checks import invariants
from toolorchestra.ledger.database import Database
from toolorchestra.ledger.journal import LedgerJournal, open_run
from toolorchestra.ledger.schema import migrate
from toolorchestra.ledger.statements import Step, step
from toolorchestra.ledger.transitions import Log, NewRun, RunContext, steps_of

CLIENTS = 16
ROUNDS = 3
SPEC = BudgetPolicySpec.model_validate({"limits": {"day": "1000000", "total": "1000000"}})
TTL_MS = 600_000


def move(run: str, n: int) -> Transition:
    """The n-th transition of a run: settles the hold before, takes the next."""
    fact = Asked(turn=1, attempt=1, max_tokens=10, hold_nano_usd=1000, timeout_ms=TTL_MS)
    settles = (Settle(f"{run}/1/0/{n - 1}", 700),)
    return Transition(run, n, (fact,), takes=(Take(f"{run}/1/0/{n}", 1000, TTL_MS),), settles=settles)


def context(run: str, tenant: str, key: str) -> RunContext:
    return RunContext(run, tenant, key, owner="bench", policy="expert:default/model", lease_ms=3_600_000)


async def prepare(database: Database, prefix: str, tenants: int, clients: int) -> list[RunContext]:
    """One open run per client, spread over the tenants; every client has a key of its own."""
    contexts = []
    for tenant in range(tenants):
        async with database.system() as connection:
            await policies.apply_policy(connection, f"{prefix}{tenant}", SPEC)
    for client in range(clients):
        tenant = f"{prefix}{client % tenants}"
        async with database.tenant(tenant) as connection:
            key = await keys.create(connection, tenant, name="bench", pepper=b"x" * 32)
        ctx = context(f"{prefix}r{client}", tenant, key.record.id)
        first = Opened(
            model="m", policy="p", tenant=tenant, key=ctx.key, revision="r", messages=(),
            limits=Limits(max_turns=1, max_output_tokens=1, timeout_ms=TTL_MS),
        )  # fmt: skip
        opening = Transition(ctx.run_id, 0, (first,), takes=(Take(f"{ctx.run_id}/1/0/0", 1000, TTL_MS),))
        await open_run(database, NewRun(ctx, model="m"), opening)
        contexts.append(ctx)
    return contexts


async def ours(url: str, prefix: str, tenants: int, clients: int, seconds: float) -> tuple[float, float]:
    """Transactions per second of one Python process, and the processor time of each in ms."""
    async with await Database.open(url, min_size=clients, max_size=clients) as database:
        contexts = await prepare(database, prefix, tenants, clients)
        done = [0] * clients
        until = time.monotonic() + seconds

        async def client(number: int) -> None:
            journal = LedgerJournal(database, contexts[number])
            while time.monotonic() < until:
                done[number] += 1
                await journal.commit(move(contexts[number].run_id, done[number]))

        began, used = time.monotonic(), time.process_time()
        await asyncio.gather(*(client(number) for number in range(clients)))
        return sum(done) / (time.monotonic() - began), 1000 * (time.process_time() - used) / sum(done)


async def theirs(url: str, prefix: str, tenants: int, clients: int, seconds: float, *, pipeline: bool) -> float:
    """Transactions per second of pgbench with the statements of the journal."""
    async with await Database.open(url) as database:
        contexts = await prepare(database, prefix, tenants, clients)
        await key_table(database, contexts)
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(script_text(prefix, pipeline=pipeline))
        script.flush()
        command = [
            str(binaries() / "pgbench"), "-n", "-M", "prepared", "-f", script.name, "-c", str(clients), "-j", "1",
            "-T", str(max(1, round(seconds))), "-D", "n=0", "-D", f"tenants={tenants}", url,
        ]  # fmt: skip
        environment = os.environ | {"PGOPTIONS": "-c search_path=toolorchestra -c role=toolorchestra_app"}
        result = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, env=environment, check=False)
    found = re.search(r"^tps = ([0-9.]+)", result.stdout, re.MULTILINE)
    if found is None or result.returncode != 0:
        raise SystemExit(f"pgbench failed:\n{result.stdout}{result.stderr[:2000]}")
    return float(found[1])


async def key_table(database: Database, contexts: Sequence[RunContext]) -> None:
    """pgbench has no lists of texts, so keys get predictable ids."""
    async with database.system() as connection:
        for ctx in contexts:
            account = f"k:key-{ctx.run_id}"
            await connection.execute("INSERT INTO accounts (id, tenant, rank) VALUES (%s, %s, 1)", (account, ctx.tenant))
            await connection.execute(
                "INSERT INTO limits (account, tenant, unit, kind) VALUES (%s, %s, 'nano_usd', 'total')", (account, ctx.tenant)
            )


def script_text(prefix: str, *, pipeline: bool) -> str:
    """The journal's own steps as a pgbench script: the same texts, parameters as expressions over client and counter."""
    run = f"('{prefix}r' || (:client_id)::text)"
    tenant = f"('{prefix}' || (:tenant)::text)"
    sample = context("RUN", "TENANT", "key-RUN")
    transition = move("RUN", 1)
    steps = steps_of(transition, sample, Log.of(transition))
    begin = step("session", "begin_tenant", tenant="TENANT", scans="off")
    lines = ["\\set n :n + 1", "\\set tenant :client_id % :tenants"]
    texts = ["BEGIN", *(inlined(one, run, tenant) for one in (begin, *steps)), "COMMIT"]
    body = [" ".join(re.sub(r"--.*", "", text).split()) + ";" for text in texts]
    return "\n".join([*lines, "\\startpipeline", *body, "\\endpipeline"] if pipeline else [*lines, *body]) + "\n"


def inlined(one: Step, run: str, tenant: str) -> str:
    text = one.text
    for name, value in one.params.items():
        text = text.replace(f"%({name})s", expression(name, value, run, tenant))
    return text.replace("%%", "%")


def expression(name: str, value: Any, run: str, tenant: str) -> str:
    match name, value:
        case "after", _:
            return "(:n)::bigint"
        case "facts", str():
            before, _, after = value.partition("2")
            return f"({quoted(before)} || ((:n)::bigint + 1) || {quoted(after)})::text"
        case "hold", str():
            return f"({run} || '/1/0/' || ((:n)::bigint - {1 if value.endswith('/0') else 0}))::text"
        case _, list():
            return f"ARRAY[{quoted('r:')} || {run}, {quoted('k:key-')} || {run}, {quoted('t:')} || {tenant}]::text[]"
        case _, str():
            return "(" + quoted(value).replace("RUN", f"' || {run} || '").replace("TENANT", f"' || {tenant} || '") + ")::text"
        case _, None:
            return "NULL::text"
        case _, bool():
            return str(value).lower()
        case _:
            return f"{value}::bigint"


def quoted(text: str) -> str:
    """A literal in which pgbench sees no variable: it takes any colon before a word for one."""
    return "'" + text.replace("'", "''").replace(":", "' || chr(58) || '") + "'"


async def lawful(url: str) -> bool:
    async with await Database.open(url) as database, database.system() as connection:
        return not await invariants(connection)


async def cell(url: str, tenants: int, clients: int, seconds: float) -> None:
    """The three side by side, in turns, so that a busy machine is busy for all of them; medians."""
    mine, piped, plain, cpu = [], [], [], []
    for number in range(ROUNDS):
        names = [f"{kind}{tenants}n{number}x" for kind in "opq"]
        rate, used = await ours(url, names[0], tenants, clients, seconds / ROUNDS)
        mine.append(rate)
        cpu.append(used)
        piped.append(await theirs(url, names[1], tenants, clients, seconds / ROUNDS, pipeline=True))
        plain.append(await theirs(url, names[2], tenants, clients, seconds / ROUNDS, pipeline=False))
    print(
        f"{tenants:>3} tenants, {clients} clients: journal {median(mine):5.0f}/s ({median(cpu):.2f} ms of processor each)"
        f"   pgbench {median(plain):5.0f}/s   pgbench pipelined {median(piped):5.0f}/s"
        f"   ratio {median(mine) / median(plain):.2f}, to pipelined {median(mine) / median(piped):.2f}",
        flush=True,
    )


async def measure(url: str, seconds: float) -> None:
    await migrate(url)
    for tenants, clients in ((1, CLIENTS), (50, 50)):
        await cell(url, tenants, clients, seconds)
    print(f"invariants hold: {await lawful(url)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=9.0, help="per figure")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="to-bench-", ignore_cleanup_errors=True) as folder:
        data = Path(folder)
        data.chmod(0o755)
        with running(postgres_part(data / "pg"), log=data / "postgres.log"):
            asyncio.run(measure(postgres_url(data / "pg", database="postgres"), options.seconds))


if __name__ == "__main__":
    main()
