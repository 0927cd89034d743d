max(?2, coalesce((
    SELECT span FROM (SELECT span, SUM(calls) OVER (ORDER BY span DESC) AS newer FROM recent_calls)
    WHERE newer >= ?3 ORDER BY span DESC LIMIT 1
  ), 0))
