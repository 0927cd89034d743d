INSERT INTO usage_watermarks (ledger, watermark) VALUES (?1, ?2)
ON CONFLICT (ledger) DO UPDATE SET watermark = excluded.watermark
