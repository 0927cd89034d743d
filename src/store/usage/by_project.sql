WITH sums AS (
  SELECT project,
    {sums}
  FROM {usage}
  WHERE day BETWEEN ?1 AND ?2 AND (?3 IS NULL OR project = ?3) AND project <> ''
  GROUP BY project
),
ranked AS (
  SELECT *, row_number() OVER (ORDER BY requests DESC, project) <= 1000 AS named FROM sums
)
SELECT iif(named, project, '(other)') AS project,
  {sums}
FROM ranked
GROUP BY 1
