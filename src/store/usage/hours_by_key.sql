SELECT u.day * 24 + CAST(substr(h.key, 2) AS INTEGER) AS hour, u.key, u.operation, u.project, u.provider, u.model,
  {hour_values}
FROM usage_by_key u, json_each(u.hours) h
WHERE u.day BETWEEN CAST(?1 AS INTEGER) / 24 AND (CAST(?2 AS INTEGER) - 1) / 24
