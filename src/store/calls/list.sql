SELECT c.span AS span, r.value ->> 'id' AS id, r.value AS receipt,
  (SELECT name FROM issued_keys WHERE issued_keys.id = r.value ->> 'key_id') AS key_name
FROM recent_calls c, json_each('[' || c.receipts || ']') r
WHERE c.span <= ?1 AND c.span >= max(?2, coalesce((
    SELECT span FROM (SELECT span, SUM(calls) OVER (ORDER BY span DESC) AS newer FROM recent_calls)
    WHERE newer >= ?3 ORDER BY span DESC LIMIT 1
  ), 0))
  AND (?4 IS NULL OR c.span < ?1 OR r.value ->> 'id' < ?4)
  AND (?5 IS NULL OR r.value ->> 'id' >= ?5)
  AND (?6 IS NULL OR r.value ->> 'id' < ?6)
  AND (?7 IS NULL OR r.value ->> 'key_id' = ?7)
  AND (?8 IS NULL OR coalesce(r.value ->> 'project', '') = ?8)
  AND (?9 IS NULL OR r.value ->> 'provider' || '/' || (r.value ->> 'model') = ?9)
  AND (?10 IS NULL OR r.value ->> 'provider' = ?10)
  AND (?11 IS NULL OR r.value ->> 'operation' = ?11)
  AND (?12 IS NULL OR r.value ->> 'status' = ?12)
  AND (?13 IS NULL OR r.value ->> 'code' = ?13)
  AND (?14 IS NULL OR (r.value ->> 'outcome' <> 'answered') = ?14)
ORDER BY c.span DESC, id DESC
LIMIT ?15
