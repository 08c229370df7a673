-- For explaining one business key: who has this id at a destination, and what was changed about one thing. One text for SQLite and Postgres;
-- see 0001 for the types. Both are asked for by people, never by what delivers: no statement of the hot path has their conditions.

CREATE INDEX records_by_external_id ON records (tenant, external_id, flow, seq) WHERE external_id IS NOT NULL;

CREATE INDEX audit_by_subject ON audit (tenant, subject, at, id);
