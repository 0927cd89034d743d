UPDATE usage_by_key SET hours = '{}'
WHERE day >= CAST(?2 AS INTEGER) / 24 - 8 AND day < CAST(?1 AS INTEGER) / 24 - 8 AND length(hours) > 600
  AND ?2 = (SELECT value FROM counters WHERE name = 'usage_tidied_hour')
