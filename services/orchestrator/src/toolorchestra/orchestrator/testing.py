"""Stand-ins for the seams of this package, for tests: a registry, accounts, calls, runs, a queue and a prober in memory."""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final

from typing_extensions import override

from toolorchestra.core.calls import Outcome
from toolorchestra.core.errors import NotFoundError, ToolOrchestraError, UnauthenticatedError
from toolorchestra.core.loop.journal import Stamped
from toolorchestra.core.registry import Catalog, Identity, Observation, hashes_in
from toolorchestra.core.resources import BudgetPolicySpec
from toolorchestra.executors.probe import ObservationKey
from toolorchestra.ledger.alerts import Alert, TenantWindow
from toolorchestra.ledger.calls import CallState, StoredCall
from toolorchestra.ledger.keys import KeyLimits, KeyRecord, NewKey, Scopes
from toolorchestra.ledger.policies import WindowBudget
from toolorchestra.ledger.runs import RunRecord, RunState, WholeRun
from toolorchestra.ledger.usage import UsageRow
from toolorchestra.orchestrator.storage.accounts import AccountStore
from toolorchestra.orchestrator.storage.calls import CallStore
from toolorchestra.orchestrator.storage.queue import CallQueue
from toolorchestra.orchestrator.storage.runs import RunStore

EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC)


class FixedRegistry:
    """A registry whose catalog a test sets."""

    def __init__(self, catalog: Catalog | None = None) -> None:
        self._catalog = catalog or Catalog()
        self._changed = asyncio.Event()

    def catalog(self) -> Catalog:
        return self._catalog

    def put(self, catalog: Catalog) -> None:
        """Another catalog, one version later."""
        self._catalog = replace(catalog, version=self._catalog.version + 1)
        self._changed.set()
        self._changed = asyncio.Event()

    def observe(self, seen: Mapping[Identity, Observation]) -> None:
        self.put(replace(self._catalog, observed={**self._catalog.observed, **seen}))

    def due(self) -> Catalog:
        return self._catalog

    def first_hashes(self) -> dict[Identity, Mapping[str, str]]:
        return hashes_in(self._catalog.observed)

    def not_ready(self) -> str | None:
        return None

    async def changed(self, since: int) -> Catalog:
        while self._catalog.version <= since:
            await self._changed.wait()
        return self._catalog


@dataclass
class MemoryProber:
    """Sees every Tool ready. ``gate``, if set, holds probes up; ``probes`` counts them."""

    probes: int = 0
    known: list[Mapping[ObservationKey, Mapping[str, str]]] = field(default_factory=list)
    gate: asyncio.Event | None = None
    error: ToolOrchestraError | None = None

    async def probe_all(
        self, catalog: Catalog, *, known: Mapping[ObservationKey, Mapping[str, str]] | None = None
    ) -> dict[ObservationKey, Observation]:
        self.probes += 1
        self.known.append(known or {})
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        return {("Tool", *key): Observation(ready=True, reason="Ready") for key in catalog.tools}


class MemoryAccounts(AccountStore):
    """Keys and policies in memory. ``asked`` counts authentications, ``applied`` what was written to the ledger."""

    def __init__(self) -> None:
        self.keys: dict[str, KeyRecord] = {}  # by credential
        self.asked = 0
        self.applied: list[tuple[str, BudgetPolicySpec, int]] = []
        self.defaults: list[tuple[str, bool]] = []
        self.opened: list[tuple[str, str, bool]] = []  # service accounts: tenant, key, whether with the default policy
        self.sources: dict[str, str] = {}
        self.adjustments: list[tuple[str, int, str, str]] = []
        self.windows: list[WindowBudget] = []
        self.filled: list[TenantWindow] = []
        self.alerts: list[Alert] = []  # told once
        self.rows: list[UsageRow] = []
        self.focus: list[dict[str, str]] = []

    @override
    async def authenticate(self, text: str) -> KeyRecord:
        self.asked += 1
        if text not in self.keys:
            raise UnauthenticatedError("the key is not known")
        return self.keys[text]

    @override
    async def policy_sources(self) -> dict[str, str]:
        return dict(self.sources)

    @override
    async def create_key(
        self, tenant: str, *, name: str, scopes: Scopes, limits: KeyLimits, expires_at: datetime | None
    ) -> NewKey:
        number = f"k{len(self.keys)}"
        record = KeyRecord(number, tenant, name, scopes, limits, EPOCH, expires_at, None, None)
        self.keys[f"to_{number}.secret"] = record
        return NewKey(record, f"to_{number}.secret")

    @override
    async def open_service_account(self, tenant: str, key: str, *, default: BudgetPolicySpec | None) -> None:
        self.opened.append((tenant, key, default is not None))

    @override
    async def list_keys(self, tenant: str) -> list[KeyRecord]:
        return [record for record in self.keys.values() if record.tenant == tenant]

    @override
    async def revoke_key(self, tenant: str, key: str) -> KeyRecord:
        for text, record in self.keys.items():
            if (record.tenant, record.id) == (tenant, key):
                self.keys[text] = replace(record, revoked_at=EPOCH)
                return self.keys[text]
        raise NotFoundError(f"there is no key {key!r}")

    @override
    async def apply_policy(self, tenant: str, spec: BudgetPolicySpec, generation: int) -> None:
        self.applied.append((tenant, spec, generation))

    @override
    async def default_policy(self, tenant: str, default: BudgetPolicySpec, *, deleted: bool = False) -> None:
        self.defaults.append((tenant, deleted))

    @override
    async def budget(self, tenant: str) -> list[WindowBudget]:
        return self.windows

    @override
    async def look_at_budgets(self) -> tuple[list[TenantWindow], list[Alert]]:
        told, self.alerts = self.alerts, []
        return self.filled, told

    @override
    async def usage(self, tenant: str, since: datetime, until: datetime, group_by: Sequence[str]) -> list[UsageRow]:
        return self.rows

    @override
    async def focus_rows(self, tenant: str, since: datetime, until: datetime) -> list[dict[str, str]]:
        return self.focus

    @override
    async def adjust(self, tenant: str, amount_nano_usd: int, *, reason: str, author: str) -> int:
        self.adjustments.append((tenant, amount_nano_usd, reason, author))
        return len(self.adjustments)


