-- migrate:up
-- Clause 2.2: when an account was last used, and when its member was told that it is about to leave.
ALTER TABLE member ADD COLUMN last_active_at timestamptz, ADD COLUMN dormant_notified_at timestamptz;
CREATE INDEX member_dormant ON member (member_ref) WHERE dormant_notified_at IS NOT NULL;

-- The members under an account: whom an administrator of a service brought in, and who leave with it.
CREATE TABLE account_member (
    member_ref uuid PRIMARY KEY REFERENCES member ON DELETE CASCADE,
    parent_ref uuid NOT NULL REFERENCES member ON DELETE CASCADE,
    registered_at timestamptz NOT NULL,
    CHECK (member_ref <> parent_ref)
);
CREATE INDEX account_member_by_parent ON account_member (parent_ref);

GRANT SELECT, INSERT, DELETE ON account_member TO {role};
