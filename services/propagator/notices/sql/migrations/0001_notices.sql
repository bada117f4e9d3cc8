-- migrate:up

-- One row per (change, recipient), kept after its end: a replay of the topic finds it and sends nothing.
CREATE TABLE notice (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    record_id uuid NOT NULL,
    change_id uuid NOT NULL,
    member_ref uuid NOT NULL,
    recipient text NOT NULL,
    seq bigint NOT NULL,
    kid text NOT NULL,
    headers jsonb NOT NULL,
    sealed bytea NOT NULL,
    origin text NOT NULL,
    received_at timestamptz NOT NULL,
    state text NOT NULL CHECK (state IN ('pending', 'no_endpoint', 'disabled', 'delivered',
                                         'acknowledged', 'skipped_destroyed', 'refused')),
    attempts int NOT NULL DEFAULT 0,
    due_at timestamptz NOT NULL,
    lease uuid,
    leased_until timestamptz,
    delivered_at timestamptz,
    closed_at timestamptz,
    outcome text,
    reason text,
    UNIQUE (change_id, recipient)
);
CREATE INDEX notice_due ON notice (recipient, due_at)
    WHERE state IN ('pending', 'no_endpoint', 'disabled', 'delivered');
CREATE INDEX notice_undelivered ON notice (recipient, member_ref, seq)
    WHERE state IN ('pending', 'no_endpoint', 'disabled');

-- Evidence of what was tried. Never a body: not ours, not theirs.
CREATE TABLE attempt (
    attempt_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    position bigint NOT NULL REFERENCES notice,
    at timestamptz NOT NULL,
    status int,
    milliseconds int NOT NULL,
    error text
);
CREATE INDEX attempt_by_notice ON attempt (position, attempt_id);

-- An endpoint that answered 410. Another URL in the settings is another endpoint.
CREATE TABLE disabled_endpoint (
    recipient text NOT NULL,
    url text NOT NULL,
    disabled_at timestamptz NOT NULL,
    PRIMARY KEY (recipient, url)
);

-- Third parties' answers as the receipts topic tells them; one may come before its notice.
CREATE TABLE answer (
    change_id uuid NOT NULL,
    recipient text NOT NULL,
    stage text NOT NULL,
    outcome text,
    reason text,
    at timestamptz NOT NULL,
    PRIMARY KEY (change_id, recipient)
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

GRANT SELECT, INSERT ON notice, attempt, answer, outbox TO {role};
GRANT UPDATE ON notice TO {role};
GRANT SELECT, INSERT, DELETE ON disabled_endpoint TO {role};
GRANT UPDATE (published_at) ON outbox TO {role};
GRANT SELECT, INSERT, UPDATE ON consumer_offset TO {role};
