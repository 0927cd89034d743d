DELETE FROM recent_calls
WHERE span < max(
    ?1 * 360 - ?4 * 8640,
    coalesce((
      SELECT span FROM (SELECT span, SUM(calls) OVER (ORDER BY span DESC) AS newer FROM recent_calls)
      WHERE newer >= ?3 ORDER BY span DESC LIMIT 1
    ), 0)
  )
  AND ?2 = (SELECT value FROM counters WHERE name = 'usage_tidied_hour')
