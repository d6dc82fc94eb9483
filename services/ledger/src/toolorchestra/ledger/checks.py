"""The laws of the ledger, as queries: a command, a job and the tests ask the same ones."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from typing_extensions import override

from toolorchestra.ledger.connection import Connection
from toolorchestra.ledger.statements import Step, statements, step

GRACE_MS: Final = 30_000  # how long after its expiry the reaper may take to close a hold


@dataclass(frozen=True, slots=True)
class Violation:
    """A law that does not hold: which, where, and the figures."""

    law: str
    account: str
    unit: str
    kind: str
    start: datetime | None
    message: str

    @override
    def __str__(self) -> str:
        return f"{self.law}: {self.account} {self.unit} per {self.kind} from {self.start or 'ever'}: {self.message}"


async def invariants(connection: Connection, *, grace_ms: int = GRACE_MS) -> list[Violation]:
    """All violations that this connection can see; the system role sees every tenant."""
    await connection.run([step("session", "take_time")])
    found: list[Violation] = []
    for law in statements("checks").values():
        rows = await connection.rows(Step(law.text, {"grace_ms": grace_ms}))
        found.extend(_violation(law.name, row) for row in rows)
    return found


def _violation(law: str, row: dict[str, Any]) -> Violation:
    return Violation(law, row["account"], row["unit"], row["kind"], row["start"], row["message"])
