-- Runs, their facts, calls and attempts; tenants' policies and keys. Bodies are json, not jsonb: what was shown to a model
-- is shown again in the same order of keys.

CREATE TABLE policies (
  tenant text PRIMARY KEY,
  source text NOT NULL CHECK (source IN ('policy', 'default')),
  generation bigint NOT NULL,
  hash text NOT NULL,
  spec jsonb NOT NULL,
  retention interval NOT NULL,
  enforced_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE keys (
  id text PRIMARY KEY,
  tenant text NOT NULL,
  hmac bytea NOT NULL,
  name text NOT NULL,
  scopes jsonb NOT NULL,
  limits jsonb NOT NULL,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  expires_at timestamptz,
  revoked_at timestamptz,
  last_used_at timestamptz
);
CREATE INDEX keys_tenant ON keys (tenant, created_at);

CREATE TABLE revisions (
  id text NOT NULL,
  tenant text NOT NULL,
  body json NOT NULL,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (id, tenant)
);

CREATE TABLE runs (
  id text PRIMARY KEY,
  tenant text NOT NULL,
  key text NOT NULL,
  model text NOT NULL,
  policy text NOT NULL,
  revision text,
  state text NOT NULL CHECK (state IN ('running', 'waiting', 'ended')),
  status text,  -- how it ended
  owner text,
  lease_until timestamptz,
  resumes integer NOT NULL DEFAULT 0,
  seq integer NOT NULL,  -- place of the newest fact
  event_version integer NOT NULL,
  slot text,  -- name of the hold that counts this run as running
  cap_nano_usd bigint,
  idempotency_key text,
  body_hash text,
  traceparent text,
  metadata jsonb NOT NULL DEFAULT '{}',
  cancel_by text,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  deadline_at timestamptz NOT NULL,
  waiting_since timestamptz,
  ended_at timestamptz,
  content_deleted_at timestamptz
) WITH (fillfactor = 60);
CREATE UNIQUE INDEX runs_idempotency ON runs (tenant, key, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX runs_body ON runs (tenant, key, body_hash, created_at) WHERE body_hash IS NOT NULL;
CREATE INDEX runs_page ON runs (tenant, created_at DESC, id DESC);
-- lease_until is not indexed: a renewal stays a cheap update, and unfinished runs are few.
CREATE INDEX runs_unfinished ON runs (state) WHERE state <> 'ended';
CREATE INDEX runs_content ON runs (ended_at) WHERE content_deleted_at IS NULL AND ended_at IS NOT NULL;

CREATE TABLE events (
  run text NOT NULL REFERENCES runs,
  seq integer NOT NULL,
  tenant text NOT NULL,
  type text NOT NULL,
  v integer NOT NULL,
  body json NOT NULL,
  at timestamptz NOT NULL,
  PRIMARY KEY (run, seq)
);

CREATE TABLE calls (
  id text PRIMARY KEY,  -- run/turn/ordinal
  run text NOT NULL REFERENCES runs,
  tenant text NOT NULL,
  turn integer NOT NULL,
  ordinal integer NOT NULL,
  function text NOT NULL,
  arguments json,
  args_hash text NOT NULL,
  execution text NOT NULL,
  side_effects text NOT NULL,
  state text NOT NULL CHECK (state IN ('queued', 'running', 'done', 'over')),
  attempt integer NOT NULL,
  created_at timestamptz NOT NULL,
  deadline_at timestamptz NOT NULL,
  lease_until timestamptz,
  hold text NOT NULL,
  hold_nano_usd bigint NOT NULL,
  max_output_tokens integer NOT NULL DEFAULT 0,
  outcome json,
  traceparent text
) WITH (fillfactor = 70);
CREATE INDEX calls_run ON calls (run, turn, ordinal);

-- One row per attempt; what it cost stands in its hold, where a late true figure arrives too.
CREATE TABLE attempts (
  call text NOT NULL REFERENCES calls,
  attempt integer NOT NULL,
  tenant text NOT NULL,
  hold text NOT NULL,
  started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  finished_at timestamptz,
  status text,
  PRIMARY KEY (call, attempt)
);

CREATE TABLE feedback (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  run text NOT NULL REFERENCES runs,
  tenant text NOT NULL,
  author text NOT NULL,
  score double precision,
  label text,
  comment text,
  at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX feedback_run ON feedback (run);
