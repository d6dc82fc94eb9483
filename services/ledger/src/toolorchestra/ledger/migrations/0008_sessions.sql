-- The session that a client named for a run: a worker passes it on with the run's queued calls.
ALTER TABLE runs ADD COLUMN session text;
