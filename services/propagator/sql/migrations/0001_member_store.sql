-- migrate:up
-- What this affiliate has as a RECIPIENT (clause 3.2). No row without a sharing grant.
CREATE TABLE member (
    member_ref uuid PRIMARY KEY,
    seq bigint NOT NULL,
    email text,
    name text,
    password_hash text,
    status text,
    signed_up_at timestamptz,
    withdrawn_at timestamptz,
    marketing jsonb,
    applied_at timestamptz NOT NULL
);

-- What it holds as a PROCESSOR of a service (clause 4.3).
CREATE TABLE processed_member (
    member_ref uuid PRIMARY KEY,
    seq bigint NOT NULL,
    service text,
    role text,
    items jsonb,
    applied_at timestamptz NOT NULL
);

-- What has been seen of each member, and the four cells the rows above are a function of. It outlives the rows,
-- so that no replay brings back what was taken away.
CREATE TABLE watermark (
    member_ref uuid PRIMARY KEY,
    seq bigint NOT NULL DEFAULT 0,
    values_seq bigint NOT NULL DEFAULT 0,
    values_state text NOT NULL DEFAULT 'absent' CHECK (values_state IN ('absent', 'present', 'ended')),
    processed_seq bigint NOT NULL DEFAULT 0,
    processed_state text NOT NULL DEFAULT 'absent' CHECK (processed_state IN ('absent', 'present', 'ended')),
    marketing_seq bigint NOT NULL DEFAULT 0,
    marketing jsonb,
    status_seq bigint NOT NULL DEFAULT 0,
    status text,
    status_at timestamptz
);

-- Sequences known to be missing: after_seq < seq <= upto_seq. Nothing waits for them.
CREATE TABLE gap (
    member_ref uuid NOT NULL,
    after_seq bigint NOT NULL,
    upto_seq bigint NOT NULL,
    noticed_at timestamptz NOT NULL,
    PRIMARY KEY (member_ref, after_seq),
    CHECK (after_seq < upto_seq)
);

-- Members who may never come back.
CREATE TABLE suppressed (
    member_ref uuid PRIMARY KEY,
    at timestamptz NOT NULL
);

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

GRANT SELECT, INSERT, UPDATE, DELETE ON member, processed_member TO {role};
GRANT SELECT, INSERT, UPDATE ON watermark, consumer_offset TO {role};
GRANT SELECT, INSERT, DELETE ON gap TO {role};
GRANT SELECT, INSERT ON suppressed, outbox TO {role};
GRANT UPDATE (published_at) ON outbox TO {role};
