WITH sources AS (
  {source}
),
sums AS MATERIALIZED (
  SELECT {start} AS start, {group} AS grp,
    {sums}
  FROM sources
  WHERE hour >= ?1 AND hour < ?2
    AND (?3 IS NULL OR key = ?3)
    AND (?4 IS NULL OR project = ?4)
    AND (?5 IS NULL OR provider || '/' || model = ?5)
    AND (?6 IS NULL OR provider = ?6)
    AND (?7 IS NULL OR operation = ?7)
  GROUP BY 1, 2
),
named AS MATERIALIZED (
  SELECT grp FROM sums GROUP BY grp ORDER BY {rank} DESC, grp LIMIT ?9
),
shown AS (
  SELECT start, iif(grp IN (SELECT grp FROM named), grp, NULL) AS grp, COUNT(*) AS groups,
    {sums}
  FROM sums
  GROUP BY 1, 2
  ORDER BY 1, {rank} DESC, 2 LIMIT ?8
)
SELECT *, (SELECT name FROM issued_keys WHERE id = grp) AS key_name FROM shown
UNION ALL
SELECT NULL, NULL, NULL,
  {sums}, NULL
FROM sums
