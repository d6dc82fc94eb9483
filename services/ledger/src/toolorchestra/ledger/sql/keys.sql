-- insert --
-- A new key. Only the keyed hash of its secret is kept.
INSERT INTO keys (id, tenant, hmac, name, scopes, limits, expires_at)
VALUES (%(key)s, %(tenant)s, %(hmac)s, %(name)s, %(scopes)s::jsonb, %(limits)s::jsonb, %(expires_at)s)
RETURNING id, tenant, name, scopes, limits, created_at, expires_at, revoked_at, last_used_at

-- list --
-- A tenant's keys, newest first.
SELECT id, tenant, name, scopes, limits, created_at, expires_at, revoked_at, last_used_at
FROM keys WHERE tenant = %(tenant)s ORDER BY created_at DESC, id DESC

-- revoke --
-- The key stops at the next request; its account refuses the next hold of runs that are under way.
WITH k AS (
  UPDATE keys SET revoked_at = coalesce(revoked_at, clock_timestamp()) WHERE id = %(key)s AND tenant = %(tenant)s
  RETURNING id, tenant, name, scopes, limits, created_at, expires_at, revoked_at, last_used_at
), a AS (
  UPDATE accounts SET closed = true WHERE id = %(account)s AND EXISTS (TABLE k)
)
SELECT * FROM k

-- find --
-- A key by its id, with what its use depends on.
SELECT id, tenant, name, scopes, limits, created_at, expires_at, revoked_at, last_used_at, hmac,
       coalesce(expires_at <= clock_timestamp(), false) AS expired,
       coalesce(last_used_at < clock_timestamp() - interval '1 minute', true) AS stale
FROM keys WHERE id = %(key)s

-- touch --
-- Remember the use, at most once a minute; whoever finds the row busy leaves it to the other.
UPDATE keys SET last_used_at = clock_timestamp()
WHERE id IN (SELECT id FROM keys WHERE id = %(key)s
             AND coalesce(last_used_at < clock_timestamp() - interval '1 minute', true) FOR NO KEY UPDATE SKIP LOCKED)
