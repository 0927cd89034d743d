-- Requests of key holders for higher limits, and alerts. Times are milliseconds since 1970.

-- Of a request for higher limits: the key, what it asks for and what applied then (core/src/onboarding/increase.rs).
ALTER TABLE key_requests ADD COLUMN increase TEXT CHECK (json_valid(increase));

-- A key has at most one such request that waits.
CREATE UNIQUE INDEX key_requests_by_increase ON key_requests (json_extract(increase, '$.key_id'))
WHERE increase IS NOT NULL AND state = 'pending';

-- Where a notification is sent.
ALTER TABLE notifications ADD COLUMN channel TEXT NOT NULL DEFAULT 'webhook' CHECK (channel IN ('webhook', 'slack', 'email'));

-- Conditions that hold now (core/src/alerts.rs). A change of a row is written together with its notifications, so that each
-- change is notified once.
CREATE TABLE alerts (
  kind     TEXT NOT NULL,
  subject  TEXT NOT NULL,
  level    INTEGER NOT NULL CHECK (level > 0),
  message  TEXT NOT NULL,
  since_ms INTEGER NOT NULL,
  -- When it ends by itself.
  ends_ms  INTEGER,
  PRIMARY KEY (kind, subject)
) STRICT, WITHOUT ROWID;
