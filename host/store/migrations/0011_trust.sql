-- Components are kept once, whoever has them; and what a tenant trusts. One text for SQLite and Postgres; see 0001 for the types.

-- A tenant has a release if it has a row in releases. What the release is made of is the same for everybody.
CREATE TABLE components (
  digest C_TEXT NOT NULL PRIMARY KEY,
  component BLOB NOT NULL
);
INSERT INTO components (digest, component) SELECT digest, component FROM releases WHERE TRUE ON CONFLICT (digest) DO NOTHING;
ALTER TABLE releases DROP COLUMN component;

-- The digest of the trust root that is in force; none: whatever the tenant added is loaded. A change of it has every binding made anew.
ALTER TABLE tenants ADD COLUMN trust C_TEXT;

-- The tenant's trust roots as they were signed, the earlier ones too.
CREATE TABLE trust_roots (
  tenant C_TEXT NOT NULL REFERENCES tenants (tenant),
  version BIGINT NOT NULL,
  digest C_TEXT NOT NULL,
  document C_TEXT NOT NULL,
  taken_at BIGINT NOT NULL,
  PRIMARY KEY (tenant, digest)
);

-- Signatures of components, and when each was first seen here: a signature cannot prove its own age. They may come before the release.
CREATE TABLE signatures (
  tenant C_TEXT NOT NULL REFERENCES tenants (tenant),
  component C_TEXT NOT NULL,
  id C_TEXT NOT NULL,
  bundle C_TEXT NOT NULL,
  seen_at BIGINT NOT NULL,
  PRIMARY KEY (tenant, component, id)
);
