-- The tables of an object, in addition to those of migrations/0002_usage.sql, which it has too: its own sums, and as
-- the watermark of '' the last receipt in them.

-- Receipts, those of one report in one row, so that a busy key costs few rows. Times are milliseconds since 1970.
CREATE TABLE pages (
  first    INTEGER PRIMARY KEY,
  last     INTEGER NOT NULL,
  min_id   TEXT NOT NULL,
  max_id   TEXT NOT NULL,
  isolate  TEXT NOT NULL,
  report   INTEGER NOT NULL,
  at_ms    INTEGER NOT NULL,
  hash     TEXT NOT NULL,
  totals   TEXT NOT NULL,
  -- Their addition to the sums: a JSON array.
  rows     TEXT NOT NULL,
  -- One a line.
  receipts TEXT NOT NULL
) STRICT;

-- Leases of isolates, in the format of the account.
CREATE TABLE leases (
  name TEXT PRIMARY KEY,
  body TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Singleton texts: 'holder' (the key), 'counters', 'rejections', 'reporters', 'telemetry', and 'retry' if a roll-up has
-- failed.
CREATE TABLE kept (
  name TEXT PRIMARY KEY,
  body TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Sums that wait for their roll-up to the database, oldest first. Each stays until the roll-up has succeeded.
CREATE TABLE roll_ups (
  watermark INTEGER PRIMARY KEY,
  -- A JSON array of rows, and the number of the receipt before the first as its last element.
  rows      TEXT NOT NULL
) STRICT;
