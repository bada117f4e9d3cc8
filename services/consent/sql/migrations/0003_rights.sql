-- migrate:up
-- What members asked of us (clause 5) and what became of it. The content of a correction and an agent's name are
-- sealed under the member's data key; everything else is codes, dates and names of items.
CREATE TABLE rights_request (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    request_id uuid NOT NULL UNIQUE,
    member_ref uuid NOT NULL REFERENCES member,
    type text NOT NULL,
    channel text NOT NULL,
    state text NOT NULL,
    received_at timestamptz NOT NULL,
    received_by text,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL,
    due_on date NOT NULL,
    items text[],
    changes_sealed bytea,
    agent_kind text,
    agent_document text,
    agent_scope text[],
    agent_name_sealed bytea,
    verified_at timestamptz,
    verified_by text,
    method text,
    agent_method text,
    deferral text,
    deferred_at timestamptz,
    reason_ended_at timestamptz,
    outcome text,
    ground text,
    statute text,
    granted_items text[],
    decided_at timestamptz,
    decided_by text,
    told_by text,
    suspends boolean NOT NULL DEFAULT false,
    change_ids uuid[] NOT NULL DEFAULT '{}',
    ended_at timestamptz
);
CREATE UNIQUE INDEX rights_request_open ON rights_request (member_ref, type)
    WHERE state IN ('received', 'verified', 'deferred');
CREATE INDEX rights_request_by_member ON rights_request (member_ref, position);
CREATE INDEX rights_request_by_state ON rights_request (state, position);

-- Documents that came with a request: the form, a mandate, proof. The bytes are sealed under the member's data key.
CREATE TABLE rights_evidence (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    evidence_id uuid NOT NULL UNIQUE,
    request_id uuid NOT NULL REFERENCES rights_request (request_id),
    kind text NOT NULL,
    media_type text NOT NULL,
    size int NOT NULL,
    sha256 text NOT NULL,
    sealed bytea NOT NULL,
    added_by text NOT NULL,
    added_at timestamptz NOT NULL,
    UNIQUE (request_id, sha256)
);

GRANT SELECT, INSERT ON rights_request, rights_evidence TO {role};
GRANT UPDATE (state, verified_at, verified_by, method, agent_method, deferral, deferred_at, reason_ended_at, outcome,
              ground, statute, granted_items, decided_at, decided_by, told_by, suspends, change_ids, ended_at)
    ON rights_request TO {role};
