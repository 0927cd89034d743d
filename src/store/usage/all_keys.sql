(
  SELECT day, '' AS operation, project, provider, model, {columns} FROM usage_daily
  UNION ALL
  SELECT day, operation, project, provider, model, {columns} FROM usage_closed
  UNION ALL
  SELECT day, operation, project, provider, model, {columns} FROM usage_by_key
  WHERE day >= (SELECT (value - 2) / 24 FROM counters WHERE name = 'usage_tidied_hour')
)
