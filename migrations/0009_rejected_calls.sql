-- Calls that were rejected before any provider was called, as counts (core/src/ledger/rejection.rs). The ledger of a key adds
-- at most one row a minute.

CREATE TABLE rejected_calls (
  -- Ten seconds each, since 1970, as in recent_calls.
  span  INTEGER NOT NULL,
  -- The id of an issued key, or 'ring:' and the label of a key of the ring.
  key   TEXT NOT NULL,
  -- Objects of JSON, separated by commas, one for each kind of rejection.
  calls TEXT NOT NULL,
  PRIMARY KEY (span, key)
) STRICT, WITHOUT ROWID;
