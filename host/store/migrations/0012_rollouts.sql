-- Moving connections from one release to another while they work. One text for SQLite and Postgres; see 0001 for the types.

-- request, events and watch are JSON. A rollout whose ended_at is not set is worked on by whoever holds its lease. wave: how many times
-- connections were moved. state_since is when it came to its state.
CREATE TABLE rollouts (
  tenant C_TEXT NOT NULL REFERENCES tenants (tenant),
  name C_TEXT NOT NULL,
  state C_TEXT NOT NULL,
  paused BIGINT NOT NULL,
  wave BIGINT NOT NULL,
  request C_TEXT NOT NULL,
  to_release C_TEXT NOT NULL,
  actor C_TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  state_since BIGINT NOT NULL,
  ended_at BIGINT,
  events C_TEXT NOT NULL,
  watch C_TEXT,
  PRIMARY KEY (tenant, name)
);

CREATE INDEX rollouts_open ON rollouts (tenant, name) WHERE ended_at IS NULL;

-- wave is in which it is moved. spec_before is the specification (JSON) that it goes back to; generation the one that it got by the
-- move, and numbers (JSON) what its candidate's calls had come to before.
CREATE TABLE rollout_connections (
  tenant C_TEXT NOT NULL,
  rollout C_TEXT NOT NULL,
  connection C_TEXT NOT NULL,
  wave BIGINT NOT NULL,
  state C_TEXT NOT NULL,
  is_open BIGINT NOT NULL,
  from_release C_TEXT NOT NULL,
  spec_before C_TEXT,
  generation BIGINT,
  numbers C_TEXT,
  moved_at BIGINT,
  PRIMARY KEY (tenant, rollout, connection)
);

-- A connection is in one open rollout at a time.
CREATE UNIQUE INDEX rollout_connections_open ON rollout_connections (tenant, connection) WHERE is_open = 1;

-- What a connection that is moved goes back to: how far each of its flows was read, and its storage.
CREATE TABLE kept_readers (
  tenant C_TEXT NOT NULL,
  rollout C_TEXT NOT NULL,
  connection C_TEXT NOT NULL,
  flow C_TEXT NOT NULL,
  stream C_TEXT NOT NULL,
  cursor_value C_TEXT,
  acknowledged C_TEXT,
  PRIMARY KEY (tenant, rollout, connection, flow)
);

CREATE TABLE kept_kv (
  tenant C_TEXT NOT NULL,
  rollout C_TEXT NOT NULL,
  connection C_TEXT NOT NULL,
  key BLOB NOT NULL,
  value BLOB NOT NULL,
  version BIGINT NOT NULL,
  PRIMARY KEY (tenant, rollout, connection, key)
);

-- Releases that no rollout moves to until a person lifts it.
CREATE TABLE barred_releases (
  tenant C_TEXT NOT NULL REFERENCES tenants (tenant),
  digest C_TEXT NOT NULL,
  reason C_TEXT NOT NULL,
  actor C_TEXT NOT NULL,
  barred_at BIGINT NOT NULL,
  PRIMARY KEY (tenant, digest)
);

-- What calls of a connection came to, by release and day (days since 1970, UTC): how many of what (a function, a record, a time) came to what
-- (`ok`, the code of an error, a bucket).
CREATE TABLE call_stats (
  tenant C_TEXT NOT NULL,
  connection C_TEXT NOT NULL,
  release C_TEXT NOT NULL,
  day BIGINT NOT NULL,
  what C_TEXT NOT NULL,
  class C_TEXT NOT NULL,
  n BIGINT NOT NULL,
  PRIMARY KEY (tenant, connection, release, day, what, class)
);

CREATE INDEX call_stats_by_day ON call_stats (day);
