-- The settings of alerts are run-time settings too: the table is made again without its list of kinds, which is that of
-- `Table` in core/src/routes.rs. A Worker ignores kinds that it does not know.

CREATE TABLE settings_of_all_kinds (
  kind       TEXT NOT NULL,
  name       TEXT NOT NULL,
  value      TEXT NOT NULL CHECK (json_valid(value)),
  -- Of all settings, with the last change of this one.
  version    INTEGER NOT NULL,
  changed_ms INTEGER NOT NULL,
  changed_by TEXT NOT NULL,
  PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;

INSERT INTO settings_of_all_kinds (kind, name, value, version, changed_ms, changed_by)
SELECT kind, name, value, version, changed_ms, changed_by FROM settings;

DROP TABLE settings;

ALTER TABLE settings_of_all_kinds RENAME TO settings;

-- The changes of conditions (core/src/alerts.rs), each written together with its notifications. Old ones are deleted. The
-- ids sort by time, which is in milliseconds since 1970.
CREATE TABLE alert_changes (
  id       TEXT PRIMARY KEY,
  at_ms    INTEGER NOT NULL,
  kind     TEXT NOT NULL,
  subject  TEXT NOT NULL,
  state    TEXT NOT NULL CHECK (state IN ('firing', 'resolved')),
  level    INTEGER NOT NULL CHECK (level > 0),
  message  TEXT NOT NULL,
  -- The channels on which it was notified: a JSON array.
  channels TEXT NOT NULL CHECK (json_valid(channels))
) STRICT, WITHOUT ROWID;
