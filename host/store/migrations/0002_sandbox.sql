-- What the sandbox leaves behind: refusals, crashes, use, and what tenants may have in all. One text for SQLite and Postgres; see
-- 0001 for the types.

-- JSON; none: the usual limits.
ALTER TABLE tenants ADD COLUMN limits C_TEXT;

ALTER TABLE kv_usage ADD COLUMN keys BIGINT NOT NULL DEFAULT 0;

UPDATE kv_usage SET keys = (
  SELECT COUNT(*) FROM kv WHERE kv.tenant = kv_usage.tenant AND kv.connection = kv_usage.connection
);

-- Refusals of one kind in one row, with how often they happened. kind is `connection` or `flow` (for its transforms). id is a digest of
-- everything that makes the kind, so that nodes fold into the same row without asking each other.
CREATE TABLE denials (
  tenant C_TEXT NOT NULL,
  id C_TEXT NOT NULL,
  kind C_TEXT NOT NULL,
  name C_TEXT NOT NULL,
  release C_TEXT NOT NULL,
  plugin C_TEXT NOT NULL,
  rule C_TEXT NOT NULL,
  layer C_TEXT NOT NULL,
  asked C_TEXT NOT NULL,
  smallest_grant C_TEXT NOT NULL,
  first_seen BIGINT NOT NULL,
  last_seen BIGINT NOT NULL,
  times BIGINT NOT NULL,
  PRIMARY KEY (tenant, id)
);

CREATE INDEX denials_by_use ON denials (tenant, kind, name, last_seen);

-- How often each rule refused, for metrics: it only grows, whatever becomes of the rows above.
CREATE TABLE denial_totals (
  tenant C_TEXT NOT NULL,
  rule C_TEXT NOT NULL,
  layer C_TEXT NOT NULL,
  times BIGINT NOT NULL,
  PRIMARY KEY (tenant, rule, layer)
);

-- Refusals that are in no row of denials any more, or never were, because there were too many kinds.
CREATE TABLE denials_left_out (
  tenant C_TEXT NOT NULL,
  kind C_TEXT NOT NULL,
  name C_TEXT NOT NULL,
  times BIGINT NOT NULL,
  PRIMARY KEY (tenant, kind, name)
);

-- JSON; no row: closed, and nothing happened lately.
CREATE TABLE circuits (
  tenant C_TEXT NOT NULL,
  connection C_TEXT NOT NULL,
  circuit C_TEXT NOT NULL,
  PRIMARY KEY (tenant, connection)
);

-- What plugins used, by day: days since 1970, UTC.
CREATE TABLE usage_days (
  tenant C_TEXT NOT NULL,
  kind C_TEXT NOT NULL,
  name C_TEXT NOT NULL,
  day BIGINT NOT NULL,
  calls BIGINT NOT NULL,
  cpu_us BIGINT NOT NULL,
  epoch_ticks BIGINT NOT NULL,
  wall_us BIGINT NOT NULL,
  peak_memory BIGINT NOT NULL,
  http_requests BIGINT NOT NULL,
  http_bytes BIGINT NOT NULL,
  denials BIGINT NOT NULL,
  PRIMARY KEY (tenant, kind, name, day)
);
