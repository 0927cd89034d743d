hour >= ?1 AND hour < ?2
  AND (?3 IS NULL OR key = ?3)
  AND (?4 IS NULL OR project = ?4)
  AND (?5 IS NULL OR provider || '/' || model = ?5)
  AND (?6 IS NULL OR provider = ?6)
  AND (?7 IS NULL OR operation = ?7)
