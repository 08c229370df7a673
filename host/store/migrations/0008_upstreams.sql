-- Upstream accounts, as nodes share them. One text for SQLite and Postgres; see 0001 for the types.

-- hold is JSON: until when nothing of the account is sent, because its system said so. full_at is from when on the configured budget is full,
-- in microseconds by the database's clock. A row comes with the first hold or the first slice of a budget; most accounts have none.
CREATE TABLE upstreams (
  tenant C_TEXT NOT NULL,
  account C_TEXT NOT NULL,
  hold C_TEXT,
  hold_until BIGINT NOT NULL,
  full_at BIGINT NOT NULL,
  PRIMARY KEY (tenant, account)
);

-- JSON; no row: closed.
CREATE TABLE breakers (
  tenant C_TEXT NOT NULL,
  account C_TEXT NOT NULL,
  host C_TEXT NOT NULL,
  breaker C_TEXT NOT NULL,
  PRIMARY KEY (tenant, account, host)
);
