-- One text for SQLite and Postgres; C_TEXT compares byte by byte, BLOB is bytes (Postgres gets both as domains, see src/store/open.rs).
-- Times are milliseconds since 1970. Every name begins with oci_, so that the tables may live beside others.

-- Repositories that something was published in. The revision grows with every publication.
CREATE TABLE oci_repositories (
  repository C_TEXT NOT NULL PRIMARY KEY,
  revision BIGINT NOT NULL,
  created_at BIGINT NOT NULL
);

-- Everything that is, may be, or is to be deleted where blobs are kept. A row is there before its object is written, and goes after
-- the object was deleted; an object's name is used once. state: writing, whole, condemned, damaged.
CREATE TABLE oci_objects (
  object C_TEXT NOT NULL PRIMARY KEY,
  place C_TEXT NOT NULL,
  state C_TEXT NOT NULL,
  upload C_TEXT,
  position BIGINT,
  size BIGINT,
  at BIGINT NOT NULL,
  note C_TEXT
);
CREATE INDEX oci_objects_upload ON oci_objects (upload, position) WHERE upload IS NOT NULL;
CREATE INDEX oci_objects_state ON oci_objects (state, object) WHERE state <> 'whole';

CREATE TABLE oci_blobs (
  digest C_TEXT NOT NULL PRIMARY KEY,
  object C_TEXT NOT NULL,
  size BIGINT NOT NULL,
  at BIGINT NOT NULL
);
CREATE INDEX oci_blobs_object ON oci_blobs (object);

-- Which repository has which blob. at: when somebody who pushes was last told that it is there.
CREATE TABLE oci_links (
  repository C_TEXT NOT NULL,
  digest C_TEXT NOT NULL,
  at BIGINT NOT NULL,
  PRIMARY KEY (repository, digest)
);
CREATE INDEX oci_links_digest ON oci_links (digest);
CREATE INDEX oci_links_at ON oci_links (at);

CREATE TABLE oci_uploads (
  upload C_TEXT NOT NULL PRIMARY KEY,
  repository C_TEXT NOT NULL,
  size BIGINT NOT NULL,
  started_at BIGINT NOT NULL,
  at BIGINT NOT NULL
);
CREATE INDEX oci_uploads_at ON oci_uploads (at);

CREATE TABLE oci_manifests (
  repository C_TEXT NOT NULL,
  digest C_TEXT NOT NULL,
  media_type C_TEXT NOT NULL,
  size BIGINT NOT NULL,
  artifact_type C_TEXT,
  subject C_TEXT,
  annotations C_TEXT NOT NULL,
  pushed_at BIGINT NOT NULL,
  bytes BLOB NOT NULL,
  PRIMARY KEY (repository, digest)
);
CREATE INDEX oci_manifests_subject ON oci_manifests (repository, subject, digest) WHERE subject IS NOT NULL;

-- What a manifest names: blobs and manifests alike.
CREATE TABLE oci_references (
  repository C_TEXT NOT NULL,
  manifest C_TEXT NOT NULL,
  target C_TEXT NOT NULL,
  PRIMARY KEY (repository, manifest, target)
);
CREATE INDEX oci_references_target ON oci_references (repository, target);

CREATE TABLE oci_tags (
  repository C_TEXT NOT NULL,
  tag C_TEXT NOT NULL,
  digest C_TEXT NOT NULL,
  at BIGINT NOT NULL,
  PRIMARY KEY (repository, tag)
);
CREATE INDEX oci_tags_digest ON oci_tags (repository, digest);

-- What a version was when it was released. The row outlives its tag, so that a version that was deleted cannot come back as another.
CREATE TABLE oci_releases (
  repository C_TEXT NOT NULL,
  tag C_TEXT NOT NULL,
  digest C_TEXT NOT NULL,
  released_at BIGINT NOT NULL,
  yanked_at BIGINT,
  yank_reason C_TEXT,
  deprecated_at BIGINT,
  deprecation C_TEXT,
  deadline BIGINT,
  PRIMARY KEY (repository, tag)
);
CREATE INDEX oci_releases_digest ON oci_releases (repository, digest);
