"""Gates inside the database: a chosen transition of a run stops in the middle of its transaction until a test lets it go.

The product knows nothing of this. A run asks for a gate by its metadata: ``{"gate": "a name", "at": "asked/1"}`` stops the
transaction that stores the fact ``asked`` of turn 1.
"""

from typing import Any, Self

import psycopg

from tests.support.platform import Platform

SPACE = 4242
TRIGGER = f"""
CREATE FUNCTION stop_at_gate() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = toolorchestra AS $$
DECLARE
  wish jsonb := (SELECT metadata FROM runs WHERE id = NEW.run);
BEGIN
  IF wish ->> 'at' = concat_ws('/', NEW.type, NEW.body ->> 'turn') THEN
    PERFORM pg_advisory_xact_lock_shared({SPACE}, hashtext(wish ->> 'gate'));
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER stop_at_gate BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION stop_at_gate();
"""


class Gates:
    """Shut gates of one platform. ``shut`` them before the runs come; all open when this is closed."""

    def __init__(self, platform: Platform) -> None:
        self._connection: psycopg.Connection[tuple[Any, ...]] = platform.connect()
        self._connection.execute(TRIGGER)

    def shut(self, name: str) -> None:
        """Who comes to this gate waits."""
        self._connection.execute("SELECT pg_advisory_lock(%s, hashtext(%s))", (SPACE, name))

    def waiting(self) -> dict[str, int]:
        """The database's processes at the gates, by gate; gates are told by their hashes."""
        rows = self._connection.execute(
            "SELECT objid::bigint, pid FROM pg_locks WHERE locktype = 'advisory' AND classid = %s AND NOT granted", (SPACE,)
        ).fetchall()
        return {str(place): pid for place, pid in rows}

    def waits(self, name: str) -> bool:
        """Whether somebody waits at this gate."""
        return self._place(name) in self.waiting()

    def open(self, name: str) -> None:
        """The transaction goes on, and commits, whether or not its client still lives."""
        self._connection.execute("SELECT pg_advisory_unlock(%s, hashtext(%s))", (SPACE, name))

    def break_off(self, name: str) -> None:
        """The transaction at the gate is rolled back, its connection is broken; the gate is opened."""
        self._connection.execute("SELECT pg_terminate_backend(%s, 5000)", (self.waiting()[self._place(name)],))
        self.open(name)

    def close(self) -> None:
        """Open all gates and leave nothing behind."""
        self._connection.execute("SELECT pg_advisory_unlock_all()")
        self._connection.execute("DROP TRIGGER stop_at_gate ON events; DROP FUNCTION stop_at_gate()")
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _place(self, name: str) -> str:
        """How pg_locks shows the gate: the hash as an unsigned number."""
        row = self._connection.execute("SELECT hashtext(%s)", (name,)).fetchone()
        assert row is not None
        return str(row[0] % 2**32)
