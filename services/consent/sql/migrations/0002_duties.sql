-- migrate:up
-- What must be done by when. One open duty per kind and subject; a closed one stays as evidence.
CREATE TABLE duty (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL,
    subject uuid NOT NULL,
    member_ref uuid,
    opened_at timestamptz NOT NULL,
    warn_on date NOT NULL,
    due_on date NOT NULL,
    closed_at timestamptz,
    outcome text,
    UNIQUE (kind, subject)
);
CREATE INDEX duty_open ON duty (due_on, position) WHERE closed_at IS NULL;
CREATE INDEX duty_by_member ON duty (member_ref);

GRANT SELECT, INSERT ON duty TO {role};
GRANT UPDATE (closed_at, outcome) ON duty TO {role};
