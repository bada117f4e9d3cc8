-- migrate:up
-- Where a checkpoint was taken outside the database: which place, when, and what a witness signed there.
CREATE TABLE anchored (
    size bigint NOT NULL,
    place text NOT NULL,
    cosignatures text NOT NULL DEFAULT '',
    at timestamptz NOT NULL,
    PRIMARY KEY (place, size)
);
CREATE INDEX anchored_cosigned ON anchored (size DESC) WHERE cosignatures <> '';

-- What each verification of the whole log found.
CREATE TABLE verification (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL,
    size bigint NOT NULL,
    seconds double precision NOT NULL,
    ok boolean NOT NULL,
    first_bad_index bigint,
    findings jsonb NOT NULL
);

GRANT SELECT, INSERT ON anchored, verification TO {role};
