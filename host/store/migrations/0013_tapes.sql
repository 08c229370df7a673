-- Recorded calls of connections, and which connections are recorded. One text for SQLite and Postgres; see 0001 for the types.

-- While there is a row that is not over, calls of the connection are recorded, on every node. It ends by time or by number of calls.
CREATE TABLE taping (
  tenant C_TEXT NOT NULL REFERENCES tenants (tenant),
  connection C_TEXT NOT NULL,
  started_at BIGINT NOT NULL,
  started_by C_TEXT NOT NULL,
  until BIGINT NOT NULL,
  calls_left BIGINT NOT NULL,
  PRIMARY KEY (tenant, connection)
);

-- sealed is the call, with the tenant's data key, as secrets are; a tape goes with the key that it was sealed with. It stands last in its row:
-- lists and sums read all but it.
CREATE TABLE tapes (
  tenant C_TEXT NOT NULL REFERENCES tenants (tenant),
  connection C_TEXT NOT NULL,
  id C_TEXT NOT NULL,
  at BIGINT NOT NULL,
  release C_TEXT NOT NULL,
  function C_TEXT NOT NULL,
  key_version BIGINT NOT NULL,
  bytes BIGINT NOT NULL,
  sealed BLOB NOT NULL,
  PRIMARY KEY (tenant, connection, id)
);
CREATE INDEX tapes_by_age ON tapes (at);
