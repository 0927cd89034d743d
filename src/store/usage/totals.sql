WITH listed AS (
  SELECT operation, provider,
    iif(provider || '/' || model IN (SELECT value FROM json_each(?1)), model, 'other') AS model,
    MIN(day) AS day,
    {sums}
  FROM {usage}
  GROUP BY 1, 2, 3
),
named AS (
  SELECT provider, model FROM listed GROUP BY 1, 2 ORDER BY SUM(requests) DESC, 1, 2 LIMIT 1000
)
SELECT provider, iif((provider, model) IN (SELECT provider, model FROM named), model, '') AS model, operation,
  MIN(day) AS day, {sums}
FROM listed
GROUP BY 1, 2, 3
