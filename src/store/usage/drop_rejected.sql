DELETE FROM rejected_calls
WHERE span < max(
    ?1 * 360 - ?4 * 8640,
    coalesce((SELECT span FROM rejected_calls ORDER BY span DESC LIMIT 1 OFFSET ?3), 0)
  )
  AND ?2 = (SELECT value FROM counters WHERE name = 'usage_tidied_hour')
