-- What a report in SQLite is made of; explained in docs/verify.md.
CREATE TABLE run (
  schema_version INTEGER NOT NULL,
  source TEXT NOT NULL,
  target TEXT NOT NULL,
  source_run_id TEXT,
  target_run_id TEXT,
  method TEXT NOT NULL,
  depth TEXT NOT NULL,
  sample INTEGER NOT NULL,
  selection TEXT NOT NULL,
  ttl_tolerance_ms INTEGER NOT NULL,
  started_at TEXT NOT NULL
);
CREATE TABLE differences (
  id INTEGER PRIMARY KEY,
  db INTEGER NOT NULL,
  key BLOB NOT NULL,
  key_text TEXT NOT NULL,
  slot INTEGER,
  kind TEXT NOT NULL,
  value_type TEXT,
  source_type TEXT,
  target_type TEXT,
  source_memory_bytes INTEGER,
  target_memory_bytes INTEGER,
  source_len INTEGER,
  target_len INTEGER,
  source_expire_at_ms INTEGER,
  target_expire_at_ms INTEGER,
  place TEXT,
  source_value BLOB,
  target_value BLOB,
  number INTEGER NOT NULL,
  differences_of_key INTEGER NOT NULL
);
CREATE INDEX differences_by_key ON differences (db, key);
CREATE INDEX differences_by_kind ON differences (kind);
CREATE INDEX differences_by_slot ON differences (slot);
CREATE TABLE undecided (
  id INTEGER PRIMARY KEY,
  db INTEGER NOT NULL,
  key BLOB NOT NULL,
  key_text TEXT NOT NULL,
  slot INTEGER NOT NULL,
  reason TEXT NOT NULL,
  detail TEXT
);
CREATE INDEX undecided_by_key ON undecided (db, key);
CREATE TABLE repairs (
  id INTEGER PRIMARY KEY,
  db INTEGER NOT NULL,
  key BLOB NOT NULL,
  key_text TEXT NOT NULL,
  slot INTEGER NOT NULL,
  action TEXT NOT NULL,
  detail TEXT
);
CREATE TABLE suspects (
  id INTEGER PRIMARY KEY,
  db INTEGER NOT NULL,
  key BLOB NOT NULL,
  UNIQUE (db, key)
);
CREATE TABLE progress (
  pass TEXT NOT NULL,
  db INTEGER NOT NULL,
  cursor TEXT NOT NULL,
  dbs_done TEXT NOT NULL,
  keys_compared INTEGER NOT NULL,
  keys_looked_up INTEGER NOT NULL,
  large_keys INTEGER NOT NULL,
  filtered INTEGER NOT NULL,
  not_sampled INTEGER NOT NULL,
  settled INTEGER NOT NULL,
  bytes_read INTEGER NOT NULL,
  elapsed_ms INTEGER NOT NULL
);
CREATE TABLE summary (
  result TEXT NOT NULL,
  differences INTEGER NOT NULL,
  keys_different INTEGER NOT NULL,
  keys_compared INTEGER NOT NULL,
  keys_looked_up INTEGER NOT NULL,
  duration_ms INTEGER NOT NULL,
  json TEXT NOT NULL
);
