-- migrate:up
-- Destruction (clause 7): one case per member, from the selection to the certificate. Ids, dates and codes only, but for
-- `approval_reason`, which the privacy officer words.
CREATE TABLE erasure (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    erasure_id uuid NOT NULL UNIQUE,
    member_ref uuid NOT NULL UNIQUE REFERENCES member,
    class text NOT NULL,
    state text NOT NULL CHECK (state IN ('selected', 'approved', 'executing', 'erased')),
    selected_at timestamptz NOT NULL,
    selected_by text NOT NULL,
    duty_subject uuid NOT NULL,
    due_on date NOT NULL,
    execute_from timestamptz NOT NULL,
    start_by timestamptz NOT NULL,
    shred_by timestamptz NOT NULL,
    asked_at timestamptz,
    asked_by text,
    standing_version text,
    approved_at timestamptz,
    approved_by text,
    approval_reason text,
    held boolean NOT NULL DEFAULT false,
    started_at timestamptz,
    change_id uuid,
    records int,
    shredded_at timestamptz,
    forced boolean NOT NULL DEFAULT false,
    unanswered text[] NOT NULL DEFAULT '{}'
);
CREATE INDEX erasure_open ON erasure (position) WHERE state <> 'erased';
CREATE INDEX erasure_unanswered ON erasure (position) WHERE unanswered <> '{}';

-- Legal holds: a case is paused while one is open.
CREATE TABLE erasure_hold (
    hold_id uuid PRIMARY KEY,
    erasure_id uuid NOT NULL REFERENCES erasure (erasure_id),
    reason text NOT NULL,
    held_at timestamptz NOT NULL,
    held_by text NOT NULL,
    lifted_at timestamptz,
    lifted_by text
);
CREATE UNIQUE INDEX erasure_hold_open ON erasure_hold (erasure_id) WHERE lifted_at IS NULL;

-- This store's copy of dongui.suppressions.v1: references that may never come back. It outlives everything else.
CREATE TABLE suppressed (
    member_ref uuid PRIMARY KEY,
    at timestamptz NOT NULL
);

GRANT SELECT, INSERT ON erasure, erasure_hold, suppressed TO {role};
GRANT UPDATE (state, duty_subject, due_on, execute_from, start_by, shred_by, asked_at, asked_by, approved_at, approved_by,
              approval_reason, held, started_at, change_id, records, shredded_at, forced, unanswered) ON erasure TO {role};
GRANT UPDATE (lifted_at, lifted_by) ON erasure_hold TO {role};

-- What was sealed under a destroyed key is noise; it goes all the same.
GRANT UPDATE (changes_sealed, agent_name_sealed) ON rights_request TO {role};
GRANT UPDATE (question) ON inquiry TO {role};
GRANT DELETE ON rights_evidence TO {role};
