"""A process that is killed leaves whole transactions only, and everything it held comes back."""

import asyncio
import sys
import time

from tests.integration.ledger.shorthand import Ledger
from toolorchestra.ledger import runs
from toolorchestra.ledger.reaper import reap


async def test_a_killed_process_leaves_whole_transactions_and_its_runs_go_on_elsewhere(ledger: Ledger, ledger_url, database):
    await ledger.policy(limits={"day": "1"}, concurrency=50)
    key = (await ledger.key()).record.id
    for life in ("first", "second", "third"):
        victim = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.integration.ledger.victim", ledger_url, key, life, stdout=asyncio.subprocess.PIPE
        )
        assert await victim.stdout.readline() == b"going\n"
        before = await count(ledger)
        until = time.monotonic() + 20
        while await count(ledger) < before + 20 and time.monotonic() < until:
            await asyncio.sleep(0.01)
        victim.kill()
        await victim.wait()
        await ledger.check()
        for record in await take_over(database):
            heir = ledger.resume(ledger.new_run("acme", key, run_id=record.id, owner="heir").context, record.seq)
            await heir.close()
    await ledger.ask("UPDATE holds SET expires_at = now() - interval '1 s' WHERE state = 'open' RETURNING id")
    while await reap(database):
        pass
    await ledger.check()
    assert {held for _, held, _ in (await ledger.windows("t:acme")).values()} == {0}
    assert await ledger.windows("t:acme", "slots") == {"total": (0, 0, 0)}
    unfinished = await ledger.ask("SELECT id FROM runs WHERE state <> 'ended'")
    assert unfinished == []


async def count(ledger: Ledger) -> int:
    return (await ledger.ask("SELECT count(*) AS n FROM events"))[0]["n"]


async def take_over(database) -> list[runs.RunRecord]:
    async with database.system() as connection:
        return await runs.take_over(connection, owner="heir", count=100)
