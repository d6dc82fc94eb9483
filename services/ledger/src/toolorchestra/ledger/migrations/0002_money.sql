-- Money: accounts nest (tenant, key, run); counters live in windows; a hold reserves, an entry records what was spent.

-- An account row is only a lock; it is never updated on the hot path. Ids: t:<tenant>, k:<key>, r:<run>.
CREATE TABLE accounts (
  id text PRIMARY KEY,
  tenant text NOT NULL,
  rank smallint NOT NULL CHECK (rank IN (0, 1, 2)),  -- tenant, key, run
  closed boolean NOT NULL DEFAULT false
);

-- amount NULL is "unlimited"; an account without a row of a unit is denied that unit.
CREATE TABLE limits (
  account text NOT NULL REFERENCES accounts,
  tenant text NOT NULL,
  unit text NOT NULL CHECK (unit IN ('nano_usd', 'requests', 'slots')),
  kind text NOT NULL CHECK (kind IN ('hour', 'day', 'month', 'total')),
  tz text NOT NULL DEFAULT 'UTC',
  amount bigint CHECK (amount >= 0),
  PRIMARY KEY (account, unit, kind)
);

-- over: what settlements took beyond their holds. allowed: the highest limit under which something was granted here, so that
-- "spent - over <= allowed" can be checked although limits change.
CREATE TABLE windows (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  account text NOT NULL REFERENCES accounts,
  tenant text NOT NULL,
  unit text NOT NULL,
  kind text NOT NULL,
  start timestamptz NOT NULL,
  spent bigint NOT NULL DEFAULT 0,
  held bigint NOT NULL DEFAULT 0 CHECK (held >= 0),
  over bigint NOT NULL DEFAULT 0 CHECK (over >= 0),
  allowed bigint NOT NULL,
  CONSTRAINT windows_key UNIQUE (account, unit, kind, start)
) WITH (fillfactor = 50);

-- estimated and reaped holds may still be corrected by a later true figure; final ones never.
CREATE TABLE holds (
  id text PRIMARY KEY,
  tenant text NOT NULL,
  unit text NOT NULL,
  accounts text[] NOT NULL,
  windows bigint[] NOT NULL,
  amount bigint NOT NULL CHECK (amount >= 0),
  charged bigint NOT NULL DEFAULT 0,
  state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'estimated', 'reaped', 'final')),
  sent boolean NOT NULL,
  at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,
  -- what it was for
  run text NOT NULL,
  key text NOT NULL,
  kind text NOT NULL,
  function text,
  model text
) WITH (fillfactor = 80);
CREATE INDEX holds_expiry ON holds (expires_at) WHERE state = 'open';
CREATE INDEX holds_unsettled ON holds (tenant, at) WHERE state <> 'final';

CREATE TABLE entries (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  tenant text NOT NULL,
  unit text NOT NULL,
  hold text,
  windows bigint[] NOT NULL,
  amount bigint NOT NULL,
  kind text NOT NULL CHECK (kind IN ('spend', 'estimate', 'adjust', 'opening')),
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  reason text,
  author text
);
CREATE INDEX entries_time ON entries (tenant, at);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'entries are append-only: write an adjustment instead' USING ERRCODE = 'TO004';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON entries
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Start of the calendar window that holds t; windows are half open: start <= t < end.
CREATE FUNCTION wstart(kind text, tz text, t timestamptz) RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE AS $$
  SELECT CASE kind WHEN 'total' THEN timestamptz '-infinity' ELSE date_trunc(kind, t, tz) END
$$;

CREATE FUNCTION wend(kind text, tz text, start timestamptz) RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE AS $$
  SELECT CASE kind WHEN 'total' THEN timestamptz 'infinity' ELSE date_add(start, ('1 ' || kind)::interval, tz) END
$$;

-- Refusals that abort the transaction from inside a pipeline; the detail travels as JSON.
CREATE FUNCTION deny(detail jsonb) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'denied' USING ERRCODE = 'TO001', DETAIL = detail::text;
END $$;

CREATE FUNCTION fence(run text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'run % belongs to another process now', run USING ERRCODE = 'TO002';
END $$;

CREATE FUNCTION taken(hold text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'hold % was taken before', hold USING ERRCODE = 'TO003';
END $$;
