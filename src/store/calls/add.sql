INSERT INTO recent_calls (span, calls, receipts)
SELECT ?1, ?2, ?3
WHERE NOT EXISTS (SELECT 1 FROM usage_watermarks WHERE ledger = ?6 AND watermark = ?7)
ON CONFLICT (span) DO UPDATE SET
  calls = calls + iif(length(receipts) < ?8, excluded.calls, ?4),
  receipts = receipts || ',' || iif(length(receipts) < ?8, excluded.receipts, ?5)
WHERE length(receipts) < ?8 OR (?4 > 0 AND length(receipts) < 2 * ?8)
