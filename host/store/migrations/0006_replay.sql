-- What operators do about stuck records and about records sent long ago: causes, edits, replays, and what is kept for how long. One text
-- for SQLite and Postgres; see 0001 for the types.

-- What a stuck record is stuck for, as 12 hexadecimal digits (see src/causes.rs). Here and not in records, because only what is not done
-- has one; the index holds nothing else, so groups cost as much as there is stuck, not as much as there is history.
ALTER TABLE queue ADD COLUMN cause C_TEXT;

CREATE INDEX queue_by_cause ON queue (tenant, flow, cause, seq) WHERE cause IS NOT NULL;

-- For replays of a time range: between which numbers it lies. Tenant and flow are one text here, so that Postgres, which may know nothing
-- of the table yet, cannot take this index for one that finds records by number: everything that delivers would read whole flows.
CREATE INDEX records_by_time ON records ((tenant || '/' || flow), accepted_at);

-- Edits of payloads. `replaced` is the payload before the edit; once it is not kept any more, its digest (SHA-256) and size in bytes are.
CREATE TABLE edits (
  tenant C_TEXT NOT NULL,
  flow C_TEXT NOT NULL,
  seq BIGINT NOT NULL,
  edit BIGINT NOT NULL,
  at BIGINT NOT NULL,
  actor C_TEXT NOT NULL,
  reason C_TEXT NOT NULL,
  replaced C_TEXT,
  digest BLOB NOT NULL,
  size BIGINT NOT NULL,
  PRIMARY KEY (tenant, flow, seq, edit)
);

-- What is left of payloads that are not kept any more.
CREATE TABLE payload_digests (
  tenant C_TEXT NOT NULL,
  flow C_TEXT NOT NULL,
  seq BIGINT NOT NULL,
  digest BLOB NOT NULL,
  size BIGINT NOT NULL,
  removed_at BIGINT NOT NULL,
  PRIMARY KEY (tenant, flow, seq)
);

-- Replays. The set is put together piece by piece (`collect_from` says where it goes on, JSON) and complete when `collected` is 1; then
-- it is queued piece by piece, `fed_to` being the number of the last record that was decided on.
CREATE TABLE replays (
  tenant C_TEXT NOT NULL,
  name C_TEXT NOT NULL,
  flow C_TEXT NOT NULL,
  state C_TEXT NOT NULL,
  selection C_TEXT NOT NULL,
  reason C_TEXT NOT NULL,
  actor C_TEXT NOT NULL,
  rate BIGINT NOT NULL,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  ended_at BIGINT,
  collected BIGINT NOT NULL,
  collect_from C_TEXT NOT NULL,
  fed_to BIGINT NOT NULL,
  total BIGINT NOT NULL,
  queued BIGINT NOT NULL,
  skipped_older BIGINT NOT NULL,
  skipped_open BIGINT NOT NULL,
  skipped_gone BIGINT NOT NULL,
  PRIMARY KEY (tenant, name)
);

CREATE INDEX replays_at_work ON replays (tenant, flow, created_at) WHERE state = 'running';

-- The set of a replay. outcome: null while nothing was decided, then `queued`, `older`, `open` or `gone`.
CREATE TABLE replay_items (
  tenant C_TEXT NOT NULL,
  replay C_TEXT NOT NULL,
  seq BIGINT NOT NULL,
  flow C_TEXT NOT NULL,
  outcome C_TEXT,
  at BIGINT,
  after_attempt BIGINT,
  PRIMARY KEY (tenant, replay, seq)
);

-- For the story of a record. Begins with the flow, so that Postgres without statistics does not take it for one that finds items of a
-- replay; what looks by it does not compare the tenant as an index could, so that the primary key is not taken for this one either.
CREATE INDEX replay_items_by_record ON replay_items (flow, seq, tenant);

-- What the numbers beside the ledger would be, had they been kept from the beginning.
INSERT INTO counters (tenant, flow, what, slot, n)
  SELECT tenant, flow, 'payloads', 0, COUNT(*) FROM payloads GROUP BY tenant, flow;
INSERT INTO counters (tenant, flow, what, slot, n)
  SELECT tenant, flow, 'payload-bytes', 0, SUM(OCTET_LENGTH(payload) + COALESCE(OCTET_LENGTH(before_payload), 0))
  FROM payloads GROUP BY tenant, flow;
INSERT INTO counters (tenant, flow, what, slot, n)
  SELECT tenant, flow, 'attempts', 0, COUNT(*) FROM attempts GROUP BY tenant, flow;
INSERT INTO counters (tenant, flow, what, slot, n)
  SELECT tenant, flow, 'deliveries', 0, SUM(n) FROM counters WHERE what = 'delivered' GROUP BY tenant, flow;
