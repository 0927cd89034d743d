-- Requests for keys, and the keys that were issued. Times are milliseconds since 1970, UTC.

-- What a stranger asked for at POST /access/request-key, and what became of it.
CREATE TABLE key_requests (
  id              TEXT PRIMARY KEY CHECK (id GLOB 'kreq_*'),
  email           TEXT NOT NULL,
  use_case        TEXT NOT NULL,
  state           TEXT NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'approved', 'declined')),
  -- Keyed hashes: who asked can be counted, not known.
  ip_hash         TEXT,
  user_agent_hash TEXT,
  created_ms      INTEGER NOT NULL,
  decided_ms      INTEGER,
  decided_by      TEXT
) STRICT;

CREATE INDEX key_requests_by_state ON key_requests (state, created_ms);

-- Keys that are known by their digest alone; the plain text is shown once and stored nowhere.
CREATE TABLE issued_keys (
  public_id  TEXT PRIMARY KEY CHECK (public_id GLOB 'gw_*'),
  digest     BLOB NOT NULL UNIQUE CHECK (length(digest) = 32),
  name       TEXT NOT NULL UNIQUE,
  state      TEXT NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'disabled', 'revoked')),
  request_id TEXT REFERENCES key_requests (id) ON DELETE SET NULL,
  created_ms INTEGER NOT NULL,
  expires_ms INTEGER,
  revoked_ms INTEGER
) STRICT;
