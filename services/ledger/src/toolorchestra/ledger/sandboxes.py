"""Sandbox workers: each tells again and again what it observed of its isolation; what was told too long ago does not count."""

from toolorchestra.core.sandbox import SandboxFindings, SandboxReport
from toolorchestra.ledger.database import Database
from toolorchestra.ledger.jsontext import cleaned, encode
from toolorchestra.ledger.statements import step


async def put(database: Database, worker: str, findings: SandboxFindings, *, life_ms: int) -> None:
    """``worker`` lives and found this. It counts for ``life_ms``, unless it is told again."""
    values = {
        "worker": worker,
        "rung": findings.rung,
        "message": cleaned(findings.message),
        "layers": encode(dict(findings.layers)),
        "reach": encode(dict(findings.reach)),
        "life_ms": life_ms,
    }
    await database.execute([step("sandboxes", "forget"), step("sandboxes", "put", **values)])


async def withdraw(database: Database, worker: str) -> None:
    """``worker`` ends."""
    await database.execute([step("sandboxes", "withdraw", worker=worker)])


async def living(database: Database) -> list[SandboxReport]:
    """What the workers found that told of it within their time."""
    (rows,) = await database.execute([step("sandboxes", "living")])
    return [
        SandboxReport(row["worker"], SandboxFindings(row["rung"], row["message"], row["layers"], row["reach"]), row["seen_at"])
        for row in rows
    ]
