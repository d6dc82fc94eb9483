-- start --
-- Rows of calls that start now. Inline calls are under way already; others wait for a worker, who counts the attempt. A later
-- attempt overwrites the row of an earlier one. No planner knows how many rows JSON has: an array of ids makes it ask the index.
WITH s AS (
  SELECT * FROM json_to_recordset(%(starts)s::json) AS s (
    id text, turn integer, ordinal integer, attempt integer, function text, arguments json, args_hash text, execution text,
    side_effects text, timeout_ms bigint, hold text, hold_nano_usd bigint, max_output_tokens integer)
), lost AS (
  UPDATE attempts a SET finished_at = clock_timestamp(), status = 'unknown'
  FROM s WHERE a.call = ANY(ARRAY(SELECT id FROM s)) AND a.call = s.id AND a.attempt < s.attempt AND a.finished_at IS NULL
), c AS (
  INSERT INTO calls AS c (id, run, tenant, turn, ordinal, function, arguments, args_hash, execution, side_effects, state, attempt,
                          created_at, deadline_at, hold, hold_nano_usd, max_output_tokens, traceparent)
  SELECT s.id, %(run)s, %(tenant)s, s.turn, s.ordinal, s.function, s.arguments, s.args_hash, s.execution, s.side_effects,
         CASE s.execution WHEN 'inline' THEN 'running' ELSE 'queued' END,
         CASE s.execution WHEN 'inline' THEN s.attempt ELSE s.attempt - 1 END,
         clock_timestamp(), clock_timestamp() + s.timeout_ms * interval '1 ms', s.hold, s.hold_nano_usd, s.max_output_tokens,
         %(traceparent)s
  FROM s
  ON CONFLICT (id) DO UPDATE SET
    state = excluded.state, attempt = excluded.attempt, created_at = excluded.created_at, deadline_at = excluded.deadline_at,
    lease_until = NULL, hold = excluded.hold, hold_nano_usd = excluded.hold_nano_usd,
    max_output_tokens = excluded.max_output_tokens, outcome = NULL, traceparent = excluded.traceparent
  RETURNING c.id
)
INSERT INTO attempts (call, attempt, tenant, hold)
SELECT s.id, s.attempt, %(tenant)s, s.hold FROM s JOIN c ON c.id = s.id WHERE s.execution = 'inline'

-- end --
-- Outcomes of calls that the run's owner ran itself.
WITH s AS (
  SELECT * FROM json_to_recordset(%(ends)s::json) AS s (id text, attempt integer, status text, outcome json)
), a AS (
  UPDATE attempts a SET finished_at = clock_timestamp(), status = s.status
  FROM s WHERE a.call = ANY(ARRAY(SELECT id FROM s)) AND a.call = s.id AND a.attempt = s.attempt
)
UPDATE calls c SET state = 'done', outcome = s.outcome FROM s
WHERE c.id = ANY(ARRAY(SELECT id FROM s)) AND c.id = s.id AND ((c.attempt = s.attempt AND c.state <> 'done') OR c.state = 'over')

-- claim --
-- A worker takes a call that waits: the call, the mark that its request may leave, and the attempt's row. CASE keeps the planner
-- from the index of all open holds.
WITH c AS (
  UPDATE calls SET state = 'running', attempt = attempt + 1, lease_until = clock_timestamp() + %(lease_ms)s * interval '1 ms'
  WHERE id = %(call)s AND state = 'queued' AND deadline_at > clock_timestamp()
  RETURNING *
), sent AS (
  UPDATE holds SET sent = true WHERE id = (SELECT hold FROM c) AND CASE state WHEN 'open' THEN true END
), begun AS (
  INSERT INTO attempts (call, attempt, tenant, hold) SELECT id, attempt, tenant, hold FROM c
)
SELECT c.id, c.run, c.tenant, c.function, c.arguments, c.attempt, c.hold, c.hold_nano_usd, c.max_output_tokens, c.side_effects,
       c.traceparent, (extract(epoch FROM c.deadline_at - clock_timestamp()) * 1000)::bigint AS left_ms, r.revision,
       r.session
FROM c JOIN runs r ON r.id = c.run

