-- Usage by key and operation, sums without keys, and the calls of all keys. The columns of sums are those of
-- core/src/ledger/tally.rs. Sums from before are in usage_daily, which has neither keys nor operations and is not added to.

-- One row a day. Ledgers add to it.
CREATE TABLE usage_by_key (
  -- Days since 1970, UTC.
  day                INTEGER NOT NULL,
  -- The id of an issued key, or 'ring:' and the label of a key of the ring.
  key                TEXT NOT NULL,
  operation          TEXT NOT NULL,
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
  -- The last hour with a call, in hours since 1970.
  hour               INTEGER NOT NULL,
  -- The same sums for each hour of the day: {"h13": [requests, …]}. Emptied after some days: a row for each hour would
  -- cost a row more to write and one to remove.
  hours              TEXT NOT NULL CHECK (json_valid(hours)),
  PRIMARY KEY (day, key, operation, project, provider, model)
) STRICT, WITHOUT ROWID;

-- The same without keys, for days that are over, so that a public report reads few rows.
CREATE TABLE usage_closed (
  day                INTEGER NOT NULL,
  operation          TEXT NOT NULL,
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
  PRIMARY KEY (day, operation, project, provider, model)
) STRICT, WITHOUT ROWID;

-- Receipts of all keys: those that were recorded in the same ten seconds are one row, whose size is bounded.
CREATE TABLE recent_calls (
  -- Ten seconds each, since 1970.
  span     INTEGER PRIMARY KEY,
  calls    INTEGER NOT NULL,
  -- Objects of JSON, separated by commas: each is a receipt with `key_id`.
  receipts TEXT NOT NULL
) STRICT;

-- The hour, since 1970, in which days were closed and old rows removed: days that ended two hours before it are in
-- usage_closed.
INSERT INTO counters (name, value) VALUES ('usage_tidied_hour', 0);
