INSERT INTO usage_closed (
  day, operation, project, provider, model, {columns}
)
SELECT (value ->> 0) / 24, value ->> 18, value ->> 1, value ->> 2, value ->> 3, {values}
FROM json_each(?1)
WHERE (value ->> 0) / 24 < (SELECT (value - 2) / 24 FROM counters WHERE name = 'usage_tidied_hour')
  AND NOT EXISTS (SELECT 1 FROM usage_watermarks WHERE ledger = ?2 AND watermark = ?3)
ON CONFLICT (day, operation, project, provider, model) DO UPDATE SET {additions}
