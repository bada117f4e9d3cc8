-- migrate:up
-- Clause 5.7: by which way a third party's answer came (`answer`, `callback`, `staff`), and staff's evidence of it.
-- `cursor` is the place in the list a third party pulls. It is given when a notice is first listed, so after its
-- commit: a position given before it could appear behind a reader who is past it already.
ALTER TABLE notice ADD COLUMN answered_via text, ADD COLUMN evidence text, ADD COLUMN cursor bigint;
CREATE SEQUENCE notice_cursor;
UPDATE notice SET cursor = position;
SELECT setval('notice_cursor', (SELECT coalesce(max(position), 0) + 1 FROM notice), false);
CREATE INDEX notice_listed ON notice (recipient, cursor) WHERE cursor IS NOT NULL;
CREATE INDEX notice_unlisted ON notice (recipient, position) WHERE cursor IS NULL;
DROP INDEX notice_by_recipient;
CREATE INDEX notice_unanswered ON notice (position) WHERE acknowledged_at IS NULL;
CREATE INDEX notice_overtaken ON notice (member_ref) WHERE acknowledged_at IS NULL AND outcome = 'superseded';

-- Notices that staff sent by e-mail or post. `evidence` is a reference to what was sent, never its content.
CREATE TABLE notice_sending (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    notice_id uuid NOT NULL REFERENCES notice (notice_id),
    channel text NOT NULL CHECK (channel IN ('email', 'post')),
    sent_at timestamptz NOT NULL,
    evidence text NOT NULL,
    recorded_by text NOT NULL,
    recorded_at timestamptz NOT NULL
);
CREATE INDEX notice_sending_by_notice ON notice_sending (notice_id, position);

-- `manual` waits for an answer as `relayed` does.
DROP INDEX delivery_open;
CREATE INDEX delivery_open ON delivery (recipient, at) WHERE stage IN ('accepted', 'relayed', 'manual');

GRANT SELECT, INSERT ON notice_sending TO {role};
GRANT USAGE ON SEQUENCE notice_cursor TO {role};
