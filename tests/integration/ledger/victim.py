"""A process that moves money until it is killed."""

import asyncio
import ctypes
import signal
import sys

from tests.integration.ledger.shorthand import Ledger
from toolorchestra.ledger.database import Database

PR_SET_PDEATHSIG = 1


async def client(ledger: Ledger, key: str, name: str) -> None:
    for n in range(10_000):
        run = await ledger.open(key=key, run_id=f"{name}-{n}", lease_ms=0)
        for step in range(5):
            await run.settle(await run.take(100, f"{step}/0/1"), 70)
        await run.close()


async def main(url: str, key: str, life: str) -> None:
    async with await Database.open(url, min_size=4, max_size=4) as database:
        ledger = Ledger(database)
        print("going", flush=True)
        await asyncio.gather(*(client(ledger, key, f"{life}{number}") for number in range(4)))


if __name__ == "__main__":
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    asyncio.run(main(*sys.argv[1:]))
