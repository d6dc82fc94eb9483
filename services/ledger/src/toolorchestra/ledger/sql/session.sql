-- begin_tenant --
-- First statement of a tenant's transaction: role, tenant and limits, all gone at its end, so a pooler between is no harm.
-- `scans` off: plans are kept, and one that was made while a table was small must not read all of it when it has grown.
SELECT set_config('role', 'toolorchestra_app', true),
       set_config('search_path', 'toolorchestra, pg_temp', true),
       set_config('toolorchestra.tenant', %(tenant)s, true),
       set_config('enable_seqscan', %(scans)s, true),
       set_config('statement_timeout', '30s', true),
       set_config('idle_in_transaction_session_timeout', '30s', true)

-- begin_system --
-- The same for leases, reaper, keys and policies, which concern all tenants.
SELECT set_config('role', 'toolorchestra_system', true),
       set_config('search_path', 'toolorchestra, pg_temp', true),
       set_config('enable_seqscan', %(scans)s, true),
       set_config('statement_timeout', '30s', true),
       set_config('idle_in_transaction_session_timeout', '30s', true)

-- take_time --
-- Checks read everything; they may take long.
SELECT set_config('statement_timeout', '0', true)

-- migrate_lock --
-- One migration at a time; the lock goes with the transaction.
SELECT pg_advisory_xact_lock(7210418833061921)

-- migrate_bootstrap --
-- The schema and its own history, both perhaps there already.
CREATE SCHEMA IF NOT EXISTS toolorchestra

-- migrate_history --
-- Which migrations were applied, with the hash of their text.
CREATE TABLE IF NOT EXISTS toolorchestra.migrations (
  version integer PRIMARY KEY,
  name text NOT NULL,
  hash text NOT NULL,
  needs integer NOT NULL DEFAULT 0,
  applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
)

-- migrate_needs --
-- A history that was begun before migrations said which programs they shut out.
ALTER TABLE toolorchestra.migrations ADD COLUMN IF NOT EXISTS needs integer NOT NULL DEFAULT 0

-- migrate_path --
-- Migrations create their objects in the schema, whatever the session's own path is, and wait for locks only briefly.
SELECT set_config('search_path', 'toolorchestra, pg_temp', true), set_config('lock_timeout', '10s', true)

-- migrate_applied --
-- What was applied so far.
SELECT version, hash FROM toolorchestra.migrations ORDER BY version

-- migrate_record --
-- One more migration is in.
INSERT INTO toolorchestra.migrations (version, name, hash, needs) VALUES (%(version)s, %(name)s, %(hash)s, %(needs)s)

-- schema_exists --
-- Whether any migration ever ran.
SELECT to_regclass('toolorchestra.migrations') IS NOT NULL AS present

-- schema_version --
-- The newest applied migration, and the schema that a program must know at least; read so that an old history has no need.
SELECT coalesce(max(version), 0) AS version, coalesce(max((to_jsonb(m) ->> 'needs')::integer), 0) AS needs
FROM toolorchestra.migrations m
