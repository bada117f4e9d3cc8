-- migrate:up
CREATE TABLE member (
    member_ref uuid PRIMARY KEY,
    seq bigint NOT NULL,
    status text NOT NULL,
    email text,
    name text,
    password_hash text CHECK (password_hash LIKE '$argon2id$%'),
    birth_date date,
    email_index bytea UNIQUE,
    signed_up_at timestamptz NOT NULL,
    status_before text,
    withdrawal_requested_at timestamptz,
    withdrawn_at timestamptz
);

CREATE TABLE profile (
    member_ref uuid NOT NULL REFERENCES member,
    service text NOT NULL,
    role text NOT NULL,
    items jsonb NOT NULL,
    PRIMARY KEY (member_ref, service)
);

-- One row per consent given, kept with its evidence; a live one has no ended_at.
CREATE TABLE consent (
    consent_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    member_ref uuid NOT NULL REFERENCES member,
    purpose text NOT NULL,
    party text NOT NULL DEFAULT '',
    channel text NOT NULL DEFAULT '',
    notice_version text NOT NULL,
    notice_hash text NOT NULL,
    collected_via text NOT NULL,
    actor text NOT NULL,
    change_id uuid NOT NULL,
    given_at timestamptz NOT NULL,
    ended_at timestamptz,
    ended_by uuid
);
CREATE UNIQUE INDEX consent_live ON consent (member_ref, purpose, party, channel) WHERE ended_at IS NULL;
CREATE INDEX consent_by_member ON consent (member_ref);

-- What each affiliate has been given of this member so far: the `prev` chain, roles, key epoch.
CREATE TABLE held (
    member_ref uuid NOT NULL REFERENCES member,
    recipient text NOT NULL,
    prev bigint NOT NULL,
    epoch int NOT NULL,
    roles text[] NOT NULL,
    marketing jsonb,
    PRIMARY KEY (member_ref, recipient)
);

CREATE TABLE change (
    change_id uuid PRIMARY KEY,
    member_ref uuid NOT NULL REFERENCES member,
    seq bigint NOT NULL,
    name text NOT NULL,
    fact jsonb NOT NULL,
    accepted_at timestamptz NOT NULL,
    sealed_at timestamptz,
    leaf_index bigint,
    UNIQUE (member_ref, seq)
);

CREATE TABLE delivery (
    change_id uuid NOT NULL REFERENCES change,
    recipient text NOT NULL,
    kind text NOT NULL,
    record_id uuid NOT NULL,
    stage text NOT NULL DEFAULT 'accepted',
    at timestamptz NOT NULL,
    relayed_at timestamptz,
    outcome text,
    reason text,
    PRIMARY KEY (change_id, recipient)
);
CREATE INDEX delivery_by_record ON delivery (record_id);
CREATE INDEX delivery_open ON delivery (recipient, at) WHERE stage IN ('accepted', 'relayed');

-- The disclosure ledger: who was given which item (by keyed commitment, never the value), on what basis.
CREATE TABLE disclosure (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    disclosure_id uuid NOT NULL UNIQUE,
    member_ref uuid NOT NULL REFERENCES member,
    recipient text NOT NULL,
    kind text NOT NULL,
    role text NOT NULL,
    items jsonb NOT NULL,
    purpose text NOT NULL,
    basis text NOT NULL,
    change_id uuid,
    at timestamptz NOT NULL,
    relayed_at timestamptz,
    applied_at timestamptz
);
CREATE INDEX disclosure_by_member ON disclosure (member_ref, position);
CREATE INDEX disclosure_by_change ON disclosure (change_id, recipient);

CREATE TABLE notice (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    notice_id uuid NOT NULL UNIQUE,
    change_id uuid NOT NULL REFERENCES change,
    member_ref uuid NOT NULL,
    recipient text NOT NULL,
    seq bigint NOT NULL,
    items text[] NOT NULL,
    created_at timestamptz NOT NULL,
    outcome text,
    acknowledged_at timestamptz,
    UNIQUE (change_id, recipient)
);
CREATE INDEX notice_by_recipient ON notice (recipient, position);

-- Which row of an imported file a member came from, as HMACs: so that the same file can be sent again.
CREATE TABLE import_origin (
    member_ref uuid PRIMARY KEY REFERENCES member,
    row_mac bytea NOT NULL UNIQUE,
    source_mac bytea UNIQUE
);

CREATE TABLE idempotency (
    caller text NOT NULL,
    key text NOT NULL,
    request_mac bytea NOT NULL,
    status int NOT NULL,
    etag text,
    body jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (caller, key)
);
CREATE INDEX idempotency_by_age ON idempotency (created_at);

CREATE TABLE outbox (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id uuid NOT NULL UNIQUE,
    aggregatetype text NOT NULL,
    aggregateid text NOT NULL,
    type text NOT NULL,
    payload bytea NOT NULL,
    headers jsonb NOT NULL,
    shard int NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    published_at timestamptz
);
CREATE INDEX outbox_unpublished ON outbox (shard, position) WHERE published_at IS NULL;

CREATE TABLE consumer_offset (
    topic text NOT NULL,
    partition int NOT NULL,
    next_offset bigint NOT NULL,
    PRIMARY KEY (topic, partition)
);

GRANT SELECT, INSERT, UPDATE ON member, profile, consent, held, delivery, disclosure, notice, consumer_offset TO {role};
GRANT DELETE ON profile TO {role};
GRANT SELECT, INSERT ON change, import_origin TO {role};
GRANT UPDATE (sealed_at, leaf_index) ON change TO {role};
GRANT SELECT, INSERT, UPDATE, DELETE ON idempotency TO {role};
GRANT SELECT, INSERT ON outbox TO {role};
GRANT UPDATE (published_at) ON outbox TO {role};
