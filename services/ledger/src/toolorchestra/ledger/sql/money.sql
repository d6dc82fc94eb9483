-- lock --
-- The account rows are the only lock of money: run, key, tenant, the hottest last. Always a statement of its own, because the
-- snapshot of a statement is older than the locks that it waits for.
SELECT id FROM accounts WHERE id = ANY(%(accounts)s) ORDER BY rank DESC, id FOR NO KEY UPDATE

-- lock_of_hold --
-- The same, for the accounts of a hold.
SELECT id FROM accounts
WHERE id = ANY(ARRAY(SELECT unnest(h.accounts) FROM holds h WHERE h.id = %(hold)s))
ORDER BY rank DESC, id FOR NO KEY UPDATE

-- take --
-- Reserve an amount in the current windows of all accounts, or refuse with the window that has least left. A hold that was
-- released without a charge may be taken again under its name. `strict` aborts the transaction instead of answering.
WITH t AS MATERIALIZED (
  SELECT clock_timestamp() AS now
), dup AS (
  SELECT id FROM holds WHERE id = %(hold)s AND NOT (state = 'final' AND charged = 0)
), due AS (
  SELECT a.id AS account, a.tenant, a.closed, l.kind, l.amount AS lim, wstart(l.kind, l.tz, t.now) AS start
  FROM t CROSS JOIN accounts a LEFT JOIN limits l ON l.account = a.id AND l.unit = %(unit)s
  WHERE a.id = ANY(%(accounts)s)
), bad AS (
  SELECT d.account, CASE WHEN d.closed THEN 'closed' ELSE coalesce(d.kind, 'none') END AS "window",
         CASE WHEN d.closed THEN 0 ELSE coalesce(d.lim, 0) END AS lim,
         CASE WHEN d.closed THEN 0 ELSE coalesce(w.spent, 0) END AS spent,
         CASE WHEN d.closed THEN 0 ELSE coalesce(w.held, 0) END AS held
  FROM due d LEFT JOIN windows w ON (w.account, w.unit, w.kind, w.start) = (d.account, %(unit)s, d.kind, d.start)
  WHERE d.closed OR d.kind IS NULL OR coalesce(w.spent + w.held, 0) + %(amount)s > d.lim
  UNION ALL
  SELECT asked.id, 'none', 0, 0, 0 FROM unnest(%(accounts)s::text[]) AS asked (id)
  WHERE NOT EXISTS (SELECT FROM due WHERE due.account = asked.id)
), worst AS (
  SELECT bad.*, %(hold)s AS hold, %(unit)s AS unit FROM bad ORDER BY lim - spent - held LIMIT 1
), up AS (
  INSERT INTO windows AS w (account, tenant, unit, kind, start, held, allowed)
  SELECT account, tenant, %(unit)s, kind, start, %(amount)s, coalesce(lim, 9223372036854775807) FROM due
  WHERE NOT EXISTS (TABLE bad) AND NOT EXISTS (TABLE dup)
  ON CONFLICT (account, unit, kind, start)
  DO UPDATE SET held = w.held + excluded.held, allowed = greatest(w.allowed, excluded.allowed)
  RETURNING w.id
), h AS (
  INSERT INTO holds AS h (id, tenant, unit, accounts, windows, amount, sent, at, expires_at, run, key, kind, function, model)
  SELECT %(hold)s, %(tenant)s, %(unit)s, %(accounts)s, array_agg(up.id), %(amount)s, %(sent)s,
         t.now, t.now + %(ttl_ms)s * interval '1 ms', %(run)s, %(key)s, %(kind)s, %(function)s, %(model)s
  FROM up CROSS JOIN t GROUP BY t.now
  ON CONFLICT (id) DO UPDATE SET
    windows = excluded.windows, amount = excluded.amount, state = 'open', sent = excluded.sent,
    at = excluded.at, expires_at = excluded.expires_at
  RETURNING h.id
)
SELECT CASE
         WHEN EXISTS (TABLE h) THEN 'held'
         WHEN EXISTS (TABLE dup) THEN CASE WHEN %(strict)s THEN taken(%(hold)s) ELSE 'duplicate' END
         WHEN %(strict)s THEN deny((SELECT to_jsonb(worst) FROM worst))
         ELSE 'denied'
       END AS result,
       (SELECT to_jsonb(worst) FROM worst) AS denial

