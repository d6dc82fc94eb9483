-- used --
-- The limited windows of all tenants in which anything is spent or held, the fullest first, with the percentages to tell of.
WITH t AS MATERIALIZED (
  SELECT clock_timestamp() AS now
), l AS (
  SELECT p.tenant, p.spec -> 'alerts' AS alerts, l.account, l.unit, l.kind, l.tz, l.amount, wstart(l.kind, l.tz, t.now) AS start
  FROM t CROSS JOIN policies p JOIN limits l ON l.account = 't:' || p.tenant
  WHERE l.amount IS NOT NULL AND l.unit <> 'slots'
)
SELECT l.tenant, l.alerts, l.unit, l.kind, l.tz, l.amount AS "limit", w.spent, w.held, w.over,
       greatest(l.amount - w.spent - w.held, 0) AS remaining,
       nullif(l.start, '-infinity') AS start, nullif(wend(l.kind, l.tz, l.start), 'infinity') AS "end"
FROM l JOIN windows w ON (w.account, w.unit, w.kind, w.start) = (l.account, l.unit, l.kind, l.start)
WHERE w.spent + w.held > 0
ORDER BY (w.spent + w.held)::float8 / greatest(l.amount, 1) DESC, l.tenant, l.unit, l.kind LIMIT %(count)s

-- tell --
-- Note what was reached; those that nobody had noted before.
INSERT INTO alerts (tenant, unit, kind, start, percent)
SELECT s.tenant, s.unit, s.kind, coalesce(s.start, '-infinity'), s.percent
FROM json_to_recordset(%(reached)s::json) AS s (tenant text, unit text, kind text, start timestamptz, percent integer)
ON CONFLICT DO NOTHING
RETURNING tenant, unit, kind, nullif(start, '-infinity') AS start, percent

-- forget --
-- Windows that ended long ago are not looked at again; what was ever spent has no end.
DELETE FROM alerts WHERE kind <> 'total' AND start < clock_timestamp() - interval '90 days'
