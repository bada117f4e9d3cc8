-- migrate:up
-- Messages to members. No value of a member is in here: address and name are read when a message is sent. `sealed`
-- holds them under the member's data key once the columns of `member` are NULL and a last message is still to go.
CREATE TABLE message (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    message_id uuid NOT NULL UNIQUE,
    kind text NOT NULL,
    member_ref uuid NOT NULL,
    sender text NOT NULL,
    medium text NOT NULL,
    language text NOT NULL,
    data jsonb NOT NULL,
    dedupe_key text NOT NULL UNIQUE,
    queued_at timestamptz NOT NULL,
    next_at timestamptz NOT NULL,
    leased_until timestamptz,
    lease uuid,
    sealed bytea,
    attempts int NOT NULL DEFAULT 0,
    state text NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'sent', 'dropped', 'failed')),
    reason text,
    closed_at timestamptz
);
CREATE INDEX message_due ON message (next_at, position) WHERE state = 'queued';
CREATE INDEX message_by_member ON message (member_ref, position);

-- Evidence: each try to send, by result code; what was said and to which address is in no row.
CREATE TABLE message_attempt (
    message_id uuid NOT NULL REFERENCES message (message_id),
    number int NOT NULL,
    at timestamptz NOT NULL,
    result text NOT NULL,
    PRIMARY KEY (message_id, number)
);

-- Which two-year period of which consent a reconfirmation message covers (decree 62-3); periods count from 0.
CREATE TABLE message_reconfirmation (
    consent_id bigint NOT NULL,
    period int NOT NULL,
    message_id uuid NOT NULL REFERENCES message (message_id),
    PRIMARY KEY (consent_id, period)
);

-- Kinds of message that a member asked not to get, where the law lets them (PIPA 20-2).
CREATE TABLE message_refusal (
    member_ref uuid NOT NULL,
    kind text NOT NULL,
    refused_at timestamptz NOT NULL,
    PRIMARY KEY (member_ref, kind)
);

GRANT SELECT, INSERT ON message, message_attempt, message_reconfirmation TO {role};
GRANT UPDATE (next_at, leased_until, lease, sealed, attempts, state, reason, closed_at) ON message TO {role};
GRANT SELECT, INSERT, DELETE ON message_refusal TO {role};
