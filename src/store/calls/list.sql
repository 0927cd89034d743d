SELECT c.span AS span, substr(r.value ->> 'id', -26) AS place, r.value ->> 'id' AS id, r.value AS receipt,
  (SELECT name FROM issued_keys WHERE issued_keys.id = r.value ->> 'key_id') AS key_name
FROM {table} c, json_each('[' || c.{calls} || ']') r
WHERE c.span <= ?1 AND c.span >= {since}
  -- Rows without the texts need not be parsed.
  AND (?7 IS NULL OR instr(c.{calls}, ?7) > 0)
  AND (?13 IS NULL OR instr(c.{calls}, ?13) > 0)
  AND (?4 IS NULL OR c.span < ?1 OR substr(r.value ->> 'id', -26) < substr(?4, -26))
  AND (?5 IS NULL OR substr(r.value ->> 'id', -26) >= substr(?5, -26))
  AND (?6 IS NULL OR substr(r.value ->> 'id', -26) < substr(?6, -26))
  AND (?7 IS NULL OR r.value ->> 'key_id' = ?7)
  AND (?8 IS NULL OR coalesce(r.value ->> 'project', '') = ?8)
  AND (?9 IS NULL OR r.value ->> 'provider' || '/' || (r.value ->> 'model') = ?9)
  AND (?10 IS NULL OR r.value ->> 'provider' = ?10)
  AND (?11 IS NULL OR r.value ->> 'operation' = ?11)
  AND (?12 IS NULL OR r.value ->> 'status' = ?12)
  AND (?13 IS NULL OR r.value ->> 'code' = ?13)
  AND (?14 IS NULL OR (r.value ->> 'outcome' <> 'answered') = ?14)
