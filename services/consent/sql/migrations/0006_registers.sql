-- migrate:up
-- Clause 3.3: what agencies asked for and what was given, without values. Kept by law longer than the member, so no
-- foreign key; read by compliance and the privacy officer only.
CREATE TABLE investigation (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    investigation_id uuid NOT NULL UNIQUE,
    received_at timestamptz NOT NULL,
    recorded_by text NOT NULL,
    agency text NOT NULL,
    basis text NOT NULL,
    purpose text NOT NULL,
    paper jsonb NOT NULL,
    member_ref uuid,
    requested text[] NOT NULL,
    allowed text[] NOT NULL,
    denied jsonb NOT NULL,
    refusal text,
    state text NOT NULL CHECK (state IN ('open', 'denied', 'provided')),
    provided text[] NOT NULL DEFAULT '{}',
    form text,
    restrictions text[] NOT NULL DEFAULT '{}',
    decided_at timestamptz,
    decided_by text,
    keep_until date,
    paper_number text,
    paper_received_at timestamptz
);
CREATE INDEX investigation_by_decision ON investigation (decided_at);

CREATE TABLE investigation_report (
    half text PRIMARY KEY,
    reference text NOT NULL,
    reported_at timestamptz NOT NULL,
    reported_by text NOT NULL
);

-- Clause 4.3: what was checked at a processor, and what members were last told of its marketing tasks (PIPA 26(3)).
CREATE TABLE processor_check (
    check_id uuid PRIMARY KEY,
    processor text NOT NULL,
    checked_at timestamptz NOT NULL,
    outcome text NOT NULL,
    reference text NOT NULL,
    recorded_by text NOT NULL
);
CREATE INDEX processor_check_by_processor ON processor_check (processor, checked_at);

CREATE TABLE processor_told (
    processor text PRIMARY KEY,
    digest text NOT NULL
);

-- A change that members must be told of: `last_ref` is how far the telling has come, `done_at` that it is through.
CREATE TABLE processor_change (
    change_id uuid PRIMARY KEY,
    processor text NOT NULL,
    digest text NOT NULL,
    detected_at timestamptz NOT NULL,
    last_ref uuid,
    done_at timestamptz
);
CREATE INDEX processor_change_open ON processor_change (detected_at) WHERE done_at IS NULL;

-- Clause 10.2. Texts are sealed under the member's data key; one who is no member leaves none here.
CREATE TABLE inquiry (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    inquiry_id uuid NOT NULL UNIQUE,
    member_ref uuid,
    subject text NOT NULL,
    channel text NOT NULL,
    reference text,
    routed_to text NOT NULL,
    received_at timestamptz NOT NULL,
    due_on date NOT NULL,
    question bytea,
    state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'answered')),
    answer bytea,
    answered_at timestamptz,
    answered_by text
);
CREATE INDEX inquiry_by_state ON inquiry (state, position);
CREATE INDEX inquiry_by_member ON inquiry (member_ref);

GRANT SELECT, INSERT ON investigation, investigation_report, processor_check, processor_told, processor_change, inquiry
TO {role};
GRANT UPDATE (state, provided, form, restrictions, decided_at, decided_by, keep_until, paper_number, paper_received_at)
ON investigation TO {role};
GRANT UPDATE (digest) ON processor_told TO {role};
GRANT UPDATE (last_ref, done_at) ON processor_change TO {role};
GRANT UPDATE (state, answer, answered_at, answered_by) ON inquiry TO {role};
