SELECT c.span AS span, r.value ->> 'id' AS id, r.value AS receipt,
  (SELECT name FROM issued_keys WHERE issued_keys.id = r.value ->> 'key_id') AS key_name
FROM {table} c, json_each('[' || c.{calls} || ']') r
WHERE instr(c.{calls}, ?1) > 0 AND (r.value ->> 'id' = ?2 OR r.value ->> 'request_id' = ?2)
