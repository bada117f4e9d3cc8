-- migrate:up
-- One legal hold pauses the destruction here and keeps the retention database's records: each side knows the other's by
-- its id, so several may stand, and a case is paused while one does.
DROP INDEX erasure_hold_open;
CREATE INDEX erasure_hold_open ON erasure_hold (erasure_id) WHERE lifted_at IS NULL;

-- Holds on members who have no case yet: theirs is paused from its selection on.
CREATE TABLE hold_ahead (
    hold_id uuid PRIMARY KEY,
    member_ref uuid NOT NULL,
    reason text NOT NULL,
    held_at timestamptz NOT NULL
);
CREATE INDEX hold_ahead_by_member ON hold_ahead (member_ref);
GRANT SELECT, INSERT, DELETE ON hold_ahead TO {role};
