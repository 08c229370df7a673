-- Comparisons of a flow's two ends. One text for SQLite and Postgres; see 0001 for the types.

-- Why a record that was delivered is delivered again: `missing` or `different`. It stays when that is done.
ALTER TABLE records ADD COLUMN repair C_TEXT;

-- request and report are JSON. A comparison that was cut off is begun anew by the next holder of the flow's lease: starts counts that.
CREATE TABLE reconciles (
  tenant C_TEXT NOT NULL,
  id C_TEXT NOT NULL,
  flow C_TEXT NOT NULL,
  state C_TEXT NOT NULL,
  request C_TEXT NOT NULL,
  requested_by C_TEXT NOT NULL,
  requested_at BIGINT NOT NULL,
  started_at BIGINT,
  finished_at BIGINT,
  starts BIGINT NOT NULL,
  report C_TEXT NOT NULL,
  PRIMARY KEY (tenant, id)
);

CREATE INDEX reconciles_by_flow ON reconciles (tenant, flow, requested_at, id);

-- One at a time.
CREATE UNIQUE INDEX reconciles_open ON reconciles (tenant, flow) WHERE state IN ('requested', 'running');

-- In the order in which they are shown.
CREATE TABLE reconcile_differences (
  tenant C_TEXT NOT NULL,
  reconcile C_TEXT NOT NULL,
  nr BIGINT NOT NULL,
  difference C_TEXT NOT NULL,
  PRIMARY KEY (tenant, reconcile, nr)
);
