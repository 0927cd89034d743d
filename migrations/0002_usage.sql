-- What calls used and cost, added up by day, project, provider and model. Whose key it was is not in it. The columns are
-- those of core/src/ledger/tally.rs, which says what each is.

CREATE TABLE usage_daily (
  -- Days since 1970, UTC.
  day                INTEGER NOT NULL,
  -- Empty for calls without one.
  project            TEXT NOT NULL,
  provider           TEXT NOT NULL,
  model              TEXT NOT NULL,
  requests           INTEGER NOT NULL,
  successful         INTEGER NOT NULL,
  attempts           INTEGER NOT NULL,
  prompt_tokens      INTEGER NOT NULL,
  cached_tokens      INTEGER NOT NULL,
  cache_write_tokens INTEGER NOT NULL,
  completion_tokens  INTEGER NOT NULL,
  reasoning_tokens   INTEGER NOT NULL,
  cost_micro_usd     INTEGER NOT NULL,
  unpriced           INTEGER NOT NULL,
  estimated          INTEGER NOT NULL,
  duration_ms        INTEGER NOT NULL,
  streams            INTEGER NOT NULL,
  first_token_ms     INTEGER NOT NULL,
  PRIMARY KEY (day, project, provider, model)
) STRICT, WITHOUT ROWID;

-- Up to where each ledger has handed in what it added up: what it hands in again, because it got no answer, is known.
CREATE TABLE usage_watermarks (
  ledger    TEXT PRIMARY KEY,
  watermark INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
