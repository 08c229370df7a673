-- Hosts that share the database. One is alive until expires_at, by the database's clock.
CREATE TABLE nodes (
  node C_TEXT NOT NULL PRIMARY KEY,
  expires_at BIGINT NOT NULL
);

-- Goes up with every change of what it names, so that a host that looks all day whether anything changed reads one row.
CREATE TABLE changes (
  what C_TEXT NOT NULL PRIMARY KEY,
  n BIGINT NOT NULL
);

INSERT INTO changes (what, n) VALUES ('flows', 1);

-- SHA-256, in hex, over what the destination was given for the record and over what it answered; and the host that asked.
ALTER TABLE attempts ADD COLUMN request C_TEXT;
ALTER TABLE attempts ADD COLUMN answer C_TEXT;
ALTER TABLE attempts ADD COLUMN node C_TEXT;