-- settle --
-- Put what was really spent in the place of a hold: the truth, also above the hold, which `over` counts. An estimate may later
-- be replaced by the truth, once. Changes nothing when somebody was first.
WITH h AS (
  SELECT *, %(actual)s::bigint AS actual,
         CASE WHEN state = 'open' THEN amount ELSE charged END AS room,  -- what is still reserved or already paid for it
         CASE WHEN state = 'open' THEN amount ELSE 0 END AS freed
  FROM holds
  WHERE id = %(hold)s AND CASE WHEN %(estimate)s THEN state = 'open' ELSE state <> 'final' END
), u AS (
  UPDATE holds x SET state = CASE WHEN %(estimate)s THEN 'estimated' ELSE 'final' END, charged = h.actual
  FROM h WHERE x.id = h.id
), w AS (
  UPDATE windows w SET held = w.held - h.freed, spent = w.spent + h.actual - h.charged,
                       over = w.over + greatest(h.actual - h.room, 0)
  FROM h WHERE w.id = ANY(h.windows)
), e AS (
  INSERT INTO entries (tenant, unit, hold, windows, amount, kind)
  SELECT tenant, unit, id, windows, actual - charged,
         CASE WHEN %(estimate)s THEN 'estimate' WHEN state = 'open' THEN 'spend' ELSE 'adjust' END
  FROM h WHERE actual <> charged OR (state = 'open' AND sent)
)
SELECT count(*) AS settled FROM h

-- settle_slot --
-- Give back the hold that counts a run as running, whatever it is called now. CASE keeps the planner from the index of all open
-- holds.
WITH h AS (
  SELECT * FROM holds WHERE id = (SELECT slot FROM runs WHERE id = %(run)s) AND CASE state WHEN 'open' THEN true END
), u AS (
  UPDATE holds x SET state = 'final' FROM h WHERE x.id = h.id
)
UPDATE windows w SET held = w.held - h.amount FROM h WHERE w.id = ANY(h.windows)

-- reap --
-- Close a hold whose time is over (or, with `force`, whose owner is gone): what may have left is charged in full as an
-- estimate, what never left is released.
WITH h AS (
  SELECT *, CASE WHEN sent THEN amount ELSE 0 END AS actual
  FROM holds WHERE id = %(hold)s AND state = 'open' AND (%(force)s OR expires_at < clock_timestamp())
), u AS (
  UPDATE holds x SET state = CASE WHEN h.sent THEN 'estimated' ELSE 'reaped' END, charged = h.actual FROM h WHERE x.id = h.id
), w AS (
  UPDATE windows w SET held = w.held - h.amount, spent = w.spent + h.actual FROM h WHERE w.id = ANY(h.windows)
), e AS (
  INSERT INTO entries (tenant, unit, hold, windows, amount, kind)
  SELECT tenant, unit, id, windows, actual, 'estimate' FROM h WHERE sent
)
SELECT count(*) AS settled FROM h

-- expired --
-- Holds for the reaper. Read without locks: locking holds before accounts would deadlock with a settlement.
SELECT id FROM holds WHERE state = 'open' AND expires_at < clock_timestamp() ORDER BY expires_at LIMIT %(count)s

-- open_account --
-- A new account with one unlimited or capped total per unit; an existing one stays as it is.
WITH a AS (
  INSERT INTO accounts (id, tenant, rank) VALUES (%(account)s, %(tenant)s, %(rank)s) ON CONFLICT (id) DO NOTHING RETURNING id
)
INSERT INTO limits (account, tenant, unit, kind, tz, amount)
SELECT a.id, %(tenant)s, l.unit, l.kind, l.tz, l.amount
FROM a CROSS JOIN json_to_recordset(%(limits)s::json) AS l (unit text, kind text, tz text, amount bigint)

-- close_account --
-- Nothing more can be reserved under this account; late settlements still arrive.
UPDATE accounts SET closed = true WHERE id = %(account)s

-- adjust --
-- A credit (negative) or a correction in the tenant's current windows. Lock the tenant's account first.
WITH t AS MATERIALIZED (
  SELECT clock_timestamp() AS now
), due AS (
  SELECT l.account, l.tenant, l.kind, l.amount AS lim, wstart(l.kind, l.tz, t.now) AS start
  FROM limits l CROSS JOIN t WHERE l.account = %(account)s AND l.unit = 'nano_usd'
), up AS (
  INSERT INTO windows AS w (account, tenant, unit, kind, start, spent, over, allowed)
  SELECT account, tenant, 'nano_usd', kind, start, %(amount)s, greatest(%(amount)s, 0), coalesce(lim, 9223372036854775807) FROM due
  ON CONFLICT (account, unit, kind, start)
  DO UPDATE SET spent = w.spent + excluded.spent, over = w.over + excluded.over
  RETURNING w.id, w.tenant
)
INSERT INTO entries (tenant, unit, windows, amount, kind, at, reason, author)
SELECT up.tenant, 'nano_usd', array_agg(up.id), %(amount)s, 'adjust', t.now, %(reason)s, %(author)s
FROM up CROSS JOIN t GROUP BY up.tenant, t.now
RETURNING id
