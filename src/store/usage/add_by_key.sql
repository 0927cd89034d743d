INSERT INTO usage_by_key (
  day, key, operation, project, provider, model, hour, hours, {columns}
)
SELECT (value ->> 0) / 24, ?4, value ->> 18, value ->> 1, value ->> 2, value ->> 3, value ->> 0,
  json_object('h' || ((value ->> 0) % 24), json_array({values})), {values}
FROM json_each(?1)
WHERE NOT EXISTS (SELECT 1 FROM usage_watermarks WHERE ledger = ?2 AND watermark = ?3)
ON CONFLICT (day, key, operation, project, provider, model) DO UPDATE SET
  hour = max(hour, excluded.hour),
  hours = json_set(hours, '$.h' || (excluded.hour % 24), json_array({hour_additions})),
  {additions}
