SELECT day * 24 AS hour, '' AS key, '' AS operation, project, provider, model, {columns} FROM usage_daily
WHERE day BETWEEN CAST(?1 AS INTEGER) / 24 AND (CAST(?2 AS INTEGER) - 1) / 24
UNION ALL
SELECT day * 24, key, operation, project, provider, model, {columns} FROM usage_by_key
WHERE day BETWEEN CAST(?1 AS INTEGER) / 24 AND (CAST(?2 AS INTEGER) - 1) / 24
