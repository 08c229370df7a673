-- The vault: secrets and tokens, encrypted before they come here.

-- One data key a tenant, in versions. `wrapped` is the key encrypted under the master key, which is never in the database; `master`
-- says which one that is without saying anything about it.
CREATE TABLE vault_keys (
  tenant C_TEXT NOT NULL,
  version BIGINT NOT NULL,
  master C_TEXT NOT NULL,
  wrapped BLOB NOT NULL,
  created_at BIGINT NOT NULL,
  PRIMARY KEY (tenant, version)
);

-- part is `secret` (what an operator set) or `tokens` (what the host got in exchange). version goes up with every change, key_version says
-- which data key opens it. A secret may come before the connection that uses it, so there is no foreign key.
CREATE TABLE vault (
  tenant C_TEXT NOT NULL,
  connection C_TEXT NOT NULL,
  credential C_TEXT NOT NULL,
  part C_TEXT NOT NULL,
  version BIGINT NOT NULL,
  key_version BIGINT NOT NULL,
  sealed BLOB NOT NULL,
  set_at BIGINT NOT NULL,
  used_at BIGINT,
  expires_at BIGINT,
  PRIMARY KEY (tenant, connection, credential, part)
);
