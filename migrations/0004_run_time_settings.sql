-- Settings that operators change while the gateway runs: entries of tables of gateway.toml, which stand over those of the
-- file (core/src/run_time). Values are JSON texts, times are milliseconds since 1970.

CREATE TABLE settings (
  kind       TEXT NOT NULL CHECK (kind IN ('aliases', 'groups', 'models', 'policies')),
  name       TEXT NOT NULL,
  value      TEXT NOT NULL CHECK (json_valid(value)),
  -- Of all settings, with the last change of this one.
  version    INTEGER NOT NULL,
  changed_ms INTEGER NOT NULL,
  changed_by TEXT NOT NULL,
  PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;

-- One row: the number of changes. An isolate reads the settings again when it differs from the number that it knows, and a
-- change is made only if nobody else has made one since it was decided.
CREATE TABLE settings_version (
  id      INTEGER PRIMARY KEY CHECK (id = 1),
  version INTEGER NOT NULL
) STRICT;

INSERT INTO settings_version (id, version) VALUES (1, 0);

-- Limits of a key itself: the members of [policies.NAME.limits].
ALTER TABLE issued_keys ADD COLUMN limits TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(limits));

-- Keys from before roles existed have the wider one, as in the API that /v0/api_keys follows.
ALTER TABLE issued_keys ADD COLUMN role TEXT NOT NULL DEFAULT 'write' CHECK (role IN ('read', 'write'));
