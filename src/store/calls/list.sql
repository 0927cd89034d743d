SELECT c.span AS span, substr(r.value ->> 'id', -26) AS place, r.value ->> 'id' AS id, r.value AS receipt,
  (SELECT name FROM issued_keys WHERE issued_keys.id = r.value ->> 'key_id') AS key_name
FROM {table} c, json_each('[' || c.{calls} || ']') r
WHERE c.span <= ?1 AND c.span >= ?2
  -- Rows without the texts need not be parsed.
  AND (?6 IS NULL OR instr(c.{calls}, ?6) > 0)
  AND (?12 IS NULL OR instr(c.{calls}, ?12) > 0)
  AND (?3 IS NULL OR c.span < ?1 OR substr(r.value ->> 'id', -26) < substr(?3, -26))
  AND (?4 IS NULL OR substr(r.value ->> 'id', -26) >= substr(?4, -26))
  AND (?5 IS NULL OR substr(r.value ->> 'id', -26) < substr(?5, -26))
  AND (?6 IS NULL OR r.value ->> 'key_id' = ?6)
  AND (?7 IS NULL OR coalesce(r.value ->> 'project', '') = ?7)
  AND (?8 IS NULL OR r.value ->> 'provider' || '/' || (r.value ->> 'model') = ?8)
  AND (?9 IS NULL OR r.value ->> 'provider' = ?9)
  AND (?10 IS NULL OR r.value ->> 'operation' = ?10)
  AND (?11 IS NULL OR r.value ->> 'status' = ?11)
  AND (?12 IS NULL OR r.value ->> 'code' = ?12)
  AND (?13 IS NULL OR (r.value ->> 'outcome' <> 'answered') = ?13)