class MemoryCalls(CallStore):
    """One call as workers leave it: ``sent`` and ``outcome`` are set by the test."""

    def __init__(self, *, sent: bool = False, hold_nano_usd: int = 0) -> None:
        self.row = StoredCall("run/1/1", CallState.QUEUED, 1, None, "run/1/1/1", hold_nano_usd, sent, EPOCH)
        self.reads = 0

    def finish(self, outcome: Outcome, *, attempt: int = 1) -> None:
        """A worker stored its outcome."""
        self.row = replace(self.row, state=CallState.DONE, outcome=outcome, attempt=attempt)

    @override
    async def read(self, call_id: str) -> StoredCall:
        self.reads += 1
        return self.row

    @override
    async def give_up(self, call_id: str, *, now: bool = False) -> StoredCall:
        if self.row.outcome is None:
            self.row = replace(self.row, state=CallState.OVER)
        return self.row


@dataclass
class MemoryQueue(CallQueue):
    """Keeps what was announced. ``error``: the broker is away."""

    published: list[tuple[str, str]] = field(default_factory=list)
    error: ToolOrchestraError | None = None

    @override
    async def publish(self, calls: Sequence[tuple[str, str]], headers: Mapping[str, str]) -> None:
        if self.error is not None:
            raise self.error
        self.published += calls

    @override
    def close(self) -> None:
        """There is nothing to give back."""


class MemoryRuns(RunStore):
    """Runs in memory, by id. ``error``: the database is away."""

    def __init__(self) -> None:
        self.logs: dict[str, list[Stamped]] = {}
        self.states: dict[str, RunState] = {}
        self.retries: dict[str, str] = {}  # body hash → run
        self.error: ToolOrchestraError | None = None
        self.given_back: list[Collection[str] | None] = []
        self.asked_to_take_over = 0
        self.charges: dict[str, int] = {}  # by call
        self.wishes: dict[str, str] = {}  # who wishes the end of a run
        self.cancelled: list[tuple[str, str]] = []

    def put(self, run_id: str, log: Iterable[Stamped], state: RunState = RunState.RUNNING) -> None:
        """Store a run."""
        self.logs[run_id], self.states[run_id] = list(log), state

    @override
    async def log(self, tenant: str, run_id: str, *, after: int = 0) -> tuple[Stamped, ...]:
        if self.error is not None:
            raise self.error
        if run_id not in self.logs:
            raise NotFoundError(f"there is no run {run_id!r}")
        return tuple(s for s in self.logs[run_id] if s.seq > after)

    @override
    async def get(self, tenant: str, run_id: str) -> RunRecord:
        if self.error is not None:
            raise self.error
        if run_id not in self.logs:
            raise NotFoundError(f"there is no run {run_id!r}")
        return a_record(run_id, tenant, state=self.states[run_id])

    @override
    async def page(self, tenant: str, *, after: str | None, count: int) -> list[RunRecord]:
        if after is not None and after not in self.logs:
            raise NotFoundError(f"there is no run {after!r}", param="after")
        newest = sorted(self.logs, reverse=True)
        return [a_record(i, tenant, state=self.states[i]) for i in newest if after is None or i < after][:count]

    @override
    async def find_retry(self, tenant: str, key: str, body_hash: str) -> str | None:
        return self.retries.get(body_hash)

    @override
    async def request_cancel(self, tenant: str, run_id: str, by: str) -> RunState:
        self.cancelled.append((run_id, by))
        return self.states[run_id]

    @override
    async def take_over(self, count: int) -> list[RunRecord]:
        self.asked_to_take_over += 1
        return []

    @override
    async def renew_leases(self, driven: Collection[str]) -> dict[str, str | None]:
        if self.error is not None:
            raise self.error
        return {run_id: self.wishes.get(run_id) for run_id in driven}

    @override
    async def give_back(self, given: Collection[str] | None = None) -> Sequence[str]:
        self.given_back.append(given)
        return []

    @override
    async def whole(self, tenant: str, run_id: str) -> WholeRun:
        return WholeRun(await self.get(tenant, run_id), await self.log(tenant, run_id), self.charges)


def a_record(run_id: str, tenant: str = "default", *, state: RunState = RunState.RUNNING) -> RunRecord:
    """A run's row."""
    ended = state is RunState.ENDED
    return RunRecord(
        id=run_id,
        tenant=tenant,
        key="key",
        model="main",
        policy="test",
        revision="test",
        state=state,
        status="completed" if ended else None,
        owner=None,
        seq=1,
        event_version=1,
        resumes=0,
        cap_nano_usd=None,
        spent_nano_usd=0,
        held_nano_usd=0,
        metadata={},
        traceparent=None,
        cancel_by=None,
        created_at=EPOCH,
        deadline_at=EPOCH,
        waiting_since=None,
        ended_at=EPOCH if ended else None,
        content_deleted_at=None,
    )
