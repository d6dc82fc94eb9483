-- grouped --
-- Money in a span of time, by any of: key, function, model, kind, day, names of request metadata. Groups not asked for are null.
SELECT CASE WHEN 'key' = ANY(%(by)s) THEN h.key END AS key,
       CASE WHEN 'function' = ANY(%(by)s) THEN h.function END AS function,
       CASE WHEN 'model' = ANY(%(by)s) THEN h.model END AS model,
       CASE WHEN 'kind' = ANY(%(by)s) THEN coalesce(h.kind, 'adjustment') END AS kind,
       CASE WHEN 'day' = ANY(%(by)s) THEN (date_trunc('day', e.at, %(tz)s) AT TIME ZONE %(tz)s)::date END AS day,
       (SELECT jsonb_object_agg(name, r.metadata->>name) FROM unnest(%(metadata)s::text[]) AS name) AS metadata,
       sum(e.amount)::bigint AS spent_nano_usd,
       coalesce(sum(e.amount) FILTER (WHERE e.kind = 'estimate'), 0)::bigint AS estimated_nano_usd,
       count(DISTINCT e.hold) AS calls,
       count(DISTINCT h.run) AS runs
FROM entries e LEFT JOIN holds h ON h.id = e.hold LEFT JOIN runs r ON r.id = h.run
WHERE e.tenant = %(tenant)s AND e.unit = 'nano_usd' AND e.kind <> 'opening' AND e.at >= %(since)s AND e.at < %(until)s
GROUP BY 1, 2, 3, 4, 5, 6
ORDER BY spent_nano_usd DESC, 1, 2, 3, 4, 5, 6

-- focus --
-- The same money per day in the terms of FOCUS; corrections of what was estimated, and credits, are lines of their own.
SELECT date_trunc('day', e.at, 'UTC') AS day, date_trunc('month', e.at, 'UTC') AS month, h.key, h.kind AS purpose, h.function, h.model,
       CASE WHEN e.kind = 'adjust' THEN 'adjust' ELSE 'usage' END AS class, e.reason,
       coalesce(r.metadata, '{}') AS tags, sum(e.amount)::bigint AS nano_usd, count(DISTINCT e.hold) AS calls
FROM entries e LEFT JOIN holds h ON h.id = e.hold LEFT JOIN runs r ON r.id = h.run
WHERE e.tenant = %(tenant)s AND e.unit = 'nano_usd' AND e.kind <> 'opening' AND e.at >= %(since)s AND e.at < %(until)s
GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9
ORDER BY 1, 3, 4, 5, 6, 7, 8, 9

-- adjustments --
-- Credits and corrections made by people.
SELECT id, amount AS nano_usd, reason, author, at FROM entries
WHERE tenant = %(tenant)s AND unit = 'nano_usd' AND kind = 'adjust' AND hold IS NULL AND at >= %(since)s AND at < %(until)s
ORDER BY id
