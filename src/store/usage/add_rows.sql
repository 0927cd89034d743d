INSERT INTO usage_daily (
  day, project, provider, model, {columns}
)
SELECT (value ->> 0) / 24, value ->> 1, value ->> 2, value ->> 3, {values}
FROM json_each(?1)
WHERE NOT EXISTS (SELECT 1 FROM usage_watermarks WHERE ledger = ?2 AND watermark = ?3)
ON CONFLICT (day, project, provider, model) DO UPDATE SET {additions}
