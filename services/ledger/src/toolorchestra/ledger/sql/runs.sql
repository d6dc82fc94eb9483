-- insert --
-- A new run with its lease. A second run under the same idempotency key collides.
INSERT INTO runs (id, tenant, key, model, policy, revision, state, owner, lease_until, seq, event_version, slot, cap_nano_usd,
                  idempotency_key, body_hash, traceparent, metadata, session, deadline_at)
VALUES (%(run)s, %(tenant)s, %(key)s, %(model)s, %(policy)s, %(revision)s, 'running', %(owner)s,
        clock_timestamp() + %(lease_ms)s * interval '1 ms', %(seq)s, %(version)s, %(slot)s, %(cap)s, %(idempotency_key)s,
        %(body_hash)s, %(traceparent)s, %(metadata)s::jsonb, %(session)s, clock_timestamp() + %(timeout_ms)s * interval '1 ms')

-- append --
-- The first facts of a run.
INSERT INTO events (run, tenant, seq, type, v, body, at)
SELECT %(run)s, %(tenant)s, f.seq, f.type, f.v, f.body, clock_timestamp()
FROM json_to_recordset(%(facts)s::json) AS f (seq integer, type text, v integer, body json)
RETURNING seq, at

-- advance --
-- Further facts of a run: only its owner (or, while it waits, the first who comes) and only right after the fact that the
-- caller saw last. The run's row is locked before the log, as in a take-over, so the two cannot deadlock.
-- The CASE keeps the planner from the index of unfinished runs, which is tiny when plans are made and would be read whole.
WITH r AS (
  UPDATE runs SET
    seq = %(after)s + %(count)s,
    event_version = greatest(event_version, %(version)s),
    state = coalesce(%(state)s, state),
    owner = CASE coalesce(%(state)s, state) WHEN 'running' THEN %(owner)s END,
    lease_until = CASE coalesce(%(state)s, state)
                    WHEN 'running' THEN clock_timestamp() + %(lease_ms)s * interval '1 ms' END,
    waiting_since = CASE coalesce(%(state)s, state) WHEN 'waiting' THEN coalesce(waiting_since, clock_timestamp()) END,
    deadline_at = CASE WHEN state = 'waiting' AND %(state)s = 'running'
                       THEN deadline_at + (clock_timestamp() - waiting_since) ELSE deadline_at END,
    slot = coalesce(%(slot)s, slot),
    ended_at = CASE %(state)s WHEN 'ended' THEN clock_timestamp() END,
    status = %(status)s
  WHERE id = %(run)s AND seq = %(after)s AND CASE state WHEN 'running' THEN owner = %(owner)s ELSE state = 'waiting' END
  RETURNING id, tenant, cancel_by
), e AS (
  INSERT INTO events (run, tenant, seq, type, v, body, at)
  SELECT r.id, r.tenant, f.seq, f.type, f.v, f.body, clock_timestamp()
  FROM r CROSS JOIN json_to_recordset(%(facts)s::json) AS f (seq integer, type text, v integer, body json)
  RETURNING seq, at
)
SELECT e.seq, e.at, r.cancel_by FROM e CROSS JOIN r
UNION ALL
SELECT 0, NULL, fence(%(run)s) WHERE NOT EXISTS (TABLE r)

-- get --
-- One run with what it spent and still holds.
SELECT * FROM run_records WHERE id = %(run)s

-- records --
-- Several runs, in the order of their ids.
SELECT * FROM run_records WHERE id = ANY(%(runs)s) ORDER BY id

-- page --
-- A tenant's runs, newest first, from just after a given one.
SELECT * FROM run_records
WHERE tenant = %(tenant)s
  AND (%(after)s::text IS NULL OR (created_at, id) < (SELECT a.created_at, a.id FROM runs a WHERE a.id = %(after)s))
  AND (%(key)s::text IS NULL OR key = %(key)s)
  AND (%(state)s::text IS NULL OR state = %(state)s)
ORDER BY created_at DESC, id DESC
LIMIT %(count)s

-- events --
-- The facts of a run after a place in its log.
SELECT seq, at, body FROM events WHERE run = %(run)s AND seq > %(after)s ORDER BY seq LIMIT %(count)s

-- by_idempotency_key --
-- The run that a client's Idempotency-Key belongs to.
SELECT id, state, body_hash FROM runs WHERE tenant = %(tenant)s AND key = %(key)s AND idempotency_key = %(idempotency_key)s

-- find_retry --
-- The run that a repeated POST means: the same body under the same key, unfinished or ended a moment ago.
SELECT id, state, body_hash FROM runs
WHERE tenant = %(tenant)s AND key = %(key)s AND body_hash = %(body_hash)s
  AND (state <> 'ended' OR ended_at > clock_timestamp() - %(within_ms)s * interval '1 ms')