-- reclaim --
-- A worker takes a call whose worker went silent, unless repeating it could do harm.
WITH was AS (
  SELECT id, hold FROM calls WHERE id = %(call)s FOR NO KEY UPDATE
)
UPDATE calls c SET
  attempt = c.attempt + 1, hold = c.id || '/' || (c.attempt + 1),
  lease_until = clock_timestamp() + %(lease_ms)s * interval '1 ms'
FROM was
WHERE c.id = was.id AND c.state = 'running' AND c.execution <> 'inline' AND c.side_effects <> 'destructive'
  AND c.lease_until < clock_timestamp() AND c.deadline_at > clock_timestamp()
RETURNING c.id, c.run, c.tenant, c.function, c.arguments, c.attempt, c.hold, c.hold_nano_usd, c.max_output_tokens,
          c.side_effects, c.traceparent, was.hold AS old_hold,
          (extract(epoch FROM c.deadline_at - clock_timestamp()) * 1000)::bigint AS left_ms,
          (SELECT r.revision FROM runs r WHERE r.id = c.run) AS revision,
          (SELECT r.session FROM runs r WHERE r.id = c.run) AS session

-- lose_attempts --
-- Earlier attempts went silent; what became of them nobody knows.
UPDATE attempts SET finished_at = clock_timestamp(), status = 'unknown'
WHERE call = %(call)s AND attempt < %(attempt)s AND finished_at IS NULL

-- start_attempt --
-- A row for the attempt that begins.
INSERT INTO attempts (call, attempt, tenant, hold) VALUES (%(call)s, %(attempt)s, %(tenant)s, %(hold)s)

-- hold_labels --
-- What a hold was for, to take the next attempt's in the same name.
SELECT accounts, run, key, tenant, kind, function, model FROM holds WHERE id = %(hold)s

-- extend --
-- The worker still works; a silent one loses the call when its lease ends.
UPDATE calls SET lease_until = clock_timestamp() + %(lease_ms)s * interval '1 ms'
WHERE id = %(call)s AND attempt = %(attempt)s AND state = 'running' RETURNING id

-- finish --
-- Store the outcome, if this attempt still is the one that counts. The attempt's own row gets it in any case.
WITH a AS (
  UPDATE attempts SET finished_at = clock_timestamp(), status = %(status)s
  WHERE call = %(call)s AND attempt = %(attempt)s AND (finished_at IS NULL OR status = 'unknown')
)
UPDATE calls SET state = 'done', outcome = %(outcome)s::json
WHERE id = %(call)s AND attempt = %(attempt)s AND state = 'running' RETURNING id

-- give_up --
-- The run's owner no longer waits: the call was never taken, or its worker is silent, or its time is over; or, with `now`,
-- whatever its worker does, who finds it out when it renews its lease.
UPDATE calls SET state = 'over'
WHERE id = %(call)s
  AND (state = 'queued' OR (state = 'running' AND (%(now)s OR coalesce(lease_until, '-infinity') < clock_timestamp()
                                                   OR deadline_at < clock_timestamp())))
RETURNING id

-- outcomes --
-- What became of calls, and what their last hold still says.
SELECT c.id, c.state, c.outcome, c.hold, c.hold_nano_usd, coalesce(h.sent, false) AS sent, c.deadline_at
FROM calls c LEFT JOIN holds h ON h.id = c.hold WHERE c.id = ANY(%(calls)s)

-- of_run --
-- The calls of a run with what each cost, all attempts together.
SELECT c.id, c.turn, c.ordinal, c.function, c.execution, c.side_effects, c.state, c.attempt, c.arguments, c.outcome, c.created_at,
       c.deadline_at, coalesce(sum(h.charged), 0)::bigint AS cost_nano_usd
FROM calls c LEFT JOIN attempts a ON a.call = c.id LEFT JOIN holds h ON h.id = a.hold
WHERE c.run = %(run)s GROUP BY c.id ORDER BY c.turn, c.ordinal

-- attempts_of_run --
-- Every attempt of every call of a run, with its cost; `estimated` marks a cost that nobody stated.
SELECT a.call, a.attempt, a.started_at, a.finished_at, a.status, coalesce(h.charged, 0) AS cost_nano_usd,
       coalesce(h.state IN ('estimated', 'reaped') AND h.charged > 0, false) AS estimated
FROM attempts a JOIN calls c ON c.id = a.call LEFT JOIN holds h ON h.id = a.hold
WHERE c.run = %(run)s ORDER BY c.turn, c.ordinal, a.attempt
