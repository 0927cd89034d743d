INSERT INTO usage_closed (
  day, operation, project, provider, model, {columns}
)
SELECT day, operation, project, provider, model, {plain_sums}
FROM usage_by_key
WHERE day >= (CAST(?2 AS INTEGER) - 2) / 24 AND day < (CAST(?1 AS INTEGER) - 2) / 24
  AND ?2 = (SELECT value FROM counters WHERE name = 'usage_tidied_hour')
GROUP BY 1, 2, 3, 4, 5
ON CONFLICT (day, operation, project, provider, model) DO UPDATE SET {additions}
