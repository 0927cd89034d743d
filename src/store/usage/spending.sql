-- The groups that rank highest get their sums by span; the others of a span are its sum less theirs, so that the sums of all
-- the other groups, of which there can be as many as keys, are not computed.
WITH calls AS (
  SELECT {start} AS start, {group} AS grp, {columns} FROM ({groups})
  WHERE {matches}
),
ranked AS MATERIALIZED (
  SELECT grp, COUNT(*) OVER () AS groups FROM calls GROUP BY grp ORDER BY {rank} DESC, grp LIMIT ?9
),
of_groups AS MATERIALIZED (
  SELECT start, grp, {sums} FROM calls WHERE grp IN (SELECT grp FROM ranked) GROUP BY 1, 2
),
of_spans AS MATERIALIZED (
  SELECT {start} AS start, {sums} FROM ({spans})
  WHERE {matches}
  GROUP BY 1
),
of_others AS (
  SELECT start, {sums}
  FROM (SELECT start, {columns} FROM of_spans UNION ALL SELECT start, {negatives} FROM of_groups)
  GROUP BY 1 HAVING SUM(requests) > 0
),
entries AS (
  SELECT start, grp, NULL AS others, {columns} FROM of_groups
  UNION ALL
  SELECT start, NULL, (SELECT groups FROM ranked) - (SELECT COUNT(*) FROM ranked), {columns} FROM of_others WHERE ?10
),
shown AS (
  SELECT start, grp, MAX(others) AS others, {sums} FROM entries GROUP BY 1, 2 ORDER BY 1, {rank} DESC, 2 LIMIT ?8
)
SELECT *, (SELECT name FROM issued_keys WHERE id = grp) AS key_name FROM shown
UNION ALL
SELECT NULL, NULL, NULL, {sums}, NULL FROM of_spans
