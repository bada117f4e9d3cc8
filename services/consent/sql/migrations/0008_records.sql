-- migrate:up
-- Statutory records (clause 2.1) of members who are still here: sealed under the member's data key, kept until
-- `destroy_on`. Once the retention database has one (7.2) its content goes from here and the row only says so.
CREATE TABLE statutory_record (
    record_id uuid PRIMARY KEY,
    member_ref uuid NOT NULL REFERENCES member,
    class text NOT NULL,
    occurred_at timestamptz NOT NULL,
    destroy_on date NOT NULL,
    rule text NOT NULL,
    sealed bytea,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL,
    handed_over_at timestamptz,
    stage text,
    answered_at timestamptz,
    CHECK ((sealed IS NULL) = (stage IS NOT DISTINCT FROM 'retained'))
);
CREATE INDEX statutory_record_by_member ON statutory_record (member_ref);
CREATE INDEX statutory_record_by_end ON statutory_record (destroy_on);

GRANT SELECT, INSERT, DELETE ON statutory_record TO {role};
GRANT UPDATE (sealed, handed_over_at, stage, answered_at) ON statutory_record TO {role};
