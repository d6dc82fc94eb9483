-- get --
-- The policy in force for a tenant.
SELECT tenant, source, generation, hash, spec, enforced_at FROM policies WHERE tenant = %(tenant)s

-- open_tenant --
-- The tenant's account, the lock of all that follows.
INSERT INTO accounts (id, tenant, rank) VALUES (%(account)s, %(tenant)s, 0) ON CONFLICT (id) DO NOTHING

-- put --
-- Remember what is enforced.
INSERT INTO policies (tenant, source, generation, hash, spec, retention)
VALUES (%(tenant)s, %(source)s, %(generation)s, %(hash)s, %(spec)s::jsonb, %(retention_ms)s * interval '1 ms')
ON CONFLICT (tenant) DO UPDATE SET
  source = excluded.source, generation = excluded.generation, hash = excluded.hash, spec = excluded.spec,
  retention = excluded.retention, enforced_at = clock_timestamp()

-- limits --
-- The limits that stand.
SELECT unit, kind, tz, amount FROM limits WHERE account = %(account)s

-- clear_limits --
-- Make room for the new limits.
DELETE FROM limits WHERE account = %(account)s

-- put_limits --
-- The new limits.
INSERT INTO limits (account, tenant, unit, kind, tz, amount)
SELECT %(account)s, %(tenant)s, l.unit, l.kind, l.tz, l.amount
FROM json_to_recordset(%(limits)s::json) AS l (unit text, kind text, tz text, amount bigint)

-- open_window --
-- A newly defined window opens with what was spent and is held since its start, so an edit gives no money back. Holds that may
-- still change are counted in it from now on. Needs the lock on the account.
WITH t AS MATERIALIZED (
  SELECT wstart(%(kind)s, %(tz)s, clock_timestamp()) AS start
), past AS (
  SELECT h.id, h.state, h.amount, h.charged FROM holds h, t
  WHERE h.tenant = %(tenant)s AND h.unit = %(unit)s AND h.at >= t.start AND %(account)s = ANY(h.accounts)
    AND (h.state <> 'final'
         OR h.id IN (SELECT e.hold FROM entries e WHERE e.tenant = %(tenant)s AND e.unit = %(unit)s AND e.at >= t.start))
), truth AS (
  SELECT (SELECT coalesce(sum(charged), 0)::bigint FROM past)
         + (SELECT coalesce(sum(e.amount), 0)::bigint FROM entries e, t
            WHERE e.tenant = %(tenant)s AND e.unit = %(unit)s AND e.kind = 'adjust' AND e.hold IS NULL AND e.at >= t.start) AS spent,
         (SELECT coalesce(sum(amount), 0)::bigint FROM past WHERE state = 'open') AS held
), was AS (
  SELECT w.spent FROM windows w, t WHERE (w.account, w.unit, w.kind, w.start) = (%(account)s, %(unit)s, %(kind)s, t.start)
), up AS (
  INSERT INTO windows AS w (account, tenant, unit, kind, start, spent, held, allowed)
  SELECT %(account)s, %(tenant)s, %(unit)s, %(kind)s, t.start, truth.spent, truth.held,
         greatest(coalesce(%(amount)s::bigint, 9223372036854775807), truth.spent + truth.held)
  FROM t, truth
  ON CONFLICT (account, unit, kind, start) DO UPDATE SET
    spent = excluded.spent, held = excluded.held, allowed = greatest(w.allowed, excluded.allowed)
  RETURNING w.id, w.spent
), counted AS (
  UPDATE holds h SET windows = h.windows || up.id
  FROM up, past WHERE h.id = past.id AND past.state <> 'final' AND NOT up.id = ANY(h.windows)
)
INSERT INTO entries (tenant, unit, windows, amount, kind)
SELECT %(tenant)s, %(unit)s, ARRAY[up.id], up.spent - coalesce((SELECT spent FROM was), 0), 'opening'
FROM up WHERE up.spent <> coalesce((SELECT spent FROM was), 0)

-- budget --
-- Every limit of an account with its current window.
WITH t AS MATERIALIZED (
  SELECT clock_timestamp() AS now
), l AS (
  SELECT limits.*, wstart(kind, tz, t.now) AS start FROM limits, t WHERE account = %(account)s
)
SELECT l.unit, l.kind, l.tz, l.amount AS "limit", coalesce(w.spent, 0) AS spent, coalesce(w.held, 0) AS held,
       coalesce(w.over, 0) AS over, CASE WHEN l.amount IS NOT NULL THEN greatest(l.amount - coalesce(w.spent + w.held, 0), 0) END AS remaining,
       nullif(l.start, '-infinity') AS start, nullif(wend(l.kind, l.tz, l.start), 'infinity') AS "end"
FROM l LEFT JOIN windows w ON (w.account, w.unit, w.kind, w.start) = (l.account, l.unit, l.kind, l.start)
ORDER BY l.unit, array_position(ARRAY['hour', 'day', 'month', 'total'], l.kind)

-- sources --
-- Which tenants have a policy, and whether it is their own or the platform's default.
SELECT tenant, source FROM policies ORDER BY tenant
