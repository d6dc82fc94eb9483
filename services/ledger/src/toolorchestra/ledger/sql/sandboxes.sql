-- put --
-- A worker lives and found this; it counts until its time is over.
INSERT INTO sandboxes (worker, rung, message, layers, reach, expires_at)
VALUES (%(worker)s, %(rung)s, %(message)s, %(layers)s::jsonb, %(reach)s::jsonb,
        clock_timestamp() + %(life_ms)s * interval '1 ms')
ON CONFLICT (worker) DO UPDATE
  SET (rung, message, layers, reach, seen_at, expires_at) = (excluded.rung, excluded.message, excluded.layers, excluded.reach,
                                                             excluded.seen_at, excluded.expires_at)

-- forget --
-- What killed workers left behind goes; rows that another worker is writing are passed over.
DELETE FROM sandboxes WHERE worker IN (
  SELECT worker FROM sandboxes WHERE expires_at < clock_timestamp() - interval '1 hour' FOR UPDATE SKIP LOCKED
)

-- withdraw --
-- A worker ends.
DELETE FROM sandboxes WHERE worker = %(worker)s

-- living --
-- What the workers found whose time is not over.
SELECT worker, rung, message, layers, reach, seen_at FROM sandboxes WHERE expires_at > clock_timestamp() ORDER BY worker
