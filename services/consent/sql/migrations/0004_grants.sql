-- migrate:up
-- What is needed to say of any past instant whether something was allowed, and how each record was collected (6.1).
ALTER TABLE member ADD COLUMN collected_via text;
ALTER TABLE member ADD COLUMN age_declared boolean NOT NULL DEFAULT false;
ALTER TABLE profile ADD COLUMN collected_via text;

-- The status a change left the member in. NULL where a change of before this column left it as it was.
ALTER TABLE change ADD COLUMN status text;
UPDATE change SET status = CASE
    WHEN name = 'signed_up' AND fact->'addressees' = '[]'::jsonb THEN 'pending_guardian'
    WHEN name IN ('signed_up', 'released') THEN 'active'
    WHEN name IN ('withdrawal_requested', 'withdrawn', 'suspended', 'erased') THEN name
END;

-- Which role a member had in a service from when on, and the names of the items held; role NULL: none any more.
CREATE TABLE profile_history (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    member_ref uuid NOT NULL REFERENCES member,
    service text NOT NULL,
    role text,
    items text[] NOT NULL,
    collected_via text NOT NULL,
    change_id uuid NOT NULL,
    at timestamptz NOT NULL
);
CREATE INDEX profile_history_by_member ON profile_history (member_ref, service, position);
INSERT INTO profile_history (member_ref, service, role, items, collected_via, change_id, at)
SELECT member_ref, service, p.role, array(SELECT jsonb_object_keys(p.items) ORDER BY 1), c.fact->>'channel', change_id,
       accepted_at
FROM profile p JOIN change c USING (member_ref) WHERE c.seq = 1;

-- A guardian's name and contact (PIPA 22-2), sealed under the member's key. Unconfirmed it goes within five days.
CREATE TABLE guardian (
    guardian_id uuid PRIMARY KEY,
    member_ref uuid NOT NULL UNIQUE REFERENCES member,
    sealed bytea NOT NULL,
    collected_via text NOT NULL,
    recorded_at timestamptz NOT NULL,
    due_on date NOT NULL,
    method text,
    confirmed_at timestamptz,
    change_id uuid
);
CREATE INDEX guardian_unconfirmed ON guardian (due_on) WHERE confirmed_at IS NULL;

-- Who was affected between two instants (breach, PIPA 34).
CREATE INDEX disclosure_by_recipient ON disclosure (recipient, at);

GRANT SELECT, INSERT ON profile_history TO {role};
GRANT SELECT, INSERT, UPDATE, DELETE ON guardian TO {role};
