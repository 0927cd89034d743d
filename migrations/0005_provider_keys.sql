-- Keys of providers that operators add while the gateway runs (core/src/key/provider_key.rs). Times are milliseconds since
-- 1970. A deleted key stays without its ciphertext until its place is used again.

CREATE TABLE provider_keys (
  id          TEXT PRIMARY KEY CHECK (id GLOB 'pkey_*'),
  provider    TEXT NOT NULL,
  label       TEXT NOT NULL,
  -- The end of the key, for people.
  mask        TEXT NOT NULL,
  weight      INTEGER NOT NULL CHECK (weight BETWEEN 1 AND 1000),
  enabled     INTEGER NOT NULL CHECK (enabled IN (0, 1)),
  -- The index of the key in the names of lanes. Those below 16 are of Worker secrets.
  place       INTEGER NOT NULL CHECK (place BETWEEN 16 AND 255),
  -- AES-256-GCM: nonce, ciphertext and tag, in hexadecimal digits.
  sealed      TEXT NOT NULL,
  -- The id of the master key, which is not the master key.
  sealed_with TEXT NOT NULL,
  created_ms  INTEGER NOT NULL,
  changed_ms  INTEGER NOT NULL,
  changed_by  TEXT NOT NULL,
  deleted_ms  INTEGER,
  UNIQUE (provider, place)
) STRICT;
