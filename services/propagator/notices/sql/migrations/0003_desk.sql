-- migrate:up

-- manual: staff tell this third party. overtaken: a newer notice goes in its place; superseded: and was answered.
ALTER TABLE notice DROP CONSTRAINT notice_state_check;
ALTER TABLE notice ADD CONSTRAINT notice_state_check CHECK (state IN (
    'pending', 'no_endpoint', 'disabled', 'manual', 'delivered', 'overtaken',
    'acknowledged', 'superseded', 'skipped_destroyed', 'refused'));

-- Known once a notice has been opened: its webhook-id, its items, and the body with its values masked.
ALTER TABLE notice
    ADD COLUMN notice_id uuid,
    ADD COLUMN items text[],
    ADD COLUMN masked jsonb,
    ADD COLUMN overtaken_by bigint REFERENCES notice;
CREATE INDEX notice_by_id ON notice (notice_id);
CREATE INDEX notice_overtaken_by ON notice (overtaken_by) WHERE overtaken_by IS NOT NULL;
CREATE INDEX notice_by_recipient ON notice (recipient, position);

DROP INDEX notice_due;
CREATE INDEX notice_due ON notice (recipient, due_at, position)
    WHERE state IN ('pending', 'no_endpoint', 'disabled', 'manual', 'delivered');
DROP INDEX notice_undelivered;
CREATE INDEX notice_undelivered ON notice (recipient, member_ref, seq)
    WHERE state IN ('pending', 'no_endpoint', 'disabled');

-- What may be kept of an answer: its codes, or its size. Never its text.
ALTER TABLE attempt ADD COLUMN answer jsonb;

-- Notices sent again on somebody's word.
CREATE TABLE redelivery (
    redelivery_id uuid PRIMARY KEY,
    asked_by text NOT NULL,
    asked_at timestamptz NOT NULL,
    reason text NOT NULL,
    selection jsonb NOT NULL,
    notices int NOT NULL,
    skipped jsonb NOT NULL
);

GRANT SELECT, INSERT ON redelivery TO {role};
