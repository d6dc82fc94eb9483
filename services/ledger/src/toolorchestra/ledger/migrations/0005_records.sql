-- Runs as they are read, with what each spent and holds. A view's columns stay when a table gets more, so statements that were
-- prepared before a migration go on working after it.
CREATE VIEW run_records WITH (security_invoker = true) AS
SELECT r.id, r.tenant, r.key, r.model, r.policy, r.revision, r.state, r.status, r.owner, r.seq, r.event_version, r.resumes,
       r.cap_nano_usd, coalesce(w.spent, 0) AS spent_nano_usd, coalesce(w.held, 0) AS held_nano_usd, r.metadata, r.traceparent,
       r.cancel_by, r.created_at, r.deadline_at, r.waiting_since, r.ended_at, r.content_deleted_at
FROM runs r LEFT JOIN windows w ON w.account = 'r:' || r.id AND w.unit = 'nano_usd' AND w.kind = 'total';

GRANT SELECT ON run_records TO toolorchestra_app, toolorchestra_system;
