-- One text for SQLite and Postgres.
--
-- C_TEXT is text that compares byte by byte, and BLOB is bytes. Postgres gets both as domains before the first migration
-- runs (see src/open.rs); SQLite takes any word for a type and reads TEXT and BLOB out of these two. Times are
-- milliseconds since 1970. Truth values are BIGINT 0 and 1.
--
-- The hot tables (records, queue, payloads, attempts, heads, counters) have no foreign keys: only this crate writes them, always
-- inside a transaction that has looked at the flow, and a check for every row would double the cost of a page.

CREATE TABLE tenants (
  tenant C_TEXT NOT NULL PRIMARY KEY,
  created_at BIGINT NOT NULL
);

CREATE TABLE releases (
  tenant C_TEXT NOT NULL REFERENCES tenants (tenant),
  digest C_TEXT NOT NULL,
  name C_TEXT NOT NULL,
  version C_TEXT NOT NULL,
  roles C_TEXT NOT NULL,
  size BIGINT NOT NULL,
  added_at BIGINT NOT NULL,
  inspection C_TEXT NOT NULL,
  component BLOB NOT NULL,
  PRIMARY KEY (tenant, digest)
);

CREATE TABLE connections (
  tenant C_TEXT NOT NULL REFERENCES tenants (tenant),
  name C_TEXT NOT NULL,
  spec C_TEXT NOT NULL,
  generation BIGINT NOT NULL,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  PRIMARY KEY (tenant, name)
);

CREATE TABLE flows (
  tenant C_TEXT NOT NULL REFERENCES tenants (tenant),
  name C_TEXT NOT NULL,
  spec C_TEXT NOT NULL,
  generation BIGINT NOT NULL,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  source_connection C_TEXT NOT NULL,
  destination_connection C_TEXT NOT NULL,
  paused_at BIGINT,
  paused_reason C_TEXT,
  run_requested BIGINT NOT NULL,
  PRIMARY KEY (tenant, name),
  FOREIGN KEY (tenant, source_connection) REFERENCES connections (tenant, name),
  FOREIGN KEY (tenant, destination_connection) REFERENCES connections (tenant, name)
);

-- Where a flow's source was read up to, and the number that its next record gets. Apart from flows, because every page
-- writes it and an operator's change must not wait for that.
CREATE TABLE readers (
  tenant C_TEXT NOT NULL,
  flow C_TEXT NOT NULL,
  connection C_TEXT NOT NULL,
  stream C_TEXT NOT NULL,
  next_seq BIGINT NOT NULL,
  cursor_value C_TEXT,
  release C_TEXT,
  caught_up BIGINT NOT NULL,
  last_read_at BIGINT,
  reads_completed BIGINT NOT NULL,
  runs_served BIGINT NOT NULL,
  last_error C_TEXT,
  acknowledged C_TEXT,
  duplicates BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  PRIMARY KEY (tenant, flow),
  FOREIGN KEY (tenant, flow) REFERENCES flows (tenant, name) ON DELETE CASCADE
);

-- Who works on a unit. The epoch only ever goes up; a row stays after its release to keep it.
CREATE TABLE leases (
  tenant C_TEXT NOT NULL,
  unit C_TEXT NOT NULL,
  owner C_TEXT NOT NULL,
  epoch BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  PRIMARY KEY (tenant, unit)
);

-- The ledger.
CREATE TABLE records (
  tenant C_TEXT NOT NULL,
  flow C_TEXT NOT NULL,
  seq BIGINT NOT NULL,
  stream C_TEXT NOT NULL,
  key C_TEXT NOT NULL,
  source_version C_TEXT NOT NULL,
  operation C_TEXT NOT NULL,
  event_time BIGINT,
  attributes C_TEXT,
  idempotency_key C_TEXT NOT NULL,
  release C_TEXT NOT NULL,
  state C_TEXT NOT NULL,
  attempts BIGINT NOT NULL,
  attempts_at_reset BIGINT NOT NULL,
  accepted_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  next_attempt_at BIGINT,
  external_id C_TEXT,
  reason_code C_TEXT,
  reason C_TEXT,
  outputs C_TEXT,
  PRIMARY KEY (tenant, flow, seq)
);

-- For people's lists. A query has to repeat the index's condition word for word, or SQLite does not see that it may use it.
CREATE INDEX records_by_state ON records (tenant, state, flow, seq) WHERE state <> 'delivered';
CREATE INDEX records_by_key ON records (tenant, key, flow, seq);

