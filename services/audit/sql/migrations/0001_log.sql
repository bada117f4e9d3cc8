-- migrate:up
-- The process role may INSERT and SELECT and nothing else; the owner is caught by checkpoints kept outside.

-- One leaf each. `body` is the exact leaf input (RFC 8785); the other columns are only ways to find it.
CREATE TABLE entry (
    index bigint PRIMARY KEY CHECK (index >= 0),
    event_id uuid NOT NULL UNIQUE,
    content_hash bytea NOT NULL CHECK (length(content_hash) = 32),
    leaf_hash bytea NOT NULL CHECK (length(leaf_hash) = 32),
    body bytea NOT NULL,
    type text NOT NULL,
    member_ref uuid,
    change_id uuid,
    seq bigint,
    actor text,
    recipient text,
    stage text,
    at timestamptz NOT NULL,
    appended_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX entry_by_member ON entry (member_ref, index) WHERE member_ref IS NOT NULL;
CREATE INDEX entry_by_change ON entry (change_id, index) WHERE change_id IS NOT NULL;
CREATE INDEX entry_by_type ON entry (type, index);
CREATE INDEX entry_by_actor ON entry (actor, index) WHERE actor IS NOT NULL;
CREATE INDEX entry_by_time ON entry (at, index);

-- Complete subtrees from level 1 up; level 0 is entry.leaf_hash. (level, index) as in services/audit/tree.py.
CREATE TABLE node (
    level smallint NOT NULL CHECK (level >= 1),
    index bigint NOT NULL CHECK (index >= 0),
    hash bytea NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (level, index)
);

CREATE TABLE checkpoint (
    size bigint PRIMARY KEY CHECK (size > 0),
    root bytea NOT NULL CHECK (length(root) = 32),
    note text NOT NULL,
    at timestamptz NOT NULL
);

-- Every fact below this size has had its `sealed` receipt sent.
CREATE TABLE sealed_published (
    size bigint PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now()
);

-- Who was owed an answer to a fact, and who has answered: what the sweep compares.
CREATE TABLE owed (
    change_id uuid NOT NULL,
    recipient text NOT NULL,
    kind text NOT NULL,
    index bigint NOT NULL,
    at timestamptz NOT NULL,
    PRIMARY KEY (change_id, recipient)
);
CREATE INDEX owed_by_time ON owed (kind, at);

CREATE TABLE answered (
    change_id uuid NOT NULL,
    recipient text NOT NULL,
    index bigint NOT NULL,
    PRIMARY KEY (change_id, recipient)
);

-- Appended, never overwritten: the newest row of a partition counts.
CREATE TABLE consumer_offset (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic text NOT NULL,
    partition int NOT NULL,
    next_offset bigint NOT NULL
);
CREATE INDEX consumer_offset_newest ON consumer_offset (topic, partition, position DESC);

GRANT SELECT, INSERT ON entry, node, checkpoint, sealed_published, owed, answered, consumer_offset TO {role};
