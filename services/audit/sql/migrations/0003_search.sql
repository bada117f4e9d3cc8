-- migrate:up
-- A facet is one combination of what entries are filtered by that takes few values. There are some hundreds of them in
-- ten million entries, so any combination of filters is a short list of facets, each an ordered range of one index.
CREATE TABLE facet (
    facet int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    type text NOT NULL,
    kind text,
    actor text,
    recipient text,
    stage text,
    clauses text NOT NULL,
    UNIQUE NULLS NOT DISTINCT (type, kind, actor, recipient, stage, clauses)
);
ALTER TABLE entry ADD COLUMN facet int;
INSERT INTO facet (type, actor, recipient, stage, clauses)
SELECT DISTINCT type, actor, recipient, stage, '' FROM entry;
UPDATE entry e SET facet = f.facet FROM facet f
WHERE f.type = e.type AND f.actor IS NOT DISTINCT FROM e.actor AND f.recipient IS NOT DISTINCT FROM e.recipient
  AND f.stage IS NOT DISTINCT FROM e.stage;

DROP INDEX entry_by_type, entry_by_actor, entry_by_time;
CREATE INDEX entry_by_facet ON entry (facet, index) INCLUDE (at);

-- Entries are in order of appending, nearly that of time: from and to of each 1024 of them say where to look.
CREATE TABLE slice (
    slice bigint PRIMARY KEY,
    min_at timestamptz NOT NULL,
    max_at timestamptz NOT NULL
);
INSERT INTO slice SELECT index / 1024, min(at), max(at) FROM entry GROUP BY 1 HAVING count(*) = 1024;

-- Who looked at the log (safeguards notice 2-3, 8: who, when, from where, whom, what); the writer makes each a leaf.
CREATE TABLE access (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    access_id uuid NOT NULL DEFAULT gen_random_uuid(),
    at timestamptz NOT NULL,
    reader text NOT NULL,
    roles text NOT NULL,
    address text NOT NULL,
    action text NOT NULL,
    reason text,
    member_ref uuid,
    told jsonb NOT NULL
);

GRANT SELECT, INSERT ON facet, slice, access TO {role};
