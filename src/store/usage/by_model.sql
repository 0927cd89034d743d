WITH sums AS (
  SELECT provider,
    iif(?4 IS NULL OR provider || '/' || model IN (SELECT value FROM json_each(?4)), model, 'other') AS model,
    {sums}
  FROM {usage}
  WHERE day BETWEEN ?1 AND ?2 AND (?3 IS NULL OR project = ?3)
  GROUP BY 1, 2
),
ranked AS (
  SELECT *, row_number() OVER (ORDER BY requests DESC, provider, model) <= 1000 AS named FROM sums
)
SELECT provider, iif(named, model, '') AS model,
  {sums}
FROM ranked
GROUP BY 1, 2
