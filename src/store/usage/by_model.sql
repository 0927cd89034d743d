WITH sums AS (
  SELECT provider, model,
    SUM(requests) AS requests, SUM(successful) AS successful, SUM(attempts) AS attempts,
    SUM(prompt_tokens) AS prompt_tokens, SUM(cached_tokens) AS cached_tokens,
    SUM(cache_write_tokens) AS cache_write_tokens, SUM(completion_tokens) AS completion_tokens,
    SUM(reasoning_tokens) AS reasoning_tokens, SUM(cost_micro_usd) AS cost_micro_usd,
    SUM(unpriced) AS unpriced, SUM(estimated) AS estimated, SUM(duration_ms) AS duration_ms,
    SUM(streams) AS streams, SUM(first_token_ms) AS first_token_ms
  FROM usage_daily
  WHERE day BETWEEN ?1 AND ?2 AND (?3 IS NULL OR project = ?3)
  GROUP BY provider, model
),
ranked AS (
  SELECT *, row_number() OVER (ORDER BY requests DESC, provider, model) <= 1000 AS named FROM sums
)
SELECT provider, iif(named, model, '') AS model,
  SUM(requests) AS requests, SUM(successful) AS successful, SUM(attempts) AS attempts,
  SUM(prompt_tokens) AS prompt_tokens, SUM(cached_tokens) AS cached_tokens,
  SUM(cache_write_tokens) AS cache_write_tokens, SUM(completion_tokens) AS completion_tokens,
  SUM(reasoning_tokens) AS reasoning_tokens, SUM(cost_micro_usd) AS cost_micro_usd,
  SUM(unpriced) AS unpriced, SUM(estimated) AS estimated, SUM(duration_ms) AS duration_ms,
  SUM(streams) AS streams, SUM(first_token_ms) AS first_token_ms
FROM ranked
GROUP BY 1, 2
