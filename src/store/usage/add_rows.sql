INSERT INTO usage_daily (
  day, project, provider, model, requests, successful, attempts, prompt_tokens, cached_tokens,
  cache_write_tokens, completion_tokens, reasoning_tokens, cost_micro_usd, unpriced, estimated,
  duration_ms, streams, first_token_ms
)
SELECT
  value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6,
  value ->> 7, value ->> 8, value ->> 9, value ->> 10, value ->> 11, value ->> 12, value ->> 13,
  value ->> 14, value ->> 15, value ->> 16, value ->> 17
FROM json_each(?1)
WHERE NOT EXISTS (SELECT 1 FROM usage_watermarks WHERE ledger = ?2 AND watermark = ?3)
ON CONFLICT (day, project, provider, model) DO UPDATE SET
  requests = requests + excluded.requests, successful = successful + excluded.successful,
  attempts = attempts + excluded.attempts, prompt_tokens = prompt_tokens + excluded.prompt_tokens,
  cached_tokens = cached_tokens + excluded.cached_tokens,
  cache_write_tokens = cache_write_tokens + excluded.cache_write_tokens,
  completion_tokens = completion_tokens + excluded.completion_tokens,
  reasoning_tokens = reasoning_tokens + excluded.reasoning_tokens,
  cost_micro_usd = cost_micro_usd + excluded.cost_micro_usd,
  unpriced = unpriced + excluded.unpriced, estimated = estimated + excluded.estimated,
  duration_ms = duration_ms + excluded.duration_ms, streams = streams + excluded.streams,
  first_token_ms = first_token_ms + excluded.first_token_ms
