-- migrate:up
-- Where a checkpoint was taken outside the database: which place, when, and what a witness signed there.
CREATE TABLE anchored (
    size bigint NOT NULL,
    place text NOT NULL,
    cosignatures text NOT NULL DEFAULT '',
    token bytea,
    at timestamptz NOT NULL,
    PRIMARY KEY (place, size)
);
CREATE INDEX anchored_cosigned ON anchored (size DESC) WHERE cosignatures <> '';

GRANT SELECT, INSERT ON anchored TO {role};
