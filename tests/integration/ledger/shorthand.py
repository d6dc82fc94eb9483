"""Shorthands for runs and their transitions."""

import asyncio
import itertools
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from toolorchestra.core.loop.facts import Asked, Ended, Fact, Limits, Opened
from toolorchestra.core.loop.journal import Settle, Stamped, Take, Transition
from toolorchestra.core.resources.budget import BudgetPolicySpec
from toolorchestra.ledger import keys, policies
from toolorchestra.ledger.checks import invariants
from toolorchestra.ledger.database import Database
from toolorchestra.ledger.journal import Existing, LedgerJournal, open_run
from toolorchestra.ledger.transitions import NewRun, RunContext

PEPPER = b"a pepper for tests only"


def opened(tenant: str, key: str) -> Opened:
    return Opened(
        model="assistant",
        policy="baseline:cascade",
        tenant=tenant,
        key=key,
        revision="rev",
        messages=({"role": "user", "content": "hello"},),
        limits=Limits(max_turns=5, max_output_tokens=100, timeout_ms=300_000),
    )


def asked(turn: int = 1, hold: int = 0) -> Asked:
    return Asked(turn=turn, attempt=1, max_tokens=10, hold_nano_usd=hold, timeout_ms=1000)


ENDED = Ended(status="completed", answer="yes", reason="answered")


@dataclass
class Run:
    """An open run with its journal; remembers the place of its newest fact."""

    database: Database
    context: RunContext
    journal: LedgerJournal
    seq: int
    cancels: list[str] = field(default_factory=list)

    @property
    def id(self) -> str:
        return self.context.run_id

    async def commit(self, *facts: Fact, **parts: Any) -> tuple[Stamped, ...]:
        stamped = await self.journal.commit(Transition(self.id, self.seq, facts or (asked(),), **parts))
        self.seq = stamped[-1].seq
        return stamped

    async def take(self, amount: int, name: str = "1/0/1", *, ttl_ms: int = 60_000, sent: bool = True) -> str:
        hold = f"{self.id}/{name}"
        await self.commit(takes=(Take(hold, amount, ttl_ms, sent),))
        return hold

    async def settle(self, hold: str, actual: int, *, estimate: bool = False) -> None:
        await self.commit(settles=(Settle(hold, actual, estimate),))

    async def close(self, **parts: Any) -> None:
        await self.commit(ENDED, closes=True, **parts)


@dataclass
class Ledger:
    """Shorthands over a database."""

    database: Database
    numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    async def policy(self, tenant: str = "acme", **spec: Any) -> BudgetPolicySpec:
        parsed = BudgetPolicySpec.model_validate(spec)
        async with self.database.system() as connection:
            await policies.apply_policy(connection, tenant, parsed)
        return parsed

    async def key(self, tenant: str = "acme", **limits: Any) -> keys.NewKey:
        async with self.database.tenant(tenant) as connection:
            parsed = keys.KeyLimits.model_validate(limits)
            return await keys.create(connection, tenant, name="test", pepper=PEPPER, limits=parsed)

    def new_run(self, tenant: str, key: str, **parts: Any) -> NewRun:
        names = {
            "run_id": f"run{next(self.numbers)}",
            "owner": "me",
            "lease_ms": 15_000,
            "timeout_ms": 300_000,
            "policy": "",
            "models": {},
        }
        context = RunContext(tenant=tenant, key=key, **{name: parts.pop(name, default) for name, default in names.items()})
        return NewRun(context, model="assistant", **parts)

    async def open(self, tenant: str = "acme", key: str | None = None, *, takes: tuple[Take, ...] = (), **parts: Any) -> Run:
        key = key or (await self.key(tenant)).record.id
        new = self.new_run(tenant, key, **parts)
        transition = Transition(new.context.run_id, 0, (opened(tenant, key),), takes=takes)
        stamped = await open_run(self.database, new, transition)
        assert not isinstance(stamped, Existing)
        return self.resume(new.context, stamped[-1].seq)

    def resume(self, context: RunContext, seq: int, **changes: Any) -> Run:
        cancels: list[str] = []
        context = replace(context, **changes)
        return Run(self.database, context, LedgerJournal(self.database, context, on_cancel=cancels.append), seq, cancels)

    async def windows(self, account: str, unit: str = "nano_usd") -> dict[str, tuple[int, int, int]]:
        """(spent, held, over) by kind, of the newest window of each."""
        async with self.database.system() as connection:
            cursor = await connection.execute(
                "SELECT DISTINCT ON (kind) kind, spent, held, over FROM windows WHERE account = %s AND unit = %s"
                " ORDER BY kind, start DESC",
                (account, unit),
            )
            return {row["kind"]: (row["spent"], row["held"], row["over"]) for row in await cursor.fetchall()}

    async def ask(self, query: str, *values: Any) -> list[dict[str, Any]]:
        async with self.database.system() as connection:
            return await (await connection.execute(query, values)).fetchall()

    async def check(self) -> None:
        async with self.database.system() as connection:
            assert [str(v) for v in await invariants(connection)] == []


async def all_or_errors(work: Sequence[Awaitable[Any]]) -> list[Any]:
    return await asyncio.gather(*work, return_exceptions=True)