-- What is not done: open records and quarantined ones. A ledger ends up nearly all delivered, and what the host looks for all
-- day has to cost as much as there is work, not as much as there is history; a table of its own makes that independent of
-- what a planner believes. lane is SHA-256 over tenant, flow, stream and key: records of one lane keep their order.
CREATE TABLE queue (
  tenant C_TEXT NOT NULL,
  flow C_TEXT NOT NULL,
  seq BIGINT NOT NULL,
  lane BLOB NOT NULL,
  state C_TEXT NOT NULL,
  next_attempt_at BIGINT,
  PRIMARY KEY (tenant, flow, seq)
);

CREATE INDEX queue_by_lane ON queue (lane, seq);
CREATE INDEX queue_by_time ON queue (tenant, flow, next_attempt_at) WHERE state IN ('retrying', 'unknown');

-- Apart from records, so that a change of state does not copy the payload (Postgres writes a whole new row) and so that
-- payloads can be kept for a shorter time than the account of what became of them.
CREATE TABLE payloads (
  tenant C_TEXT NOT NULL,
  flow C_TEXT NOT NULL,
  seq BIGINT NOT NULL,
  payload C_TEXT NOT NULL,
  before_payload C_TEXT,
  PRIMARY KEY (tenant, flow, seq)
);

CREATE TABLE attempts (
  tenant C_TEXT NOT NULL,
  flow C_TEXT NOT NULL,
  seq BIGINT NOT NULL,
  attempt BIGINT NOT NULL,
  started_at BIGINT NOT NULL,
  finished_at BIGINT,
  release C_TEXT NOT NULL,
  outcome C_TEXT,
  reason C_TEXT,
  PRIMARY KEY (tenant, flow, seq, attempt)
);

-- The newest source version accepted of each key. As versions of a key only grow, "not newer than this" is both "read
-- before" and "overtaken", and one row a key is enough for ever. id is SHA-256 over connection, stream and key.
CREATE TABLE heads (
  tenant C_TEXT NOT NULL,
  flow C_TEXT NOT NULL,
  id BLOB NOT NULL,
  newest C_TEXT NOT NULL,
  PRIMARY KEY (tenant, flow, id)
);

-- Records by state, kept by the transactions that move them. Several slots a number, so that transactions that run side by
-- side on Postgres do not queue for one row; the number is their sum.
CREATE TABLE counters (
  tenant C_TEXT NOT NULL,
  flow C_TEXT NOT NULL,
  what C_TEXT NOT NULL,
  slot BIGINT NOT NULL,
  n BIGINT NOT NULL,
  PRIMARY KEY (tenant, flow, what, slot)
);

CREATE TABLE webhooks (
  tenant C_TEXT NOT NULL,
  id BIGINT NOT NULL,
  connection C_TEXT NOT NULL,
  received_at BIGINT NOT NULL,
  state C_TEXT NOT NULL,
  tries BIGINT NOT NULL,
  next_try_at BIGINT NOT NULL,
  settled_at BIGINT,
  event_id C_TEXT,
  reason C_TEXT,
  method C_TEXT NOT NULL,
  path C_TEXT NOT NULL,
  query C_TEXT NOT NULL,
  headers C_TEXT NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY (tenant, id)
);

CREATE INDEX webhooks_unsettled ON webhooks (next_try_at, tenant, id) WHERE state = 'received';

-- Vendors' event ids seen; outlives the calls themselves. id is SHA-256 over the event id.
CREATE TABLE webhook_events (
  tenant C_TEXT NOT NULL,
  connection C_TEXT NOT NULL,
  id BLOB NOT NULL,
  seen_at BIGINT NOT NULL,
  PRIMARY KEY (tenant, connection, id)
);

-- Guests' storage. Keys are bytes, because a guest may put anything into a string and lists are in byte order.
CREATE TABLE kv (
  tenant C_TEXT NOT NULL,
  connection C_TEXT NOT NULL,
  key BLOB NOT NULL,
  value BLOB NOT NULL,
  version BIGINT NOT NULL,
  PRIMARY KEY (tenant, connection, key)
);

CREATE TABLE kv_usage (
  tenant C_TEXT NOT NULL,
  connection C_TEXT NOT NULL,
  bytes BIGINT NOT NULL,
  PRIMARY KEY (tenant, connection)
);

CREATE TABLE audit (
  tenant C_TEXT NOT NULL,
  id C_TEXT NOT NULL,
  at BIGINT NOT NULL,
  actor C_TEXT NOT NULL,
  action C_TEXT NOT NULL,
  subject C_TEXT NOT NULL,
  detail C_TEXT NOT NULL,
  PRIMARY KEY (tenant, id)
);

CREATE INDEX audit_by_time ON audit (tenant, at, id);
