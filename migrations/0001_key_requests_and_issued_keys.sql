-- Requests for keys, the keys that were issued, and what operators did. Times are milliseconds since 1970, UTC; lists and
-- maps are JSON texts; digests are SHA-256 in hexadecimal.

-- What was asked for at POST /access/request-key or POST /api/portal/requests, and what became of it.
CREATE TABLE key_requests (
  id               TEXT PRIMARY KEY CHECK (id GLOB 'kreq_*'),
  state            TEXT NOT NULL CHECK (state IN ('pending', 'approved', 'declined')),
  by_user          TEXT NOT NULL,
  email            TEXT,
  policies         TEXT NOT NULL CHECK (json_valid(policies)),
  fields           TEXT NOT NULL CHECK (json_valid(fields)),
  version          TEXT NOT NULL,
  -- RFC 3339, as the creator of the request wrote it.
  date_created     TEXT NOT NULL,
  created_ms       INTEGER NOT NULL,
  -- Keyed hashes: who asked can be counted, not known.
  ip_hash          TEXT,
  user_agent_hash  TEXT,
  -- Of a repeated submission: keyed hashes of its Idempotency-Key, with the client's address, and of its body.
  idempotency_hash TEXT UNIQUE,
  body_hash        TEXT,
  decided_ms       INTEGER,
  decided_by       TEXT,
  decline_reason   TEXT,
  -- The key that it became. No foreign key: the row is written first, so that of two approvals one finds it taken.
  key_id           TEXT UNIQUE
) STRICT;

CREATE INDEX key_requests_by_time ON key_requests (created_ms, id);
CREATE INDEX key_requests_by_state ON key_requests (state, created_ms, id);

-- Keys, apart from their secrets. A revoked key stays, without secrets and without its name.
CREATE TABLE issued_keys (
  id         TEXT PRIMARY KEY,
  name       TEXT NOT NULL,
  disabled   INTEGER NOT NULL DEFAULT 0 CHECK (disabled IN (0, 1)),
  policies   TEXT NOT NULL CHECK (json_valid(policies)),
  models     TEXT CHECK (json_valid(models)),
  endpoints  TEXT CHECK (json_valid(endpoints)),
  metadata   TEXT NOT NULL CHECK (json_valid(metadata)),
  by_user    TEXT,
  request_id TEXT,
  created_ms INTEGER NOT NULL,
  created_by TEXT NOT NULL,
  expires_ms INTEGER,
  revoked_ms INTEGER,
  -- Counts changes, so that of two operators who change a key at once neither undoes the other's change.
  version    INTEGER NOT NULL DEFAULT 1
) STRICT;

CREATE UNIQUE INDEX issued_keys_by_name ON issued_keys (name) WHERE revoked_ms IS NULL;
CREATE INDEX issued_keys_by_user ON issued_keys (by_user) WHERE revoked_ms IS NULL;

-- The secrets of keys, known by their digests alone. A key has one, two while a rotation overlaps, none before its claim
-- link is opened.
CREATE TABLE key_secrets (
  public_id  TEXT PRIMARY KEY CHECK (public_id GLOB 'gw_*'),
  digest     TEXT NOT NULL UNIQUE CHECK (length(digest) = 64),
  key_id     TEXT NOT NULL REFERENCES issued_keys (id),
  created_ms INTEGER NOT NULL,
  expires_ms INTEGER
) STRICT;

CREATE INDEX key_secrets_by_key ON key_secrets (key_id);

-- Claim links, known by the digests of their tokens.
CREATE TABLE claims (
  digest     TEXT PRIMARY KEY CHECK (length(digest) = 64),
  key_id     TEXT NOT NULL REFERENCES issued_keys (id),
  created_ms INTEGER NOT NULL,
  expires_ms INTEGER NOT NULL,
  -- How long the key's older secrets go on working once the link is opened.
  overlap_ms INTEGER NOT NULL,
  used_ms    INTEGER,
  -- The secret that it showed.
  public_id  TEXT
) STRICT;

CREATE INDEX claims_by_key ON claims (key_id);

-- What operators did: a chain of hashes (core/src/access/audit.rs). Nothing is ever changed or removed.
CREATE TABLE audit_log (
  seq   INTEGER PRIMARY KEY CHECK (seq > 0),
  entry TEXT NOT NULL,
  hash  TEXT NOT NULL CHECK (length(hash) = 64)
) STRICT;

-- REPLACE would remove an entry without the trigger below being asked. The words are those of the unique index, so that two
-- changes at once find that the place is taken.
CREATE TRIGGER audit_log_is_not_replaced BEFORE INSERT ON audit_log
WHEN EXISTS (SELECT 1 FROM audit_log WHERE seq = NEW.seq)
BEGIN
  SELECT RAISE(ABORT, 'UNIQUE constraint failed: audit_log.seq');
END;

CREATE TRIGGER audit_log_is_not_changed BEFORE UPDATE ON audit_log
BEGIN
  SELECT RAISE(ABORT, 'the audit log is append-only');
END;

CREATE TRIGGER audit_log_is_not_shortened BEFORE DELETE ON audit_log
BEGIN
  SELECT RAISE(ABORT, 'the audit log is append-only');
END;

-- Webhook notifications that have not been delivered yet. Those that were given up on stay, with no time to be tried.
CREATE TABLE notifications (
  id       TEXT PRIMARY KEY,
  body     TEXT NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0,
  next_ms  INTEGER
) STRICT;

CREATE INDEX notifications_by_time ON notifications (next_ms) WHERE next_ms IS NOT NULL;
