SELECT day,
  {sums}
FROM {usage}
WHERE day BETWEEN ?1 AND ?2 AND (?3 IS NULL OR project = ?3)
GROUP BY day
