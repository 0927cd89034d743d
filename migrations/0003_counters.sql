-- What should never happen, counted since the beginning: for GET /metrics. Names are those of src/store/counts.rs.

CREATE TABLE counters (
  name  TEXT PRIMARY KEY,
  value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