ORDER BY created_at DESC LIMIT 1

-- take_over --
-- Runs whose owner's lease ran out or was given back. The log gets the fact in the same statement, so a stale owner collides.
WITH due AS (
  SELECT id FROM runs
  WHERE state = 'running' AND (lease_until IS NULL OR lease_until < clock_timestamp()) AND event_version <= %(version)s
  ORDER BY lease_until NULLS FIRST LIMIT %(count)s FOR NO KEY UPDATE SKIP LOCKED
), r AS (
  UPDATE runs SET owner = %(owner)s, resumes = resumes + 1, seq = seq + 1,
                  lease_until = clock_timestamp() + %(lease_ms)s * interval '1 ms'
  FROM due WHERE runs.id = due.id
  RETURNING runs.id, runs.tenant, runs.seq
), e AS (
  INSERT INTO events (run, tenant, seq, type, v, body, at)
  SELECT id, tenant, seq, 'resumed', %(fact_version)s, %(fact)s::json, clock_timestamp() FROM r
)
SELECT id FROM r

-- renew_leases --
-- The owner is alive and drives these runs (without a list: all of its runs). A run that is being written to just now renews
-- itself, so it is not waited for.
UPDATE runs SET lease_until = clock_timestamp() + %(lease_ms)s * interval '1 ms'
WHERE id IN (SELECT id FROM runs
             WHERE state = 'running' AND owner = %(owner)s AND (%(runs)s::text[] IS NULL OR id = ANY(%(runs)s::text[]))
             FOR NO KEY UPDATE SKIP LOCKED)
RETURNING id, cancel_by

-- give_back --
-- The owner stops driving these runs (without a list: all of its runs); another may take them over at once.
UPDATE runs SET owner = NULL, lease_until = NULL
WHERE state = 'running' AND owner = %(owner)s AND (%(runs)s::text[] IS NULL OR id = ANY(%(runs)s::text[])) RETURNING id

-- request_cancel --
-- Somebody wants the run to end; its owner sees it with its next write or renewal.
UPDATE runs SET cancel_by = CASE state WHEN 'ended' THEN cancel_by ELSE coalesce(cancel_by, %(by)s) END
WHERE id = %(run)s RETURNING state

-- waiting_too_long --
-- Runs whose client did not come back.
SELECT * FROM run_records
WHERE state = 'waiting' AND event_version <= %(version)s AND waiting_since < clock_timestamp() - %(older_ms)s * interval '1 ms'
ORDER BY waiting_since LIMIT %(count)s

-- lock_content --
-- The run whose contents are to go. Its state is needed: an unfinished run still needs them.
SELECT state FROM runs WHERE id = %(run)s FOR NO KEY UPDATE

-- expired_content --
-- Ended runs older than their tenant wants contents kept.
SELECT r.id FROM runs r LEFT JOIN policies p ON p.tenant = r.tenant
WHERE r.ended_at IS NOT NULL AND r.content_deleted_at IS NULL
  AND r.ended_at < clock_timestamp() - coalesce(p.retention, interval '30 days')
ORDER BY r.ended_at LIMIT %(count)s FOR NO KEY UPDATE OF r SKIP LOCKED

-- delete_content --
-- Remove what was said; what it cost stays.
WITH gone AS (
  DELETE FROM events WHERE run = ANY(%(runs)s)
), c AS (
  UPDATE calls SET arguments = NULL, args_hash = '',
                   outcome = json_build_object('status', outcome->>'status', 'content', '', 'error_code', outcome->>'error_code')
  WHERE run = ANY(%(runs)s)
), f AS (
  UPDATE feedback SET comment = NULL WHERE run = ANY(%(runs)s)
)
UPDATE runs SET content_deleted_at = clock_timestamp(), body_hash = NULL WHERE id = ANY(%(runs)s) RETURNING id

-- add_feedback --
-- What a user thought of a run.
INSERT INTO feedback (run, tenant, author, score, label, comment)
SELECT id, tenant, %(author)s, %(score)s::double precision, %(label)s, %(comment)s FROM runs WHERE id = %(run)s
RETURNING id

-- list_feedback --
-- All feedback on a run.
SELECT author, score, label, comment, at FROM feedback WHERE run = %(run)s ORDER BY id

-- put_revision --
-- Keep a revision under its hash; the same hash is the same body.
INSERT INTO revisions (id, tenant, body) VALUES (%(revision)s, %(tenant)s, %(body)s::json) ON CONFLICT (id, tenant) DO NOTHING

-- get_revision --
-- A pinned revision.
SELECT body FROM revisions WHERE id = %(revision)s AND tenant = %(tenant)s
