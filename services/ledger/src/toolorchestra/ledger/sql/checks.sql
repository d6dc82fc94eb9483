-- over_limit --
-- No window is above the highest limit it ever granted under, apart from what settlements took beyond their holds.
SELECT w.account, w.unit, w.kind, nullif(w.start, '-infinity') AS start,
       format('spent %%s - over %%s > allowed %%s', w.spent, w.over, w.allowed) AS message
FROM windows w WHERE w.spent - w.over > w.allowed

-- entries_differ --
-- What a window says was spent is the sum of its entries.
SELECT w.account, w.unit, w.kind, nullif(w.start, '-infinity') AS start,
       format('spent %%s, entries sum to %%s', w.spent, coalesce(s.amount, 0)) AS message
FROM windows w LEFT JOIN (
  SELECT x.id, sum(e.amount) AS amount FROM entries e CROSS JOIN LATERAL unnest(e.windows) AS x (id) GROUP BY x.id
) s ON s.id = w.id
WHERE w.spent <> coalesce(s.amount, 0)

-- holds_differ --
-- What a window says is held is the sum of its open holds.
SELECT w.account, w.unit, w.kind, nullif(w.start, '-infinity') AS start,
       format('held %%s, open holds sum to %%s', w.held, coalesce(s.amount, 0)) AS message
FROM windows w LEFT JOIN (
  SELECT x.id, sum(h.amount) AS amount FROM holds h CROSS JOIN LATERAL unnest(h.windows) AS x (id)
  WHERE h.state = 'open' GROUP BY x.id
) s ON s.id = w.id
WHERE w.held <> coalesce(s.amount, 0)

-- stale_holds --
-- No hold outlives its time by more than the reaper's pause.
SELECT h.accounts[1] AS account, h.unit, h.kind, h.at AS start,
       format('hold %%s is open although it expired at %%s', h.id, h.expires_at) AS message
FROM holds h WHERE h.state = 'open' AND h.expires_at < clock_timestamp() - %(grace_ms)s * interval '1 ms'

-- charges_differ --
-- What a hold was charged is the sum of its entries.
SELECT h.accounts[1] AS account, h.unit, h.kind, h.at AS start,
       format('hold %%s was charged %%s, entries sum to %%s', h.id, h.charged, coalesce(s.amount, 0)) AS message
FROM holds h LEFT JOIN (SELECT hold, sum(amount) AS amount FROM entries WHERE hold IS NOT NULL GROUP BY hold) s ON s.hold = h.id
WHERE h.charged <> coalesce(s.amount, 0)
